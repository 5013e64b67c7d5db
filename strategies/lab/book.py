"""The book of one strategy: its cash, its positions, what they are worth and what they earned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from strategies.base import Decisions
from strategies.lab.fills import NO_STOP, NO_TARGET, Fill
from strategies.lab.trades import Reason


@dataclass(frozen=True, slots=True)
class Exits:
    """How a position protects itself: fractions of its entry price, and bars held (the entry bar is 1)."""

    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop: float | None = None
    max_holding: int | None = None

    @property
    def touches(self) -> bool:
        """Whether a price can end the position."""
        return not (self.stop_loss is None and self.take_profit is None and self.trailing_stop is None)

    @classmethod
    def wanted(cls, decisions: Decisions, parameter_set: int) -> "Exits":
        """What one parameter set asks for."""

        def of(values: NDArray[np.float64] | NDArray[np.int64] | None) -> float | None:
            return None if values is None else values.item(parameter_set, 0)

        holding = of(decisions.max_holding)
        return cls(
            stop_loss=of(decisions.stop_loss),
            take_profit=of(decisions.take_profit),
            trailing_stop=of(decisions.trailing_stop),
            max_holding=None if holding is None else int(holding),
        )


class Trade(NamedTuple):
    """A position that was opened and closed again; `symbol` is a column of the bars, times are microseconds UTC.

    An exit that took several fills has their volume-weighted price and the time of the last. Money is in dollars.
    """

    symbol: int
    entry_time: int
    entry_price: float
    exit_time: int
    exit_price: float
    quantity: float
    fees: float
    slippage: float
    pnl: float
    reason: Reason


@dataclass(slots=True)
class Position:
    """Shares held of one symbol, and the order to leave where one is waiting for the next open."""

    symbol: int
    entry_time: int
    entry: Fill
    exits: Exits
    quantity: float  # still held
    high_water: float
    bars_held: int = 0  # completed, the entry bar included
    leaving: Reason | None = None
    sold: list[Fill] = field(default_factory=list)

    @property
    def stop(self) -> float:
        """The price at or below which the position is stopped out."""
        return NO_STOP if self.exits.stop_loss is None else self.entry.price * (1.0 - self.exits.stop_loss)

    @property
    def trailing(self) -> float:
        """As `stop`, below the highest price of the completed bars."""
        return NO_STOP if self.exits.trailing_stop is None else self.high_water * (1.0 - self.exits.trailing_stop)

    @property
    def target(self) -> float:
        """The price at or above which the profit is taken."""
        return NO_TARGET if self.exits.take_profit is None else self.entry.price * (1.0 + self.exits.take_profit)

    def order_exit(self, reason: Reason) -> Reason:
        """Leave at the next open. An exit that was ordered before keeps its reason, which is returned."""
        if self.leaving is None:
            self.leaving = reason
        return self.leaving

    def complete_bar(self, high: float) -> None:
        """The bar is over: its high counts for the trailing stop, its close for the holding time."""
        self.high_water = max(self.high_water, high)
        self.bars_held += 1
        if self.exits.max_holding is not None and self.bars_held >= self.exits.max_holding:
            self.order_exit(Reason.MAX_HOLDING)


class Book:
    """Cash, positions by symbol, closed trades and the highest equity so far of one strategy."""

    def __init__(self, capital: float, peak: float | None = None) -> None:
        """`peak` is the highest equity of earlier runs, where there were any."""
        self.capital = capital
        self.cash = capital
        self.equity = capital
        self.peak = capital if peak is None else peak
        self.positions: dict[int, Position] = {}
        self.trades: list[Trade] = []

    def open(self, symbol: int, time: int, fill: Fill, exits: Exits) -> None:
        """A buy has filled; the stop and target levels follow its price."""
        self.cash -= fill.notional + fill.fee
        self.positions[symbol] = Position(symbol, time, fill, exits, fill.quantity, high_water=fill.price)

    def reduce(self, symbol: int, time: int, fill: Fill, reason: Reason) -> None:
        """A sale has filled. When nothing is left the position becomes a trade that ended for `reason`."""
        position = self.positions[symbol]
        self.cash += fill.notional - fill.fee
        position.sold.append(fill)
        position.quantity -= fill.quantity
        if position.quantity <= 0:
            del self.positions[symbol]
            self.trades.append(_trade(position, time, reason))

    def mark(self, close: Sequence[float] | Mapping[int, float]) -> float:
        """Equity at these closes, the last known of each symbol held, added up in the order of symbols."""
        worth = 0.0
        for symbol in sorted(self.positions):
            worth += self.positions[symbol].quantity * close[symbol]
        self.equity = self.cash + worth
        self.peak = max(self.peak, self.equity)
        return self.equity

    def copy(self) -> "Book":
        """The book as it is now; what happens to either later leaves the other alone."""
        other = Book(self.capital, self.peak)
        other.cash, other.equity = self.cash, self.equity
        other.positions = {
            symbol: replace(position, sold=list(position.sold)) for symbol, position in self.positions.items()
        }
        other.trades = list(self.trades)
        return other

    def drawdown(self) -> float:
        """The fall from the highest equity ever, as a fraction of the initial capital."""
        return (self.peak - self.equity) / self.capital


def _trade(position: Position, time: int, reason: Reason) -> Trade:
    entry, sold = position.entry, position.sold
    proceeds = fees = slippage = 0.0
    for fill in sold:
        proceeds += fill.notional
        fees += fill.fee
        slippage += fill.slippage
    return Trade(
        symbol=position.symbol,
        entry_time=position.entry_time,
        entry_price=entry.price,
        exit_time=time,
        exit_price=sold[0].price if len(sold) == 1 else proceeds / entry.quantity,
        quantity=entry.quantity,
        fees=entry.fee + fees,
        slippage=entry.slippage + slippage,
        pnl=(proceeds - fees) - (entry.notional + entry.fee),
        reason=reason,
    )
