"""How surprising it is that so little comes: the other side of the CUSUMs over counts (cusum.py)."""

from math import log
from typing import Any

from actors.billing.baseline import HOUR_S, IDLE_HOURS_MAX, SeasonalRate
from actors.kernel.clock import moved

LULL_THRESHOLDS = {"low": 30.0, "normal": 20.0, "high": 14.0}
"""Events that should have come, by sensitivity."""


class Lull:
    """Of what usually comes, how much is missing: W ← max(0, W + (1-r)·expected + n·ln r), for one ratio r < 1.

    With r = 0 each event starts afresh, and W is what was expected since. The expectation is the lower end of what the
    rate may be.
    """

    __slots__ = ("_at", "_hours", "_w", "expected", "missed_since", "rate", "ratio", "seen")

    def __init__(self, ratio: float) -> None:
        self.rate = SeasonalRate(prior_per_day=1.0, prior_days=0.02)
        self.ratio = ratio
        self._hours: dict[int, int] = {}  # the latest two, not yet learnt
        self._at = 0  # W is as of this second
        self._w = 0.0
        self.missed_since = 0  # W was last 0 then; since then so many were seen, and expected:
        self.seen = 0
        self.expected = 0.0

    def learn(self, second: int) -> None:
        """One came at this second; it may be an hour late."""
        hour, hours = second // HOUR_S, self._hours
        if hour in hours:
            hours[hour] += 1
            return
        newest = max(hours, default=hour)
        if hour < newest - 1:
            return
        hours[hour] = 1
        for late in range(max(min(hours), hour - IDLE_HOURS_MAX), hour - 1):
            self.rate.learn(late, hours.pop(late, 0))
        for late in [late for late in hours if late < hour - 1]:
            del hours[late]

    def reset(self, second: int) -> None:
        """All is well as of then."""
        self._at = self.missed_since = second
        self._w = self.expected = 0.0
        self.seen = 0

    def take(self, second: int) -> None:
        """One came."""
        if not self.ratio:
            self.reset(max(second, self._at))
            return
        self.advance(second)
        self.seen += 1
        self._w += log(self.ratio)
        if self._w <= 0:
            self.reset(self._at)

    def advance(self, second: int) -> None:
        """Nothing came up to then."""
        if not self._at:
            self.reset(second)
        if second > self._at:
            missing = self._expected(second)
            self._w += (1 - self.ratio) * missing
            self.expected += missing
            self._at = second

    def set_back(self, second: int, by_s: int) -> None:
        """The clock was `by_s` ahead and is set right: what was missed was missed as long ago as before."""
        self._at = min(self._at, second)
        self.missed_since = moved(self.missed_since, second, by_s)

    def score(self, limit: float) -> float:
        """W over the threshold, which the dispersion widens; beyond 1 too much is missing."""
        return self._w / (limit * self.rate.dispersion(daily=False))

    def bound(self, limit: float) -> None:
        """However long it lasted: it takes no longer to be over."""
        self._w = min(self._w, 1.2 * limit * self.rate.dispersion(daily=False))

    def when(self, limit: float) -> int | None:
        """The second at which the score will be 1 if nothing comes; None: not within eight weeks."""
        left = (limit * self.rate.dispersion(daily=False) - self._w) / (1 - self.ratio)
        at = self._at
        for _ in range(IDLE_HOURS_MAX):
            if left <= 0:
                return at
            rate, end = self.rate.at_least(at // HOUR_S) / HOUR_S, (at // HOUR_S + 1) * HOUR_S
            if rate * (end - at) >= left:
                return at + int(left / rate) + 1
            left -= rate * (end - at)
            at = end
        return None

    def _expected(self, until: int) -> float:
        total, at = 0.0, max(self._at, until - IDLE_HOURS_MAX * HOUR_S)
        while at < until:
            end = min(until, (at // HOUR_S + 1) * HOUR_S)
            total += self.rate.at_least(at // HOUR_S) * (end - at) / HOUR_S
            at = end
        return total

    def save(self) -> list[Any]:
        """The rate, two hours, and the sum."""
        hours = list(self._hours.items())
        return [self.rate.save(), hours, self._at, self._w, self.missed_since, self.seen, self.expected]

    def load(self, state: list[Any]) -> None:
        """What `save` gave."""
        rate, hours, self._at, self._w, self.missed_since, self.seen, self.expected = state
        self.rate.load(rate)
        self._hours = dict(hours)
