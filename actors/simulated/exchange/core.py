"""The exchange itself: one account, its orders, and bars that fill them by the lab's own functions.

It has no clock and does no I/O: somebody plays it bar time by bar time, `open_bars`, `trade_inside`, `close_bars`.
Orders to sell fill at the next open of their symbol, orders to buy there or while that open lasts (until
`trade_inside`), and what a bar does not take is gone. So a desk that sends what a backtest would order gets the
backtest's fills, to the bit.
"""

import math
from collections.abc import Callable, Sequence
from hashlib import blake2b
from uuid import UUID

from actors.simulated.exchange.orders import Declined, State, Ticket
from actors.trading.ports import (
    TERMINAL,
    AccountState,
    Bar,
    Execution,
    Holding,
    Order,
    OrderReport,
    OrderUpdate,
    Protection,
    Side,
)
from strategies.bars import RAW_UNITS_PER_DOLLAR
from strategies.lab.book import Exits, Position
from strategies.lab.costs import Costs
from strategies.lab.fills import Fill, Market, capacity, gapped, touched
from strategies.lab.trades import Reason

DUST = 1e-9  # shares; the broker counts nine decimals
_ANY_BUDGET = 1e12  # dollars; enough to be told a price


def dollars(units: int) -> float:
    """A price of the market's side in dollars."""
    return units / RAW_UNITS_PER_DOLLAR


