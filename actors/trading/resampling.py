"""Live bars to a strategy's own, one block after the other: the same as `strategies.resample` on the same bars."""

import json
from array import array

import numpy as np

from actors.store.desk_records import COLUMNS, BarBlock
from strategies.sessions import exchange_dates, sessions_of

NONE = -1


class Resampler:
    """Puts blocks of one length together to blocks of another, counted from each session's open.

    A slot is closed by the block that ends it, or else by the first one behind it; a block without any bars also says
    that its time has passed. `state` and `restore` carry everything that is not in a closed slot.
    """

    def __init__(self, base: int, timeframe: int) -> None:
        """Lengths in microseconds; `timeframe` is a multiple of `base`, or the same, and then nothing is left out."""
        self._base = base
        self._timeframe = timeframe
        self._session = (NONE, NONE)
        self._newest = NONE  # the last bar time folded
        self._slot = NONE
        self._bars: dict[str, list[int]] = {}  # of the open slot: a symbol's columns, its vwap times volume

    def fold(self, block: BarBlock) -> list[BarBlock]:
        """The blocks that are whole with this one: none, one, or two. One of a time folded before is ignored."""
        if block.time <= self._newest:
            return []
        self._newest = block.time
        slot, end = self._slot_of(block.time)
        whole = self._close(block) if slot != self._slot else []
        if slot == NONE:
            return whole
        self._slot = slot
        for bar in zip(block.symbols, *(getattr(block, name) for name in COLUMNS), strict=True):
            self._add(*bar)
        return whole + self._close(block) if block.time + self._base >= end else whole

    def state(self) -> bytes:
        """What `restore` needs."""
        # Not orjson: prices times volumes of a busy day go beyond its 64 bits.
        return json.dumps([self._newest, self._slot, self._bars]).encode()

    def restore(self, state: bytes) -> None:
        """Go on from a `state`."""
        self._newest, self._slot, self._bars = json.loads(state)

    def _slot_of(self, time: int) -> tuple[int, int]:
        """Start and end of the slot in which a bar that starts at `time` belongs; NONE: in none."""
        if self._timeframe == self._base:
            return time, time + self._base
        opens, closes = self._session
        if not opens <= time < closes:
            found = sessions_of(exchange_dates(np.array([time]), self._base))
            opens, closes = self._session = int(found[0][0]), int(found[1][0])
        # A bar that runs across the open belongs to the session.
        if not (time + self._base > opens and time < closes):
            return NONE, NONE
        slot = opens + max(time - opens, 0) // self._timeframe * self._timeframe
        return slot, min(slot + self._timeframe, closes)

    def _add(
        self, symbol: str, opened: int, high: int, low: int, close: int, volume: int, vwap: int, trades: int
    ) -> None:
        bar = self._bars.get(symbol)
        if bar is None:
            self._bars[symbol] = [opened, high, low, close, volume, vwap * volume, trades]
            return
        _, *so_far = bar
        bar[1:] = [
            max(so_far[0], high),
            min(so_far[1], low),
            close,
            so_far[3] + volume,
            so_far[4] + vwap * volume,
            so_far[5] + trades,
        ]

    def _close(self, by: BarBlock) -> list[BarBlock]:
        """The open slot as a block, unless nothing has traded in it; then nothing is open any more."""
        slot, bars, self._slot, self._bars = self._slot, self._bars, NONE, {}
        if slot == NONE or not bars:
            return []
        symbols = tuple(sorted(bars))
        for bar in bars.values():
            bar[5] = bar[5] // bar[4] if bar[4] else 0
        columns = [array("q", [bars[symbol][n] for symbol in symbols]) for n in range(len(COLUMNS))]
        return [BarBlock(by.feed, by.source, self._timeframe, slot, symbols, *columns)]
