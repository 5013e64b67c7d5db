"""A run in words and rounded numbers, for the terminal and the report alike."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from strategies.adjustments import ALL, RAW
from strategies.bars import Bars, timeframe_text
from strategies.lab.costs import Costs
from strategies.lab.metrics import Metrics
from strategies.lab.result import Result
from strategies.lab.trades import REASONS, Floats
from strategies.sessions import DAY

UNDEFINED = "-"


class TradeRow(NamedTuple):
    """One closed trade as text."""

    symbol: str
    entered: str
    bought_at: str
    left: str
    sold_at: str
    shares: str
    pnl: str
    reason: str


TRADE_HEAD = TradeRow("symbol", "entered", "bought at", "left", "sold at", "shares", "P&L", "reason")
RIGHT_ALIGNED = frozenset({"bought_at", "sold_at", "shares", "pnl"})


def assumption_rows(result: Result, bars: Bars) -> list[tuple[str, str]]:
    """Everything the result depends on, by name."""
    account = result.account
    size = f"{percent(account.fraction)} of equity a position, at most {account.max_positions}"
    lots = f", in lots of {account.lot:g} shares" if account.lot else ", fractional shares"
    return [
        ("strategy", result.strategy),
        ("params", ", ".join(f"{name} {value}" for name, value in result.params.items()) or "none"),
        (
            "bars",
            f"{int(bars.present.sum()):,} of {timeframe_text(bars.timeframe)}, {bars.dates[0]} to {bars.dates[-1]}",
        ),
        ("symbols", some(result.symbols)),
        ("feed", f"{bars.feed}{' (made up)' if bars.synthetic else ''}, prices {_adjustment(bars.adjustment)}"),
        ("account", f"{money(account.capital)}; {size}{lots}"),
        ("costs", costs_text(result.costs)),
        ("seed", str(result.seed)),
        ("fingerprint", result.fingerprint[:16]),
    ]


def _adjustment(text: str) -> str:
    """`raw`; `adjusted for splits as of 2026-11-20`."""
    return text if text == RAW else f"adjusted for {text.replace(ALL, 'splits and dividends', 1)}"


def costs_text(costs: Costs) -> str:
    """The cost model in words."""
    amount = costs.slippage_amount
    own = ", ".join(f"{symbol} {bps:g}" for symbol, bps in costs.spread_table.items())
    parts = (
        (costs.commission_bps, f"commission {costs.commission_bps:g} bps"),
        (costs.commission_min, f"at least {money(costs.commission_min)} a fill"),
        (costs.spread_bps, f"spread {costs.spread_bps:g} bps" + (f" ({own})" if own else "")),
        (costs.slippage_type == "fixed", f"slippage ${amount:g} a share"),
        (costs.slippage_type == "percent", f"slippage {amount:.3%}"),
        (costs.slippage_type == "spread", f"slippage {amount:g} spreads"),
        (costs.slippage_type == "volume", f"slippage {amount:g} times the root of the share of volume"),
        (costs.reject_rate, f"{costs.reject_rate:.1%} of orders rejected"),
        (costs.worse_fill_rate, f"{costs.worse_fill_rate:.1%} filled worse by up to {costs.worse_fill_max:.2%}"),
        (math.isfinite(costs.participation), f"at most {costs.participation:.0%} of a bar's volume"),
    )
    return ", ".join(text for applies, text in parts if applies) or "none"


def metric_rows(result: Result, metrics: Metrics) -> list[tuple[str, str]]:
    """Every metric by name."""
    return [
        ("trades", f"{metrics.trades:,}"),
        ("win rate", percent(metrics.win_rate)),
        ("expectancy", money(metrics.expectancy)),
        ("  95 % interval", _interval(result.trades.pnl)),
        ("average win", money(metrics.average_win)),
        ("average loss", money(metrics.average_loss)),
        ("reward : risk", number(metrics.reward_risk)),
        ("profit factor", number(metrics.profit_factor)),
        ("average duration", duration(metrics.average_duration_s)),
        ("fees", money(metrics.total_fees)),
        ("slippage", money(metrics.total_slippage)),
        ("net return", percent(metrics.net_return)),
        ("gross return", percent(metrics.gross_return)),
        ("CAGR", percent(metrics.cagr)),
        ("Sharpe", number(metrics.sharpe)),
        ("Sortino", number(metrics.sortino)),
        ("max drawdown", percent(metrics.max_drawdown)),
        ("  of initial", percent(metrics.max_drawdown_of_initial)),
        ("exposure", percent(metrics.exposure)),
        ("turnover", f"{metrics.turnover:,.1f} x equity"),
    ]


def _interval(pnl: Floats) -> str:
    """How far the mean of so few trades may be from the truth, by the normal approximation."""
    return UNDEFINED if pnl.size < 2 else f"± {money(1.96 * float(pnl.std(ddof=1)) / math.sqrt(pnl.size))}"


def trade_rows(result: Result, bars: Bars, last: int) -> list[TradeRow]:
    """The `last` trades, oldest first."""
    trades = result.trades
    return [
        TradeRow(
            result.symbols[trades.symbol[n]],
            moment(trades.entry_time[n], bars),
            f"{trades.entry_price[n]:,.2f}",
            moment(trades.exit_time[n], bars),
            f"{trades.exit_price[n]:,.2f}",
            f"{trades.quantity[n]:,.2f}",
            f"{trades.pnl[n]:+,.2f}",
            REASONS[trades.reason[n]].replace("_", " "),
        )
        for n in range(max(len(trades) - last, 0), len(trades))
    ]


def moment(time: np.int64, bars: Bars) -> str:
    """The exchange date of a daily bar; date and minute, UTC, of a shorter one."""
    if bars.timeframe >= DAY:
        return str(bars.dates[np.searchsorted(bars.times, time)])
    return np.datetime_as_string(time.astype("datetime64[us]"), unit="m").replace("T", " ")


def some(names: Sequence[str], most: int = 6) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def money(dollars: float | None) -> str:
    """Dollars and cents."""
    if dollars is None:
        return UNDEFINED
    return f"{'-' if dollars < 0 else ''}${abs(dollars):,.2f}"


def percent(fraction: float | None) -> str:
    """A fraction as a percentage."""
    return UNDEFINED if fraction is None else f"{fraction:,.2%}".replace("%", " %")


def number(value: float | None) -> str:
    """Two decimals."""
    return UNDEFINED if value is None else f"{value:,.2f}"


def duration(seconds: float | None) -> str:
    """In its largest fitting unit."""
    if seconds is None:
        return UNDEFINED
    size, unit = next(
        (size, unit) for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (0, "")) if seconds >= size
    )
    return f"{seconds / size:.1f} {unit}" if size else f"{seconds:.0f} s"
