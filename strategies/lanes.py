"""Lanes: parameter sets times symbols, side by side, and what an object remembers of them between two blocks."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from strategies.bars import Bools, Ints

State = dict[str, npt.NDArray[Any]]


class StateMismatch(Exception):
    """A saved state belongs to other code, parameters or symbols: fold the bars again from the anchor."""


class Stateful:
    """Keeps what it remembers from block to block in arrays and numbers, its own or those of Stateful attributes."""

    def state(self) -> State:
        """A copy of everything remembered, by path."""
        return {path: np.array(getattr(owner, name)) for path, owner, name in self.remembered()}

    def restore(self, state: State) -> None:
        """Continue where the saved object stood. Raises StateMismatch."""
        mine = {path: (owner, name) for path, owner, name in self.remembered()}
        if mine.keys() != state.keys():
            raise StateMismatch(f"{type(self).__name__} does not remember {sorted(mine.keys() ^ state.keys())}")
        for path, (owner, name) in mine.items():
            value = getattr(owner, name)
            if np.size(value) and state[path].size and np.shape(value) != state[path].shape:
                raise StateMismatch(f"{type(self).__name__}.{path}: {state[path].shape} is not {np.shape(value)}")
            setattr(owner, name, state[path].copy() if isinstance(value, np.ndarray) else type(value)(state[path]))

    def remembered(self, prefix: str = "") -> Iterator[tuple[str, object, str]]:
        """Path, owner and attribute of everything remembered."""
        for name, value in sorted(vars(self).items()):
            if isinstance(value, Stateful):
                yield from value.remembered(f"{prefix}{name}.")
            elif isinstance(value, tuple):
                for place, part in enumerate(value):
                    if isinstance(part, Stateful):
                        yield from part.remembered(f"{prefix}{name}.{place}.")
            elif isinstance(value, np.ndarray | int | float):
                yield prefix + name, self, name


class Shape:
    """The lanes that run side by side: `sets` parameter sets, each over the same `symbols`.

    A bar missing for a symbol does not advance that symbol's indicators. So indicators compute on packed blocks, in
    which every symbol's own bars stand together at the top, and `unpack` puts the results back at their times.
    """

    def __init__(self, sets: int, symbols: Sequence[str]) -> None:
        self.sets = sets
        self.symbols = tuple(symbols)
        self.seen: Ints = np.zeros(len(self.symbols), np.int64)
        """Own bars before this block, (symbols,)."""
        self.counts: Ints = self.seen
        """Own bars in this block, (symbols,)."""
        self.warmup: Ints = np.ones((sets, 1), np.int64)
        """Own bars until every indicator is defined, (sets, 1)."""
        self.probe: float | None = None
        """Stands in for every undefined value, to see whether a decision hangs on one."""
        self._present: Bools | None = None
        self._order: Ints = np.empty((0, len(self.symbols)), np.int64)
        self._place: Ints = self._order

    def begin(self, present: Bools) -> None:
        """Take the mask (time, 1, symbols) of the next block."""
        if present.all():
            self._present = None
            self.counts = np.full(len(self.symbols), len(present))
            return
        mask = present[:, 0]
        running = mask.cumsum(axis=0)
        self._present, self.counts = present, running[-1]
        self._place = np.maximum(running - 1, 0)
        self._order = np.argsort(~mask, axis=0, kind="stable")[: max(self.counts.max(), 1)]

    def end(self) -> None:
        """The block has been seen by every indicator."""
        self.seen = self.seen + self.counts

    def pack(self, block: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Own bars first: (time, sets, symbols) to (most own bars, sets, symbols); rows beyond `counts` are filler."""
        return block if self._present is None else self._gather(block, self._order)

    def unpack(self, packed: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Back to the block's times; NaN (False) where the bar is missing."""
        if self.probe is not None and packed.dtype == np.float64:
            packed = np.where(np.isnan(packed), self.probe, packed)
        if self._present is None:
            return packed
        nothing = np.False_ if packed.dtype == np.bool_ else np.nan
        return np.where(self._present, self._gather(packed, self._place), nothing)

    def _gather(self, block: npt.NDArray[Any], rows: Ints) -> npt.NDArray[Any]:
        lanes, symbols = block.shape[1:]
        return block[rows[:, None], np.arange(lanes)[:, None], np.arange(symbols)]

    @property
    def warming_up(self) -> bool:
        """Whether some indicator is not yet defined at the next bar."""
        return bool(self.seen.min() + 1 < self.warmup.max())

    def ready(self, present: Bools) -> Bools:
        """Where every indicator is defined, (time, sets, symbols)."""
        ready: Bools = self.seen + present.cumsum(axis=0) >= self.warmup
        return ready
