"""Bars of minutes out of longer ones: what was recorded by the day can be lived through by the minute."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from actors.simulated.exchange.tape import Moment, Recorded
from actors.trading.ports import Bar
from strategies.sessions import DAY, MINUTE, exchange_dates, sessions_of

LEGS = 3  # open to low, low to high, high to close


class InMinutes:
    """A recording of longer bars, played in minutes that together are those bars.

    Prices go straight from the open to the low, to the high, to the close; where the bar falls, to the high first. A
    daily bar fills the regular hours of its date, another bar what of its length lies in them.
    """

    timeframe = MINUTE

    def __init__(self, tape: Recorded) -> None:
        self.symbols, self.feed = tape.symbols, tape.feed
        self._tape = tape

    def moments(self, since: int = 0) -> Iterator[Moment]:
        """The minutes from `since` on."""
        for moment in self._tape.moments(since - self._tape.timeframe):
            begins, ends = self._span(moment.time)
            each = [minutes_of(bar, begins, ends) for bar in moment.bars]
            for bars in zip(*each, strict=True):
                if bars[0].time >= since:
                    yield Moment(bars[0].time, bars)

    def history(self, symbols: Sequence[str], start: int, end: int) -> list[Bar]:
        """Minutes with start <= time < end, by time, then in the order of the tape's symbols."""
        found: list[Bar] = []
        for moment in self.moments(start):
            if moment.time >= end:
                break
            found += [bar for bar in moment.bars if bar.symbol in symbols]
        return found

    def _span(self, time: int) -> tuple[int, int]:
        """From when to when there is trading in the bar of this time; never, on a day without a session."""
        length = self._tape.timeframe
        opens, closes = sessions_of(exchange_dates(np.array([time]), length))
        begins, ends = int(opens[0]), int(closes[0])
        return (begins, ends) if length >= DAY else (max(time, begins), min(time + length, ends))


def minutes_of(bar: Bar, begins: int, ends: int) -> list[Bar]:
    """The minutes of one bar, which is spread from `begins` to `ends`."""
    count = max((ends - begins) // MINUTE, 0)
    first, second = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    # In fewer minutes than legs there is no room to turn in: each has the whole range.
    narrow = count < LEGS
    points = (bar.open, bar.close) if narrow else (bar.open, first, second, bar.close)
    turns = [count * leg // (len(points) - 1) for leg in range(len(points))]
    path = np.rint(np.interp(range(count + 1), turns, points)).astype(np.int64).tolist()
    share = bar.volume // max(count, 1)
    made = []
    for n, (open_, close) in enumerate(pairwise(path)):
        high, low = (bar.high, bar.low) if narrow else (max(open_, close), min(open_, close))
        volume = share if n + 1 < count else bar.volume - share * (count - 1)
        made.append(Bar(bar.symbol, begins + n * MINUTE, open_, high, low, close, volume))
    return made
