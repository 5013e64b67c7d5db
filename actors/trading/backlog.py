"""What the stream did not bring: missed bars, the past that strategies begin with, and what a split does to both."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from itertools import count, groupby
from operator import attrgetter
from typing import Any, TypeVar

import structlog

from actors.kernel.clock import SECOND, Clock, io_sleep
from actors.store.desk_records import DeskKind, NewDeskEntry
from actors.trading.blocks import NEVER, Blocks
from actors.trading.hours import Hours, date_of
from actors.trading.journal import encode
from actors.trading.ports import Bar, MarketData, Quote, Refused, SplitDay, Unreachable
from actors.trading.warmup import Need, PastBlocks, by_timeframe, past
from actors.trading.words import Split, WarmedUp
from strategies.sessions import MINUTE, NEW_YORK

T = TypeVar("T")
Entries = AsyncIterator[list[NewDeskEntry]]

BARS_AT_ONCE = 20_000
"""So that a month's gap does not fill the memory, and nobody waits while it is put together."""
NO_END = 2**63 - 1
ASK_AGAIN_S = (1.0, 2.0, 5.0, 10.0, 30.0)
DELAYS = {"delayed_sip": 15 * MINUTE}

log = structlog.get_logger()


class Backlog:
    """Asks the market until it answers, and gives what is to be committed, in order.

    Splits are told before the first bar after them: all bars before it are there by then, and all pasts begin anew.
    """

    def __init__(
        self,
        market: MarketData,
        clock: Clock,
        blocks: Blocks,
        hours: Hours,
        symbols: Sequence[str],
        needs: Sequence[Need],
    ) -> None:
        self._market = market
        self._clock = clock
        self._blocks = blocks
        self._hours = hours
        self._symbols = symbols
        self._needs = needs
        self._warm: dict[str, str] = {}  # strategy → the fingerprint with which it has its past
        self._split_date = ""  # the last day whose splits are told

    def state(self) -> dict[str, Any]:
        """What `restore` needs, for JSON."""
        return {"warm": self._warm, "split_date": self._split_date}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._warm, self._split_date = state["warm"], state["split_date"]

    async def quotes(self) -> list[Quote]:
        """The newest of each symbol."""
        return await self._ask(lambda: self._market.quotes(self._symbols))

    @property
    def known_until(self) -> int:
        """Of bars that start before, it is known whose shares they are of."""
        if not self._split_date:
            return NO_END
        return _midnight((date.fromisoformat(self._split_date) + timedelta(days=1)).isoformat())

    def covered(self, up_at: int) -> int:
        """Bars that start before this had ended, and were there to be asked for, when the stream came up."""
        return up_at - self._market.timeframe - DELAYS.get(self._market.feed, 0) + 1

    def ended(self, time: int) -> int:
        """When the bar of that time should have come."""
        return time + self._market.timeframe + DELAYS.get(self._market.feed, 0)

    async def missing(self, up_at: int) -> Entries:
        """Everything up to `covered`."""
        async for entries in self.new_day(up_at):
            yield entries
        async for entries in self._bars_until(self.covered(up_at), up_at):
            yield entries

    async def new_day(self, now: int) -> Entries:
        """The splits since they were last told, and the past of whoever has not seen it."""
        today = datetime.fromtimestamp(now / SECOND, NEW_YORK).date().isoformat()
        for day, splits in groupby(await self._splits_since_told(today), key=attrgetter("date")):
            at = _midnight(day)
            async for entries in self._bars_until(at, now):
                yield entries
            # Both are saved with what follows: a kill before it has them told, one after it does not.
            self._split_date = day
            self._warm.clear()
            yield [encode(Split(split.symbol, split.ratio, at, self._clock.now())) for split in splits]
            log.warning("shares_split", date=day)
        self._split_date = today
        async for entries in self._warm_up(now):
            yield entries

    async def bars_between(self, since: int, until: int) -> list[Bar]:
        """What the market has of times of which the stream brought nothing."""
        return await self._bars(since, until, self._market.timeframe)

    async def _bars_until(self, until: int, now: int) -> Entries:
        """Blocks of the bars that start before `until`, from where the log ends."""
        since = self._blocks.closed + 1
        if self._blocks.closed == NEVER:  # the very first start
            session = self._hours.current(now)
            since = session.open if session else now
        while since < until:
            end = min(until, since + self._chunk(self._market.timeframe))
            bars = await self._bars(since, end, self._market.timeframe)
            yield self._blocks.refill(bars, end, self._clock.now())
            since = end

    async def _warm_up(self, now: int) -> Entries:
        cold = [need for need in self._needs if self._warm.get(need.strategy) != need.fingerprint]
        for timeframe, bars, needs in by_timeframe(cold):
            wanted = past(timeframe, self._market.timeframe, bars, now)
            putting = PastBlocks(
                wanted, self._market.feed, await self._splits_between(date_of(wanted.since), date_of(now))
            )
            names = tuple(need.strategy for need in needs)
            entries = [encode(WarmedUp(names, timeframe, wanted.until, self._clock.now()))]
            chunk = self._chunk(wanted.length)
            for since in range(wanted.since, wanted.until, chunk):
                page = await self._bars(since, min(since + chunk, wanted.until), wanted.length)
                blocks = putting.fold(page)
                entries += (NewDeskEntry(DeskKind.BLOCK, self._clock.now(), block) for block in blocks)
            self._warm |= {need.strategy: need.fingerprint for need in needs}
            log.info("warmed_up", strategies=names, bars=len(entries) - 1)
            yield entries

    async def _splits_since_told(self, today: str) -> list[SplitDay]:
        if not self._split_date or self._split_date >= today:
            return []
        following = date.fromisoformat(self._split_date) + timedelta(days=1)
        return sorted(await self._splits_between(following.isoformat(), today), key=attrgetter("date", "symbol"))

    async def _splits_between(self, first: str, last: str) -> list[SplitDay]:
        return await self._ask(lambda: self._market.splits(self._symbols, first, last))

    def _chunk(self, length: int) -> int:
        return max(BARS_AT_ONCE // len(self._symbols), 16) * length

    async def _bars(self, since: int, until: int, length: int) -> list[Bar]:
        return await self._ask(lambda: self._market.history(self._symbols, length, since, until))

    async def _ask(self, question: Callable[[], Awaitable[list[T]]]) -> list[T]:
        """The answer, however long it takes."""
        for failures in count():
            try:
                return await question()
            except (Unreachable, Refused) as error:  # a refusal may pass, too: of one request, nothing is concluded
                log.warning("market_not_answering", error=str(error))
            await io_sleep(ASK_AGAIN_S[min(failures, len(ASK_AGAIN_S) - 1)])
        raise AssertionError("endless")


def _midnight(day: str) -> int:
    """The beginning of a New York date."""
    return int(datetime.fromisoformat(day).replace(tzinfo=NEW_YORK).timestamp()) * SECOND
