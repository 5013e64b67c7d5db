"""Live bars to a strategy's own, one block after the other: the same as `strategies.resample` on the same bars."""

from array import array
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from actors.store.desk_records import COLUMNS, BarBlock
from strategies.sessions import session_of

NONE = -1
SUMMED = ("volume", "trades")

Column = NDArray[np.int64]


class Resampler:
    """Puts blocks of one length together to blocks of another, counted from each session's open.

    A slot is closed by the block that ends it, or else by the first one behind it; a block without any bars also says
    that its time has passed. `state` and `restore` carry everything that is not in a closed slot.
    """

    def __init__(self, base: int, timeframe: int) -> None:
        """Lengths in microseconds; `timeframe` is a multiple of `base`, or the same, and then nothing is left out."""
        self._base = base
        self._timeframe = timeframe
        self._newest = NONE  # the last bar time folded
        self._slot = NONE
        self._begin()

    def _begin(self) -> None:
        """A slot of which nothing is known yet."""
        self._symbols: tuple[str, ...] = ()  # that have a bar in it, in order
        self._columns: dict[str, Column] = {name: np.zeros(0, np.int64) for name in COLUMNS}
        # Floats: prices times volumes of a busy day go beyond 64 bits.
        self._worth = np.zeros(0)

    def fold(self, block: BarBlock) -> list[BarBlock]:
        """The blocks that are whole with this one: none, one, or two. One of a time folded before is ignored."""
        if block.time <= self._newest:
            return []
        self._newest = block.time
        if self._timeframe == self._base:
            return [block] if block.symbols else []
        slot, end = self._slot_of(block.time)
        whole = self._close(block) if slot != self._slot else []
        if slot == NONE:
            return whole
        self._slot = slot
        self._add(block)
        return whole + self._close(block) if block.time + self._base >= end else whole

    def state(self) -> bytes:
        """What `restore` needs."""
        columns = {name: column.tolist() for name, column in self._columns.items()}
        return orjson.dumps([self._newest, self._slot, self._symbols, columns, self._worth.tolist()])

    def restore(self, state: bytes) -> None:
        """Go on from a `state`."""
        self._newest, self._slot, symbols, columns, worth = orjson.loads(state)
        self._symbols = tuple(symbols)
        self._columns = {name: np.array(columns[name], np.int64) for name in COLUMNS}
        self._worth = np.array(worth, np.float64)

    def _slot_of(self, time: int) -> tuple[int, int]:
        """Start and end of the slot in which a bar that starts at `time` belongs; NONE: in none."""
        opens, closes = (int(moment[0]) for moment in session_of(time, self._base)[1:])
        # A bar that runs across the open belongs to the session.
        if not (time + self._base > opens and time < closes):
            return NONE, NONE
        slot = opens + max(time - opens, 0) // self._timeframe * self._timeframe
        return slot, min(slot + self._timeframe, closes)

    def _add(self, block: BarBlock) -> None:
        bars = {name: np.frombuffer(getattr(block, name), np.int64) for name in COLUMNS}
        if not self._symbols or set(block.symbols) - set(self._symbols):
            self._admit(block.symbols)
        at = self._places(block.symbols)
        mine = self._columns
        mine["open"][at] = np.where(mine["open"][at] == 0, bars["open"], mine["open"][at])
        mine["high"][at] = np.maximum(mine["high"][at], bars["high"])
        mine["low"][at] = np.where(mine["low"][at] == 0, bars["low"], np.minimum(mine["low"][at], bars["low"]))
        mine["close"][at] = bars["close"]
        for name in SUMMED:
            mine[name][at] += bars[name]
        self._worth[at] += bars["vwap"].astype(np.float64) * bars["volume"]

    def _places(self, symbols: tuple[str, ...]) -> slice | NDArray[np.intp]:
        if symbols == self._symbols:
            return slice(None)
        place = {symbol: n for n, symbol in enumerate(self._symbols)}
        return np.array([place[symbol] for symbol in symbols], np.intp)

    def _admit(self, symbols: tuple[str, ...]) -> None:
        """Make room for those that had no bar in this slot so far: all zeros, which no bar is."""
        before, self._symbols = self._symbols, tuple(sorted({*self._symbols, *symbols}))
        old = self._places(before)

        def widened(column: NDArray[Any]) -> NDArray[Any]:
            wide = np.zeros(len(self._symbols), column.dtype)
            wide[old] = column
            return wide

        self._columns = {name: widened(column) for name, column in self._columns.items()}
        self._worth = widened(self._worth)

    def _close(self, by: BarBlock) -> list[BarBlock]:
        """The open slot as a block, unless nothing has traded in it; then nothing is open any more."""
        slot, symbols, columns, worth = self._slot, self._symbols, self._columns, self._worth
        self._slot = NONE
        self._begin()
        if slot == NONE or not symbols:
            return []
        columns["vwap"] = np.floor(worth / np.maximum(columns["volume"], 1)).astype(np.int64)
        packed = [array("q", columns[name].tobytes()) for name in COLUMNS]
        return [BarBlock(by.feed, by.source, self._timeframe, slot, symbols, *packed)]
