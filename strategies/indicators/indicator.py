"""What all indicators share: packed blocks, equal parameter sets computed once, a warm-up, a history."""

from typing import Any

import numpy as np
import numpy.typing as npt

from strategies.bars import Floats, Ints
from strategies.lanes import Shape, Stateful

Series = npt.NDArray[Any]
Length = npt.ArrayLike
"""A whole number of bars: one for all, or one for each set (sets, 1)."""


class Indicator(Stateful):
    """An indicator with `parameters`, each one for all sets or (sets, 1); sets that agree in them are computed once.

    `update` takes and returns (time, sets, symbols) blocks, with one lane in place of `sets` where all sets agree.
    Values are NaN until their history is complete and where the symbol has no bar. An input that is itself an
    indicator's output is announced by `of`: its warm-up counts, and it may differ from set to set.
    """

    def __init__(self, shape: Shape, *parameters: npt.ArrayLike, of: "Indicator | None" = None) -> None:
        self._shape = shape
        columns = [np.broadcast_to(column, (shape.sets, 1)) for column in parameters]
        if of is not None or shape.sets == 1:
            self._variants, self._variant_of_set = columns, np.arange(shape.sets)
        else:
            table, of_set = np.unique(np.hstack([*columns, np.zeros((shape.sets, 1))]), axis=0, return_inverse=True)
            self._variants = [table[:, [place]].astype(column.dtype) for place, column in enumerate(columns)]
            self._variant_of_set = of_set.reshape(-1)
        self._delay = np.zeros((1, 1), np.int64) if of is None else of.warmup - 1
        self.warmup: Ints = np.ones((shape.sets, 1), np.int64)
        """Own bars until the first value, (sets, 1)."""

    def _needs(self, inputs: Ints) -> None:
        """Note that a value takes `inputs` values, (variants, 1)."""
        self._first_value: Ints = self._delay + inputs
        self.warmup = self._first_value[self._variant_of_set]
        self._shape.warmup = np.maximum(self._shape.warmup, self.warmup)

    def _pack(self, values: Series) -> Series:
        """The input's own bars first, with one lane or one for each variant."""
        if values.shape[1] not in {1, len(self._variant_of_set)} or values.shape[1] > len(self._variants[0]):
            raise ValueError("an input that differs from set to set needs `of`, the indicator it comes from")
        return self._shape.pack(values)

    def _undefine(self, values: Floats) -> Floats:
        """NaN wherever a packed block (time, variants, symbols) lacks history."""
        first = self._first_value[: values.shape[1]]
        head = min(int(first.max() - 1 - self._shape.seen.min()), len(values))
        if head > 0:
            bar = self._shape.seen + np.arange(1, head + 1)[:, None, None]
            values[:head][np.broadcast_to(bar < first, values[:head].shape)] = np.nan
        return values

    def _spread(self, values: Series) -> Series:
        """A packed block (time, variants, symbols) back at its times, for each set; one lane when all sets agree."""
        unpacked = self._shape.unpack(values)
        return unpacked if values.shape[1] == 1 else unpacked[:, self._variant_of_set]


class History(Stateful):
    """The last `depth` own values of every lane, in front of each new packed block."""

    def __init__(self, shape: Shape, depth: int) -> None:
        self._shape = shape
        self.depth = depth
        self.rows: Series = np.zeros((0, 1, 1))

    def extend(self, packed: Series) -> Series:
        """(time, lanes, symbols) to (depth + time, lanes, symbols), of which the end is remembered."""
        if not self.rows.size:
            self.rows = np.zeros((self.depth, *packed.shape[1:]), packed.dtype)
        joined = np.concatenate((self.rows, packed))
        counts = self._shape.counts
        if counts.min() == len(packed):
            rows = joined[len(packed) :]
            # A view keeps all of `joined`: of a bar or two that is nothing, of a long block too much.
            self.rows = rows if len(packed) < self.depth else rows.copy()
        else:
            last = counts + np.arange(self.depth)[:, None]
            self.rows = np.take_along_axis(joined, last[:, None], axis=0)
        return joined
