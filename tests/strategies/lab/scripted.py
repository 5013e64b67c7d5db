"""Bars written down by hand, and strategies that do what the test says on them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from strategies.bars import Bars, Block
from strategies.base import Signals, Strategy, param
from strategies.lab.backtest import backtest
from strategies.lab.costs import Costs
from strategies.lab.result import Account, Result
from strategies.lab.trades import REASONS

DAY = 86_400_000_000
MINUTE = 60_000_000
FIRST = 1_704_153_600_000_000  # 2024-01-02 00:00 UTC, a Tuesday
FREE = Costs()
Row = tuple[float, float, float, float] | tuple[float, float, float, float, float] | None
WHOLE = Account(fraction=1.0, kill_switch_drawdown=1.0)  # everything into one position; no kill switch


def bars_of(
    rows: Mapping[str, Sequence[Row]],
    times: Sequence[int] | None = None,
    members: NDArray[np.bool_] | None = None,
    timeframe: int = DAY,
) -> Bars:
    """(open, high, low, close[, volume]) per symbol and bar time; None: no bar. Daily from FIRST unless `times` say."""
    symbols = list(rows)
    length = len(next(iter(rows.values())))
    stamps = [FIRST + t * DAY for t in range(length)] if times is None else list(times)
    cells = [
        (symbol, stamps[t], *row, *([1e9] if len(row) == 4 else []))
        for symbol, name in enumerate(symbols)
        for t, row in enumerate(rows[name])
        if row is not None
    ]
    columns = np.array(cells, np.float64).T
    bars = Bars.from_columns(
        symbols, columns[0].astype(np.int64), columns[1].astype(np.int64), *columns[2:], timeframe=timeframe
    )
    if members is not None:
        object.__setattr__(bars, "members", members)
    return bars


def flat(price: float, bars: int) -> list[Row]:
    """A price that does not move."""
    return [(price, price, price, price)] * bars


class Scripted(Strategy):
    """Does what its class attributes say; see `scripted`."""

    place: int = param(0, low=0, high=1_000)
    entering: ClassVar[NDArray[np.bool_]]
    leaving: ClassVar[NDArray[np.bool_]]
    scores: ClassVar[NDArray[np.float64]]
    exits: ClassVar[Mapping[str, float]]
    ends_with_session: ClassVar[bool]

    def setup(self, shape: object) -> None:
        del shape
        self.seen_bars = 0

    def step(self, bars: Block) -> Signals:
        rows = slice(self.seen_bars, self.seen_bars + len(bars.times))
        self.seen_bars = rows.stop
        return Signals(
            self.entering[rows],
            self.leaving[rows],
            self.scores[rows],
            session_end=self.ends_with_session,
            **self.exits,
        )


def scripted(
    bars: Bars,
    enter: Mapping[str, Sequence[int]],
    leave: Mapping[str, Sequence[int]] | None = None,
    score: Mapping[str, float] | None = None,
    *,
    session_end: bool = False,
    **exits: float,
) -> Strategy:
    """Enter and leave at the close of these bars (their numbers), with a fixed score per symbol."""

    def at(places: Mapping[str, Sequence[int]]) -> NDArray[np.bool_]:
        mask = np.zeros((len(bars), len(bars.symbols)), np.bool_)
        for name, numbers in places.items():
            mask[list(numbers), bars.symbols.index(name)] = True
        return mask[:, None]

    scores = np.array([(score or {}).get(name, 0.0) for name in bars.symbols])
    body = {
        "entering": at(enter),
        "leaving": at(leave or {}),
        "scores": np.broadcast_to(scores, (len(bars), 1, len(bars.symbols))),
        "exits": exits,
        "ends_with_session": session_end,
    }
    written: type[Scripted] = type("Scripted", (Scripted,), body)
    return written(bars.symbols)


def run(strategy: Strategy, bars: Bars, account: Account = WHOLE, costs: Costs = FREE, seed: int = 0) -> Result:
    (result,) = backtest(strategy, bars, account=account, costs=costs, seed=seed)
    return result


def told(result: Result, bars: Bars) -> list[tuple[str, int, float, int, float, str]]:
    """(symbol, entry bar, entry price, exit bar, exit price, reason) of each trade."""
    trades = result.trades
    return [
        (
            bars.symbols[trades.symbol[i]],
            int(np.searchsorted(bars.times, trades.entry_time[i])),
            round(float(trades.entry_price[i]), 9),
            int(np.searchsorted(bars.times, trades.exit_time[i])),
            round(float(trades.exit_price[i]), 9),
            REASONS[trades.reason[i]].value,
        )
        for i in range(len(trades))
    ]
