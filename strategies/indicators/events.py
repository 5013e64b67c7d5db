"""What happened and when: crossings, values of earlier bars, weeks, and ranks across the symbols."""

import numpy as np

from strategies.bars import Bools, Floats
from strategies.indicators.indicator import History, Indicator, Length, Series
from strategies.indicators.windows import window_sums
from strategies.lanes import Shape
from strategies.sessions import Dates

NEVER = -(10**9)
"""A week before all others."""


class Previous(Indicator):
    """A series one own bar ago."""

    def __init__(self, shape: Shape, *, of: Indicator | None = None) -> None:
        super().__init__(shape, of=of)
        self._needs(np.full((1, 1), 2))
        self._history = History(shape, 1)

    def update(self, values: Series) -> Floats:
        """The value at the symbol's bar before."""
        joined = self._history.extend(self._shape.pack(values).astype(np.float64))
        return self._shape.unpack(self._undefine(joined[:-1]))


class Cross(Indicator):
    """Where one series crosses another: on the other side or level at the bar before, beyond it now."""

    def __init__(self, shape: Shape, *, of: Indicator | None = None) -> None:
        super().__init__(shape, of=of)
        self._needs(np.full((1, 1), 2))
        self._a, self._b = History(shape, 1), History(shape, 1)

    def update(self, a: Series, b: Series) -> tuple[Bools, Bools]:
        """Where `a` crosses above `b`, and where below; both series must be defined at both bars."""
        a, b = (h.extend(self._shape.pack(x).astype(np.float64)) for h, x in ((self._a, a), (self._b, b)))
        known = np.broadcast_to(self._shape.seen + np.arange(1, len(a))[:, None, None] >= 2, a[1:].shape)
        above = (a[:-1] <= b[:-1]) & (a[1:] > b[1:])
        below = (a[:-1] >= b[:-1]) & (a[1:] < b[1:])
        return self._shape.unpack(above & known), self._shape.unpack(below & known)


class Recently(Indicator):
    """Whether a condition held on any of the last n bars, this one included."""

    def __init__(self, shape: Shape, n: Length, *, of: Indicator | None = None) -> None:
        super().__init__(shape, n, of=of)
        (self._n,) = self._variants
        self._needs(np.ones_like(self._n))
        self._history = History(shape, int(self._n.max()) - 1)

    def update(self, condition: Bools) -> Bools:
        """True at a bar and at the n - 1 own bars after it."""
        joined = self._history.extend(self._pack(condition).astype(np.int64))
        return self._spread(window_sums(joined, self._n) > 0)


class ValueWhen(Indicator):
    """The value a series had at the latest own bar, this one included, on which a condition held."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.value: Floats = np.empty((0, len(shape.symbols)))  # as many lanes as the first block will have

    def update(self, condition: Bools, values: Series) -> Floats:
        """The value; NaN before the condition ever held."""
        condition, values = np.broadcast_arrays(self._shape.pack(condition), self._shape.pack(values))
        rows = np.arange(1, len(condition) + 1)[:, None, None]
        latest = np.maximum.accumulate(np.where(condition, rows, 0), axis=0)
        remembered = np.broadcast_to(self.value if self.value.size else np.nan, condition.shape[1:])
        result = np.take_along_axis(np.concatenate((remembered[None], values)), latest, axis=0)
        last_rows = np.broadcast_to(self._shape.counts, remembered.shape)[None]
        self.value = np.take_along_axis(np.concatenate((remembered[None], result)), last_rows, axis=0)[0]
        return self._shape.unpack(result)


class NewWeek(Indicator):
    """The first bar time of each ISO week of exchange dates, whichever symbol has a bar then."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.week = NEVER

    def update(self, dates: Dates) -> Bools:
        """(time, 1, 1): True where a week begins."""
        week = (dates.astype(np.int64) + 3) // 7  # day 0 was a Thursday
        begins: Bools = np.diff(week, prepend=self.week) != 0
        self.week = int(week[-1])
        return begins[:, None, None]


def rank(values: Floats, members: Bools) -> Floats:
    """Rank across the symbols of one set: 1 is the highest of `members`, equal values in symbol order.

    Shapes (time, sets, symbols). Infinite for those who are no members, NaN where the value is undefined.
    """
    in_play = members & ~np.isnan(values)
    keys = np.where(in_play, -values, np.inf)
    places = np.empty(keys.shape)
    order = np.argsort(keys, axis=-1, kind="stable")
    np.put_along_axis(places, order, np.arange(1.0, keys.shape[-1] + 1), axis=-1)
    return np.where(in_play, places, np.where(members, np.nan, np.inf))
