"""A clock on which the exchange's days pass slowly enough to be watched, and its nights in a moment."""

from bisect import bisect_right
from itertools import accumulate, pairwise

import numpy as np

from actors.kernel.clock import SECOND, io_sleep, monotonic
from strategies.sessions import MINUTE, sessions_between

EARLIER, LATER = 2 * MINUTE, 15 * MINUTE
"""What belongs to a session before its open and after its close: orders for the open, the closing of the books."""
YEARS = 3
LONGEST_NAP_S = 0.1  # while it may be told to hurry at any moment


class TimeLapse:
    """From `start` (UTC microseconds) on, when first used, `waiting_speed` times as fast as here, until told to hurry.

    Then `speed` times in sessions and `night_speed` times between them; after three years there are no more nights.
    """

    def __init__(self, start: int, *, waiting_speed: float, speed: float, night_speed: float) -> None:
        first = np.datetime64(start, "us").astype("datetime64[D]")
        sessions = sessions_between(first, first + np.timedelta64(365 * (YEARS - 1)))
        edges = np.stack([sessions.opens - EARLIER, sessions.closes + LATER], axis=1).ravel()
        later: list[int] = edges[edges > start].tolist()
        self._waiting_speed = waiting_speed
        self._hurries = False
        self._edges: list[int] = [start, *later]
        # The last edge ends a session, so the spans between the edges are days and nights in turn.
        self._speeds = [night_speed if (len(later) - n) % 2 == 0 else speed for n in range(len(later))]
        spans = zip(pairwise(self._edges), self._speeds, strict=True)
        self._reached = [0.0, *accumulate((after - before) / SECOND / pace for (before, after), pace in spans)]
        self._speeds.append(speed)
        self._origin: float | None = None

    def hurry(self) -> None:
        """Wait no longer."""
        if not self._hurries:
            self._origin = monotonic() - self._elapsed_at(self.now())
            self._hurries = True

    def now(self) -> int:
        """UTC microseconds since 1970."""
        here = monotonic()
        if self._origin is None:
            self._origin = here
        elapsed = here - self._origin
        if not self._hurries:
            return self._edges[0] + int(elapsed * self._waiting_speed * SECOND)
        n = bisect_right(self._reached, elapsed) - 1
        return self._edges[n] + int((elapsed - self._reached[n]) * self._speeds[n] * SECOND)

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds of this clock."""
        await self.sleep_until(self.now() + round(seconds * SECOND))

    async def sleep_until(self, at: int) -> None:
        """Return once `now() >= at`."""
        while (left := at - self.now()) > 0:
            assert self._origin is not None  # noqa: S101 - now() has been asked
            if self._hurries:
                await io_sleep(max(self._origin + self._elapsed_at(at) - monotonic(), 0.0))
            else:
                await io_sleep(min(left / SECOND / self._waiting_speed, LONGEST_NAP_S))

    def _elapsed_at(self, at: int) -> float:
        n = bisect_right(self._edges, at) - 1
        return self._reached[n] + (at - self._edges[n]) / SECOND / self._speeds[n]
