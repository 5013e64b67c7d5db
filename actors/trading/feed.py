"""The desk's ear: what the market sends becomes blocks in the log, what was missed is asked for first."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import orjson
import structlog

from actors.kernel import mailbox
from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock, io_sleep
from actors.store.alarm import UNTIL_RESOLVED_S, Alarm
from actors.store.desk_records import DeskKind, Gap, NewDeskEntry
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import DAEMON, Severity
from actors.trading.backlog import Backlog, Entries
from actors.trading.blocks import NEVER, Blocks
from actors.trading.hours import Hours, rfc3339
from actors.trading.ports import BarSeen, Halted, Link, MarketData, MarketMessage, Quote, QuoteSeen
from actors.trading.quotes import QuoteBoard
from actors.trading.warmup import Need
from strategies.sessions import DAY

READER = "feed"
VERSION = 1
SIGNAL = "feed_stale"
OVER = Alarm(SIGNAL, "account", None)

GRACE_S = 5.0
"""After a bar's end, until its block is closed without those that have not come."""
QUOTED_EVERY_S = 0.1
"""Thirty symbols have hundreds of quotes a second; nobody needs to be woken by each."""
WAITING_MAX = 4096
MISSED = 45 * SECOND
"""After a bar should have come, until the market is asked why it has not."""
AHEAD_MAX = 300 * SECOND
"""What is stamped later than this by our clock cannot be: it would hide every true bar and quote until then."""
AGAIN = SECOND  # while the store is away
HOUR_S = 3600.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Look:
    """It is time to look whether a block is due, or the market has gone silent."""


def feed_box() -> mailbox.Mailbox[Any]:
    """Bars for which there is no room are a gap, to be refilled."""
    return mailbox.drop_oldest(WAITING_MAX)


