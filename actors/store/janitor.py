"""Lets go of what is old: a little at a time, so that nobody who writes has to wait for it."""

from typing import Never

import structlog

from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock
from actors.store.protocol import Store, StoreUnavailable

log = structlog.get_logger()

EVERY_S = 3600.0
BATCH = 200
BETWEEN_BATCHES_S = 0.05


class Janitor(Actor[Never]):
    """Once an hour, drops bodies and log rows that are older than they are kept; dedup keys are kept for ever."""

    def __init__(self, store: Store, clock: Clock, *, keep_bodies_s: float, keep_log_s: float) -> None:
        self._store = store
        self._clock = clock
        self._keep_bodies_s = keep_bodies_s
        self._keep_log_s = keep_log_s

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep(EVERY_S)
            try:
                dropped = await self._sweep()
            except StoreUnavailable as error:
                log.warning("retention_postponed", reason=str(error))
            else:
                log.info("retention", dropped=dropped)

    async def _sweep(self) -> int:
        now = self._clock.now()
        bodies_before = now - round(self._keep_bodies_s * SECOND)
        log_before = now - round(self._keep_log_s * SECOND)
        dropped = 0
        while batch := await self._store.prune(bodies_before=bodies_before, log_before=log_before, limit=BATCH):
            dropped += batch
            await self._clock.sleep(BETWEEN_BATCHES_S)
        return dropped
