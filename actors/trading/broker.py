"""The broker desk: nets what risk has allowed into orders, follows each to its end, and books what was executed.

The broker is the truth for what the account holds, the log for whose it is. Where the two differ and nothing explains
it, nobody enters anything until they agree again.
"""

from collections.abc import Callable, Sequence

import structlog

from actors.kernel.clock import SECOND, Clock
from actors.store.alarm import Alarm
from actors.store.desk_records import DeskEntry, DeskKind, NewDeskEntry, Parts
from actors.store.protocol import Store
from actors.trading import broker_alarms, consequences, orders_state
from actors.trading.accounts import PRICE_UNITS, Accounts
from actors.trading.courier import Courier
from actors.trading.journal import encode
from actors.trading.lookout import Lookout
from actors.trading.orders import Orders, Sent
from actors.trading.ports import AccountState, Broker, BrokerMessage, Link, OrderUpdate
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import DeskReader
from actors.trading.reconcile import Unexplained
from actors.trading.standing import Standing
from actors.trading.words import Funded, OrderMoved

log = structlog.get_logger()

READER = "broker"
PART = "orders"
NEWS_MAX = 10_000
"""Updates that wait to be written down; what is beyond is asked for again."""


class News:
    """The broker has said something, or has been heard: look at what follows."""


