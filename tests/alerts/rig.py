"""A dispatcher over a real store, in virtual time, and channels that do as they are told."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from actors.alerts.channels.base import Outcome, RateLimit, RetryLater, Sent
from actors.alerts.dispatcher import Dispatcher, Wake
from actors.kernel.clock import SECOND, Clock, ScaledClock, chance
from actors.kernel.mailbox import conflate, reject
from actors.store.driver import InlineDriver
from actors.store.records import (
    DAEMON,
    Findings,
    Incident,
    Kind,
    LogEntry,
    NewNotification,
    Notification,
    Severity,
    State,
)
from actors.store.store import SqliteStore
from tests.alerts.samples import START

Behaviour = Callable[[Notification], Outcome]


@dataclass
class FakeService:
    """A channel: answers as `behaviour` says, remembers what came when, and may hang."""

    clock: Clock
    behaviour: Behaviour = lambda _: Sent()
    for_people: bool = False
    abreast: int = 1
    limit: RateLimit = field(default_factory=lambda: RateLimit(60_000, 1000))
    hangs: bool = False
    takes_s: float = 0.0
    attempts: list[tuple[int, Notification, Outcome | None]] = field(default_factory=list)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, notification: Notification) -> Outcome:
        if self.hangs:
            self.attempts.append((self.clock.now(), notification, None))
            await anyio.sleep_forever()
        if self.takes_s:
            await self.clock.sleep(self.takes_s)
        outcome = self.behaviour(notification)
        self.attempts.append((self.clock.now(), notification, outcome))
        return outcome

    @property
    def got(self) -> list[str]:
        """Keys of what was taken, in order."""
        return [notification.key for _, notification, outcome in self.attempts if isinstance(outcome, Sent)]

    @property
    def times(self) -> list[float]:
        """Seconds after START of each attempt."""
        return [(at - START) / SECOND for at, _, _ in self.attempts]


def fails_first(times: int, reason: str = "HTTP 500", after: float | None = None) -> Behaviour:
    """Not now, so many times; then it works."""
    left = [times]

    def behave(_: Notification) -> Outcome:
        left[0] -= 1
        return RetryLater(reason, after) if left[0] >= 0 else Sent()

    return behave


@dataclass
class House:
    """A store and a clock, and dispatchers that come and go."""

    store: SqliteStore
    clock: ScaledClock

    @asynccontextmanager
    async def dispatching(self, name: str, channel: FakeService) -> AsyncIterator[Dispatcher]:
        dispatcher = Dispatcher(name, channel, self.store, self.clock, chance(7))
        dispatcher.name, dispatcher.mailbox = f"alerts.{name}", conflate(1)
        await dispatcher.start()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(dispatcher.run)
                yield dispatcher
                tasks.cancel_scope.cancel()
        finally:
            await dispatcher.stop()

    async def enqueue(self, *notifications: NewNotification, wake: Sequence[Dispatcher] = ()) -> None:
        """Commit them as the scorer does, each together with its incident."""
        incidents = tuple(
            an_incident(new.incident, new.tenant, str(new.payload["signal"]), new.severity) for new in notifications
        )
        await self.store.commit_findings(Findings(cursor=0, incidents=incidents, notifications=notifications))
        for dispatcher in wake:
            dispatcher.mailbox.offer(Wake())

    async def outbox(self, channel: str = "ops") -> list[Notification]:
        """What is pending, due or not."""
        return await self.store.due(channel, 1 << 60, 10_000)

    async def alarms(self) -> list[LogEntry]:
        return [entry for entry in await self.store.read_log(0, 10_000) if entry.kind is Kind.ALARM]

    async def counts(self) -> dict[str, int]:
        return dict((await self.store.status()).notifications)


@asynccontextmanager
async def house(data_dir: Path) -> AsyncIterator[House]:
    store = SqliteStore(data_dir, driver=InlineDriver(), ballast_bytes=4096)
    store.name, store.mailbox = "store", reject(1024)
    await store.start()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            yield House(store, ScaledClock(START))
            tasks.cancel_scope.cancel()
    finally:
        await store.stop()


def an_incident(
    incident_id: str, tenant: str = DAEMON, signal: str = "channel_failed", severity: Severity = Severity.WARNING
) -> Incident:
    return Incident(
        id=incident_id,
        tenant=tenant,
        signal=signal,
        scope="ops" if signal == "channel_failed" else incident_id,
        severity=severity,
        state=State.OPEN,
        opened=START,
        updated=START,
        title="",
        evidence={},
        event_ids=(),
        quiet_s=7200,
        last_seen=START,
    )
