"""Indicators over the last n bars. Sums of prices and volumes are integers, so they are exact in any order."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from strategies.bars import FRACTIONAL_SHARE, Floats, Ints
from strategies.indicators.indicator import History, Indicator, Length, Series
from strategies.lanes import Shape

Pair = tuple[Series, ...]

WINDOWS_AT_ONCE = 1024
WIDEST = 2**32.5
"""Up to this range times n, n·Σx² - (Σx)² of n values fits 64 bits: it is at most (range·n)²/4."""


class SMA(Indicator):
    """Mean of the last n values."""

    def __init__(self, shape: Shape, n: Length, *, of: Indicator | None = None) -> None:
        super().__init__(shape, n, of=of)
        (self._n,) = self._variants
        self._needs(self._n)
        self._history = History(shape, int(self._n.max()) - 1)

    def update(self, values: Series) -> Floats:
        """The mean at each bar."""
        joined = self._history.extend(self._pack(values))
        return self._spread(self._undefine(window_sums(joined, self._n) / self._n))


class Bollinger(Indicator):
    """SMA(n) of a price, and the bands `width` population standard deviations (ddof 0) below and above it."""

    def __init__(self, shape: Shape, n: Length, width: npt.ArrayLike) -> None:
        super().__init__(shape, n)
        (self._n,) = self._variants
        self._needs(self._n)
        self._n_of_set = self._n if len(self._n) == 1 else np.broadcast_to(n, (shape.sets, 1))
        self._width: Floats = np.asarray(width, np.float64)
        self._history = History(shape, int(self._n.max()) - 1)

    def update(self, price: Ints) -> tuple[Floats, Floats, Floats]:
        """Lower band, middle and upper band, in units of the price."""
        joined = self._history.extend(self._pack(price))
        sums = window_sums(joined, self._n)
        with np.errstate(invalid="ignore"):  # in windows that are not complete
            spread = self._spread(np.sqrt(scaled_variance(joined, sums, self._n)))
        total = self._spread(self._undefine(sums.astype(np.float64)))
        # One division, last: a band that meets the price exactly compares as equal to it.
        reach = self._width * spread
        lower, upper = total - reach, total + reach
        for sums_to_price in (lower, total, upper):
            np.divide(sums_to_price, self._n_of_set, out=sums_to_price)
        return lower, total, upper


class RelativeVolume(Indicator):
    """Volume over the mean volume of the previous n bars, this one excluded."""

    def __init__(self, shape: Shape, n: Length) -> None:
        super().__init__(shape, n)
        (self._n,) = self._variants
        self._needs(self._n + 1)
        self._history = History(shape, int(self._n.max()))

    def update(self, volume: Floats) -> Floats:
        """1.0 is a usual bar; NaN or infinite after n bars without any volume, which is in shares."""
        units = np.rint(volume * FRACTIONAL_SHARE).astype(np.int64)
        joined = self._history.extend(self._pack(units))
        before = window_sums(joined[:-1], self._n)
        now = joined[self._history.depth :]
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._spread(self._undefine(now * self._n / before))


class ROC(Indicator):
    """Rate of change: value over the value n bars ago, minus 1."""

    def __init__(self, shape: Shape, n: Length) -> None:
        super().__init__(shape, n)
        (self._n,) = self._variants
        self._needs(self._n + 1)
        self._history = History(shape, int(self._n.max()))

    def update(self, values: Series) -> Floats:
        """0.03 is 3 % up; the difference is taken first, so that exactly 3 % is exactly 0.03."""
        joined = self._history.extend(self._pack(values))
        depth = self._history.depth
        change = np.empty((len(joined) - depth, len(self._n), joined.shape[2]))
        with np.errstate(divide="ignore", invalid="ignore"):
            for variant, n in enumerate(self._n[:, 0]):
                past = joined[depth - n : len(joined) - n, variant % joined.shape[1]]
                change[:, variant] = (joined[depth:, variant % joined.shape[1]] - past) / past
        return self._spread(self._undefine(change))


class _Extreme(Indicator):
    choose: np.ufunc

    def __init__(self, shape: Shape, n: Length, *, of: Indicator | None = None) -> None:
        super().__init__(shape, n, of=of)
        (self._n,) = self._variants
        self._needs(self._n + 1)
        self._history = History(shape, int(self._n.max()))

    def update(self, values: Series) -> Floats:
        """The extreme before each bar."""
        joined = self._history.extend(self._pack(values))[:-1]
        depth = self._history.depth
        extreme = np.empty((len(joined) + 1 - depth, len(self._n), joined.shape[2]))
        for variant, n in enumerate(self._n[:, 0]):
            windows = (lane(joined, variant)[depth - n :],)
            (extreme[:, variant],) = reduce_windows(windows, n, lambda early, late: (self.choose(*early, *late),))
        return self._spread(self._undefine(extreme))


class Highest(_Extreme):
    """The highest of the previous n values, this one excluded."""

    choose = np.maximum


class Lowest(_Extreme):
    """The lowest of the previous n values, this one excluded."""

    choose = np.minimum


class Trough(Indicator):
    """The lowest value from `first` bars ago to `last` bars ago, and what another series was at that bar.

    Of equal lows the earliest counts. `of` is the indicator that the other series comes from.
    """

    def __init__(self, shape: Shape, first: Length, last: Length, *, of: Indicator) -> None:
        super().__init__(shape, first, last, of=of)
        self._first, self._last = self._variants
        self._needs(np.maximum(self._first + 1 - self._delay, self._last + 1))
        self._low = History(shape, int(self._first.max()))
        self._other = History(shape, int(self._first.max()))

    def update(self, low: Series, other: Series) -> tuple[Floats, Floats]:
        """The low, and the other series at that bar: NaN where it was not yet defined."""
        lows, others = self._low.extend(self._pack(low)), self._other.extend(self._pack(other))
        depth = self._low.depth
        size = (len(lows) - depth, len(self._first), lows.shape[2])
        trough, at_trough = np.empty(size), np.empty(size)
        for variant, (first, last) in enumerate(np.hstack((self._first, self._last))):
            rows = slice(depth - first, len(lows) - last)
            pair = lane(lows, variant)[rows], lane(others, variant)[rows]
            trough[:, variant], at_trough[:, variant] = reduce_windows(pair, first - last + 1, _lower_or_earlier)
        return self._spread(self._undefine(trough)), self._spread(self._undefine(at_trough))


class Percentile(Indicator):
    """The `percent`-th percentile (linear) of the previous n values, this one excluded."""

    def __init__(self, shape: Shape, n: Length, percent: npt.ArrayLike, *, of: Indicator | None = None) -> None:
        super().__init__(shape, n, percent, of=of)
        self._n, self._percent = self._variants
        self._needs(self._n + 1)
        self._history = History(shape, int(self._n.max()))

    def update(self, values: Floats) -> Floats:
        """The percentile before each bar."""
        joined = self._history.extend(self._pack(values))[:-1]
        depth = self._history.depth
        result = np.empty((len(joined) + 1 - depth, len(self._n), joined.shape[2]))
        for variant, (n, percent) in enumerate(zip(self._n[:, 0], self._percent[:, 0], strict=True)):
            windows = sliding_window_view(lane(joined, variant)[depth - n :], n, axis=0)
            # Some at a time: all windows at once would need n times the memory of the bars.
            step = max(WINDOWS_AT_ONCE // windows.shape[1], 1)
            for row in range(0, len(windows), step):
                result[row : row + step, variant] = percentile(windows[row : row + step], percent)
        return self._spread(self._undefine(result))


def lane(joined: Series, variant: int) -> Series:
    """(time, symbols) of one variant; an input that is the same for all has one lane."""
    return joined[:, variant if joined.shape[1] > 1 else 0]


def window_sums(joined: Series, n: Ints) -> Series:
    """Sums of n values up to each row, for every n (variants, 1); the rows of the deepest history have none.

    (history + time, lanes, symbols) to (time, variants, symbols). Integers are exact: running sums may wrap around,
    their differences do not. Floats are added oldest first, the same way wherever a block begins.
    """
    rows = len(joined) - int(n.max()) + 1
    sums = np.empty((rows, len(n), joined.shape[2]), joined.dtype)
    if joined.dtype == np.float64:
        for variant, length in enumerate(n[:, 0]):
            values = lane(joined, variant)[len(joined) - rows - length + 1 :]
            sums[:, variant] = 0.0
            for place in range(length):
                sums[:, variant] += values[place : place + rows]
        return sums
    if rows == 1:  # as live, where running sums of all the rest would be for nothing
        for variant, length in enumerate(n[:, 0]):
            np.add.reduce(lane(joined, variant)[len(joined) - length :], axis=0, out=sums[0, variant])
        return sums
    running = np.zeros((len(joined) + 1, *joined.shape[1:]), joined.dtype)
    np.cumsum(joined, axis=0, out=running[1:])
    for variant, length in enumerate(n[:, 0]):
        total, start = lane(running, variant), len(running) - rows
        np.subtract(total[start:], total[start - length : len(total) - length], out=sums[:, variant])
    return sums


def scaled_variance(joined: Ints, sums: Ints, n: Ints) -> Floats:
    """n² times the population variance of each window, exact before its one rounding; `sums` are window_sums."""
    variance: Floats = (n * window_sums(joined * joined, n) - sums * sums).astype(np.float64)
    if joined.max() * float(n.max()) > WIDEST:  # it may not fit: look at the range, without the rows still empty
        lowest = np.where(joined > 0, joined, np.iinfo(np.int64).max).min(axis=(0, 1))
        wide = (joined.max(axis=(0, 1)) - lowest) * float(n.max()) > WIDEST
        if wide.any():  # a share that costs a house, or a finely adjusted century: whole numbers of any size, slowly
            unbounded = joined[..., wide].astype(object)
            totals = window_sums(unbounded, n)
            variance[..., wide] = (n * window_sums(unbounded * unbounded, n) - totals * totals).astype(np.float64)
    return variance


def reduce_windows(series: Pair, length: int, combine: Callable[[Pair, Pair], Pair]) -> Pair:
    """Combine each run of `length` rows, earliest first, by doubling spans until two of them cover a run.

    Arrays (rows, symbols) to (rows - length + 1, symbols); `combine` may see a row twice.
    """
    span = 1
    while 2 * span <= length:
        series = combine(tuple(part[:-span] for part in series), tuple(part[span:] for part in series))
        span *= 2
    runs = len(series[0]) + span - length
    rest = length - span
    return combine(tuple(part[:runs] for part in series), tuple(part[rest : rest + runs] for part in series))


def _lower_or_earlier(early: Pair, late: Pair) -> Pair:
    falls = late[0] < early[0]
    return np.where(falls, late[0], early[0]), np.where(falls, late[1], early[1])


def percentile(values: Floats, percent: float) -> Floats:
    """Along the last axis, linear between the two nearest ranks as numpy does it (Hyndman and Fan's type 7)."""
    position = percent / 100 * (values.shape[-1] - 1)
    below = int(position)
    above = min(below + 1, values.shape[-1] - 1)
    ranked = np.sort(values, axis=-1)  # three times as fast as np.partition for two ranks
    low, high, part = ranked[..., below], ranked[..., above], position - below
    result: Floats = low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)
    return result
