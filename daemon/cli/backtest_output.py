"""What `nightdesk backtest` prints: JSON for scripts, one screen for people."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import zip_longest

import numpy as np

from strategies.bars import Bars
from strategies.lab.metrics import Metrics
from strategies.lab.result import Result
from strategies.lab.summary import (
    RIGHT_ALIGNED,
    TRADE_HEAD,
    TradeRow,
    assumption_rows,
    metric_rows,
    money,
    percent,
    trade_rows,
)
from strategies.lab.trades import REASONS, Micros

LAST_TRADES = 10


def as_json(result: Result, metrics: Metrics, bars: Bars) -> dict[str, object]:
    """The run as the public JSON object; times are RFC 3339 in UTC, undefined metrics null."""
    trades = result.trades
    columns = {
        "symbol": [result.symbols[n] for n in trades.symbol],
        "entry_time": _rfc3339(trades.entry_time),
        "entry_price": trades.entry_price.tolist(),
        "exit_time": _rfc3339(trades.exit_time),
        "exit_price": trades.exit_price.tolist(),
        "quantity": trades.quantity.tolist(),
        "fees": trades.fees.tolist(),
        "pnl": trades.pnl.tolist(),
        "reason": [REASONS[n] for n in trades.reason],
    }
    return {
        "strategy": result.strategy,
        "params": dict(result.params),
        "symbols": list(result.symbols),
        "bars": int(bars.present.sum()),
        "initial_capital": result.initial_capital,
        "final_equity": result.final_equity,
        "metrics": asdict(metrics),
        "verdict": metrics.verdict,
        "killed_at": None if result.killed_at is None else _rfc3339(np.array([result.killed_at]))[0],
        "trades": [dict(zip(columns, trade, strict=True)) for trade in zip(*columns.values(), strict=True)],
        "equity": list(zip(_rfc3339(result.times), result.equity.tolist(), strict=True)),
    }


def as_text(result: Result, metrics: Metrics, bars: Bars) -> str:
    """The run on one screen: what came out, the verdict, the numbers, what it rests on, the last trades."""
    parts = (_outcome(result, metrics), _in_two_columns(metric_rows(result, metrics)), _assumptions(result, bars))
    return "\n\n".join("\n".join(part) for part in (*parts, _last_trades(result, bars)))


def _outcome(result: Result, metrics: Metrics) -> Iterator[str]:
    change = f"{money(result.initial_capital)} became {money(result.final_equity)} ({percent(metrics.net_return)})"
    yield f"{result.strategy}: {metrics.verdict}. {change}"
    if result.killed_at is not None:
        yield f"The kill switch stopped it at the close of {_rfc3339(np.array([result.killed_at]))[0]}."


def _in_two_columns(rows: list[tuple[str, str]]) -> Iterator[str]:
    half = (len(rows) + 1) // 2
    for left, right in zip_longest(rows[:half], rows[half:], fillvalue=("", "")):
        yield f"  {left[0]:<18}{left[1]:>14}     {right[0]:<18}{right[1]:>14}".rstrip()


def _assumptions(result: Result, bars: Bars) -> Iterator[str]:
    for name, text in assumption_rows(result, bars):
        yield f"  {name:<12}{text}"


def _last_trades(result: Result, bars: Bars) -> Iterator[str]:
    rows = trade_rows(result, bars, LAST_TRADES)
    yield f"  The last {len(rows)} of {len(result.trades):,} trades" if rows else "  No trades"
    widths = [max(map(len, column)) for column in zip(TRADE_HEAD, *rows, strict=True)]
    for row in (TRADE_HEAD, *rows) if rows else ():
        cells = zip(TradeRow._fields, row, widths, strict=True)
        aligned = (f"{cell:>{width}}" if name in RIGHT_ALIGNED else f"{cell:<{width}}" for name, cell, width in cells)
        yield "  " + "  ".join(aligned).rstrip()


def _rfc3339(times: Micros) -> list[str]:
    stamps: list[str] = np.datetime_as_string(times.astype("datetime64[us]"), unit="s", timezone="UTC").tolist()
    return stamps
