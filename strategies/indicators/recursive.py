"""Indicators that never forget: seeded with a mean, then folded bar by bar in one fixed order of float64 operations."""

import numpy as np

from strategies.bars import Floats, Ints
from strategies.indicators.indicator import History, Indicator, Length, Series
from strategies.lanes import Shape, Stateful

FEW_LANES = 24
"""Up to here plain floats, one lane after the other, beat numpy's overhead per call; the operations are the same."""


class Smoothing(Stateful):
    """Averages that start as the mean of their first n inputs and then follow each new one.

    Exponential: average + (x - average)·2/(n+1). Wilder: (average·(n-1) + x)/n. The first `delay` rows of a lane
    are no inputs yet. `n` and `delay` are (variants, 1); inputs are packed, (time, variants or 1, columns).
    """

    def __init__(self, n: Ints, delay: Ints, columns: int, *, wilder: bool = False) -> None:
        self._n = n.astype(np.float64)
        self._alpha = 2.0 / (self._n + 1.0)
        self._delay = np.broadcast_to(delay, n.shape)
        self._wilder = wilder
        self.average: Floats = np.zeros((len(n), columns))
        """The sum of the inputs until there are n of them."""

    def fold(self, inputs: Floats, seen: Ints, counts: Ints) -> Floats:
        """The average after each row, NaN before the first.

        `seen` and `counts`, both (columns,), are a column's own rows before this block and in it.
        """
        averages = np.full((len(inputs), *self.average.shape), np.nan)
        place = seen - self._delay
        if self.average.size <= FEW_LANES:
            for variant, column in np.ndindex(self.average.shape):
                values = inputs[: counts[column], variant % inputs.shape[1], column]
                self._fold_lane(values, int(place[variant, column]), averages[:, variant, column], variant, column)
        else:
            self._fold_rows(inputs, place, counts, averages)
        return averages

    def _fold_lane(self, inputs: Floats, place: int, averages: Floats, variant: int, column: int) -> None:
        n, alpha = float(self._n[variant, 0]), float(self._alpha[variant, 0])
        average = float(self.average[variant, column])
        values = inputs[max(-place, 0) :].tolist()
        missing = max(int(n) - max(place, 0), 0)
        for value in values[:missing]:
            average += value
        folded = []
        if 0 < missing <= len(values):
            average /= n
            folded.append(average)
        follow = values[missing:]
        if self._wilder:
            for value in follow:
                average = (average * (n - 1.0) + value) / n
                folded.append(average)
        else:
            for value in follow:
                average += alpha * (value - average)
                folded.append(average)
        self.average[variant, column] = average
        averages[len(inputs) - len(folded) : len(inputs)] = folded

    def _fold_rows(self, inputs: Floats, place: Ints, counts: Ints, averages: Floats) -> None:
        settled = int((self._n - place).max())
        average = self.average
        for row, values in enumerate(inputs):
            if settled <= row < counts.min():
                average = self._follow(average, values, averages[row])
                continue
            here = place + row
            total = average + values
            grown = np.where(here >= 0, np.where(here == self._n - 1, total / self._n, total), average)
            grown = np.where(here >= self._n, self._follow(average, values, np.empty_like(average)), grown)
            average = np.where(row < counts, grown, average)
            averages[row] = np.where(here >= self._n - 1, average, np.nan)
        self.average = average.copy()

    def _follow(self, average: Floats, values: Floats, out: Floats) -> Floats:
        if self._wilder:
            np.multiply(average, self._n - 1.0, out=out)
            out += values
            out /= self._n
        else:
            np.subtract(values, average, out=out)
            out *= self._alpha
            out += average
        return out


class EMA(Indicator):
    """Exponential moving average, weight 2/(n+1), seeded with the mean of its first n values (as TA-Lib seeds it)."""

    def __init__(self, shape: Shape, n: Length, *, of: Indicator | None = None) -> None:
        super().__init__(shape, n, of=of)
        (n,) = self._variants
        self._needs(n)
        self._smoothing = Smoothing(n, self._delay, len(shape.symbols))

    def update(self, values: Series) -> Floats:
        """The average at each bar."""
        packed = self._pack(values).astype(np.float64)
        return self._spread(self._smoothing.fold(packed, self._shape.seen, self._shape.counts))


class MACD(Indicator):
    """EMA(fast) - EMA(slow), and as the signal line the EMA(signal) of that difference from its first value on."""

    def __init__(self, shape: Shape, fast: Length, slow: Length, signal: Length) -> None:
        super().__init__(shape, fast, slow, signal)
        fast, slow, signal = self._variants
        first_difference = np.maximum(fast, slow)
        self._needs(first_difference + signal - 1)
        symbols = len(shape.symbols)
        self._both = Smoothing(np.vstack((fast, slow)), np.zeros((1, 1), np.int64), symbols)
        self._signal = Smoothing(signal, first_difference - 1, symbols)

    def update(self, price: Series) -> tuple[Floats, Floats]:
        """The difference and its signal line."""
        seen, counts = self._shape.seen, self._shape.counts
        both = self._both.fold(self._pack(price).astype(np.float64), seen, counts)
        variants = both.shape[1] // 2
        difference = both[:, :variants] - both[:, variants:]
        return self._spread(difference), self._spread(self._signal.fold(difference, seen, counts))


class RSI(Indicator):
    """Wilder's relative strength index (1978): 100 · average gain / (average gain + average loss).

    The averages begin as means of the first n moves. Without losses it is 100, without any movement 50.
    """

    def __init__(self, shape: Shape, n: Length) -> None:
        super().__init__(shape, n)
        (n,) = self._variants
        self._needs(n + 1)
        self._last = History(shape, 1)
        self._gains_and_losses = Smoothing(n, np.ones((1, 1), np.int64), 2 * len(shape.symbols), wilder=True)

    def update(self, price: Series) -> Floats:
        """The index at each bar, 0 to 100."""
        joined = self._last.extend(self._pack(price).astype(np.float64))
        move = joined[1:] - joined[:-1]
        # Side by side, so that one pass over the rows serves both.
        moves = np.concatenate((np.maximum(move, 0.0), np.maximum(-move, 0.0)), axis=2)
        seen, counts = self._shape.seen, self._shape.counts
        averages = self._gains_and_losses.fold(moves, np.concatenate((seen, seen)), np.concatenate((counts, counts)))
        gain, loss = averages[..., : len(seen)], averages[..., len(seen) :]
        with np.errstate(invalid="ignore"):
            index = np.where(gain + loss == 0.0, 50.0, 100.0 * (gain / (gain + loss)))
        return self._spread(index)


class ATR(Indicator):
    """Average true range: Wilder's average of max(high - low, |high - last close|, |low - last close|).

    A symbol's first bar has no true range; the average begins as the mean of the first n.
    """

    def __init__(self, shape: Shape, n: Length) -> None:
        super().__init__(shape, n)
        (n,) = self._variants
        self._needs(n + 1)
        self._last = History(shape, 1)
        self._ranges = Smoothing(n, np.ones((1, 1), np.int64), len(shape.symbols), wilder=True)

    def update(self, high: Ints, low: Ints, close: Ints) -> Floats:
        """The average range at each bar, in units of the price."""
        high, low, close = (self._pack(price) for price in (high, low, close))
        last = self._last.extend(close)[:-1]
        true_range = np.maximum(high, last) - np.minimum(low, last)
        return self._spread(self._ranges.fold(true_range.astype(np.float64), self._shape.seen, self._shape.counts))
