from typing import Never

import structlog

from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import DAEMON, Kind, NewEntry

log = structlog.get_logger()

MINUTE = 60 * SECOND


class Ticker(Actor[Never]):
    """Writes into the log that a minute has passed, at every full minute: absence can only be noticed by a timer.

    After a sleep of the machine, or a minute in which the store was away, there is one tick, not one for each missed.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep_until((self._clock.now() // MINUTE + 1) * MINUTE)
            with self.turn():
                await self._tick()

    async def _tick(self) -> None:
        at = self._clock.now() // MINUTE * MINUTE
        try:
            await self._store.append(NewEntry(Kind.TICK, DAEMON, at, {}))
        except StoreUnavailable as error:
            log.warning("tick_missed", reason=str(error))
