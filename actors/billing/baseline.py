"""How often something happens to one tenant, by the hour: a Gamma-Poisson rate with a seasonal profile.

The conjugate update with exponential forgetting is that of West & Harrison, Bayesian Forecasting and Dynamic Models
(2nd ed., 10.8); the dispersion is quasi-Poisson (McCullagh & Nelder, Generalized Linear Models, 6.2).
"""

from array import array
from binascii import a2b_base64
from math import exp, lgamma, log, sqrt
from typing import Any

from actors.billing.memory import written

HOUR_S = 3600
IDLE_HOURS_MAX = 8 * 7 * 24  # after so long nearly all is forgotten; no gap is stepped through further
FORGET = 0.5 ** (1 / (14 * 24))  # per hour: half of what was learnt is gone after two weeks
FORGET_PROFILE_DAY = 0.5 ** (1 / 42)
PSEUDO = 2.0  # events in each cell of the profile before any was seen: sparse tenants have a flat one
FLOOR = 0.15 / 24  # per hour, on top of every rate: what happens once a week surprises nobody
KNOWN_HOURS = 48  # before that, what differs from the prior is no surprise
WARM_HOURS = 14 * 24  # both weekends and weekdays were seen twice
DAY_PROFILE_HOURS = 7 * 24
DISPERSION_WEIGHT = 10.0  # events' worth of belief that counts are Poisson


class SeasonalRate:
    """Events per hour, by hour of the day and day of the week (UTC). Hours are taught in order, empty ones included."""

    __slots__ = ("_alpha", "_beta", "_by_day", "_by_hour", "_day", "_means", "_spread", "hours")

    def __init__(self, prior_per_day: float, prior_days: float = 1.0) -> None:
        self._alpha = prior_per_day * prior_days
        self._beta = prior_days * 24
        self._by_hour = array("f", bytes(4 * 24))
        self._by_day = array("f", bytes(4 * 7))
        self._means = 0.0, 0.0  # of the two
        self._day = array("d", (0.0, 0.0, 0.0, 0.0))  # that of today: see _end_day
        self._spread = array("d", (0.0, 0.0, 0.0, 0.0))  # squared errors and expectations, of hours and of days
        self.hours = 0  # so many were taught

    @property
    def warm(self) -> bool:
        """Enough was seen to judge a lull by; surges are judged more cautiously until then."""
        return self.hours >= WARM_HOURS

    def season(self, hour: int) -> float:
        """How busy this hour is, as a multiple of the mean; 1 until a week, and a fortnight, have been seen."""
        factor = 1.0
        if self.hours >= DAY_PROFILE_HOURS:
            factor = (self._by_hour[hour % 24] + PSEUDO) / (self._means[0] + PSEUDO)
        if self.warm:
            factor *= (self._by_day[hour // 24 % 7] + PSEUDO) / (self._means[1] + PSEUDO)
        return factor

    def expected(self, hour: int) -> float:
        """The posterior mean for this hour."""
        return self._alpha / self._beta * self.season(hour)

    def at_most(self, hour: int) -> float:
        """The mean, a standard deviation of what is known of it, and the floor: little seen is little claimed."""
        return self.expected(hour) * (1 + 1 / sqrt(max(self._alpha, 0.04))) + FLOOR

    def at_least(self, hour: int) -> float:
        """The mean less a standard deviation."""
        return self.expected(hour) * max(0.0, 1 - 1 / sqrt(max(self._alpha, 0.04)))

    def dispersion(self, *, daily: bool) -> float:
        """Variance over mean, of hours or of days; 1 for a Poisson stream, and never less."""
        errors, expectations = self._spread[2 * daily], self._spread[2 * daily + 1]
        return max(1.0, (errors + DISPERSION_WEIGHT) / (expectations + DISPERSION_WEIGHT))

    def learn(self, hour: int, count: int) -> None:
        """So many happened in this hour, the one after the last that was taught; a flood teaches only so much.

        In the first two days everything is taken as it comes.
        """
        mean = self.expected(hour)
        known = self.hours >= KNOWN_HOURS
        counted = min(float(count), 10 * mean + 3) if known else float(count)
        season = self.season(hour)
        self._alpha = self._alpha * FORGET + counted
        self._beta = self._beta * FORGET + season
        self._by_hour[hour % 24] += counted
        self._by_day[hour // 24 % 7] += counted
        self._day[0] += counted
        self._day[1] += mean
        if known:
            self._day[2] += (counted - mean) ** 2
            self._day[3] += mean
        self.hours += 1
        if hour % 24 == 23:
            self._end_day(known=known)
        self._take_means()

    def _take_means(self) -> None:
        self._means = sum(self._by_hour) / 24, sum(self._by_day) / 7

    def _end_day(self, *, known: bool) -> None:
        observed, mean, errors, expected = self._day
        self._day = array("d", bytes(4 * 8))
        if known:
            # Not hour by hour: what goes wrong would widen the bounds that it is to be measured by.
            for cell, new in enumerate((errors, expected, (observed - mean) ** 2, mean)):
                self._spread[cell] = self._spread[cell] * FORGET**24 + new
        for cells in (self._by_hour, self._by_day):
            for cell, held in enumerate(cells):
                cells[cell] = held * FORGET_PROFILE_DAY

    def save(self) -> list[Any]:
        """Two numbers, the profile, the dispersion and the time."""
        cells = [written(part) for part in (self._by_hour, self._by_day, self._day, self._spread)]
        return [self._alpha, self._beta, self.hours, *cells]

    def load(self, state: list[Any]) -> None:
        """What `save` gave."""
        self._alpha, self._beta, self.hours, hours, days, day, spread = state
        self._by_hour, self._by_day = array("f", a2b_base64(hours)), array("f", a2b_base64(days))
        self._day, self._spread = array("d", a2b_base64(day)), array("d", a2b_base64(spread))
        self._day.extend([0.0] * (4 - len(self._day)))  # what is older had two
        self._take_means()


def tail(count: int, mean: float) -> float:
    """How likely are `count` or more of what comes at random, `mean` on average: Poisson, bounded from above."""
    if count <= mean:
        return 1.0
    return exp(count * log(mean) - mean - lgamma(count + 1)) / (1 - mean / (count + 1))
