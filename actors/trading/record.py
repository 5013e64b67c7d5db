"""What a strategy has done with its money so far: equity bar by bar and closed trades, judged as a backtest is."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import orjson

from actors.kernel.clock import SECOND
from strategies.lab.book import Trade
from strategies.lab.metrics import Metrics, measure
from strategies.lab.result import as_columns
from strategies.lab.trades import Reason
from strategies.sessions import exchange_dates

VERSION = 1
PREFIX = "record:"

TradeOf = tuple[str, Trade]  # the symbol's name and the trade


class Record:
    """Grows for years, so it is kept in parts of a month, of which only the last one changes."""

    def __init__(self, timeframe: int) -> None:
        """`timeframe` in microseconds: the length of the bars at whose closes equity is marked."""
        self.times = array("q")
        self.equity = array("d")
        self.trades: list[TradeOf] = []
        self._timeframe = timeframe
        self._changed: set[str] = set()

    def mark(self, time: int, equity: float) -> None:
        """Equity at the close of the bar that starts at `time`."""
        self.times.append(time)
        self.equity.append(equity)
        self._changed.add(_month(time))

    def add(self, trades: Iterable[TradeOf]) -> None:
        """Trades that have been closed."""
        for symbol, trade in trades:
            self.trades.append((symbol, trade))
            self._changed.add(_month(trade.exit_time))

    def metrics(self, capital: float) -> Metrics:
        """As of a backtest; a trade belongs to the bars in which it was entered and left."""
        times, equity = np.array(self.times, np.int64), np.array(self.equity)
        columns = as_columns([trade for _, trade in self.trades])
        held_s = columns.exit_time - columns.entry_time
        entered, left = (
            np.maximum(np.searchsorted(times, moments, side="right") - 1, 0)
            for moments in (columns.entry_time, columns.exit_time)
        )
        if times.size:
            columns = replace(columns, entry_time=times[entered], exit_time=times[left])
        dates = exchange_dates(times, self._timeframe)
        metrics = measure(capital, times, dates, equity, columns, left)
        return replace(metrics, average_duration_s=float(held_s.mean()) / SECOND if held_s.size else None)

    def save(self) -> dict[str, tuple[int, bytes]]:
        """The months that changed since the last call."""
        months, self._changed = sorted(self._changed), set()
        return {f"{PREFIX}{month}": (VERSION, orjson.dumps(self._of(month))) for month in months}

    def _of(self, month: str) -> dict[str, object]:
        since = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
        until = (since + timedelta(days=31)).replace(day=1)
        begin, end = round(since.timestamp()) * SECOND, round(until.timestamp()) * SECOND
        rows = slice(bisect_left(self.times, begin), bisect_left(self.times, end))
        trades = [[symbol, *trade] for symbol, trade in self.trades if begin <= trade.exit_time < end]
        return {"times": self.times[rows].tolist(), "equity": self.equity[rows].tolist(), "trades": trades}

    def load(self, parts: Mapping[str, tuple[int, bytes]]) -> None:
        """What `save` has said, all of it. Raises ValueError, KeyError or TypeError for what cannot be read."""
        self.times, self.equity = array("q"), array("d")
        self.trades.clear()
        self._changed.clear()
        for name in sorted(name for name in parts if name.startswith(PREFIX)):
            version, text = parts[name]
            if version != VERSION:
                raise ValueError(f"{name} is of version {version}")
            saved = orjson.loads(text)
            self.times.extend(saved["times"])
            self.equity.extend(saved["equity"])
            self.trades += [
                (symbol, Trade._make([*numbers, Reason(reason)])) for symbol, *numbers, reason in saved["trades"]
            ]


@lru_cache(maxsize=16)  # ten strategies mark the same time
def _month(time: int) -> str:
    return datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m")
