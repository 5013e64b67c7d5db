"""Bars from the log as strategies are shown them: the same blocks, to the bit, that the backtest cuts."""

from array import array
from collections.abc import Sequence

import numpy as np

from actors.store.desk_records import BarBlock
from strategies.bars import Block, Bools, Ints
from strategies.lanes import Stateful
from strategies.sessions import session_of
from strategies.universe import Interval, members_of

SHARE = 10_000  # units of volume in the log

Rows = Ints | slice
ALL = slice(None)


class StrategyBlocks(Stateful):
    """Blocks of one bar time for the symbols of a universe, in its order; remembers their last closes."""

    def __init__(self, symbols: Sequence[str], timeframe: int, membership: Sequence[Interval] | None = None) -> None:
        """`timeframe` in microseconds; without `membership` all symbols belong to the universe, always."""
        self.closes: Ints = np.zeros(len(symbols), np.int64)
        self._symbols = tuple(symbols)
        self._length = timeframe
        self._membership = membership
        # Sums of price times volume over a session fit 64 bits in whole shares only; exchanges report no others.
        self._volume_scale = np.ones(len(symbols), np.int64)
        self._members_on: np.datetime64 | None = None
        self._members: list[Bools] = []  # of that date; in a list, for it is no part of the state
        self._seen = self._symbols
        self._places: tuple[Rows, Rows] = (ALL, ALL)

    def block(self, bars: BarBlock) -> Block:
        """The next bar time; later times only."""
        rows, places = self._rows_and_places(bars.symbols)

        def column(values: "array[int]") -> Ints:
            """Where there is no bar, the last close."""
            filled = np.frombuffer(values, np.int64)
            if places is not ALL:
                filled, received = self.closes.copy(), filled[rows]
                filled[places] = received
            filled.flags.writeable = False
            return filled[None, None]

        close = column(bars.close)
        self.closes = close[0, 0]
        volume = np.zeros_like(self.closes)
        volume[places] = np.rint(np.frombuffer(bars.volume, np.int64)[rows] / SHARE)
        present = np.zeros(volume.shape, np.bool_)
        present[places] = True
        times = np.array([bars.time], np.int64)
        dates, session_open, session_close = session_of(bars.time, self._length)
        return Block(
            times,
            dates,
            session_open,
            session_close,
            last_of_session=(session_close >= 0) & (times + self._length >= session_close),
            open=column(bars.open),
            high=column(bars.high),
            low=column(bars.low),
            close=close,
            volume_units=volume[None, None],
            volume_scale=self._volume_scale,
            present=present[None, None],
            members=(present & self.members(dates[0]))[None, None],
        )

    def forget(self) -> None:
        """The past begins anew."""
        self.closes = np.zeros_like(self.closes)

    def members(self, date: np.datetime64) -> Bools:
        """Who belongs to the universe on that exchange date, (symbols,)."""
        if date != self._members_on:
            everyone = np.ones(len(self._symbols), np.bool_)
            intervals, dates = self._membership, np.array([date])
            self._members = [everyone if intervals is None else members_of(self._symbols, dates, intervals)[0]]
            self._members_on = date
        return self._members[0]

    def _rows_and_places(self, symbols: tuple[str, ...]) -> tuple[Rows, Rows]:
        """Which bars concern this universe, and where they stand in it; mostly as the time before."""
        if symbols != self._seen:
            columns = {symbol: column for column, symbol in enumerate(self._symbols)}
            found = [(row, columns[symbol]) for row, symbol in enumerate(symbols) if symbol in columns]
            rows, places = np.array(found, np.int64).reshape(-1, 2).T
            self._seen, self._places = symbols, (ALL, ALL) if symbols == self._symbols else (rows, places)
        return self._places
