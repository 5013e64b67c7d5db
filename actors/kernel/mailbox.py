"""Bounded mailboxes: how a message waits, who is told when there is no room, and what is counted.

A mailbox outlives the actor that reads it, so what must survive a crash is here: the queue, the messages in flight and the counters.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from actors.kernel.clock import monotonic

M = TypeVar("M")

YIELD_EVERY = 64
"""Messages after which `take` lets others run: a full queue alone would never give up the loop."""

LONG_TURN_S = 0.1
"""Turns longer than this are counted: they are what everyone else waits for."""


class Overflow(Enum):
    """What happens to a message that finds the mailbox full."""

    BLOCK = auto()
    """`put` waits for room; `offer` refuses."""
    REJECT = auto()
    """The sender is told at once."""
    DROP_OLDEST = auto()
    """The oldest makes room and a `Gap` tells the reader."""
    CONFLATE = auto()
    """Only the newest message of each key waits, in the place of the first; a key too many is refused."""


class MailboxFull(Exception):
    """There was no room and the mailbox does not wait; or the message was dropped to make room."""


class ActorDown(Exception):
    """No actor will read this mailbox: it failed, is in quarantine or has stopped."""


class AskCycle(Exception):
    """The asked actor is, directly or through others, waiting for the asker: the answer could never come."""


class Drained(Exception):  # noqa: N818 - a signal to the supervisor, not an error
    """Raised by `take` in an actor that shall end: what it was to handle is handled."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Stands where `dropped` older messages were lost, before the ones that are left."""

    dropped: int