class Feed(Actor[MarketMessage | Look | mailbox.Gap]):
    """Commits bars as blocks, keeps the quote board, and marks gaps until they have been refilled.

    From a start or a disconnect on, the log says that bars may be missing (GAP); then come the missing ones, in order,
    and REFILLED. `wake` is called soon after quotes have come, once for many. Raises Refused when the market does.
    """

    def __init__(
        self,
        market: MarketData,
        store: Store,
        clock: Clock,
        board: QuoteBoard,
        symbols: Collection[str],
        wake: Callable[[], None],
        *,
        grace_s: float = GRACE_S,
        stale_after_s: float = 180.0,
        hours: Hours | None = None,
        needs: Sequence[Need] = (),
        alarm: Callable[[Alarm], object] = lambda _: None,
    ) -> None:
        """`hours`, of the same market, where others go by them too: the feed keeps them up to date.

        `needs`: what strategies have to have seen.
        """
        self._market = market
        self._store = store
        self._clock = clock
        self._board = board
        self._symbols = tuple(symbols)
        self._wake = wake
        self._grace = int(grace_s * SECOND)
        # Quotes may be rare: before the next bar should have been there, silence says nothing.
        self._stale_after = max(stale_after_s, (market.timeframe + MISSED) / SECOND)
        self._stale = False
        self._blocks = Blocks(market.feed, market.timeframe, symbols, self._grace)
        self._hours = hours or Hours(market)
        self._backlog = Backlog(market, clock, self._blocks, self._hours, self._symbols, needs)
        self._unwritten: list[NewDeskEntry] = []
        self._writing = anyio.Lock()
        self._catching_up = anyio.Lock()  # who asks twice whose shares were split, tells it twice
        self._seq = 0
        self._gap: Gap | None = None
        self._refilling = anyio.CancelScope()
        self._heard = 0  # when the market last said anything
        self._covered = 0  # bars that start before were asked for
        self._asking_since: int | None = None  # nothing newer is closed until the answer is there
        self._alarm = alarm
        self._alarmed = False
        self._quoted = asyncio.Event()
        self._timer = anyio.CancelScope()

    async def start(self) -> None:
        """Find out where the log's blocks end: what came after them is missing."""
        mark = await self._store.desk.load(READER)
        self._seq = mark.cursor
        if READER in mark.parts:
            saved = orjson.loads(mark.parts[READER][1])
            self._blocks.closed = saved["closed"]
            self._backlog.restore(saved)
        self._heard = self._clock.now()
        known = await self._store.incidents(tenant=DAEMON, state="open")
        self._alarmed = any(one.signal == SIGNAL for one in known)
        await self._miss("the daemon was not running")

    async def stop(self) -> None:
        """Nobody sees to the quotes any more."""
        self._board.trusted = False

    async def run(self) -> None:
        """Listen, and take what is heard in batches: all bars of one time that have come are settled together."""
        try:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._market.run, self._symbols, self._hear)
                self._tasks.start_soon(self._pass_on_quotes)
                self._tasks.start_soon(self._keep_hours)
                while True:
                    for message in await self.mailbox.take():
                        await self.receive(message)  # type: ignore[arg-type]  # nobody asks a feed
                    if not self.mailbox.depth:
                        await self._settle()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # the supervisor wants the first one as it was

    def _hear(self, message: MarketMessage) -> None:
        """The sink: quotes go on the board at once, the newest only; everything else waits for its turn."""
        if isinstance(message, BarSeen) and message.bar.time > self._clock.now() + AHEAD_MAX:
            log.warning("bar_of_the_future", symbol=message.bar.symbol, time=rfc3339(message.bar.time))
            return
        if not isinstance(message, Link):
            self._heard = self._clock.now()
        if not isinstance(message, QuoteSeen):
            self.mailbox.offer(message)
        elif self._show(message.quote):
            self._quoted.set()
            if self._stale:
                self.mailbox.offer(Look())

    def _show(self, quote: Quote) -> bool:
        return quote.time <= self._clock.now() + AHEAD_MAX and self._board.show(quote)

    async def receive(self, message: MarketMessage | Look | mailbox.Gap) -> None:
        """Take note; `_settle` follows."""
        match message:
            case BarSeen(bar):
                self._blocks.add(bar, self._clock.now())
            case Halted(symbol, halted):
                self._board.halt(symbol, halted=halted)
                log.info("halted" if halted else "halt_over", symbol=symbol)
            case Link(up=True):
                await self._miss("the stream was down")
                self._board.halted.clear()  # whose halt ended meanwhile nobody will say, and a halt holds up exits
                self._refilling.cancel()
                self._refilling = anyio.CancelScope()
                self._tasks.start_soon(self._refill, self._clock.now(), self._refilling)
            case Link(reason=reason):
                self._refilling.cancel()
                await self._miss(reason)
            case mailbox.Gap(dropped):
                await self._miss(f"{dropped} messages were too many")
                self.mailbox.offer(Link(up=True))

    async def _settle(self) -> None:
        """Close what is to be closed (nothing while bars before it are missing) and judge how things stand."""
        now = self._clock.now()
        self._unwritten += self._blocks.revisions(now)
        while (block := self._next_block(now)) is not None:
            self._unwritten.append(block)
        await self._write()
        self._judge(now)
        due = self._blocks.due or self._missed_at() if self._complete else None
        silent_at = None if self._stale else self._hours.silent_at(self._last_sign(), self._stale_after)
        again_at = now + AGAIN if self._unwritten else None
        self._timer.cancel()
        if (at := min((at for at in (due, silent_at, again_at) if at is not None), default=None)) is not None:
            self._timer = anyio.CancelScope()
            self._tasks.start_soon(self._look_at, at, self._timer)

    @property
    def _complete(self) -> bool:
        """Whether all that is known to have been missed is there, and what the bars that have come are of."""
        return self._gap is None and self._asking_since is None and not self._waits_for_splits

    @property
    def _waits_for_splits(self) -> bool:
        """A price that nobody has heard of a split of would be a loss, and sell everything."""
        return self._blocks.oldest is not None and self._blocks.oldest >= self._backlog.known_until

    def _next_block(self, now: int) -> NewDeskEntry | None:
        """The next block that may be closed. About bars that should have come before it the market is asked first."""
        if not self._complete:
            return None
        expected, oldest, missed_at = self._expected(), self._blocks.oldest, self._missed_at()
        if expected is not None and oldest is not None and expected < oldest:
            self._ask_about(expected, oldest)
        elif expected is not None and missed_at is not None and missed_at <= now:
            self._ask_about(expected, expected + 1)
        else:
            return self._blocks.close_oldest(now)
        return None

    def _expected(self) -> int | None:
        """The first bar time of the sessions behind what is closed; of daily bars none is expected."""
        if self._market.timeframe >= DAY:
            return None
        closed = self._covered - 1 if self._blocks.closed == NEVER else self._blocks.closed
        return self._hours.next_bar(closed, self._market.timeframe)

    def _missed_at(self) -> int | None:
        """When a bar that has not come should have been there for long."""
        expected = None if self._blocks.oldest is not None else self._expected()
        return None if expected is None else self._backlog.ended(expected) + MISSED

    def _ask_about(self, since: int, until: int) -> None:
        self._asking_since = self._clock.now()
        self._tasks.start_soon(self._find_out, since, until)

    async def _find_out(self, since: int, until: int) -> None:
        """Nobody traded then, or the stream did not say so: the first closes the time, the second is a gap."""
        bars = await self._backlog.bars_between(since, until)
        self._asking_since = None
        if self._gap is None and bars:
            await self._miss("bars did not come on the open stream")
            self.mailbox.offer(Link(up=True))
        elif self._gap is None:
            self._unwritten.append(self._blocks.close_empty(since, self._clock.now()))
            await self._write()
        self.mailbox.offer(Look())

    async def _look_at(self, at: int, timer: anyio.CancelScope) -> None:
        with timer:
            await self._clock.sleep_until(at)
            self.mailbox.offer(Look())

    async def _miss(self, reason: str) -> None:
        """Bars may be missing from here on; said once, until they have been refilled."""
        self._board.trusted = False
        if self._gap is None:
            now = self._clock.now()
            self._gap = Gap(self._market.feed, self._market.timeframe, self._blocks.closed + 1, now, reason)
            self._unwritten.append(NewDeskEntry(DeskKind.GAP, now, self._gap))
            log.warning("bars_may_be_missing", reason=reason)
        await self._write()

    async def _refill(self, up_at: int, scope: anyio.CancelScope) -> None:
        """Ask for all bars that had ended when the stream came up; the later ones it brings itself."""
        with scope:
            await self._hours.refresh(up_at)
            await self._clock.sleep_until(up_at + self._grace)  # the newest are not there at once
            for quote in await self._backlog.quotes():
                self._show(quote)
            async with self._catching_up:
                await self._commit(self._backlog.missing(up_at))
            await self._refilled(self._backlog.covered(up_at))

    async def _commit(self, backlog: Entries) -> None:
        async for entries in backlog:
            self._unwritten += entries
            await self._write()

    async def _refilled(self, until: int) -> None:
        assert self._gap is not None  # noqa: S101 - the stream was down until this refill began
        since, reason = self._gap.since, self._gap.reason
        gap = Gap(self._market.feed, self._market.timeframe, since, until, reason)
        self._unwritten.append(NewDeskEntry(DeskKind.REFILLED, self._clock.now(), gap))
        self._gap, self._covered = None, until
        self._board.trusted = True
        log.info("bars_refilled", since=since, until=until)
        self.mailbox.offer(Look())
        self._quoted.set()

    async def _write(self) -> None:
        """Commit what waits, in order; while the store is away it goes on waiting."""
        async with self._writing:
            if not self._unwritten:
                return
            entries = list(self._unwritten)
            saved = {"closed": self._blocks.closed, **self._backlog.state()}
            state = {READER: (VERSION, orjson.dumps(saved))}
            with anyio.CancelScope(shield=True):  # what is being committed must not be committed again
                try:
                    self._seq = await self._store.desk.append(entries, cursor=(READER, self._seq), parts=state)
                except StoreUnavailable as error:
                    log.warning("blocks_wait", entries=len(entries), reason=str(error))
                else:
                    del self._unwritten[: len(entries)]

    def _last_sign(self) -> int:
        """When the market was last known to be heard completely."""
        unclear = self._blocks.oldest if self._waits_for_splits else None
        doubts = (None if self._gap is None else self._gap.until, self._asking_since, unclear)
        return min([self._heard, *(since for since in doubts if since is not None)])

    def _judge(self, now: int) -> None:
        """Whether the market is silent, or cannot be asked, although the exchange is open: trust and alarm follow."""
        silent_at = self._hours.silent_at(self._last_sign(), self._stale_after)
        self._stale = silent_at is not None and now >= silent_at
        self._board.trusted = self._gap is None and not self._stale
        if self._stale != self._alarmed:
            self._alarmed = self._stale
            self._alarm(self._stale_for((now - self._last_sign()) // SECOND) if self._stale else OVER)

    def _stale_for(self, silent_s: int) -> Alarm:
        reason = f"bars are missing: {self._gap.reason}" if self._gap else "nothing comes on the open stream"
        newest = None if self._blocks.closed == NEVER else rfc3339(self._blocks.closed)
        return Alarm(
            SIGNAL,
            "account",
            f"no market data for {silent_s // 60} min while the exchange is open; {reason}",
            Severity.CRITICAL,
            evidence={"feed": self._market.feed, "silent_s": silent_s, "newest_bar": newest},
            quiet_s=UNTIL_RESOLVED_S,
        )

    async def _pass_on_quotes(self) -> None:
        while True:
            await self._quoted.wait()
            self._quoted.clear()
            self._wake()
            await io_sleep(QUOTED_EVERY_S)

    async def _keep_hours(self) -> None:
        while True:
            now = self._clock.now()
            await self._hours.refresh(now)
            async with self._catching_up:
                if self._gap is None:
                    await self._commit(self._backlog.new_day(now))
                    self.mailbox.offer(Look())
            await self._clock.sleep(HOUR_S)
