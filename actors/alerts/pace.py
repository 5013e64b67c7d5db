"""How fast a channel is fed: its rate limit, its back-off, and when it counts as failing."""

from actors.alerts.channels.base import RateLimit
from actors.kernel.clock import SECOND, Random

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 3600.0
DAY = 24 * 3600 * SECOND
MOST_ATTEMPTS = 35
"""With the delays above, a day."""

FAILING_AFTER = 3
"""Failures in a row, after which the other channels are told."""

SILENT_S_MAX = 600.0
"""They are told at once when, from the first failure to the next attempt, it will have been silent for longer."""


def retry_delay_s(attempts: int, asked: float | None, rng: Random) -> float:
    """Seconds until the next attempt: doubling from a second to an hour, jittered; or what is asked for, up to that."""
    delay = min(FIRST_DELAY_S * 2.0 ** min(attempts - 1, 20), LONGEST_DELAY_S) * rng.uniform(0.75, 1.25)
    return max(delay, min(asked or 0.0, LONGEST_DELAY_S))


class TokenBucket:
    """Full at first; a token comes back every 60 / `per_minute` seconds. Times are µs of the clock."""

    def __init__(self, limit: RateLimit) -> None:
        self._burst = limit.burst
        self._interval = 60 * SECOND / limit.per_minute
        self._empty_at = float("-inf")  # as if nothing but filling had happened since

    def available(self, now: int) -> int:
        """Whole tokens there are now."""
        return int(max(0.0, min(self._burst, (now - self._empty_at) / self._interval)))

    def take(self, tokens: int, now: int) -> None:
        """Use up as many as are available, or fewer."""
        self._empty_at = max(self._empty_at, now - self._burst * self._interval) + tokens * self._interval

    def next_at(self) -> int:
        """When there is a token again."""
        return int(self._empty_at + self._interval) + 1


class Health:
    """Counts failures in a row. A channel whose failure has been told stays `told` until something gets through."""

    def __init__(self, *, told: bool) -> None:
        self.failures = 0
        self.since = 0
        self.told = told

    @property
    def failing(self) -> bool:
        """The trouble lasts."""
        return self.failures >= FAILING_AFTER

    def silent(self, until: int) -> bool:
        """Whether nothing gets through for too long, when nothing is tried before `until`."""
        return until - self.since > SILENT_S_MAX * SECOND

    def failed(self, at: int) -> None:
        """One more."""
        if not self.failures:
            self.since = at
        self.failures += 1

    def worked(self) -> None:
        """Something got through."""
        self.failures = 0
