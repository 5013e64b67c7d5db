"""Looks how things stand at the broker: when the desk starts, when the stream was away, while orders are out.

Streams go deaf while they are connected, so whatever they tell is asked for as well. Nothing that was not answered
changes anything.
"""

from typing import Protocol

import anyio
import structlog

from actors.kernel.clock import SECOND, Clock, monotonic
from actors.trading.orders import ROUNDED, Orders
from actors.trading.ports import (
    AccountState,
    Broker,
    Execution,
    Link,
    OrderReport,
    OrderUpdate,
    Refused,
    Unreachable,
)
from actors.trading.reconcile import Unexplained, differences

log = structlog.get_logger()

DAY = 86_400 * SECOND
BACK_AT_START = 5 * DAY
"""How far back executions are asked for at first: a long weekend."""

BACK = 600 * SECOND  # how far back at other times, from the oldest that is of interest
LOOK_EVERY = 300 * SECOND  # of the clock; as long as bars come
SOON_S = 2.0  # after an order went out; then twice as long each time, up to
LATE_S = 256.0  # from where on the bars give the pace
RETRY_S = 1.0
RETRY_MAX_S = 60.0
LOOKS_TO_BE_SURE = 3
AGAIN_S = 60.0  # how often the broker and the books are compared while they differ
MADE_UP_AFTER_S = 30.0
"""For so long the executions of an order that is over may be missing; then its average says what happened."""


class Desk(Protocol):
    """Who wants to know."""

    orders: Orders

    @property
    def all_written(self) -> bool:
        """Whether everything that was told is in the log."""

    def tell(self, *updates: OrderUpdate) -> None:
        """Something about orders."""

    def stand(self, *, clear: bool, why: str = "") -> None:
        """Whether all is as it should be."""

    def show_account(self, account: AccountState, *, quiet: bool) -> None:
        """Its money; `quiet`: nothing was under way when it was told."""

    def mismatch(self, found: Unexplained) -> None:
        """Where the books and the broker differ, or (nothing found) that they agree."""


