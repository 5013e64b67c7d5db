"""Bounded mailboxes: how a message waits, and who learns of it when there is no room.

A mailbox outlives the actors that read it, so what survives a crash is here: the queue, what is in flight, the meter.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, TypeVar, cast

from actors.kernel.metrics import LONG_TURN_S, Meter

M = TypeVar("M")

YIELD_EVERY = 64
"""Messages after which `take` lets others run: a reader with a backlog would otherwise never give up the loop."""


class Overflow(Enum):
    """What becomes of a message that finds the mailbox full."""

    BLOCK = auto()  # `put` waits for room; `offer` is refused
    REJECT = auto()  # the sender is told at once
    DROP_OLDEST = auto()  # the oldest makes room, and a `Gap` tells the reader
    CONFLATE = auto()  # per key only the newest waits, in the place of the first; a key too many is refused


class MailboxFull(Exception):
    """There was no room, or the request was dropped to make room: it was not handled."""


class ActorDown(Exception):
    """Nobody reads this mailbox: its actor failed, is in quarantine or has stopped."""


class AskCycle(Exception):
    """The asked actor waits, directly or through others, for the asker: the answer could never come."""


class Drained(Exception):
    """Raised by `take` in an actor that is to end. Let it pass."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Here `dropped` messages were lost; those after it are newer."""

    dropped: int