class BrokerDesk(DeskReader):
    """Orders go out once the broker was asked, in this life, how things stand."""

    def __init__(
        self,
        broker: Broker,
        store: Store,
        clock: Clock,
        board: QuoteBoard,
        standing: Standing,
        *,
        strategies: Sequence[str],
        capital: float | None,
        stale_after_s: float,
        price_collar: float,
        alarm: Callable[[Alarm], object],
        changed: Callable[[], object],
    ) -> None:
        """`capital` dollars for each of `strategies`; None: an equal share of the account.

        `changed` is called when the standing has: whoever waits for it may look again.
        """
        super().__init__(READER, store, clock)
        self.orders = Orders()
        self._broker = broker
        self._board = board
        self._standing = standing
        self._strategies = strategies
        self._capital = capital
        self._stale_after = round(stale_after_s * SECOND)
        self._price_collar = price_collar
        self._alarm = alarm
        self._changed = changed
        self._courier = Courier(broker, clock)
        self._lookout = Lookout(broker, clock, self)
        self._news: list[OrderUpdate] = []  # told by the broker, and not yet seen in the log
        self._carried: set[str] = set()  # orders that this life has taken to the broker
        self._cancelled: set[str] = set()
        self._inherited: frozenset[str] = frozenset()  # orders that an earlier life may have taken there
        self._at_work = False

    @property
    def accounts(self) -> Accounts:
        """Of all strategies, as booked; to be read."""
        return self.orders.accounts

    # --- the state ---------------------------------------------------------------------------------------------------

    def restore(self, parts: Parts) -> bool:
        """As `DeskReader`."""
        if PART not in parts:
            self.orders = Orders()
            return True
        version, state = parts[PART]
        if version == orders_state.VERSION:
            self.orders = orders_state.unpack(state)
        return version == orders_state.VERSION

    def save(self) -> Parts:
        """As `DeskReader`."""
        return {PART: (orders_state.VERSION, orders_state.pack(self.orders))}

    def fold(self, entry: DeskEntry) -> None:
        """As `DeskReader`."""
        self.orders.fold(entry)
        if entry.kind == DeskKind.BLOCK:
            self._lookout.bar_closed()

    async def start(self) -> None:
        """As `DeskReader`."""
        await super().start()
        self._inherited = frozenset(self.orders.unfinished)

    async def stop(self) -> None:
        """As `DeskReader`; nobody enters anything while nobody would see what comes of it."""
        self.stand(clear=False, why="the broker desk is down")
        await super().stop()

    # --- what follows ------------------------------------------------------------------------------------------------

    def decide(self) -> Sequence[NewDeskEntry]:
        """What the broker has told; what is to be booked; what is over; what goes out."""
        now = self.clock.now()
        entries = [encode(word) for word in self._funding(now)]
        entries += [encode(OrderMoved(update.report, update.execution, now)) for update in self._fresh_news()]
        entries += [encode(word) for word in consequences.to_book(self.orders, now)]
        entries += [encode(word) for word in consequences.to_end(self.orders, now)]
        if self._lookout.caught_up:
            entries += [encode(word) for word in consequences.to_place(self.orders, self._mid, now)]
        return entries

    def _funding(self, now: int) -> list[Funded]:
        missing = [name for name in self._strategies if name not in self.accounts.purses]
        capital = self._capital
        if missing and capital is None and self._standing.account is not None:
            capital = self._standing.account.equity / len(self._strategies)
        return [Funded(name, capital, now) for name in missing] if capital is not None and capital > 0 else []

    def _fresh_news(self) -> list[OrderUpdate]:
        """Those that are not in the log yet; they are kept until they are."""
        self._news = [update for update in self._news if self.orders.is_news(update)]
        fresh: dict[object, OrderUpdate] = {}
        for update in self._news:
            fresh.setdefault(update.execution.execution_id if update.execution else update.report, update)
        return list(fresh.values())

    def _mid(self, symbol: str) -> float | None:
        quote = self._board.fresh(symbol, self.clock.now() - self._stale_after)
        if quote is None or symbol in self._board.halted or not self._board.trusted:
            return None
        return (quote.bid + quote.ask) / 2 / PRICE_UNITS

    def due(self) -> int | None:
        """When what waits is to be looked at again."""
        return consequences.due(self.orders, self.clock.now())

    # --- acting on it ------------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Take to the broker what is in the log and was not taken there; end what is not wanted any more."""
        if not self._at_work:
            self._at_work = True
            self._timers.start_soon(self._listen)
            self._timers.start_soon(self._lookout.run)
        for order in list(self.orders.in_flight()):
            order_id = order.placed.client_order_id
            if order.report is None and order_id not in self._carried:
                self._carried.add(order_id)
                self._timers.start_soon(self._carry, order)
        for order_id in consequences.to_cancel(self.orders, self.clock.now()):
            if order_id not in self._cancelled:
                self._cancelled.add(order_id)
                self._timers.start_soon(self._cancel, order_id)
        self._tell_of_strange_prices()
        self._lookout.settled()

    def _tell_of_strange_prices(self) -> None:
        """What was executed is booked, whatever the price; but one that is far from the quote is shown to people."""
        news, self.orders.news = self.orders.news, []
        for booked in news:
            mid = self._mid(booked.symbol) if booked.at > self.clock.now() - self._stale_after else None
            if mid is not None and abs(booked.price / mid - 1) > self._price_collar:
                self._alarm(broker_alarms.strange_price(booked, mid))

    async def _carry(self, order: Sent) -> None:
        placed = order.placed
        report = await self._courier.place(placed, ask_first=placed.client_order_id in self._inherited)
        self.tell(OrderUpdate(report))
        self._lookout.order_out()

    async def _cancel(self, order_id: str) -> None:
        if not await self._courier.cancel(order_id):
            self._cancelled.discard(order_id)
        self._lookout.order_out()

    async def _listen(self) -> None:
        await self._broker.run(self._heard)

    def _heard(self, message: BrokerMessage) -> None:
        """The stream's sink: called at any time, must not wait."""
        if isinstance(message, Link):
            self._lookout.link(message)
        else:
            self.tell(message)

    def tell(self, *updates: OrderUpdate) -> None:
        """What the broker says of orders, from wherever it was heard."""
        if len(self._news) + len(updates) > NEWS_MAX:
            log.warning("broker_news_dropped", waiting=len(self._news))
            self._lookout.look()
        else:
            self._news += updates
        self.mailbox.offer(News())

    async def hear(self, message: object) -> None:
        """There is news: `decide` looks at it."""

    # --- how things stand --------------------------------------------------------------------------------------------

    @property
    def all_written(self) -> bool:
        """Whether everything that the broker has told is in the log."""
        return not any(self.orders.is_news(update) for update in self._news)

    def stand(self, *, clear: bool, why: str = "") -> None:
        """Nobody enters anything unless it is clear."""
        if (self._standing.clear, self._standing.why) != (clear, why):
            log.info("broker_standing", clear=clear, reason=why)
            self._standing.clear, self._standing.why = clear, why
            self._changed()
        self.mailbox.offer(News())

    def show_account(self, account: AccountState, *, quiet: bool) -> None:
        """What the broker says of our money; once it is known, only what it says while nothing is under way counts."""
        if quiet or self._standing.account is None:
            self._standing.account, self._standing.free_then = account, self.orders.free()

    def mismatch(self, found: Unexplained) -> None:
        """People are told of both sides, or (nothing found) that they agree."""
        self._alarm(broker_alarms.mismatch(found))
