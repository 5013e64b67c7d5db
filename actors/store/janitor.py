"""Lets go of what is old: a little at a time, so that nobody who writes has to wait for it."""

from typing import Never

import structlog

from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock, monotonic
from actors.store.alarm import Alarm
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import DAEMON, Kind, NewEntry, Severity

log = structlog.get_logger()

EVERY_S = 3600.0
BATCH = 200
BETWEEN_BATCHES_S = 0.05
LEAP_S = 2 * 86_400.0
"""The clock is this far ahead of the log, or of the time that has passed: it was wrong, or is wrong now."""

PROBATION_S = 86_400.0
"""So long, as measured, a clock that leapt must then run evenly before anything is dropped by it."""


class Janitor(Actor[Never]):
    """Looks over a large database once. Then, once an hour, drops what is older than it is kept: bodies, log rows and
    resolved incidents.

    Dedup keys are kept for ever, and everything is kept while the clock cannot be believed: what was dropped a year
    too early does not come back when the clock is set right.
    """

    def __init__(self, store: Store, clock: Clock, *, keep_bodies_s: float, keep_log_s: float) -> None:
        self._store = store
        self._clock = clock
        self._keep_bodies_s = keep_bodies_s
        self._keep_log_s = keep_log_s
        self._believed_at = 0.0  # from when on, in monotonic seconds
        self._looked: tuple[int, float] = (0, 0.0)  # at the clock, in both times

    async def start(self) -> None:
        """Compare the clock with the log, which an earlier life has left."""
        self._looked = self._clock.now(), monotonic()
        last = (await self._store.status()).last_seq
        for entry in await self._store.read_log(last - 1, 1):
            self._judge((self._clock.now() - entry.at) / SECOND)

    async def run(self) -> None:
        """For ever."""
        await self._examine()
        while True:
            await self._clock.sleep(EVERY_S)
            if not self._believable():
                log.warning("retention_postponed", reason="the clock leapt ahead; nothing is dropped for a day")
                continue
            try:
                dropped = await self._sweep()
            except StoreUnavailable as error:
                log.warning("retention_postponed", reason=str(error))
            else:
                log.info("retention", dropped=dropped)

    async def _examine(self) -> None:
        try:
            damage = await self._store.examine()
            if damage is not None:
                log.error("database_damaged", finding=damage)
                first = "Stop nightdesk and restore a backup: nightdesk restore FILE."
                alarm = Alarm(
                    "store_trouble", "database", f"The database is damaged ({damage})", Severity.CRITICAL, first
                )
                await self._store.append(NewEntry(Kind.ALARM, DAEMON, self._clock.now(), alarm.data))
        except StoreUnavailable as error:
            log.warning("database_not_examined", reason=str(error))

    def _believable(self) -> bool:
        """Whether the clock has shown as much time as has passed since the last look, and did so for long enough."""
        clock, passed = self._looked
        self._looked = self._clock.now(), monotonic()
        self._judge((self._looked[0] - clock) / SECOND - (self._looked[1] - passed))
        return monotonic() >= self._believed_at

    def _judge(self, ahead_s: float) -> None:
        if ahead_s > LEAP_S:
            self._believed_at = monotonic() + PROBATION_S

    async def _sweep(self) -> int:
        now = self._clock.now()
        bodies_before = now - round(self._keep_bodies_s * SECOND)
        log_before = now - round(self._keep_log_s * SECOND)
        dropped = 0
        while batch := await self._store.prune(bodies_before=bodies_before, log_before=log_before, limit=BATCH):
            dropped += batch
            await self._clock.sleep(BETWEEN_BATCHES_S)
        return dropped
