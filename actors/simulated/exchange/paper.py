"""A paper account as Alpaca keeps one: orders fill at once at the moving price, or wait; and it has rules."""

from collections.abc import Sequence
from dataclasses import replace

from actors.simulated.exchange.core import DUST, Exchange, dollars
from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.orders import Declined, State, Ticket
from actors.trading.ports import AccountState, Bar, Holding, Order, OrderUpdate, Side
from strategies.lab.costs import Costs
from strategies.lab.fills import SMALLEST_ORDER, whole_lots

SHARE_FRACTION = 1e-9  # the smallest there is
PART = 0.4  # of what is left of an order, where the fault says that it fills in parts
STRANGE_STATE = "held_for_review"  # in no document


class PaperExchange(Exchange):
    """As Exchange, but orders to sell are also taken between opens, `move` moves the price, and what the volume of one
    bar does not fill waits for the next, until the day is over. Chance is the fault plan's; `costs` should reject none.
    """

    triggers_inside = False

    def __init__(
        self, symbols: Sequence[str], costs: Costs, *, seed: int = 0, cash: float = 100_000.0, faults: FaultPlan
    ) -> None:
        super().__init__(symbols, costs, run=seed, cash=cash, lot=SHARE_FRACTION)
        self.halted: set[str] = set()
        self._faults = faults

    def move(self, symbol: str, price: float, at: int) -> None:
        """The price has moved (dollars); what waits for this symbol fills there, if it trades."""
        self._last[symbol] = price
        for ticket in list(self._waiting[symbol]):
            self._trade(ticket, at)

    def open_bars(self, time: int, bars: Sequence[Bar]) -> None:
        """These symbols have a bar, and orders that waited for its volume fill."""
        self._time, self._bars = time, {bar.symbol: bar for bar in bars}
        for bar in bars:
            self.move(bar.symbol, dollars(bar.open), time)

    def endow(self, cash: float, holdings: Sequence[Holding]) -> None:
        """Begin with these: the account of an earlier run, whose orders are forgotten."""
        self.cash = cash
        self._shares = {held.symbol: held.quantity for held in holdings}
        self._cost = {held.symbol: held.quantity * held.average for held in holdings}
        self._last = {held.symbol: held.average for held in holdings} | self._last

    def end_day(self, at: int) -> None:
        """The orders of the day expire."""
        self._bars = {}
        for waiting in self._waiting.values():
            for ticket in list(waiting):
                self._end(ticket, State.EXPIRED, at)

    def _examine(self, order: Order) -> None:
        super()._examine(order)
        if self._faults.holds("wash-trade") or any(t.order.side is not order.side for t in self._waiting[order.symbol]):
            raise Declined(403, 40310000, "potential wash trade detected. use complex orders")
        if order.side is Side.SELL:
            return
        price = self._last.get(order.symbol, 0.0)
        cost = order.notional if order.notional is not None else (order.quantity or 0.0) * price
        if order.notional is not None and cost < SMALLEST_ORDER:
            raise Declined(403, 40310000, "cost basis must be >= minimal amount of order 1")
        if cost > self.buying_power() + DUST:
            raise Declined(403, 40310000, "insufficient buying power")

    def account(self) -> AccountState:
        """Its money, at the newest prices; what waiting orders will need cannot be spent again."""
        return replace(super().account(), buying_power=self.buying_power())

    def buying_power(self) -> float:
        """Cash that no waiting order will need, dollars."""
        promised = 0.0
        for symbol, waiting in self._waiting.items():
            for ticket in waiting:
                if ticket.order.side is Side.BUY:
                    by_quantity = ticket.order.notional is None
                    promised += ticket.left * self._last.get(symbol, 0.0) if by_quantity else ticket.unspent
        return max(self.cash - promised, 0.0)

    def _trade_on_arrival(self, ticket: Ticket) -> None:
        ticket.state = State.NEW
        self.sink(OrderUpdate(ticket.report()))
        if self._faults.holds("rejected"):
            self._end(ticket, State.REJECTED, ticket.submitted_at)
        elif self._faults.holds("canceled"):
            self._end(ticket, State.CANCELED, ticket.submitted_at)
        elif self._faults.holds("unknown-state"):
            ticket.state = STRANGE_STATE  # until the price moves, and the fault does not strike again
            self.sink(OrderUpdate(ticket.report()))
        else:
            self._trade(ticket, ticket.submitted_at)

    def _trade(self, ticket: Ticket, at: int) -> None:
        symbol = ticket.order.symbol
        if symbol not in self._bars or symbol in self.halted:
            return
        if ticket.filled and ticket.updated_at >= self._time:
            return  # this bar has given what it gives
        if ticket.state == STRANGE_STATE and self._faults.holds("unknown-state"):
            return
        if ticket.order.side is Side.BUY:
            self._buy(ticket, at)
        else:
            self._sell(ticket, at, self._last[symbol])

    def _part(self, wanted: float) -> float:
        part = whole_lots(wanted * PART, SHARE_FRACTION)
        return part if self._faults.holds("partial") and part > 2 * SMALLEST_ORDER else wanted

    def _rest(self, ticket: Ticket, time: int) -> None:
        """It waits: the order is for the day."""

    def _unfilled(self, ticket: Ticket, time: int) -> None:
        """Without volume it waits; what is left of a buy and too small to trade is let go."""
        if self._bars[ticket.order.symbol].volume > 0 and ticket.order.side is Side.BUY:
            self._end(ticket, State.FILLED if ticket.filled else State.REJECTED, time)