class Lookout:
    """Run `run` beside the desk."""

    def __init__(self, broker: Broker, clock: Clock, desk: Desk) -> None:
        self.caught_up = False
        """Whether, in this life, the broker has told what happened while we were away."""
        self._broker = broker
        self._clock = clock
        self._desk = desk
        self._wanted = anyio.Event()
        self._settled = anyio.Event()
        self._link_up = True
        self._looked_at = 0
        self._pause = SOON_S
        self._suspicions = 0
        self._told: Unexplained | None = None  # None: nothing, in this life
        self._foreign: tuple[OrderReport, ...] = ()  # open, and not ours
        self._strangers: dict[str, Execution] = {}  # what was traded by orders that are not ours
        self._lacking: dict[str, float] = {}  # order → since when executions are missing

    # --- what makes it look ------------------------------------------------------------------------------------------

    def look(self) -> None:
        """As soon as possible."""
        self._wanted.set()

    def order_out(self) -> None:
        """Its end is to be seen soon."""
        self._pause = SOON_S
        self._wanted.set()

    def bar_closed(self) -> None:
        """While bars come, there is something to see."""
        if self._desk.orders.unfinished or self._clock.now() >= self._looked_at + LOOK_EVERY:
            self._wanted.set()

    def link(self, link: Link) -> None:
        """The stream is up, or away: then things happen of which nobody tells."""
        self._link_up = link.up
        if link.up:
            self._wanted.set()
        else:
            self._desk.stand(clear=False, why=f"the broker's stream is away: {link.reason}")

    def settled(self) -> None:
        """What was told has been written down, with all that follows from it."""
        settled, self._settled = self._settled, anyio.Event()
        settled.set()

    # --- looking -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever."""
        failures = 0
        while True:
            self._wanted = anyio.Event()
            try:
                await self._look()
                failures, pause = 0, self._until_next()
            except (Unreachable, Refused) as trouble:
                failures += 1
                pause = min(RETRY_MAX_S, RETRY_S * 2.0 ** min(failures - 1, 10))
                log.warning("broker_unreachable", reason=str(trouble), failures=failures)
                self._desk.stand(clear=False, why=f"the broker does not answer: {trouble}")
            with anyio.move_on_after(pause):
                await self._wanted.wait()

    def _until_next(self) -> float | None:
        """Seconds; None: until something happens."""
        if self._suspicions:
            return SOON_S if self._suspicions < LOOKS_TO_BE_SURE else AGAIN_S
        if not self._desk.orders.unfinished or self._pause > LATE_S:
            return None
        self._pause *= 2
        return self._pause / 2

    async def _look(self) -> None:
        self._desk.tell(*await self._missed())
        while not self._desk.all_written:
            await self._settled.wait()
        self._looked_at = self._clock.now()
        if not self.caught_up:
            self.caught_up = True
            self._desk.tell()
        await self._compare()

    async def _missed(self) -> list[OrderUpdate]:
        """Where the orders stand, and executions that are not in the log."""
        orders = self._desk.orders
        reports = {report.client_order_id: report for report in await self._broker.open_orders()}
        self._foreign = tuple(report for report in reports.values() if not orders.knows(report))
        for order in list(orders.unfinished.values()):
            order_id = order.placed.client_order_id
            if order.report is not None and order_id not in reports:
                report = await self._broker.order(order_id)
                reports |= {} if report is None else {order_id: report}
        updates = [OrderUpdate(report) for report in reports.values()]
        for execution in await self._broker.executions(self._since()):
            order_id = execution.client_order_id
            if execution.execution_id not in orders.executions.keys() | self._strangers.keys():
                # Of an order that the broker made out of a protection, this is how we hear of it.
                report = reports.get(order_id) or await self._broker.order(order_id)
                if report is not None and orders.knows(report):
                    updates.append(OrderUpdate(report, execution))
                else:
                    self._strangers[execution.execution_id] = execution
        return updates + self._made_up()

    def _since(self) -> int:
        if not self.caught_up:
            return self._clock.now() - BACK_AT_START
        out = [order.placed.at for order in self._desk.orders.unfinished.values()]
        return min([self._looked_at, *out]) - BACK

    def _made_up(self) -> list[OrderUpdate]:
        """What must have been executed, of orders whose executions the broker does not tell."""
        now = monotonic()
        lacking = {
            order_id: order
            for order_id, order in self._desk.orders.unfinished.items()
            if not order.in_flight and order.lacks > ROUNDED
        }
        self._lacking = {order_id: self._lacking.get(order_id, now) for order_id in lacking}
        updates = []
        for order_id, order in lacking.items():
            report = order.report
            if report is not None and now - self._lacking[order_id] >= MADE_UP_AFTER_S:
                log.warning("execution_made_up", order=order_id, symbol=report.symbol, quantity=order.lacks)
                execution = Execution(
                    f"{order_id}/{report.filled!r}",
                    order_id,
                    report.symbol,
                    report.side,
                    order.lacks,
                    (report.average * report.filled - order.dollars) / order.lacks,
                    self._clock.now(),
                )
                updates.append(OrderUpdate(report, execution))
        return updates

    # --- comparing ---------------------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        orders = self._desk.orders
        before, busy = orders.accounts.shares(), orders.busy()
        holdings, account = await self._broker.holdings(), await self._broker.account()
        after, moved = orders.accounts.shares(), busy | orders.busy()
        moved |= {symbol for symbol in before.keys() | after.keys() if before.get(symbol) != after.get(symbol)}
        shares = differences(after, holdings, moved)
        symbols = {one.symbol for one in shares}
        trades = tuple(trade for trade in self._strangers.values() if trade.symbol in symbols)
        self._desk.show_account(account, quiet=not moved)
        self._conclude(Unexplained(tuple(shares), self._foreign, trades))

    def _conclude(self, found: Unexplained) -> None:
        """A difference is believed when it was seen several times: the broker's parts need not agree at once."""
        self._suspicions = self._suspicions + 1 if found else 0
        if found and self._suspicions < LOOKS_TO_BE_SURE:
            return
        if found:
            self._desk.stand(clear=False, why=str(found))
        elif self._link_up:
            self._desk.stand(clear=True)
        if self._told != found:
            self._told = found
            self._desk.mismatch(found)
