"""The exchange behind the desk's two ports, in one process: no sockets, and no time but that of whoever plays it."""

import asyncio
from collections.abc import Callable, Collection, Sequence

import numpy as np

from actors.kernel.clock import Clock
from actors.simulated.exchange.core import Exchange
from actors.simulated.exchange.orders import Declined
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
)
from strategies.sessions import sessions_between


class SimulatedMarket:
    """The market data port. Whoever plays the exchange publishes; what was published before `run` is history."""

    def __init__(self, tape: Tape) -> None:
        self.feed = tape.feed
        self.timeframe = tape.timeframe
        self._tape = tape
        self._readers: dict[Callable[[MarketMessage], None], frozenset[str]] = {}
        self._quotes: dict[str, Quote] = {}
        self._closed_until = 0  # bars that start before have been published

    async def run(self, symbols: Collection[str], sink: Callable[[MarketMessage], None]) -> None:
        """Stream until cancelled."""
        self._readers[sink] = frozenset(symbols)
        try:
            sink(Link(up=True))
            await asyncio.Event().wait()
        finally:
            del self._readers[sink]

    async def history(self, symbols: Collection[str], timeframe: int, start: int, end: int) -> list[Bar]:
        """Raw bars with start <= time < end that are complete. Raises ValueError for another timeframe than its own."""
        if timeframe != self.timeframe:
            raise ValueError(f"bars of {timeframe} µs: there are only those of {self.timeframe}")
        return self._tape.history(list(symbols), start, min(end, self._closed_until))

    async def quotes(self, symbols: Collection[str]) -> list[Quote]:
        """The newest quote of each symbol that has one."""
        return [self._quotes[symbol] for symbol in symbols if symbol in self._quotes]

    async def sessions(self, first: str, last: str) -> list[Session]:
        """The exchange's days from date to date, both included."""
        return exchange_days(first, last)

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
            self._closed_until = max(self._closed_until, bar.time + 1)
            self.publish(bar.symbol, BarSeen(bar))

    def begin_at(self, time: int) -> None:
        """Bars that start before are history."""
        self._closed_until = max(self._closed_until, time)


class SimulatedBroker:
    """The broker port: one account of one exchange."""

    triggers_inside = True

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
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


def exchange_days(first: str, last: str) -> list[Session]:
    """The sessions from date to date (YYYY-MM-DD), both included."""
    since, until = np.datetime64(first), np.datetime64(last)
    days = sessions_between(since, until)
    return [
        Session(str(date), int(open_), int(close))
        for date, open_, close in zip(days.dates, days.opens, days.closes, strict=True)
        if since <= date <= until
    ]
