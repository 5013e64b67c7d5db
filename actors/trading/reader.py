"""What every actor of the desk is: a fold over its log, and what follows from that, committed before anyone acts on it.

State changes by folding entries and in no other way, what an actor itself decides included: it decides, commits, reads
its own words back like anyone's, and only then decides again. So a kill at any instruction loses nothing: whoever folds
to the end stands where the dead one stood, and decides what it would have decided.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock, monotonic
from actors.kernel.mailbox import Ask, Mailbox, conflate
from actors.store.desk_log import Known
from actors.store.desk_records import DeskCommitted, DeskEntry, DeskKind, NewDeskEntry, Parts
from actors.store.protocol import Store, StoreUnavailable

log = structlog.get_logger()

WAITING_MAX = 256  # commits; a reader further behind reads the log itself
PAGE = 64
SNAPSHOT_ENTRIES = 400  # at most so many are folded again after a kill
SNAPSHOT_S = 3_600.0
RETRY_S = 0.5


def desk_mailbox() -> Mailbox[Any]:
    """Every commit, and of each other kind of message the newest."""
    return conflate(WAITING_MAX, key=_key)


def _key(message: object) -> Hashable:
    return (DeskCommitted, message.last) if isinstance(message, DeskCommitted) else (type(message), 0)


class DeskReader(Actor[Any]):
    """Its mailbox is a `desk_mailbox`.

    Override `restore`, `save`, `fold` and `decide`; and `due`, `settled` and `hear` where there is a need.
    """

    def __init__(self, reader: str, store: Store, clock: Clock) -> None:
        """`reader` is the name under which the log keeps how far was read, and the state."""
        self.clock = clock
        self.position = 0
        """The seq of the last entry folded."""
        self._reader = reader
        self._store = store
        self._must_see = 0  # what was decided is in the log up to here: nothing is decided before it is folded
        self._refused = 0
        self._saved = 0
        self._saved_at = 0.0
        self._unsaved: dict[str, tuple[int, bytes]] = {}
        self._timers: TaskGroup
        self._timer = anyio.CancelScope()
        self._wakes_at: int | None = None

    # --- what makes a reader -----------------------------------------------------------------------------------------

    def restore(self, parts: Parts) -> bool:
        """Be as `save` said; without parts, as at the beginning. False: they cannot be read."""
        raise NotImplementedError

    def save(self) -> Parts:
        """The parts that changed since the last call; with all earlier ones, the whole state."""
        raise NotImplementedError

    def fold(self, entry: DeskEntry) -> None:
        """Take in one entry. Nothing else changes the state."""
        raise NotImplementedError

    def decide(self) -> Sequence[NewDeskEntry]:
        """What follows from the state (and the time, and the quotes) and is not in the log yet.

        Asked again, after these have been folded, until there is nothing. A kill may have it decided twice: it needs
        an identity by which the second is known.
        """
        return ()

    def due(self) -> int | None:
        """When to ask `decide` again even if nothing happens, in the clock's time."""
        return None

    def ignores(self, entries: Sequence[DeskEntry]) -> bool:
        """Whether they say nothing to this reader: then they are neither folded nor make it decide."""
        del entries
        return False

    async def settled(self) -> None:
        """All that was decided is durable and folded: the moment to act on it. Must not wait long."""

    async def hear(self, message: Any) -> object:
        """Something other than a commit; the value answers an ask."""
        raise NotImplementedError(f"{type(self).__name__} takes no {type(message).__name__}")

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Restore the state: the snapshot, and the log from there to its end."""
        self._store.desk.follow(self.mailbox)
        mark = await self._store.desk.load(self._reader)
        self.position = self._saved = mark.cursor
        if not self.restore(mark.parts):
            log.warning("state_rebuilt", reader=self._reader, reason="damaged, or of another version")
            self.restore({})
            self.position = 0
        await self._read_log()
        self._saved_at = monotonic()

    async def stop(self) -> None:
        """Leave a snapshot, so that the next start has nothing to fold."""
        self._store.desk.unfollow(self.mailbox)
        if self.position > self._saved:
            await self._snapshot()

    async def run(self) -> None:
        """Fold whatever is committed, and decide, for ever."""
        try:
            async with anyio.create_task_group() as self._timers:
                with self.turn():
                    await self._conclude()
                while True:
                    await self._take()
        except ExceptionGroup as group:
            # Timers raise nothing, so there is one exception: the supervisor wants it as it was.
            raise group.exceptions[0] from None

    async def _take(self) -> None:
        heard = False
        for message in await self.mailbox.take():
            if isinstance(message, DeskCommitted):
                heard |= await self._follow(message)
                continue
            heard = True
            if isinstance(message, Ask):
                await self._answer(message)
            elif not isinstance(message, _Due):
                await self.hear(message)
        if self._refused != self.mailbox.meter.dropped["full"]:
            self._refused = self.mailbox.meter.dropped["full"]
            heard = True
            await self._read_log()
        if heard:
            await self._conclude()

    async def receive(self, message: Any) -> object:
        """An ask's answer."""
        return await self.hear(message)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _follow(self, committed: DeskCommitted) -> bool:
        """Whether there was anything to hear."""
        if committed.entries[0].seq > self.position + 1:
            await self._read_log()
            return True
        entries = [entry for entry in committed.entries if entry.seq > self.position]
        if self.ignores(entries):
            self.position = max(self.position, committed.last)
            return False
        await self._fold(entries)
        return True

    async def _read_log(self) -> None:
        while entries := await self._store.desk.read(self.position, PAGE):
            await self._fold(entries)

    async def _fold(self, entries: Sequence[DeskEntry]) -> None:
        for entry in entries:
            if entry.damage:
                log.error("desk_entry_damaged", reader=self._reader, seq=entry.seq, error=entry.damage)
            else:
                self.fold(entry)
            self.position = entry.seq
            if entry.kind == DeskKind.BLOCK:  # of 500 symbols it takes a strategy half a millisecond
                await checkpoint()

    # --- deciding ----------------------------------------------------------------------------------------------------

    async def _conclude(self) -> None:
        """Commit what follows. What is folded of it comes back by mailbox, in its place among the others'."""
        if self.position < self._must_see:
            return
        if entries := self.decide():
            await self._commit(entries)
            return
        await self.settled()
        self._set_timer(self.due())
        unsaved = self.position - self._saved
        if unsaved and (unsaved >= SNAPSHOT_ENTRIES or monotonic() - self._saved_at >= SNAPSHOT_S):
            await self._snapshot()

    async def _commit(self, entries: Sequence[NewDeskEntry]) -> None:
        try:
            self._must_see = await self._store.desk.append(entries)
        except Known:
            # Somebody has said it before us; having read it, we shall decide otherwise.
            await self._read_log()
            self.mailbox.offer(_DUE)
        except StoreUnavailable as error:
            log.warning("decisions_wait", reader=self._reader, reason=str(error))
            self._set_timer(self.clock.now() + round(RETRY_S * SECOND))

    async def _snapshot(self) -> None:
        position, self._saved_at = self.position, monotonic()
        self._unsaved |= self.save()
        try:
            await self._store.desk.append([], cursor=(self._reader, position), parts=self._unsaved)
        except StoreUnavailable as error:
            log.warning("snapshot_failed", reader=self._reader, reason=str(error))
        else:
            self._saved, self._unsaved = position, {}

    def _set_timer(self, at: int | None) -> None:
        if at == self._wakes_at:
            return
        self._timer.cancel()
        self._wakes_at = at
        if at is not None:
            self._timer = anyio.CancelScope()
            self._timers.start_soon(self._wake, at, self._timer)

    async def _wake(self, at: int, timer: anyio.CancelScope) -> None:
        with timer:
            await self.clock.sleep_until(at)
            self._wakes_at = None
            self.mailbox.offer(_DUE)


class _Due:
    """The time has come that was waited for."""


_DUE: Any = _Due()
