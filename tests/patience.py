"""How tests wait on the wall clock: a busy machine needs its time, and nothing goes wrong by that."""

from actors.kernel.clock import SECOND, WallClock, io_sleep, monotonic

PATIENCE_S = 60.0
"""For what has to come. Only a test that fails waits so long."""
STEP_S = 0.02


class PatientClock:
    """Starts at `start` (UTC microseconds) and runs at `speed` times our own time, but waits for who does not keep up.

    However long this process was kept from running, no more than a step has passed when it looks again.
    """

    def __init__(self, start: int, speed: float) -> None:
        self._now = float(start)
        self._speed = speed
        self._seen = monotonic()

    def now(self) -> int:
        seen, self._seen = self._seen, monotonic()
        self._now += min(self._seen - seen, STEP_S) * self._speed * SECOND
        return int(self._now)

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.now() + round(seconds * SECOND))

    async def sleep_until(self, at: int) -> None:
        while (left := at - self.now()) > 0:
            await io_sleep(min(left / SECOND / self._speed, STEP_S / 2))


class StoppedClock(WallClock):
    """Shows `at` (UTC microseconds), and is put forward by hand."""

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        return self.at
