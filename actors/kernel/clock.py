"""Time and chance: the two inputs of a run that do not come from the log.

The only module that reads a clock, sleeps or draws random numbers; everything else is handed a `Clock` or a `Random`.
"""

import asyncio
import random
import secrets
import time
from typing import Protocol, TypeAlias

Random: TypeAlias = random.Random
"""A source of chance, as handed to whoever needs one."""

SECOND = 1_000_000
"""Microseconds in a second: `Clock.now()` and every stored time count in these."""

LONGEST_NAP_S = 60.0
"""A wall clock may be set while we sleep towards a time of day; a minute late is late enough."""

SET_BACK_S = 60.0
"""When a time of day is further away than it was by this much, the clock was set, and it is not waited for."""


class Clock(Protocol):
    """The time the business lives in: wall, accelerated or virtual."""

    def now(self) -> int:
        """UTC microseconds since 1970."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds of this clock."""
        ...

    async def sleep_until(self, at: int) -> None:
        """Return once `now() >= at`, or when the clock was set back so that this would take longer than it should."""
        ...


class WallClock:
    """The time of day of this machine."""

    def now(self) -> int:
        """UTC microseconds since 1970."""
        return time.time_ns() // 1_000

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds."""
        await asyncio.sleep(seconds)

    async def sleep_until(self, at: int) -> None:
        """Return once `now() >= at`, also when the clock is set meanwhile; at once when it was set back."""
        until = monotonic() + (at - self.now()) / SECOND
        while (left_s := (at - self.now()) / SECOND) > 0:
            if left_s > until - monotonic() + SET_BACK_S:
                return
            await asyncio.sleep(min(left_s, LONGEST_NAP_S))


class ScaledClock:
    """Starts at `start` (UTC microseconds) when first used and runs at `speed` times the running loop's own time.

    On a real loop that is an accelerated clock, on a virtual loop a virtual one.
    """

    def __init__(self, start: int, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be positive, not {speed}")
        self._start = start
        self.speed = speed
        self._origin: float | None = None

    def now(self) -> int:
        """UTC microseconds since 1970; outside a loop the clock stands at its start."""
        try:
            elapsed = asyncio.get_running_loop().time()
        except RuntimeError:
            return self._start
        if self._origin is None:
            self._origin = elapsed
        return self._start + int((elapsed - self._origin) * self.speed * SECOND)

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds of this clock: `seconds / speed` of the loop's."""
        self.now()
        await asyncio.sleep(seconds / self.speed)

    async def sleep_until(self, at: int) -> None:
        """Return once `now() >= at`."""
        while (left := at - self.now()) > 0:  # noqa: ASYNC110 - a sleep may end a rounding error too early
            await asyncio.sleep(left / SECOND / self.speed)


def moved(at: int, now: int, by: int) -> int:
    """When something is, told by a clock that was `by` ahead and is `now` set right; what is past stays where it is."""
    return at if at <= now else at - by


def monotonic() -> float:
    """Seconds that only ever grow and are never accelerated: for deadlines, heartbeats and busy times."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


async def io_sleep(seconds: float) -> None:
    """Wait in monotonic time: for backing off from a peer, never for the business."""
    await asyncio.sleep(seconds)


def chance(seed: int | None = None) -> Random:
    """A source of chance of one's own: replayable from `seed`, or seeded by the operating system."""
    return Random(seed)


def token(nbytes: int) -> str:
    """An unguessable URL-safe text of `nbytes` random bytes."""
    return secrets.token_urlsafe(nbytes)


def entropy(nbytes: int) -> bytes:
    """`nbytes` unguessable bytes."""
    return secrets.token_bytes(nbytes)
