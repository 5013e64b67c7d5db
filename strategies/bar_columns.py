"""One part of the bar store on disk: a folder with a numpy file for each column, memory-mapped, never changed.

Each symbol's bars are a run of rows, ascending in time. Every column has the narrowest integers that hold it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from strategies.sessions import DAY, HOUR, MINUTE, SECOND, exchange_dates

Ints = NDArray[np.int64]
Column = NDArray[np.signedinteger]

NAMES = ("time", "open", "high", "low", "close", "volume", "vwap", "trades")
KNOWN_OR_NOT = ("vwap", "trades")  # no file: of no bar are they known
SHARE = 10_000  # units that a share is counted in
UNITS = (DAY, HOUR, 30 * MINUTE, MINUTE, SECOND, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Bars of one symbol, each column (bars,): times in µs ascending, prices 1/10,000 dollar, volume 1/10,000 share.

    `vwap` 0 and `trades` 0: not known.
    """

    time: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    vwap: Ints
    trades: Ints

    def rows(self, which: "slice | NDArray[np.bool_] | NDArray[np.intp]") -> "Series":
        """Some of the bars."""
        return Series(*(getattr(self, name)[which] for name in NAMES))

    def __len__(self) -> int:
        return len(self.time)


NO_BARS = Series(*(np.zeros(0, np.int64) for _ in NAMES))


def places(times: Ints, timeframe: int) -> Ints:
    """What a symbol has one bar of: a time, or where bars are days an exchange date, however the day is stamped."""
    return times if timeframe < DAY else exchange_dates(times, timeframe).astype(np.int64)


def joined(first: Series, then: Series, timeframe: int) -> Series:
    """Both in order of time; where both have a bar, that of `then`."""
    kept = first.rows(~np.isin(places(first.time, timeframe), places(then.time, timeframe)))
    order = np.argsort(np.concatenate((kept.time, then.time)), kind="stable")
    return Series(*(np.concatenate((getattr(kept, name), getattr(then, name)))[order] for name in NAMES))


@dataclass(frozen=True, slots=True)
class Part:
    """The bars of one feed and timeframe in one period: `rows` says where in the columns a symbol's bars are.

    Times are counted in `unit` µs, volumes in 1/`share` share. `names` are the columns that it has.
    """

    folder: str
    feed: str
    timeframe: int
    period: str
    unit: int
    share: int
    names: tuple[str, ...]
    rows: Mapping[str, tuple[int, int]]

    def columns(self, root: Path) -> dict[str, Column]:
        """The columns, mapped into memory. Raises FileNotFoundError when the part has been replaced."""
        files = {name: root / self.folder / f"{name}.npy" for name in self.names}
        return {name: np.load(file, mmap_mode="r").view(np.ndarray) for name, file in files.items()}

    def series(self, columns: Mapping[str, Column], symbol: str) -> Series:
        """The bars of one symbol, copied out of these columns; none where it has none."""
        start, stop = self.rows.get(symbol, (0, 0))
        scale = {"time": self.unit, "volume": SHARE // self.share}
        nothing = np.zeros(stop - start, np.int64)
        return Series(
            *(
                columns[name][start:stop].astype(np.int64) * scale.get(name, 1) if name in columns else nothing
                for name in NAMES
            )
        )


@dataclass(frozen=True, slots=True)
class PartName:
    """What a part will hold, and where."""

    folder: str
    feed: str
    timeframe: int
    period: str


def write_part(root: Path, name: PartName, symbols: Sequence[str], bars_of: Callable[[str], Series]) -> Part:
    """Write a new folder; when this returns all of it is on the disk. `bars_of` is asked twice for each symbol.

    Only one symbol's bars are in memory at a time: a part may have millions.
    """
    rows: dict[str, tuple[int, int]] = {}
    size, units, share, widest = 0, list(UNITS), 1, dict.fromkeys(NAMES, 0)
    for symbol in sorted(symbols):
        bars = bars_of(symbol)
        rows[symbol] = (size, size + len(bars))
        size += len(bars)
        while (bars.time % units[0]).any():
            units.pop(0)
        share = share if not (bars.volume % SHARE).any() else SHARE
        widest |= {column: max(widest[column], int(np.abs(getattr(bars, column)).max(initial=0))) for column in NAMES}
    names = tuple(column for column in NAMES if column not in KNOWN_OR_NOT or widest[column])
    divisors = {"time": units[0], "volume": SHARE // share}
    kinds = {column: _narrowest(widest[column] // divisors.get(column, 1)) for column in names}
    path = root / name.folder
    path.mkdir(parents=True)
    with ExitStack() as stack:
        files = {column: stack.enter_context((path / f"{column}.npy").open("xb")) for column in names}
        for column, file in files.items():
            header = {"descr": kinds[column].str, "fortran_order": False, "shape": (size,)}
            write_array_header_1_0(file, header)
        for symbol in rows:
            bars = bars_of(symbol)
            for column, file in files.items():
                # Written, not mapped: on a full disk a mapping kills the process.
                file.write((getattr(bars, column) // divisors.get(column, 1)).astype(kinds[column]).data)
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    for changed in (path, path.parent, path.parent.parent, root):
        _sync(changed)
    return Part(name.folder, name.feed, name.timeframe, name.period, units[0], share, names, rows)


def _narrowest(most: int) -> np.dtype[np.signedinteger]:
    return np.dtype("<i4" if most <= np.iinfo(np.int32).max else "<i8")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def replace_file(path: Path, content: bytes) -> None:
    """At every instant the file holds the old content or the new; the new is on the disk when this returns."""
    fresh = path.with_name(unfinished(path.name))
    try:
        fresh.write_bytes(content)
        _sync(fresh)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def unfinished(name: str) -> str:
    """What `replace_file` calls the new file until it is whole; only a kill leaves one."""
    return f".{name}.new"
