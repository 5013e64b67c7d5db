"""Every night the day's bars go through the lab, and what it decides is compared with what was decided live."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, time, timedelta
from typing import Never

import structlog
from anyio.lowlevel import checkpoint

from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock
from actors.store.alarm import UNTIL_RESOLVED_S, Alarm
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind, Parts
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import Severity
from actors.trading.journal import KINDS
from actors.trading.parity import NEVER, Difference, Night, Replay
from actors.trading.trader_state import pack_states, unpack_states
from actors.trading.words import Decided, WarmedUp
from strategies.lanes import StateMismatch
from strategies.sessions import NEW_YORK, session_of

log = structlog.get_logger()

READER = "parity"
VERSION = 1
GONE = (0, b"")
"""In place of the state of a strategy that was not compared: it has missed something."""

AT = time(2, 30)
"""New York: the day's bars are all there, whoever sends corrections has sent them."""

PAGE = 64
SHOWN = 10
RETRY_S = 60.0


class Parity(Actor[Never]):
    """Looks once a night. The lab's strategies go on from the night before, so that a night costs one day's bars."""

    def __init__(
        self,
        make: Callable[[], Sequence[Replay]],
        base: int,
        store: Store,
        clock: Clock,
        alarm: Callable[[Alarm], object],
    ) -> None:
        """`make` gives those at work, in the lab and fresh; `base` is the length of the market's bars, microseconds."""
        self._make = make
        self._base = base
        self._store = store
        self._clock = clock
        self._alarm = alarm

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep_until(_next(self._clock.now()))
            with self.turn():
                try:
                    await self.compare()
                except StoreUnavailable as error:
                    log.warning("parity_postponed", reason=str(error))
                    await self._clock.sleep(RETRY_S)

    async def compare(self) -> list[Difference]:
        """What is in the log since the last time; tells people of every strategy whether it agrees with the lab."""
        mark = await self._store.desk.load(READER)
        night = Night(self._make(), self._base)
        position = mark.cursor if _restore(night.replays, mark.parts) else 0
        if not position:
            night = await self._from_the_beginning()
        if position < mark.cursor:
            log.warning("parity_from_the_beginning", reason="a strategy is new, or of other code or parameters")
        found: list[Difference] = []
        until = max(await self._over_until(position), mark.cursor)
        async for entry in self._entries(position, until, (DeskKind.BLOCK, KINDS[WarmedUp], KINDS[Decided])):
            for differences in night.fold(entry):
                found += differences
                await checkpoint()
        for differences in night.finish():
            found += differences
            await checkpoint()
        parts = {**dict.fromkeys(mark.parts, GONE), **_parts(night.replays)}
        await self._store.desk.append([], cursor=(READER, until), parts=parts)
        for replay in night.replays:
            self._tell(replay.name, [one for one in found if one.strategy == replay.name])
        log.info("parity", strategies=len(night.replays), differences=len(found))
        return found

    async def _over_until(self, position: int) -> int:
        """How far the log is of days that are over.

        A day whose last bars are not in it yet, for the market did not answer or a new session has begun, waits for
        another night: the lab would take what there is of its last bar for the whole of it.
        """
        until = await self._store.desk.last_seq()
        newest, date, begins, over = NEVER, None, 0, True
        async for entry in self._entries(position, until, (DeskKind.BLOCK,)):
            block = entry.data
            # Bars of the past that a strategy is shown come in between, and are older.
            if isinstance(block, BarBlock) and block.timeframe == self._base and block.time > newest:
                newest = block.time
                dates, _, closes = session_of(newest, self._base)
                if dates[0] != date:
                    date, begins = dates[0], entry.seq
                over = newest + self._base >= closes[0]
        return until if over else begins - 1

    async def _entries(self, after: int, until: int, kinds: Sequence[int]) -> AsyncIterator[DeskEntry]:
        """After the one seq, and up to the other."""
        while entries := await self._store.desk.read(after, PAGE, kinds):
            for entry in entries:
                if entry.seq > until:
                    return
                yield entry
            after = entries[-1].seq
            await checkpoint()

    async def _from_the_beginning(self) -> Night:
        replays = self._make()
        first = await self._store.desk.read(0, 1)
        for replay in replays:
            replay.anchored = not first or first[0].seq == 1
        return Night(replays, self._base)

    def _tell(self, strategy: str, found: Sequence[Difference]) -> None:
        if not found:
            self._alarm(Alarm("parity_mismatch", strategy, None))
            return
        self._alarm(
            Alarm(
                "parity_mismatch",
                strategy,
                f"{strategy} decided live what the lab does not: {found[0]}",
                Severity.WARNING,
                first=f"Its state was wrong: nightdesk restart trading.strategy:{strategy}, and please report this.",
                evidence={"differences": [str(one) for one in found[:SHOWN]], "count": len(found)},
                quiet_s=UNTIL_RESOLVED_S,
            )
        )


def _next(now: int) -> int:
    """The next half past two in New York."""
    local = datetime.fromtimestamp(now // SECOND, NEW_YORK)
    today = datetime.combine(local.date(), AT, NEW_YORK)
    at = today if today > local else datetime.combine(local.date() + timedelta(days=1), AT, NEW_YORK)
    return int(at.timestamp()) * SECOND


def _parts(replays: Sequence[Replay]) -> Parts:
    parts = {}
    for replay in replays:
        head = {
            "fingerprint": replay.by,
            "warming_until": replay.warming_until,
            "bar_time": replay.bar_time,
            "failed": replay.failed,
            "anchored": replay.anchored,
        }
        states = {"strategy": replay.strategy.state(), "lab": {"closes": replay.closes}}
        parts[replay.name] = (VERSION, pack_states(head, states))
    return parts


def _restore(replays: Sequence[Replay], parts: Parts) -> bool:
    """Whether each strategy could go on where it stood."""
    try:
        for replay in replays:
            version, packed = parts[replay.name]
            head, states = unpack_states(packed)
            if version != VERSION or head["fingerprint"] != replay.by:
                return False
            replay.strategy.restore(states["strategy"])
            replay.closes = states["lab"]["closes"]
            for name in ("warming_until", "bar_time", "failed", "anchored"):
                setattr(replay, name, head[name])
    except (ValueError, KeyError, TypeError, StateMismatch):
        return False
    return True
