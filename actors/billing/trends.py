"""What is slowly becoming another than it was: too slow for an alarm, and worth a line in the digest.

The last seven full days are laid beside the three weeks before them; whole weeks, so that weekdays cancel out. A count
is compared by the square root of its own spread from day to day (quasi-Poisson), a share by the usual test of two
proportions; both must differ by three standard errors and by a fifth.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean
from typing import NamedTuple

from actors.billing.diary import DAYS, DECLINED, JOINED, LEFT, MEASURES, PAID, REFUNDED

RECENT = 7
Z_MIN = 3.0
CHANGE_MIN = 0.2
EVENTS_MIN = 10
"""So many there must have been in one of the two spans."""


class Trend(NamedTuple):
    """Of a measure, per day, or as a share of `of`: how it is lately, and how it was."""

    measure: str
    of: str  # "" for a count
    recent: float
    before: float

    @property
    def name(self) -> str:
        """The same as long as it goes on in the same direction."""
        return f"{self.measure} {'up' if self.recent > self.before else 'down'}"


def trends(days: Mapping[int, Sequence[int]], today: int) -> list[Trend]:
    """Of four full weeks before `today` (days since 1970); none while less than that is known."""
    if not days or min(days) > today - DAYS:
        return []
    nothing = [0] * len(MEASURES)
    known = [days.get(day, nothing) for day in range(today - DAYS, today)]
    series = {measure: [row[index] for row in known] for index, measure in enumerate(MEASURES)}
    tried = [paid + declined for paid, declined in zip(series[PAID], series[DECLINED], strict=True)]
    found = [of_count(measure, series[measure]) for measure in (PAID, JOINED, LEFT)]
    found += [
        of_share(DECLINED, series[DECLINED], "attempts", tried),
        of_share(REFUNDED, series[REFUNDED], PAID, series[PAID]),
    ]
    return [trend for trend in found if trend is not None]


def of_count(measure: str, counts: Sequence[int]) -> Trend | None:
    """Per day; `counts` are by day, oldest first."""
    before, recent = counts[:-RECENT], counts[-RECENT:]
    usual = fmean(before)
    spread = max(1.0, fmean((count - usual) ** 2 for count in before) / usual) if usual else 1.0
    error = sqrt(max(usual, 1 / len(before)) * spread * (1 / len(recent) + 1 / len(before)))
    return telling(Trend(measure, "", fmean(recent), usual), error, max(sum(before), sum(recent)))


def of_share(measure: str, part: Sequence[int], of: str, whole: Sequence[int]) -> Trend | None:
    """`part` of `whole`, both by day, oldest first."""
    sizes = sum(whole[:-RECENT]), sum(whole[-RECENT:])
    if not all(sizes):
        return None
    usual, recent = sum(part[:-RECENT]) / sizes[0], sum(part[-RECENT:]) / sizes[1]
    pooled = min(sum(part) / sum(sizes), 1.0)
    error = sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
    return telling(Trend(measure, of, recent, usual), error, sum(part))


def telling(trend: Trend, error: float, events: int) -> Trend | None:
    """The trend, if it is one."""
    change = abs(trend.recent - trend.before)
    clear = events >= EVENTS_MIN and change > Z_MIN * error and change > CHANGE_MIN * trend.before
    return trend if clear else None
