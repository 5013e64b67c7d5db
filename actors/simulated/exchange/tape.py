"""What an exchange plays: the bars of one moment after the other."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from actors.kernel.frozen import frozen
from actors.trading.ports import Bar
from config.errors import BadInput
from strategies.bars import RAW_UNITS_PER_DOLLAR, Bars


@frozen
class Moment:
    """One bar time (UTC microseconds): the bars that start there, in the order of the tape's symbols."""

    time: int
    bars: Sequence[Bar]


class Tape(Protocol):
    """Where an exchange's prices come from. `feed` names them; bars are `timeframe` microseconds long."""

    @property
    def symbols(self) -> Sequence[str]:
        """What trades, in the exchange's order."""

    @property
    def timeframe(self) -> int:
        """The length of a bar."""

    @property
    def feed(self) -> str:
        """What the prices are."""

    def moments(self, since: int = 0) -> Iterator[Moment]:
        """The bar times from `since` on."""

    def history(self, symbols: Sequence[str], start: int, end: int) -> list[Bar]:
        """Bars with start <= time < end, by time, then in the order of the tape's symbols."""


class Recorded:
    """A tape of recorded bars; raw ones, for that is what trades. Raises BadInput for others."""

    def __init__(self, bars: Bars) -> None:
        if (bars.price_scale != RAW_UNITS_PER_DOLLAR).any():
            raise BadInput("an exchange trades raw prices, and these bars are adjusted")
        self.symbols = bars.symbols
        self.timeframe = bars.timeframe
        self.feed = "synthetic" if bars.synthetic else bars.feed
        self._bars = bars
        self._column = {symbol: column for column, symbol in enumerate(bars.symbols)}

    def moments(self, since: int = 0) -> Iterator[Moment]:
        """The bar times from `since` on."""
        for row in range(int(np.searchsorted(self._bars.times, since)), len(self._bars)):
            yield Moment(int(self._bars.times[row]), self._row(row, range(len(self.symbols))))

    def history(self, symbols: Sequence[str], start: int, end: int) -> list[Bar]:
        """Bars with start <= time < end, by time, then in the order of the tape's symbols."""
        first, last = np.searchsorted(self._bars.times, (start, end)).tolist()
        columns = sorted(self._column[symbol] for symbol in symbols if symbol in self._column)
        return [bar for row in range(first, last) for bar in self._row(row, columns)]

    def _row(self, row: int, columns: Sequence[int]) -> list[Bar]:
        bars = self._bars
        return [
            Bar(
                self.symbols[n],
                int(bars.times[row]),
                int(bars.open[row, n]),
                int(bars.high[row, n]),
                int(bars.low[row, n]),
                int(bars.close[row, n]),
                float(bars.volume[row, n] / bars.volume_scale[n]),
            )
            for n in columns
            if bars.present[row, n]
        ]