@dataclass(frozen=True, slots=True, eq=False)
class Ask(Generic[M]):
    """A request whose sender waits for the answer."""

    request: M
    reply: "asyncio.Future[Any]"

    @property
    def expired(self) -> bool:
        """Whether nobody waits any more: it is answered, too late, or the asker has gone."""
        return self.reply.done()

    def answer(self, value: object) -> None:
        """Give the asker its answer, if it still waits."""
        if not self.reply.done():
            self.reply.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Raise `error` in the asker, if it still waits."""
        if not self.reply.done():
            self.reply.set_exception(error)


_reader: "ContextVar[Mailbox[Any] | None]" = ContextVar("reader", default=None)


class Mailbox(Generic[M]):
    """A bounded queue with many senders and one reader at a time.

    What `take` returned is in flight until the next `take`, or until `done` is called for it. What was in flight when
    an actor died goes back to the front and is then taken one by one, so that a message that kills is found out.
    """

    def __init__(
        self, capacity: int, overflow: Overflow = Overflow.BLOCK, *, key: Callable[[M], Hashable] | None = None
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox holds at least one message, not {capacity}")
        self.capacity = capacity
        self.overflow = overflow
        self.meter = Meter()
        self.busy_since: float | None = None
        """Monotonic seconds at which the turn in hand began; None while waiting for work."""
        self.asking: list[Mailbox[Any]] = []
        """Those whose answers the reader waits for."""
        self._key = key
        self._queue: deque[Any] = deque()  # messages; the keys of messages when conflating
        self._newest: dict[Hashable, Any] | None = {} if overflow is Overflow.CONFLATE else None
        self._blocked: dict[asyncio.Future[Any], M | Ask[M]] = {}
        self._taker: asyncio.Future[None] | None = None
        self._batch: list[M | Ask[M]] = []
        self._handled = 0
        self._closed: str | None = None
        self._easy = 0
        """Below this depth a message is simply appended: the capacity, or 0 when conflating or closed."""
        self._asked = False
        self._gap = 0
        self._one_by_one = 0
        self._unyielded = 0
        self.open()

    @property
    def depth(self) -> int:
        """Messages waiting."""
        return len(self._queue)

    @property
    def high_water(self) -> int:
        """The most that ever waited."""
        # Between two takes the depth only grows: looking at it there and here misses no peak.
        return max(self.meter.high_water, len(self._queue))

    @property
    def in_flight(self) -> list[M | Ask[M]]:
        """Taken and not finished, oldest first."""
        return self._batch[self._handled :]

    def offer(self, message: M) -> bool:
        """Hand over without waiting; False: refused, and counted."""
        if len(self._queue) >= self._easy:
            return self._squeeze_in(message)
        self._queue.append(message)
        self.meter.accepted += 1
        if self._taker is not None:
            self._wake()
        return True

    def _squeeze_in(self, message: M) -> bool:
        if self._closed is not None:
            return self._refuse("closed")
        if self._newest is not None:
            return self._conflate(message, self._newest)
        if self.overflow is not Overflow.DROP_OLDEST:
            return self._refuse("full")
        self._drop_oldest()
        return self._append(message)

    def _conflate(self, message: M, newest: dict[Hashable, Any]) -> bool:
        key = self._key_of(message)
        if key in newest:
            newest[key] = message
            self.meter.accepted += 1
            self.meter.dropped["conflated"] += 1
            return True
        if len(newest) >= self.capacity:
            return self._refuse("full")
        newest[key] = message
        return self._append(key)

    def _append(self, entry: object) -> bool:
        self._queue.append(entry)
        self.meter.accepted += 1
        self._wake()
        return True

    async def put(self, message: M) -> None:
        """Hand over, waiting for room if the mailbox blocks; raises MailboxFull or ActorDown when refused.

        Cancelled while it waits, the message may have been handed over or not.
        """
        if len(self._queue) >= self._easy and self._must_wait:
            await self._wait_for_room(message, asyncio.get_running_loop().create_future())
        elif not self.offer(message):
            raise self._refusal()

    async def ask(self, request: M, timeout: float) -> Any:  # noqa: ASYNC109 - the deadline also tells the reader
        """The actor's answer to `request`, or the exception it raised; TimeoutError after `timeout` monotonic seconds.

        After MailboxFull, ActorDown or AskCycle the request was not handled; after a TimeoutError nobody knows.
        """
        loop = asyncio.get_running_loop()
        ask = Ask(request, loop.create_future())
        self._asked = True
        asker = _reader.get()
        if asker is not None:
            if self.leads_to(asker):
                raise AskCycle("the asked actor waits for the asker")
            asker.asking.append(self)
        timer = loop.call_later(timeout, lambda: ask.fail(TimeoutError(f"no answer within {timeout} s")))
        try:
            if self._must_wait:
                return await self._wait_for_room(ask, ask.reply)
            if not self.offer(cast("M", ask)):
                raise self._refusal()
            return await ask.reply
        finally:
            timer.cancel()
            if asker is not None:
                asker.asking.remove(self)

    def leads_to(self, other: "Mailbox[Any]") -> bool:
        """Whether this mailbox's reader is `other`'s, or waits for it through others."""
        return self is other or any(mailbox.leads_to(other) for mailbox in self.asking)

    async def take(self, limit: int = YIELD_EVERY, *, gather: int = 0) -> list[M | Ask[M]]:
        """Wait for at least one message and take up to `limit`, oldest first. What was taken before is finished.

        Where fewer than `gather` wait, more are waited for as long as each turn of the loop brings some. A cancelled
        take has taken nothing. Raises Drained when the actor is to end and nothing is left.
        """
        loop = asyncio.get_running_loop()
        if self.busy_since is not None:
            self._finish(len(self._batch) - self._handled, loop.time())
        if self._unyielded >= YIELD_EVERY:
            self._unyielded = 0
            await asyncio.sleep(0)  # noqa: TID251 - a yield, not a wait
        seen = 0
        while True:
            if seen < len(self._queue) < gather:
                seen = len(self._queue)
                await asyncio.sleep(0)  # noqa: TID251 - a yield, not a wait
                continue
            if batch := self._pop(limit):
                break
            if self._queue:
                continue
            if self._closed is not None:
                raise Drained
            seen = self._unyielded = 0
            self._taker = loop.create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        self._unyielded += len(batch)
        self._batch, self._handled, self.busy_since = batch, 0, loop.time()
        return batch

    def _pop(self, limit: int) -> list[M | Ask[M]]:
        queue, meter = self._queue, self.meter
        depth = len(queue)
        meter.high_water = max(meter.high_water, depth)
        if self._one_by_one and queue:
            self._one_by_one -= 1
            limit = 1
        if self._gap:
            queue.appendleft(Gap(self._gap))
            self._gap = 0
        if limit >= len(queue):
            batch = [*queue]
            queue.clear()
        else:
            batch = [queue.popleft() for _ in range(limit)]
        if self._newest is not None:
            batch = [self._newest.pop(key) for key in batch]
        if self._asked:
            waiting = [item for item in batch if type(item) is not Ask or not item.expired]
            if expired := len(batch) - len(waiting):
                meter.dropped["expired"] += expired
            batch = waiting
        while self._blocked and len(queue) < self.capacity:
            self._admit()
        return batch

    def done(self, count: int = 1) -> None:
        """The first `count` messages in flight are finished, and with them the turn."""
        self._finish(count, asyncio.get_running_loop().time())

    def _finish(self, count: int, now: float) -> None:
        meter = self.meter
        if self.busy_since is not None:
            spent = now - self.busy_since
            meter.busy_s += spent
            if spent > LONG_TURN_S:
                meter.long_turns += 1
        meter.finished += count
        if self.overflow is Overflow.DROP_OLDEST:
            meter.finished -= sum(type(item) is Gap for item in self.in_flight[:count])
        self._handled += count
        self.busy_since = now if self._handled < len(self._batch) else None

    def discard(self, reason: str) -> None:
        """The first message in flight will not be handled."""
        self._handled += 1
        self.meter.dropped[reason] += 1

    # What follows is for the supervisor.

    def adopt(self) -> None:
        """The current task, and every task it starts, is the reader: what it asks is asked by this actor."""
        _reader.set(self)

    def open(self) -> None:
        """Accept messages (again)."""
        self._closed = None
        self._easy = 0 if self.overflow is Overflow.CONFLATE else self.capacity

    def close(self, why: str, *, drain: bool = False) -> None:
        """Accept no more, and tell those who wait for room or (unless what is queued will be drained) for an answer."""
        self._closed, self._easy = why, 0
        asked = [] if drain else [item.reply for item in self._queue if type(item) is Ask]
        for future in [*self._blocked, *asked]:
            if not future.done():
                future.set_exception(ActorDown(why))
        self._blocked.clear()
        self._wake()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._queue and not self.in_flight

    def give_back(self) -> None:
        """Put what is in flight back to the front."""
        back = self.in_flight
        self._batch, self._handled, self.busy_since = [], 0, None
        if back and self._gap:
            self._queue.appendleft(Gap(self._gap))
            self._gap = 0
        for item in reversed(back):
            if self._newest is None:
                self._queue.appendleft(item)
            elif (key := self._key_of(item)) in self._newest:
                self.meter.dropped["conflated"] += 1
            else:
                self._newest[key] = item
                self._queue.appendleft(key)
        self._one_by_one = len(back)

    def _key_of(self, item: M | Ask[M]) -> Hashable:
        # Every ask has its own asker, so none stands for another.
        if isinstance(item, Ask):
            return item
        return None if self._key is None else self._key(item)

    def _drop_oldest(self) -> None:
        while self._queue and type(oldest := self._queue.popleft()) is Gap:
            self._gap += oldest.dropped
        if type(oldest) is not Gap:
            self._gap += 1
            self.meter.dropped["oldest"] += 1
            if type(oldest) is Ask:
                oldest.fail(MailboxFull("dropped for a newer message"))

    @property
    def _must_wait(self) -> bool:
        return self.overflow is Overflow.BLOCK and self._closed is None and len(self._queue) >= self.capacity

    async def _wait_for_room(self, item: M | Ask[M], future: "asyncio.Future[Any]") -> Any:
        self._blocked[future] = item
        try:
            return await future
        finally:
            self._blocked.pop(future, None)

    def _admit(self) -> None:
        future = next(iter(self._blocked))
        item = self._blocked.pop(future)
        if not future.done():
            self._queue.append(item)
            self.meter.accepted += 1
            if type(item) is not Ask:
                future.set_result(None)

    def _refuse(self, reason: str) -> bool:
        self.meter.dropped[reason] += 1
        return False

    def _refusal(self) -> Exception:
        return MailboxFull(f"{self.capacity} messages wait") if self._closed is None else ActorDown(self._closed)

    def _wake(self) -> None:
        taker, self._taker = self._taker, None
        if taker is not None and not taker.done():
            taker.set_result(None)


def block(capacity: int) -> Mailbox[Any]:
    """Back-pressure: senders wait for room."""
    return Mailbox(capacity, Overflow.BLOCK)


def reject(capacity: int) -> Mailbox[Any]:
    """Senders are told that there is no room."""
    return Mailbox(capacity, Overflow.REJECT)


def drop_oldest(capacity: int) -> Mailbox[Any]:
    """The newest messages, and a `Gap` in the place of the others."""
    return Mailbox(capacity, Overflow.DROP_OLDEST)


def conflate(capacity: int, key: Callable[[Any], Hashable] | None = None) -> Mailbox[Any]:
    """The newest message of each of up to `capacity` keys; without a key, of all."""
    return Mailbox(capacity, Overflow.CONFLATE, key=key)