@dataclass(frozen=True, slots=True, eq=False)
class Ask(Generic[M]):
    """A request whose sender waits for the answer until `deadline` (monotonic seconds)."""

    request: M
    deadline: float
    _reply: "asyncio.Future[Any]"

    @property
    def expired(self) -> bool:
        """Whether nobody waits any more: answered, past the deadline, or the asker went away."""
        return self._reply.done()

    def answer(self, value: object) -> None:
        """Give the asker its answer, if it still waits."""
        if not self._reply.done():
            self._reply.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Raise `error` in the asker, if it still waits."""
        if not self._reply.done():
            self._reply.set_exception(error)


_reader: ContextVar["Mailbox[Any] | None"] = ContextVar("reader", default=None)


class Mailbox(Generic[M]):
    """A bounded queue with many senders and one reader at a time.

    `in_flight` holds what was taken and is not finished; the next `take` (or `done`, one by one) finishes it. After a crash
    `recover` puts it back in front, to be taken one message at a time, so that the culprit shows itself.
    """

    def __init__(
        self, capacity: int, overflow: Overflow = Overflow.BLOCK, *, key: Callable[[M], Hashable] | None = None
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox holds at least one message, not {capacity}")
        if key is not None and overflow is not Overflow.CONFLATE:
            raise ValueError("only a conflating mailbox has keys")
        self.capacity = capacity
        self.overflow = overflow
        self.in_flight: deque[M | Ask[M]] = deque()
        self.busy_since: float | None = None
        self.busy_s = 0.0
        self.long_turns = 0
        self.accepted = 0
        self.finished = 0
        self.dropped: Counter[str] = Counter()
        self._key = key
        self._queue: deque[Any] = deque()
        self._newest: dict[Hashable, Any] = {}
        self._blocked: deque[tuple[M | Ask[M], asyncio.Future[Any]]] = deque()
        self._taker: asyncio.Future[None] | None = None
        self._closed: str | None = None
        self._ending: str | None = None
        self._gap = 0
        self._high_water = 0
        self._one_by_one = 0
        self._unyielded = 0
        self._asking: Counter[Mailbox[Any]] = Counter()

    # --- sending -----------------------------------------------------------------------------------------------------

    def offer(self, message: M) -> bool:
        """Hand over without waiting; False: refused, and counted under the reason."""
        return self._offer(message)

    def _offer(self, item: M | Ask[M]) -> bool:
        if self._closed is not None:
            return self._refuse("closed")
        if self.overflow is Overflow.CONFLATE:
            return self._conflate(item)
        queue = self._queue
        if len(queue) >= self.capacity:
            if self.overflow is not Overflow.DROP_OLDEST:
                return self._refuse("full")
            self._drop_oldest()
        queue.append(item)
        self.accepted += 1
        if self._taker is not None:
            self._wake()
        return True

    async def put(self, message: M) -> None:
        """Hand over, waiting for room in a blocking mailbox; else raises MailboxFull. ActorDown: nobody will read it."""
        if self.overflow is Overflow.BLOCK and self._closed is None and len(self._queue) >= self.capacity:
            room: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            await self._wait_for(room, message)
        elif not self._offer(message):
            raise self._refusal()

    async def ask(self, request: M, timeout: float) -> Any:  # noqa: ANN401, ASYNC109 - the answer is the actor's; the deadline must travel with the request
        """The actor's answer to `request`, or the exception it raised; TimeoutError after `timeout` monotonic seconds.

        MailboxFull and ActorDown say that the request was not handled; after a TimeoutError it may have been, or may yet be.
        """
        asker = _reader.get()
        if asker is not None and self._waits_for(asker):
            raise AskCycle("the asked actor waits for the asker")
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        ask = Ask(request, loop.time() + timeout, reply)
        timer = loop.call_at(ask.deadline, ask.fail, TimeoutError(f"no answer within {timeout} s"))
        if asker is not None:
            asker._asking[self] += 1
        try:
            if self.overflow is Overflow.BLOCK and self._closed is None and len(self._queue) >= self.capacity:
                return await self._wait_for(reply, ask)
            if not self._offer(ask):
                raise self._refusal()
            return await reply
        finally:
            timer.cancel()
            if asker is not None:
                asker._asking[self] -= 1
                asker._asking += Counter()

    def _waits_for(self, asker: "Mailbox[Any]") -> bool:
        return self is asker or any(mailbox._waits_for(asker) for mailbox in self._asking)

    async def _wait_for(self, future: "asyncio.Future[Any]", item: M | Ask[M]) -> Any:  # noqa: ANN401 - as ask
        place = (item, future)
        self._blocked.append(place)
        try:
            return await future
        finally:
            if place in self._blocked:
                self._blocked.remove(place)

    def _admit_blocked(self) -> None:
        while self._blocked and len(self._queue) < self.capacity:
            item, future = self._blocked.popleft()
            if future.done():
                continue
            self._queue.append(item)
            self.accepted += 1
            if not isinstance(item, Ask):
                future.set_result(None)

    def _conflate(self, item: M | Ask[M]) -> bool:
        key = self._key_of(item)
        if key in self._newest:
            self.dropped["conflated"] += 1
        elif len(self._queue) >= self.capacity:
            return self._refuse("full")
        else:
            self._queue.append(key)
        self._newest[key] = item
        self.accepted += 1
        if self._taker is not None:
            self._wake()
        return True

    def _key_of(self, item: M | Ask[M]) -> Hashable:
        # Every ask has its own asker, so no ask stands for another.
        if isinstance(item, Ask):
            return item
        return None if self._key is None else self._key(item)

    def _drop_oldest(self) -> None:
        oldest = self._queue.popleft()
        self._gap += 1
        self.dropped["oldest"] += 1
        if isinstance(oldest, Ask):
            oldest.fail(MailboxFull("dropped for a newer message"))

    def _refuse(self, reason: str) -> bool:
        self.dropped[reason] += 1
        return False

    def _refusal(self) -> Exception:
        return MailboxFull(f"{self.capacity} messages wait") if self._closed is None else ActorDown(self._closed)

    def _wake(self) -> None:
        taker, self._taker = self._taker, None
        if taker is not None and not taker.done():
            taker.set_result(None)

    # --- taking ------------------------------------------------------------------------------------------------------

    async def take(self, limit: int = YIELD_EVERY) -> list[M | Ask[M]]:
        """Wait for at least one message and take up to `limit`, oldest first; what was taken before counts as handled.

        A cancelled take has taken nothing.
        """
        if self.busy_since is not None:
            self.finished += len(self.in_flight)
            self.in_flight.clear()
            self._end_turn()
        if self._unyielded >= YIELD_EVERY:
            self._unyielded = 0
            await asyncio.sleep(0)  # noqa: TID251 - a yield to the loop, not a wait
        loop = asyncio.get_running_loop()
        while True:
            waiting = self._queue or self._gap
            if self._ending == "now" or (self._ending and not waiting):
                raise Drained
            if not waiting:
                self._unyielded = 0
                self._taker = loop.create_future()
                try:
                    await self._taker
                finally:
                    self._taker = None
                continue
            batch = self._pop(limit)
            if batch:
                self._unyielded += len(batch)
                self.in_flight.extend(batch)
                self.busy_since = loop.time()
                return batch

    def _pop(self, limit: int) -> list[M | Ask[M]]:
        queue = self._queue
        self._high_water = max(self._high_water, len(queue))
        if self._one_by_one:
            self._one_by_one -= 1
            limit = 1
        batch: list[Any] = []
        if self._gap:
            batch.append(Gap(self._gap))
            self._gap = 0
        while queue and len(batch) < limit:
            item = queue.popleft()
            if self.overflow is Overflow.CONFLATE:
                item = self._newest.pop(item)
            if type(item) is Ask and item.expired:
                self.dropped["expired"] += 1
            else:
                batch.append(item)
        if self._blocked:
            self._admit_blocked()
        return batch

    def done(self) -> None:
        """The first message in flight is handled."""
        self.in_flight.popleft()
        self.finished += 1
        self._end_turn()
        if self.in_flight:
            self.busy_since = monotonic()

    def begin_turn(self) -> None:
        """From now on the actor is busy, as seen by the supervisor and the watchdog."""
        self.busy_since = monotonic()

    def end_turn(self) -> None:
        """The actor waits for work again."""
        if self.busy_since is not None:
            self._end_turn()

    def _end_turn(self) -> None:
        assert self.busy_since is not None  # noqa: S101 - a turn that ends has begun
        spent = monotonic() - self.busy_since
        self.busy_since = None
        self.busy_s += spent
        if spent > LONG_TURN_S:
            self.long_turns += 1

    # --- for the supervisor ------------------------------------------------------------------------------------------

    def adopt(self) -> None:
        """The running task, and every task it starts, reads this mailbox: what it asks is asked by this actor."""
        _reader.set(self)

    def open(self) -> None:
        """An actor reads (again)."""
        self._closed = self._ending = None

    def close(self, why: str) -> None:
        """Refuse from now on; whoever waits for room or for an answer is told. What else is queued stays."""
        self._closed = why
        while self._blocked:
            _, future = self._blocked.popleft()
            if not future.done():
                future.set_exception(ActorDown(why))

    def fail_asks(self, why: str) -> None:
        """Nobody will answer what still waits here."""
        for item in [*self._queue]:
            if isinstance(item, Ask):
                item.fail(ActorDown(why))

    def wind_up(self, *, drain: bool) -> bool:
        """The next `take` ends the actor, at once or (drain) when nothing is left; False when nobody is taking."""
        taking = self._taker is not None or bool(self.in_flight) or bool(self._queue)
        self._ending = "drained" if drain else "now"
        self._wake()
        return taking

    def give_back(self, messages: list[M | Ask[M]]) -> None:
        """To the front, in order, to be taken one at a time."""
        for item in reversed(messages):
            if isinstance(item, Gap):
                self._gap += item.dropped
            elif self.overflow is not Overflow.CONFLATE:
                self._queue.appendleft(item)
            elif (key := self._key_of(item)) in self._newest:
                self.dropped["conflated"] += 1
            else:
                self._newest[key] = item
                self._queue.appendleft(key)
        self._one_by_one = len(messages)
        if messages:
            self._wake()

    def recover(self) -> M | Ask[M] | None:
        """Give back what was in flight at a crash; the first of it is the suspect, if there is one."""
        self.end_turn()
        messages = [*self.in_flight]
        self.in_flight.clear()
        self.give_back(messages)
        return messages[0] if messages else None

    def bury(self, error: BaseException) -> None:
        """Take the first message away; it has become a dead letter."""
        item = self._queue.popleft()
        if self.overflow is Overflow.CONFLATE:
            item = self._newest.pop(item)
        self._one_by_one = max(0, self._one_by_one - 1)
        self.dropped["dead_letter"] += 1
        if isinstance(item, Ask):
            item.fail(error)

    # --- metrics -----------------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Messages waiting now."""
        return len(self._queue)

    @property
    def high_water(self) -> int:
        """The most that ever waited."""
        # The depth only grows between two takes, so looking at it there, and here, misses no peak.
        return max(self._high_water, len(self._queue))


def block(capacity: int) -> Mailbox[Any]:
    """Back-pressure: senders wait for room."""
    return Mailbox(capacity, Overflow.BLOCK)


def reject(capacity: int) -> Mailbox[Any]:
    """Senders are told that there is no room."""
    return Mailbox(capacity, Overflow.REJECT)


def drop_oldest(capacity: int) -> Mailbox[Any]:
    """The newest messages and a `Gap` for the others."""
    return Mailbox(capacity, Overflow.DROP_OLDEST)


def conflate(capacity: int, key: Callable[[Any], Hashable] | None = None) -> Mailbox[Any]:
    """The newest message of each of at most `capacity` keys; without a key all messages stand for each other."""
    return Mailbox(capacity, Overflow.CONFLATE, key=key)
