"""Two accounts of one truth: what our books say that the broker holds, and what it says itself."""

from collections.abc import Collection, Iterable, Mapping

from actors.kernel.frozen import frozen
from actors.trading.ports import Holding

SAME = 1e-6
"""Shares: brokers round to nine decimals, each strategy's part of an execution is not rounded at all."""


@frozen
class Difference:
    """Shares of a symbol."""

    symbol: str
    ours: float
    theirs: float

    def __str__(self) -> str:
        """As people are told."""
        return f"{self.symbol}: {self.ours:.9g} in the books, {self.theirs:.9g} at the broker"


def differences(ours: Mapping[str, float], theirs: Iterable[Holding], busy: Collection[str]) -> list[Difference]:
    """Where they differ, by symbol; but for the symbols of which something is just happening."""
    held = {holding.symbol: holding.quantity for holding in theirs}
    return [
        Difference(symbol, ours.get(symbol, 0.0), held.get(symbol, 0.0))
        for symbol in sorted(ours.keys() | held.keys())
        if symbol not in busy and abs(ours.get(symbol, 0.0) - held.get(symbol, 0.0)) > SAME
    ]
