"""A clock on which the exchange's days pass slowly enough to be watched, and its nights in a moment."""

import asyncio
from bisect import bisect_right
from contextlib import suppress
from itertools import accumulate, pairwise

import numpy as np

from actors.kernel.clock import SECOND, monotonic
from strategies.sessions import MINUTE, sessions_between

OPENING = MINUTE // 2, 2 * MINUTE
"""Before the open, and after it, when all that was decided over night is traded at once."""
LATER = 15 * MINUTE
"""After the close the books are closed."""
YEARS = 3


class TimeLapse:
    """Starts at `start` (UTC microseconds) when first used, and either dawdles or hurries.

    It dawdles, at first and at every open, `dawdling_speed` times as fast as time here. When it hurries it runs `speed`
    times as fast in sessions and `night_speed` times between them; after three years there are no more nights.
    """

    def __init__(self, start: int, *, dawdling_speed: float, speed: float, night_speed: float) -> None:
        first = np.datetime64(start, "us").astype("datetime64[D]")
        sessions = sessions_between(first, first + np.timedelta64(365 * (YEARS - 1)))
        before, after = OPENING
        edges = np.stack([sessions.opens - before, sessions.opens + after, sessions.closes + LATER], axis=1).ravel()
        later: list[int] = edges[edges > start].tolist()
        self._edges: list[int] = [start, *later]
        # The last edge ends a session: the spans between them are night, opening, day, and again.
        paces = (night_speed, dawdling_speed, speed)
        self._speeds = [paces[(n - len(later)) % 3] for n in range(len(later))]
        spans = zip(pairwise(self._edges), self._speeds, strict=True)
        self._reached = [0.0, *accumulate((after - before) / SECOND / pace for (before, after), pace in spans)]
        self._speeds.append(speed)
        self._dawdling_speed = dawdling_speed
        self._hurries = False
        self._since: tuple[float, int] | None = None  # when it changed its pace: seconds here, microseconds there
        self._changed = asyncio.Event()

    def hurry(self) -> None:
        """Run fast."""
        self._change(hurries=True)

    def dawdle(self) -> None:
        """Run slowly."""
        self._change(hurries=False)

    def now(self) -> int:
        """UTC microseconds since 1970."""
        here = monotonic()
        if self._since is None:
            self._since = here, self._edges[0]
        elapsed, there = here - self._since[0], self._since[1]
        if not self._hurries:
            return there + int(elapsed * self._dawdling_speed * SECOND)
        reached = self._hurrying_s(there) + elapsed
        n = bisect_right(self._reached, reached) - 1
        return self._edges[n] + int((reached - self._reached[n]) * self._speeds[n] * SECOND)

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds of this clock."""
        await self.sleep_until(self.now() + round(seconds * SECOND))

    async def sleep_until(self, at: int) -> None:
        """Return once `now() >= at`."""
        while (now := self.now()) < at:
            if self._hurries:
                left_s = self._hurrying_s(at) - self._hurrying_s(now)
            else:
                left_s = (at - now) / SECOND / self._dawdling_speed
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left_s)

    def _change(self, *, hurries: bool) -> None:
        if hurries != self._hurries:
            self._since = monotonic(), self.now()
            self._hurries = hurries
            self._changed.set()
            self._changed = asyncio.Event()

    def _hurrying_s(self, at: int) -> float:
        """How long it takes in all to hurry from the start to `at`."""
        n = bisect_right(self._edges, at) - 1
        return self._reached[n] + (at - self._edges[n]) / SECOND / self._speeds[n]
