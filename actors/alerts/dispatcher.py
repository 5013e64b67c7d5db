"""From the outbox to a channel: one actor per channel, so that a slow or failing one holds up nothing but itself."""

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import anyio
import structlog

from actors.alerts.channels.base import Channel, Outcome, Refused, RetryLater, Sent
from actors.alerts.gather import Parcel, gather, singly
from actors.alerts.messages import rfc3339
from actors.alerts.pace import DAY, LONGEST_DELAY_S, MOST_ATTEMPTS, Health, TokenBucket, retry_delay_s
from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock, Random, monotonic
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import DAEMON, Delivery, Kind, NewEntry, Notification, Severity

DEADLINE_S = 15.0
"""For one attempt, in monotonic seconds: a turn must end well before an actor counts as stuck."""

TURN_S = 1.0
"""No attempt begins later in a turn."""

STORE_PAUSE_S = 2.0
LOOK_S = 60.0
"""While anything waits, the outbox is looked at this often: the clock may be set, and what is due moves with it."""

READ_AHEAD = 200
REMEMBERED = 1000
CHANNEL_FAILED = "channel_failed"
QUIET_S = 2 * 3600
"""Longer than the longest delay between two attempts, so that the incident does not resolve between them."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wake:
    """There may be something new in the outbox."""


class Dispatcher(Actor[Wake]):
    """Delivers what is due on one channel, at least once, under the notification's key.

    All it needs to know stands in the outbox, so starting it again is the whole recovery.
    """

    def __init__(self, channel_name: str, channel: Channel, store: Store, clock: Clock, rng: Random) -> None:
        self._channel_name = channel_name
        self._channel = channel
        self._store = store
        self._clock = clock
        self._rng = rng
        self._bucket = TokenBucket(channel.limit)
        self._paused_until = 0
        self._looked_at = 0
        self._newest: OrderedDict[str, int] = OrderedDict()  # incident → the newest row that got through
        self._timer = anyio.CancelScope()

    async def start(self) -> None:
        """Ready when the channel is open."""
        known = await self._store.incidents(tenant=DAEMON, state="open")
        told = any((one.signal, one.scope) == (CHANNEL_FAILED, self._channel_name) for one in known)
        self._health = Health(told=told)
        await self._channel.open()

    async def stop(self) -> None:
        """Whatever is under way stays in the outbox."""
        await self._channel.close()

    async def run(self) -> None:
        """Woken by mailbox or when the next row is due."""
        self.mailbox.offer(Wake())
        try:
            async with anyio.create_task_group() as self._timers:
                await super().run()
        except ExceptionGroup as group:
            # Timers raise nothing, so there is one exception: the supervisor wants it as it was.
            raise group.exceptions[0] from None

    async def receive(self, message: Wake) -> None:
        """One step, short enough for a turn. What is left is for the next."""
        del message
        try:
            again_at = await self._step()
        except* StoreUnavailable as group:
            log.warning("outbox_unavailable", channel=self._channel_name, error=str(group.exceptions[0]))
            again_at = self._clock.now() + int(STORE_PAUSE_S * SECOND)
        self._timer.cancel()
        if again_at is not None:
            self._timer = anyio.CancelScope()
            self._timers.start_soon(self._wake_at, again_at, self._timer)

    async def _wake_at(self, at: int, timer: anyio.CancelScope) -> None:
        with timer:
            await self._clock.sleep_until(at)
            self.mailbox.offer(Wake())

    async def _step(self) -> int | None:
        """Deliver some; when to come back (None: only when woken)."""
        now = self._clock.now()
        if now < self._looked_at:  # the clock was set back: what was to be waited for is by a time that is none
            self._paused_until, self._bucket = 0, TokenBucket(self._channel.limit)
        self._looked_at = now
        if now < self._paused_until:
            return self._paused_until
        # While nothing gets through, read only what is tried next, not the thousands behind it; but a person's messages
        # are gathered from all that is due.
        limit = self._channel.abreast if self._health.failures and not self._channel.for_people else READ_AHEAD
        due = await self._fresh(await self._store.due(self._channel_name, now, limit))
        if not due:
            next_due = await self._store.next_due(self._channel_name)
            if next_due is not None and next_due <= now:
                return now + SECOND
            return next_due and min(next_due, now + int(LOOK_S * SECOND))
        tokens = self._bucket.available(now)
        if not tokens:
            return self._bucket.next_at()
        parcels = gather(due) if self._channel.for_people else singly(due)
        await self._judge(await self._deliver(deque(islice(_one_per_incident(parcels), tokens))))
        return max(self._clock.now(), self._paused_until)

    async def _fresh(self, due: Sequence[Notification]) -> list[Notification]:
        """Those that are still worth sending; the others are settled."""
        now = self._clock.now()
        fresh = []
        for row in due:
            if self._newest.get(row.incident, 0) > row.id:
                # Held back (quiet hours, a flood) and overtaken by worse news of the same incident.
                await self._store.settle(row.id, Delivery.DELIVERED, attempts=row.attempts, at=now, error="overtaken")
            elif self._health.failing and now - row.created > DAY:
                await self._give_up(row, row.attempts, f"gave up after a day: {row.error or 'the channel is down'}")
            else:
                fresh.append(row)
        return fresh

    async def _deliver(self, parcels: deque[Parcel]) -> list[Outcome]:
        """Send from the front of `parcels`, several abreast, until one fails or the turn has lasted long enough."""
        outcomes: list[Outcome] = []
        enough_at = monotonic() + TURN_S

        async def work() -> None:
            while parcels and monotonic() < enough_at:
                parcel = parcels.popleft()
                self._bucket.take(1, self._clock.now())
                outcome = await self._attempt(parcel.notification)
                outcomes.append(outcome)
                if isinstance(outcome, RetryLater):
                    parcels.clear()
                await self._settle(parcel, outcome)

        async with anyio.create_task_group() as tasks:
            for _ in range(min(self._channel.abreast, len(parcels))):
                tasks.start_soon(work)
        return outcomes

    async def _attempt(self, notification: Notification) -> Outcome:
        try:
            with anyio.fail_after(DEADLINE_S):
                return await self._channel.send(notification)
        except TimeoutError:
            return RetryLater(f"no answer within {DEADLINE_S:.0f} s")
        except OSError as error:
            return RetryLater(f"{type(error).__name__}: {error.strerror or 'connection failed'}")
        except Exception as error:
            # A fault of ours in one message must not stop the others; it is retried, told and at last marked failed.
            log.exception("channel_fault", channel=self._channel_name, notification=notification.key)
            return RetryLater(f"internal fault: {type(error).__name__}")

    async def _settle(self, parcel: Parcel, outcome: Outcome) -> None:
        now = self._clock.now()
        # One delay for all rows of a parcel: what was gathered stays together.
        tried = max(row.attempts for row in parcel.rows) + 1
        asked = outcome.after if isinstance(outcome, RetryLater) else None
        delay_s = retry_delay_s(tried, asked, self._rng)
        for row in parcel.rows:
            attempts = row.attempts + 1
            if isinstance(outcome, Sent):
                # A message about many incidents is the first of none of them.
                message = outcome.message if parcel.notification.incident else ""
                await self._store.settle(row.id, Delivery.DELIVERED, attempts=attempts, at=now, message=message)
                self._remember(row)
                self._log("notification_delivered", row, attempts=attempts, after_ms=(now - row.created) // 1000)
            elif isinstance(outcome, Refused) or attempts >= MOST_ATTEMPTS:
                await self._give_up(row, attempts, outcome.reason)
            else:
                again = now + int(delay_s * SECOND)
                await self._store.settle(
                    row.id, Delivery.PENDING, attempts=attempts, at=now, not_before=again, error=outcome.reason
                )
                self._log(
                    "notification_retried", row, attempts=attempts, delay_s=round(delay_s, 1), error=outcome.reason
                )

    async def _give_up(self, row: Notification, attempts: int, reason: str) -> None:
        await self._store.settle(row.id, Delivery.FAILED, attempts=attempts, at=self._clock.now(), error=reason)
        self._log("notification_failed", row, attempts=attempts, error=reason)

    async def _judge(self, outcomes: Sequence[Outcome]) -> None:
        """Pause as the service asks, or because nothing gets through; tell of lasting trouble on the other channels."""
        now = self._clock.now()
        asked_s = max((outcome.after or 0.0 for outcome in outcomes if isinstance(outcome, RetryLater)), default=0.0)
        self._paused_until = now + int(min(asked_s, LONGEST_DELAY_S) * SECOND)
        if any(isinstance(outcome, Sent) for outcome in outcomes):
            self._health.worked()
            if self._health.told:
                await self._raise_alarm({"signal": CHANNEL_FAILED, "scope": self._channel_name, "resolved": True})
                self._health.told = False
            return
        self._health.failed(now)
        refused = all(isinstance(outcome, Refused) for outcome in outcomes)
        if not refused:
            # Half of what its rows wait, so that a message which alone is the trouble does not block the others.
            pause_s = retry_delay_s(self._health.failures, None, self._rng) / 2
            self._paused_until = max(self._paused_until, now + int(pause_s * SECOND))
        if self._health.failing or refused or self._health.silent(self._paused_until):
            reason = next(outcome.reason for outcome in outcomes if not isinstance(outcome, Sent))
            await self._raise_alarm(self._alarm(reason))
            self._health.told = True

    def _alarm(self, reason: str) -> dict[str, object]:
        return {
            "signal": CHANNEL_FAILED,
            "scope": self._channel_name,
            "severity": Severity.WARNING.value,
            "title": f"the channel {self._channel_name} does not deliver: {reason}",
            "evidence": {
                "channel": self._channel_name,
                "error": reason,
                "failures": self._health.failures,
                "since": rfc3339(self._health.since),
            },
            "quiet_s": QUIET_S,
        }

    async def _raise_alarm(self, data: dict[str, object]) -> None:
        await self._store.append(NewEntry(Kind.ALARM, DAEMON, self._clock.now(), data))

    def _remember(self, row: Notification) -> None:
        if row.incident:
            self._newest[row.incident] = row.id
            self._newest.move_to_end(row.incident)
            if len(self._newest) > REMEMBERED:
                self._newest.popitem(last=False)

    def _log(self, event: str, row: Notification, **fields: object) -> None:
        log.info(event, channel=self._channel_name, notification=row.key, incident=row.incident, **fields)


def _one_per_incident(parcels: Iterator[Parcel]) -> Iterator[Parcel]:
    """The first of each incident: what follows must not overtake it."""
    seen: set[str] = set()
    for parcel in parcels:
        incidents = {row.incident or row.key for row in parcel.rows}
        if seen.isdisjoint(incidents):
            yield parcel
        seen |= incidents
