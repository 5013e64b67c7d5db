"""Bars out of the bar store: of many symbols on one time axis, as they are or put together to longer ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from config.errors import BadInput
from strategies.bar_columns import SHARE, Column, Part
from strategies.bar_gates import NUMBERS, PRICES
from strategies.bar_store import BarStore
from strategies.bars import RAW_UNITS_PER_DOLLAR, Bars, Bools, Ints, carry_forward, parse_timeframe, timeframe_text
from strategies.resample import OUTSIDE, can_make, slots

T = TypeVar("T", bound=np.generic)

SYNTHETIC = "synthetic"
ROOM = 16  # times the bars: a table of all moments may be that much larger than those that have one
CHUNK = 1 << 18


def read_store(
    store: BarStore, *, symbols: Sequence[str] | None = None, timeframe: str | None = None, feed: str | None = None
) -> Bars:
    """Raw bars of one feed, in alphabetical order of the symbols.

    Of the lengths that are stored the longest that makes `timeframe` is taken, and put together part by part, so that
    no more than a part is in memory. Raises BadInput when there are no such bars, or when it is not said which.
    """
    length = None if timeframe is None else parse_timeframe(timeframe)
    feed, stored = _choose(store, length, feed)
    opened = store.opened(feed, stored)
    known = opened.symbols
    wanted = known if symbols is None else sorted(set(symbols))
    if missing := set(wanted).difference(known):
        raise BadInput(f"{store.folder}: has no {timeframe_text(stored)} bars of {min(missing)} from {feed}")
    longer = None if length in {None, stored} else length
    pieces = [_panel(part, columns, wanted, longer) for part, columns in opened.drained()]
    return _joined([piece for piece in pieces if len(piece.times)], wanted, longer or stored, feed, store)


def _choose(store: BarStore, length: int | None, feed: str | None) -> tuple[str, int]:
    """Feed and stored timeframe to read. Raises BadInput where there is none, or more than one."""
    there = {(part.feed, part.timeframe) for part in store.manifest().parts}
    if not there:
        raise BadInput(f"{store.folder}: there are no bars; import some with: nightdesk import-bars PATH")
    fitting = {one for one in there if (length is None or can_make(one[1], length)) and feed in {None, one[0]}}
    names = ", ".join(sorted(f"{timeframe_text(timeframe)} from {name}" for name, timeframe in fitting or there))
    if not fitting:
        raise BadInput(f"{store.folder}: has no such bars (there are: {names})")
    if len({name for name, _ in fitting}) > 1:
        raise BadInput(f"{store.folder}: has bars of several feeds, which do not mix ({names}); choose one with --feed")
    if length is None and len(fitting) > 1:
        raise BadInput(f"{store.folder}: has bars of several lengths ({names}); choose one with --timeframe")
    return max(fitting, key=lambda one: one[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Panel:
    """Bars of one part: `times` (time,), the rest (time, symbols); where none is `present` the numbers are 0.

    `share`: units that a symbol's share is counted in.
    """

    times: Ints
    prices: Mapping[str, Ints]
    volume: Ints
    present: Bools
    share: Ints


def _panel(part: Part, columns: Mapping[str, Column], symbols: Sequence[str], longer: int | None) -> _Panel:
    runs = [slice(*part.rows.get(symbol, (0, 0))) for symbol in symbols]
    fractional = [part.share != 1 and bool((columns["volume"][run] % SHARE).any()) for run in runs]
    share = np.where(fractional, SHARE, 1)
    if longer is None:
        times, grids, present = _as_stored(columns, runs, part.unit)
    else:
        times, grids, present = _longer(columns, runs, part, longer)
    volume = grids.pop("volume")
    return _Panel(times, grids, volume if part.share == 1 else volume // (SHARE // share), present, share)


class _Axis:
    """The distinct times of a column. `times` (time,) ascending, in µs."""

    def __init__(self, column: Column, unit: int) -> None:
        self._first, last = (int(column.min()), int(column.max())) if column.size else (0, -1)
        span = last - self._first + 1
        # A table of all moments is quicker than sorting, but too large where bars are stamped to the microsecond.
        self._table: Ints | None = None
        if span <= ROOM * column.size + 1_000_000:
            seen = np.zeros(span, np.bool_)
            for start in range(0, column.size, CHUNK):
                seen[column[start : start + CHUNK] - self._first] = True
            self._distinct = np.flatnonzero(seen) + self._first
            self._table = np.cumsum(seen) - 1
        else:
            self._distinct = np.unique(column).astype(np.int64)
        self.times: Ints = self._distinct * unit

    def lookup(self, values: Ints) -> Callable[[Column], Ints]:
        """For a column of times, the entries of `values` (time,) that stand at them."""
        if self._table is None:
            return lambda column: values[np.searchsorted(self._distinct, column)]
        table, first = values[self._table] if len(values) else values, self._first
        return lambda column: table[column - first]


def _as_stored(columns: Mapping[str, Column], runs: Sequence[slice], unit: int) -> tuple[Ints, dict[str, Ints], Bools]:
    taken = {name: _taken(columns[name], runs) for name in ("time", *NUMBERS)}
    axis = _Axis(taken["time"], unit)
    shape = (len(runs), len(axis.times))
    before = np.repeat(np.arange(len(runs)) * len(axis.times), [run.stop - run.start for run in runs])
    cell = before + axis.lookup(np.arange(len(axis.times)))(taken["time"])

    def turned(column: "NDArray[T]") -> "NDArray[T]":
        if column.size != shape[0] * shape[1]:
            cells = np.zeros(shape[0] * shape[1], column.dtype)
            cells[cell] = column
            column = cells
        return np.ascontiguousarray(column.reshape(shape).T)

    present = turned(np.ones(cell.size, np.bool_))
    return axis.times, {name: turned(taken[name]).astype(np.int64) for name in NUMBERS}, present


def _taken(column: Column, runs: Sequence[slice]) -> Column:
    """The rows of these runs; where they adjoin, nothing is copied."""
    if all(run.start == before.stop for before, run in pairwise(runs)):
        return column[runs[0].start : runs[-1].stop]
    return np.concatenate([column[run] for run in runs])


def _longer(
    columns: Mapping[str, Column], runs: Sequence[slice], part: Part, length: int
) -> tuple[Ints, dict[str, Ints], Bools]:
    """As `resample`, one symbol after the other."""
    axis = _Axis(_taken(columns["time"], runs), part.unit)
    slot = slots(axis.times, part.timeframe, length)
    times, number_of = np.unique(slot, return_inverse=True)
    outside = int(len(times) and times[0] == OUTSIDE)
    slot_of = axis.lookup(number_of - outside)
    shape = (len(times) - outside, len(runs))
    present = np.zeros(shape, np.bool_)
    grids = {name: np.zeros(shape, np.int64) for name in NUMBERS}
    for number, run in enumerate(runs):
        slot_numbers = slot_of(columns["time"][run])
        if not slot_numbers.size:
            continue
        starts = np.flatnonzero(np.append(True, slot_numbers[1:] != slot_numbers[:-1]))
        last = np.append(starts[1:], len(slot_numbers)) - 1
        rows = slot_numbers[starts]
        kept = rows >= 0
        made = {
            "open": columns["open"][run][starts],
            "high": np.maximum.reduceat(columns["high"][run], starts),
            "low": np.minimum.reduceat(columns["low"][run], starts),
            "close": columns["close"][run][last],
            "volume": np.add.reduceat(columns["volume"][run], starts, dtype=np.int64),
        }
        present[rows[kept], number] = True
        for name, values in made.items():
            grids[name][rows[kept], number] = values[kept]
    return times[outside:], grids, present


def _joined(panels: Sequence[_Panel], symbols: Sequence[str], timeframe: int, feed: str, store: BarStore) -> Bars:
    if not panels:
        raise BadInput(f"{store.folder}: none of these bars lies inside a session of the exchange")
    share: Ints = np.max([panel.share for panel in panels], axis=0)
    present = _stack([panel.present for panel in panels])
    opens, highs, lows, closes = (_stack([panel.prices[name] for panel in panels]) for name in PRICES)
    if not present.all():
        closes = carry_forward(closes, present)
        opens, highs, lows = (np.where(present, prices, closes) for prices in (opens, highs, lows))
    return Bars(
        tuple(symbols),
        _stack([panel.times for panel in panels]),
        opens,
        highs,
        lows,
        closes,
        _stack([panel.volume * (share // panel.share) for panel in panels]),
        present,
        np.full(len(symbols), RAW_UNITS_PER_DOLLAR, np.int64),
        share,
        timeframe,
        feed=feed,
        synthetic=feed == SYNTHETIC,
    )


def _stack(pieces: "list[NDArray[T]]") -> "NDArray[T]":
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
