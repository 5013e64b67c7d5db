"""What the desk did in a period, in a few lines for the digest: the sum first, then the strategies, best first."""

from bisect import bisect_left
from collections.abc import Iterable

from actors.trading.trader import Trader
from strategies.lab.metrics import Metrics
from strategies.lab.summary import money, number, percent


def lines(traders: Iterable[Trader], since: int, until: int) -> list[str]:
    """Of the bars and trades from `since` to before `until`, UTC microseconds; nothing where there was no bar."""
    at_work = [one for one in traders if one.book.book.capital and one.record.times and one.record.times[-1] >= since]
    if not at_work:
        return []
    capital = sum(one.book.book.capital for one in at_work)
    equity = sum(one.book.book.equity for one in at_work)
    change = sum(_change(one, since) for one in at_work)
    closed = [trade for one in at_work for _, trade in one.record.trades if since <= trade.exit_time < until]
    won = sum(trade.pnl > 0 for trade in closed)
    held = sum(len(one.book.book.positions) for one in at_work)
    head = f"desk: {money(equity)} ({signed(change)}; {percent(equity / capital - 1)} since it began)"
    trades = f"{len(closed)} trades closed, {won} of them won" if closed else "no trade closed"
    ranked = sorted(at_work, key=lambda one: -one.book.book.equity / one.book.book.capital)
    return [f"{head} · {trades} · {held} positions held", *(_line(one, since) for one in ranked)]


def _line(trader: Trader, since: int) -> str:
    book = trader.book.book
    metrics: Metrics = trader.record.metrics(book.capital)
    parts = [
        f"  {trader.name}: {percent(book.equity / book.capital - 1)} ({signed(_change(trader, since))})",
        f"{metrics.trades} trades",
        f"Sharpe {number(metrics.sharpe)}",
        str(metrics.verdict),
    ]
    if (cost := trader.quality.cost_bps) is not None and (model := trader.quality.model_bps) is not None:
        parts.append(f"fills cost {cost:.1f} bps, {model:.1f} in the lab")
    if trader.killed_at is not None:
        parts.append("stopped by its kill switch")
    if trader.failure:
        parts.append(f"failed: {trader.failure}")
    return " · ".join(parts)


def _change(trader: Trader, since: int) -> float:
    """Dollars made since the last bar before the period."""
    before = bisect_left(trader.record.times, since) - 1
    return trader.book.book.equity - (trader.record.equity[before] if before >= 0 else trader.book.book.capital)


def signed(dollars: float) -> str:
    """With its sign, also where it is a gain."""
    return f"{'+' if dollars >= 0 else ''}{money(dollars)}"
