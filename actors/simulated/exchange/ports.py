"""The exchange behind the desk's two ports, in one process: no sockets, and no time but that of whoever plays it."""

import asyncio
from collections.abc import Callable, Collection, Sequence

import numpy as np

from actors.kernel.clock import Clock, io_sleep
from actors.kernel.frozen import frozen
from actors.simulated.exchange.core import Exchange
from actors.simulated.exchange.orders import Declined
from actors.simulated.exchange.past import longer
from actors.simulated.exchange.tape import Tape
from actors.trading.ports import (
    TERMINAL,
    AccountState,
    Bar,
    BarSeen,
    BrokerMessage,
    Execution,
    Holding,
    Link,
    MarketMessage,
    Order,
    OrderReport,
    Quote,
    QuoteSeen,
    Session,
    SplitDay,
)
from strategies.sessions import DAY, EARLY_CLOSE, OPEN, sessions_between

HALF_DAY = EARLY_CLOSE - OPEN
HALTS_KEPT = 100


@frozen
class Halt:
    """A symbol did not trade in this time: there are no bars of it, whatever the tape says."""

    symbol: str
    since: int
    until: int

    def covers(self, bar: Bar) -> bool:
        """Whether there is no such bar."""
        return bar.symbol == self.symbol and self.since <= bar.time < self.until


class SimulatedMarket:
    """The market data port. Whoever plays the exchange publishes; what was published before `run` is history."""

    def __init__(self, tape: Tape, *, half_days: bool = False) -> None:
        """`half_days`: every session ends at 13:00, New York."""
        self.feed = tape.feed
        self.timeframe = tape.timeframe
        self._tape = tape
        self._readers: dict[Callable[[MarketMessage], None], frozenset[str]] = {}
        self._quotes: dict[str, Quote] = {}
        self._half_days = half_days
        self._closed_until = 0  # bars that start before have been published
        self._halts: list[Halt] = []

    async def run(self, symbols: Collection[str], sink: Callable[[MarketMessage], None]) -> None:
        """Stream until cancelled."""
        self._readers[sink] = frozenset(symbols)
        try:
            sink(Link(up=True))
            await asyncio.Event().wait()
        finally:
            del self._readers[sink]

    async def history(self, symbols: Collection[str], timeframe: int, start: int, end: int) -> list[Bar]:
        """Raw bars with start <= time < end that are over. Longer ones than its own follow the clock, as Alpaca's."""
        over = self._closed_until - 1 + self.timeframe
        found: list[Bar] = []
        # No session crosses midnight in Greenwich, so no bar does either: each day is put together on its own.
        for midnight in range(start // DAY * DAY, min(end, self._closed_until), DAY):
            for symbol in symbols:
                bars = self.complete([symbol], max(start, midnight), min(midnight + DAY, end))
                if timeframe != self.timeframe:
                    bars = [bar for bar in longer(iter(bars), timeframe) if bar.time + timeframe <= over]
                found += bars
                await io_sleep(0)  # years of many symbols take minutes to make, and others want to live
        return sorted(found, key=lambda bar: (bar.time, bar.symbol))

    def complete(self, symbols: Sequence[str], start: int, end: int) -> list[Bar]:
        """Bars of its own length with start <= time < end that are over, by time."""
        bars = self._tape.history(symbols, start, min(end, self._closed_until))
        return [bar for bar in bars if not any(halt.covers(bar) for halt in self._halts)] if self._halts else bars

    async def quotes(self, symbols: Collection[str]) -> list[Quote]:
        """The newest quote of each symbol that has one."""
        return [self._quotes[symbol] for symbol in symbols if symbol in self._quotes]

    async def sessions(self, first: str, last: str) -> list[Session]:
        """The exchange's days from date to date, both included."""
        return self.days(first, last)

    async def splits(self, symbols: Collection[str], first: str, last: str) -> list[SplitDay]:
        """None: tapes are of raw prices, and what jumps in them is for the desk to take as it is."""
        del symbols, first, last
        return []

    def days(self, first: str, last: str) -> list[Session]:
        """As `sessions`."""
        since, until = np.datetime64(first), np.datetime64(last)
        table = sessions_between(since, until)
        return [
            Session(str(date), int(open_), int(min(close, open_ + HALF_DAY) if self._half_days else close))
            for date, open_, close in zip(table.dates, table.opens, table.closes, strict=True)
            if since <= date <= until
        ]

    def publish(self, symbol: str, message: MarketMessage) -> None:
        """To all who read this symbol."""
        if isinstance(message, QuoteSeen):
            self._quotes[symbol] = message.quote
        for sink, symbols in list(self._readers.items()):
            if symbol in symbols:
                sink(message)

    def publish_bars(self, bars: Sequence[Bar]) -> None:
        """These bars are complete."""
        for bar in bars:
            self.publish(bar.symbol, BarSeen(bar))

    def halt(self, symbol: str, since: int, until: int) -> None:
        """Nothing of this symbol is traded in that time."""
        self._halts = [*self._halts[-HALTS_KEPT:], Halt(symbol, since, until)]

    def complete_until(self, time: int) -> None:
        """Bars that start before are history."""
        self._closed_until = max(self._closed_until, time)


class SimulatedBroker:
    """The broker port: one account of one exchange."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self.triggers_inside = exchange.triggers_inside
        self._exchange, self._clock = exchange, clock
        self._readers: list[Callable[[BrokerMessage], None]] = []
        exchange.sink = self._publish

    async def run(self, sink: Callable[[BrokerMessage], None]) -> None:
        """Stream what happens to orders until cancelled."""
        self._readers.append(sink)
        try:
            sink(Link(up=True))
            await asyncio.Event().wait()
        finally:
            self._readers.remove(sink)

    async def submit(self, order: Order) -> OrderReport:
        """Raises Refused, also for a client_order_id that was used before."""
        return self._exchange.submit(order, self._clock.now())

    async def order(self, client_order_id: str) -> OrderReport | None:
        """By our id; None: never seen."""
        try:
            return self._exchange.ticket(client_order_id).report()
        except Declined:
            return None

    async def open_orders(self) -> list[OrderReport]:
        """All that are not over."""
        return [ticket.report() for ticket in self._exchange.tickets() if ticket.state not in TERMINAL]

    async def cancel(self, client_order_id: str) -> None:
        """End it. Raises Refused for one that was never there."""
        self._exchange.cancel(client_order_id, self._clock.now())

    async def account(self) -> AccountState:
        """Its money."""
        return self._exchange.account()

    async def holdings(self) -> list[Holding]:
        """Its positions."""
        return self._exchange.holdings()

    async def executions(self, after: int) -> Sequence[Execution]:
        """Everything filled at that time or later, oldest first."""
        return [one for one in self._exchange.executed if one.time >= after]

    def _publish(self, message: BrokerMessage) -> None:
        for sink in list(self._readers):
            sink(message)
