"""Two accounts of one truth: what our books say that the broker holds, and what it says itself."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field

from actors.kernel.frozen import frozen
from actors.trading.ports import Execution, Holding, OrderReport

SAME = 1e-6
"""Shares: brokers round to nine decimals, each strategy's part of an execution is not rounded at all."""


SHOWN = 3
"""So many are named in a line."""


@frozen
class Difference:
    """Shares of a symbol."""

    symbol: str
    ours: float
    theirs: float

    def __str__(self) -> str:
        """As people are told."""
        return f"{self.symbol}: {self.ours:.9g} in the books, {self.theirs:.9g} at the broker"


@frozen
class Unexplained:
    """What the books cannot account for: shares, and orders in the account that are nobody's of us.

    `trades` are nobody's either: they tell where shares have come from or gone to.
    """

    shares: tuple[Difference, ...] = ()
    orders: tuple[OrderReport, ...] = ()
    trades: tuple[Execution, ...] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        return bool(self.shares or self.orders)

    def __str__(self) -> str:
        """As people are told."""
        found = [*map(str, self.shares), *map(order_text, self.orders)]
        return "; ".join([*found[:SHOWN], *([f"and {len(found) - SHOWN} more"] if found[SHOWN:] else [])])


def order_text(order: OrderReport) -> str:
    """One that we have not sent."""
    return f"{order.symbol}: an order to {order.side} ({order.client_order_id}) is not ours"


def trade_text(trade: Execution) -> str:
    """One that is not of an order of ours."""
    return f"{trade.side} {trade.quantity:.9g} {trade.symbol} at {trade.price:,.4f} ({trade.client_order_id})"


def differences(ours: Mapping[str, float], theirs: Iterable[Holding], busy: Collection[str]) -> list[Difference]:
    """Where they differ, by symbol; but for the symbols of which something is just happening."""
    held = {holding.symbol: holding.quantity for holding in theirs}
    return [
        Difference(symbol, ours.get(symbol, 0.0), held.get(symbol, 0.0))
        for symbol in sorted(ours.keys() | held.keys())
        if symbol not in busy and abs(ours.get(symbol, 0.0) - held.get(symbol, 0.0)) > SAME
    ]
