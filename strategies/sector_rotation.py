from collections.abc import Mapping, Sequence

import numpy as np

from strategies.bars import Block, Bools, Floats
from strategies.base import Overlay, Shape, Value, param
from strategies.indicators import ROC, NewWeek


class SectorRotation(Overlay):
    """Allow entries only in the sectors strongest over a quarter, chosen anew each week; exits are never filtered.

    A sector's strength is the mean rate of change of its members that have one; equal sectors go by name.
    """

    period: int = param(63, low=21, high=252)
    best: int = param(3, low=2, high=3)

    def __init__(
        self, symbols: Sequence[str], sets: Sequence[Mapping[str, Value]] = ({},), *, sectors: Mapping[str, str]
    ) -> None:
        names = sorted({sectors[symbol] for symbol in symbols if symbol in sectors})
        self._sector_of = np.array([names.index(sectors[symbol]) if symbol in sectors else -1 for symbol in symbols])
        self._belongs = self._sector_of == np.arange(len(names))[:, None]  # (sectors, symbols)
        super().__init__(symbols, sets)

    def setup(self, shape: Shape) -> None:
        self.roc = ROC(shape, self.period)
        self.week = NewWeek(shape)
        self.open = np.zeros((shape.sets, len(shape.symbols)), np.bool_)

    def step(self, bars: Block) -> Bools:
        begins = self.week.update(bars.dates)[:, 0, 0]
        roc = self.roc.update(bars.close)
        allowed = np.empty((len(roc), *self.open.shape), np.bool_)
        for row, new_week in enumerate(begins):
            if new_week:
                self.open = self._choose(np.where(bars.members[row], roc[row], np.nan))
            allowed[row] = self.open
        return allowed

    def _choose(self, roc: Floats) -> Bools:
        counted = self._belongs & ~np.isnan(roc)[:, None]  # (sets, sectors, symbols)
        # A running sum: added in the order of the symbols, however numpy would pair them.
        totals = np.where(counted, roc[:, None], 0.0).cumsum(axis=-1)[..., -1]
        strength = totals / counted.sum(axis=-1)
        places = np.argsort(np.argsort(-strength, axis=-1, kind="stable"), axis=-1, kind="stable")
        chosen = (places < self.best) & ~np.isnan(strength)
        return np.where(self._sector_of < 0, False, chosen[:, self._sector_of])