class Exchange:
    """One account at an exchange on which `symbols` trade.

    `run` is the `chance.run_key` that rejects and worse fills are drawn from: with that of a backtest, they are the
    backtest's. `sink` is told of everything that happens to orders, as it happens.
    """

    triggers_inside = True
    """Whether the protection of orders is kept here."""

    def __init__(
        self,
        symbols: Sequence[str],
        costs: Costs,
        *,
        run: int = 0,
        cash: float = 100_000.0,
        lot: float = 0.0,
        sink: Callable[[OrderUpdate], None] = lambda _: None,
    ) -> None:
        self.cash = cash
        self.taken = 0
        """Orders that were accepted so far."""
        self.executed: list[Execution] = []
        self.sink = sink
        self._costs, self._run, self._lot = costs, run, lot
        self._place = {symbol: place for place, symbol in enumerate(symbols)}
        self._markets = {symbol: Market(costs, symbol, run, lot) for symbol in symbols}
        self._tickets: dict[str, Ticket] = {}
        self._waiting: dict[str, list[Ticket]] = {symbol: [] for symbol in symbols}
        self._protected: dict[str, Position] = {}  # by the client_order_id of the entry
        self._shares: dict[str, float] = {}
        self._cost: dict[str, float] = {}
        self._last: dict[str, float] = {}  # newest price of each symbol, dollars
        self._time = 0
        self._bars: dict[str, Bar] = {}  # of the bar time being played
        self._opening = False  # whether its opens can still be traded at

    # --- what an account holder may ask ------------------------------------------------------------------------------

    def submit(self, order: Order, at: int) -> OrderReport:
        """Take an order. Raises Declined."""
        self._examine(order)
        ticket = self._ticket(order, at)
        self._waiting[order.symbol].append(ticket)
        if order.side is Side.SELL:
            self._give_up_protection(order.symbol, ticket.left)
        self._trade_on_arrival(ticket)
        return ticket.report()

    def cancel(self, client_order_id: str, at: int) -> None:
        """End an order; one that is over stays as it is. Raises Declined for one that was never there."""
        ticket = self.ticket(client_order_id)
        if ticket.state not in TERMINAL:
            self._end(ticket, State.CANCELED, at)

    def ticket(self, client_order_id: str) -> Ticket:
        """An order that was taken, or came of a protection. Raises Declined where there is none."""
        if client_order_id not in self._tickets:
            raise Declined(404, 40410000, f"order not found for {client_order_id}")
        return self._tickets[client_order_id]

    def tickets(self) -> list[Ticket]:
        """All orders ever, oldest first."""
        return list(self._tickets.values())

    def account(self) -> AccountState:
        """Its money, at the newest prices."""
        worth = sum(shares * self._last[symbol] for symbol, shares in self._shares.items())
        return AccountState(equity=self.cash + worth, cash=self.cash, buying_power=max(self.cash, 0.0))

    def holdings(self) -> list[Holding]:
        """Its positions."""
        return [Holding(symbol, shares, self._cost[symbol] / shares) for symbol, shares in self._shares.items()]

    def price(self, symbol: str) -> float | None:
        """The newest price in dollars; None before the first."""
        return self._last.get(symbol)

    # --- one bar time ------------------------------------------------------------------------------------------------

    def open_bars(self, time: int, bars: Sequence[Bar]) -> None:
        """These symbols open: first what is to be sold or has gapped through its protection, then what is to be bought.

        Raises ValueError for a symbol that does not trade here.
        """
        self._time = time
        self._bars = {bar.symbol: bar for bar in bars}
        if strange := self._bars.keys() - self._place.keys():
            raise ValueError(f"{', '.join(sorted(strange))}: not traded here")
        self._opening = True
        self._last.update((bar.symbol, dollars(bar.open)) for bar in bars)
        ordered = sorted(bars, key=lambda bar: self._place[bar.symbol])
        for bar in ordered:
            self._sell_at_open(bar)
        for bar in ordered:
            for ticket in self._orders(bar.symbol, Side.BUY):
                self._buy(ticket, time)

    def trade_inside(self) -> None:
        """The opens are over; protected positions whose stop or target is touched are sold."""
        self._opening = False
        for symbol, bar in self._bars.items():
            open_, high, low = dollars(bar.open), dollars(bar.high), dollars(bar.low)
            for parent, position in self._guarding(symbol):
                hit = touched(open_, high, low, position.stop, position.trailing, position.target)
                if hit:
                    self._trigger(parent, position, *hit)

    def close_bars(self) -> None:
        """The bars are complete: their highs count for trailing stops, their closes for what the account is worth."""
        for parent, position in self._protected.items():
            if bar := self._bars.get(self._tickets[parent].order.symbol):
                position.complete_bar(dollars(bar.high))
        self._last.update((bar.symbol, dollars(bar.close)) for bar in self._bars.values())
        self._bars = {}

    # --- taking orders -----------------------------------------------------------------------------------------------

    def _examine(self, order: Order) -> None:
        if order.client_order_id in self._tickets:
            raise Declined(422, 40010001, "client_order_id must be unique")
        if order.symbol not in self._place:
            raise Declined(422, 42210000, f"asset {order.symbol} not found")
        if (order.quantity is None) == (order.notional is None):
            raise Declined(422, 42210000, "one of qty or notional is required, and not both")
        if (order.quantity or order.notional or 0) <= 0:
            raise Declined(422, 42210000, "qty and notional must be greater than zero")
        if order.side is Side.SELL:
            self._examine_sale(order)

    def _examine_sale(self, order: Order) -> None:
        if order.quantity is None:
            raise Declined(422, 42210000, "an order to sell needs a qty")
        promised = sum(ticket.left for ticket in self._orders(order.symbol, Side.SELL))
        available = self._shares.get(order.symbol, 0.0) - promised
        if order.quantity > available + DUST:
            wanted = f"(requested: {order.quantity:.9g}, available: {max(available, 0.0):.9g})"
            raise Declined(403, 40310000, f"insufficient qty available for order {wanted}")

    def _ticket(self, order: Order, at: int, *, parent: str = "", reason: str = "") -> Ticket:
        ticket = Ticket(order, self._id(len(self._tickets)), at, updated_at=at, parent=parent, reason=reason)
        self._tickets[order.client_order_id] = ticket
        self.taken += not parent
        return ticket

    def _id(self, *what: object) -> str:
        """An id as Alpaca's are, the same in every run."""
        text = "/".join(str(part) for part in (self._run, *what))
        return str(UUID(bytes=blake2b(text.encode(), digest_size=16).digest(), version=4))

    def _trade_on_arrival(self, ticket: Ticket) -> None:
        """A buy that arrives while its symbol is at its open is in time for it."""
        if self._opening and ticket.order.side is Side.BUY and ticket.order.symbol in self._bars:
            self._buy(ticket, self._time)

    # --- filling them ------------------------------------------------------------------------------------------------

    def _orders(self, symbol: str, side: Side) -> list[Ticket]:
        return [ticket for ticket in self._waiting[symbol] if ticket.order.side is side]

    def _sell_at_open(self, bar: Bar) -> None:
        open_ = dollars(bar.open)
        for ticket in self._orders(bar.symbol, Side.SELL):
            self._sell(ticket, self._time, open_)
        for parent, position in self._guarding(bar.symbol):
            reason = gapped(open_, position.stop, position.trailing, position.target)
            if reason:
                self._trigger(parent, position, open_, reason)

    def _buy(self, ticket: Ticket, time: int) -> None:
        order, market, volume = ticket.order, self._markets[ticket.order.symbol], self._bars[ticket.order.symbol].volume
        reference = self._last[order.symbol]
        wanted = self._to_spend(ticket, time, reference)
        part = self._part(wanted)
        fill = market.buy(time, reference, volume, part, self.cash)
        if fill is None:
            self._unfilled(ticket, time)
            return
        self.cash -= fill.notional + fill.fee
        self._shares[order.symbol] = self._shares.get(order.symbol, 0.0) + fill.quantity
        self._cost[order.symbol] = self._cost.get(order.symbol, 0.0) + fill.notional
        if order.protection is not None:
            self._protect(ticket, time, fill, order.protection)
        most = capacity(volume, self._costs.participation, self._lot)
        self._filled(ticket, time, fill, reference, complete=part >= wanted and fill.quantity < most)

    def _sell(self, ticket: Ticket, time: int, reference: float, already_filled: float = 0.0) -> None:
        symbol = ticket.order.symbol
        market, volume = self._markets[symbol], self._bars[symbol].volume
        fill = market.sell(time, reference, volume, self._part(ticket.left), already_filled)
        if fill is None:
            self._unfilled(ticket, time)
            return
        self.cash += fill.notional - fill.fee
        self._take_out(symbol, fill.quantity)
        self._filled(ticket, time, fill, reference, complete=fill.quantity >= ticket.left)

    def _to_spend(self, ticket: Ticket, time: int, reference: float) -> float:
        """Dollars that are left of a buy; of one by quantity, what its shares would cost in a deep market."""
        if ticket.order.notional is not None:
            return ticket.unspent
        market = self._markets[ticket.order.symbol]
        priced = market.buy(time, reference, math.inf, _ANY_BUDGET, _ANY_BUDGET)
        return ticket.left * (priced.price if priced else reference)

    def _part(self, wanted: float) -> float:
        """How much of what is wanted, dollars or shares, may fill at once."""
        return wanted

    def _unfilled(self, ticket: Ticket, time: int) -> None:
        """Chance said no, the bar had no volume, or the order was too small."""
        self._end(ticket, State.REJECTED, time)

    def _take_out(self, symbol: str, quantity: float) -> None:
        held = self._shares[symbol]
        self._cost[symbol] *= 1.0 - min(quantity / held, 1.0)
        self._shares[symbol] = held - quantity
        if self._shares[symbol] <= DUST:
            del self._shares[symbol], self._cost[symbol]

    def _filled(self, ticket: Ticket, time: int, fill: Fill, reference: float, *, complete: bool) -> None:
        """Shares have changed hands; where the bar did not take all, the rest of the order ends."""
        order = ticket.order
        ticket.filled += fill.quantity
        ticket.paid += fill.notional
        ticket.state, ticket.updated_at = State.FILLED if complete else State.PARTIALLY_FILLED, time
        execution = Execution(
            execution_id=self._id("execution", len(self.executed)),
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=fill.quantity,
            price=fill.price,
            time=time,
            fee=fill.fee,
            reference=reference,
        )
        self.executed.append(execution)
        if complete:
            self._waiting[order.symbol].remove(ticket)
        self.sink(OrderUpdate(ticket.report(), execution))
        if not complete:
            self._rest(ticket, time)

    def _rest(self, ticket: Ticket, time: int) -> None:
        """What a bar does not take of an order is gone."""
        self._end(ticket, State.CANCELED, time)

    def _end(self, ticket: Ticket, state: State, at: int) -> None:
        ticket.state, ticket.updated_at = state, at
        self._waiting[ticket.order.symbol].remove(ticket)
        self.sink(OrderUpdate(ticket.report()))

    # --- protection --------------------------------------------------------------------------------------------------

    def _protect(self, ticket: Ticket, time: int, fill: Fill, protection: Protection) -> None:
        exits = Exits(protection.stop_loss, protection.take_profit, protection.trailing_stop)
        place = self._place[ticket.order.symbol]
        self._protected[ticket.order.client_order_id] = Position(
            place, time, fill, exits, fill.quantity, high_water=fill.price
        )

    def _guarding(self, symbol: str) -> list[tuple[str, Position]]:
        place = self._place[symbol]
        return [(parent, position) for parent, position in self._protected.items() if position.symbol == place]

    def _give_up_protection(self, symbol: str, quantity: float) -> None:
        """The holder sells: the oldest positions are on their way out, and no longer guarded."""
        for parent, position in self._guarding(symbol):
            if quantity > DUST:
                quantity -= position.quantity
                del self._protected[parent]

    def _trigger(self, parent: str, position: Position, reference: float, reason: Reason) -> None:
        """An exit of the exchange's own. What it does not sell is left to the holder of the account."""
        del self._protected[parent]
        symbol = self._tickets[parent].order.symbol
        order = Order(f"{parent}.exit", symbol, Side.SELL, quantity=position.quantity)
        ticket = self._ticket(order, self._time, parent=parent, reason=reason)
        self._waiting[symbol].append(ticket)
        bought_now = position.entry.quantity if position.entry_time == self._time else 0.0
        self._sell(ticket, self._time, reference, bought_now)
