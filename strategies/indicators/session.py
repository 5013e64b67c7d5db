"""The volume-weighted average price of a session."""

import numpy as np

from strategies.bars import Block, Floats
from strategies.indicators.indicator import Indicator
from strategies.lanes import Shape

LARGEST = 2**63
NEVER = -(10**9)
"""A day before all others."""


class VWAP(Indicator):
    """Σ typical·volume / Σ volume since the session's first bar; typical is (high + low + close)/3.

    It begins anew with the exchange date. A missing bar has no volume, so it adds nothing.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.sums = np.zeros((2, len(shape.symbols)), np.int64)
        """Σ 3·typical·volume and Σ volume of the session so far, (2, symbols)."""
        self.date = NEVER

    def update(self, bars: Block) -> Floats:
        """The average at each bar, in units of the price; NaN while the session has no volume."""
        volume = bars.volume_units[:, 0]
        worth = (bars.high + bars.low + bars.close)[:, 0] * volume
        days = bars.dates.astype(np.int64)
        new_day = np.diff(days, prepend=self.date) != 0
        running = np.concatenate((self.sums[None], np.stack((worth, volume), axis=1))).cumsum(axis=0)
        # What had been summed up when each bar's session began; nothing if it began before this block.
        first = np.maximum.accumulate(np.where(new_day, np.arange(len(days)), -1))
        before = np.where(first[:, None, None] < 0, 0, running[first])
        sums = running[1:] - before
        if 3.0 * float(bars.high.max()) * float(sums[:, 1].max()) > LARGEST:
            raise OverflowError("a session's prices times volumes do not fit 64 bits")
        self.sums, self.date = sums[-1].copy(), int(days[-1])
        with np.errstate(invalid="ignore"):
            average: Floats = sums[:, 0] / (3 * sums[:, 1])
        return average[:, None]
