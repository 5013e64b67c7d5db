"""History of bars on disk: compact columns for each feed, timeframe and period, listed in one manifest.

The manifest is replaced in one step, and the folders that it lists never change: whoever reads sees the store as it was
before a write or as it is after it, never a mixture, also when the writer is killed in between.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from config.errors import BadInput, UserError
from strategies.adjustments import Action, as_csv, read_actions
from strategies.bar_columns import (
    NAMES,
    NO_BARS,
    Column,
    Part,
    PartName,
    Series,
    joined,
    replace_file,
    unfinished,
    write_part,
)
from strategies.bars import timeframe_text
from strategies.sessions import DAY, HOUR

MANIFEST = "manifest.json"
LOCK = "lock"
CALENDAR = "calendar.csv"  # see calendar_file
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where bars came from. `accepted`: for each gate that they were waved through, what it said."""

    text: str
    at: str = ""  # RFC 3339
    by: str = ""
    accepted: Mapping[str, Sequence[str]] = field(default_factory=dict)


Range = tuple[int, int, int]
"""Bars that start from the first time to the second, both included, came from the source of that number."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the store holds. `ranges`: feed and timeframe (as in "iex/1m") → symbol → ranges, ascending."""

    generation: int = 0
    parts: tuple[Part, ...] = ()
    sources: tuple[Source, ...] = ()
    ranges: Mapping[str, Mapping[str, Sequence[Range]]] = field(default_factory=dict)
    actions: str = ""  # the file of splits and dividends

    def find(self, feed: str, timeframe: int) -> list[Part]:
        """The parts of a feed and timeframe, in order of time."""
        found = [part for part in self.parts if (part.feed, part.timeframe) == (feed, timeframe)]
        return sorted(found, key=lambda part: part.period)


@dataclass(frozen=True, slots=True)
class Opened:
    """Parts in order of time, each with its columns mapped into memory."""

    parts: list[tuple[Part, dict[str, Column]]]

    def drained(self) -> Iterator[tuple[Part, dict[str, Column]]]:
        """Part by part; each is given up, with the memory that its columns have come to take, for the next."""
        while self.parts:
            yield self.parts.pop(0)

    @property
    def symbols(self) -> list[str]:
        """Those that have a bar, in alphabetical order."""
        return sorted({symbol for part, _ in self.parts for symbol in part.rows})

    def series(self, symbol: str) -> Series:
        """All bars of one symbol, copied; none where it has none."""
        pieces = [part.series(columns, symbol) for part, columns in self.parts]
        return Series(*(np.concatenate([getattr(piece, name) for piece in (NO_BARS, *pieces)]) for name in NAMES))


class BarStore:
    """A folder of bars. One process writes at a time, any number read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether there is a store in this folder."""
        return (path / MANIFEST).is_file()

    def manifest(self) -> Manifest:
        """What it holds now; a store that is not there yet holds nothing. Raises UserError for one that is damaged."""
        path = self.folder / MANIFEST
        try:
            return _manifest(orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            return Manifest()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: cannot be read as a bar store's manifest ({error})") from error

    def opened(self, feed: str, timeframe: int) -> "Opened":
        """The bars of a feed and timeframe as they are at this moment, also when they are replaced meanwhile."""
        while True:
            manifest = self.manifest()
            try:
                return Opened([(part, part.columns(self.folder)) for part in manifest.find(feed, timeframe)])
            except FileNotFoundError:
                if self.manifest().generation == manifest.generation:
                    raise UserError(f"{self.folder}: files that its manifest lists are missing") from None
            except (OSError, EOFError, ValueError) as error:
                raise UserError(f"{self.folder}: a file that its manifest lists cannot be read ({error})") from error

    def actions(self) -> list[Action]:
        """The splits and dividends that it knows, by symbol and date."""
        while True:
            manifest = self.manifest()
            try:
                return read_actions(self.folder / manifest.actions) if manifest.actions else []
            except BadInput:
                if self.manifest().generation == manifest.generation:
                    raise

    def add(
        self,
        feed: str,
        timeframe: int,
        series: Mapping[str, Series],
        source: Source,
        actions: Sequence[Action] = (),
        judged: int | None = None,
    ) -> None:
        """Merge bars, splits and dividends into the store, all or none; what is new replaces what it had.

        `judged` is the generation beside which they were found good. Raises UserError when there is another one by now,
        when another process is writing, and where nothing can be written.
        """
        series = {symbol: bars for symbol, bars in series.items() if len(bars)}
        with self._writing():
            manifest = self.manifest()
            if judged not in {None, manifest.generation}:
                raise UserError(f"{self.folder}: other bars have come in meanwhile; try again")
            parts = {part.folder: part for part in manifest.parts}
            olds = {part.period: part for part in manifest.find(feed, timeframe)}
            for period, fresh in _by_period(series, timeframe).items():
                old = olds.get(period)
                folder = f"{feed}/{timeframe_text(timeframe)}/{period}.{manifest.generation + 1}"
                symbols = {*fresh, *(old.rows if old else ())}
                name = PartName(folder, feed, timeframe, period)
                parts[folder] = write_part(self.folder, name, [*symbols], self._merged(old, fresh))
                if old is not None:
                    del parts[old.folder]
            told = _with_source(manifest, feed, timeframe, series, source)
            told = replace(told, generation=manifest.generation + 1, parts=tuple(parts.values()))
            self._replace(self._with_actions(told, actions))

    def add_actions(self, actions: Sequence[Action], source: Source | None = None) -> None:
        """Merge splits and dividends into the store; another one of the same symbol and day is replaced.

        A `source` is written down for what was accepted of it.
        """
        with self._writing():
            manifest = self.manifest()
            sources = (*manifest.sources, source) if source is not None and source.accepted else manifest.sources
            told = replace(manifest, generation=manifest.generation + 1, sources=sources)
            self._replace(self._with_actions(told, actions))

    def _with_actions(self, manifest: Manifest, actions: Sequence[Action]) -> Manifest:
        if not actions:
            return manifest
        known = {(one.symbol, one.date): one for one in (*self.actions(), *actions)}
        name = f"actions.{manifest.generation}.csv"
        replace_file(self.folder / name, as_csv(known.values()).encode())
        return replace(manifest, actions=name)

    def _merged(self, old: Part | None, fresh: Mapping[str, Series]) -> Callable[[str], Series]:
        if old is None:
            return fresh.__getitem__
        columns = old.columns(self.folder)

        def merged(symbol: str) -> Series:
            kept = old.series(columns, symbol)
            return joined(kept, fresh[symbol], old.timeframe) if symbol in fresh else kept

        return merged

    def _replace(self, manifest: Manifest) -> None:
        holds = {name: getattr(manifest, name) for name in Manifest.__slots__}
        replace_file(self.folder / MANIFEST, orjson.dumps({"format": FORMAT} | holds))
        self._sweep(manifest)

    def _sweep(self, manifest: Manifest) -> None:
        """Remove what is not listed: what was replaced, and what a writer left that was killed. Only what is ours."""
        listed = {self.folder / part.folder for part in manifest.parts}
        for folder in self.folder.glob("*/*/*.*[0-9]"):
            if folder not in listed:
                for file in folder.glob("*.npy"):
                    file.unlink()
                folder.rmdir()
        for file in self.folder.glob("actions.*[0-9].csv"):
            if file.name != manifest.actions:
                file.unlink()
        for file in self.folder.glob(unfinished("actions.*[0-9].csv")):
            file.unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._refuse_company()
            with self._locked():
                if self.is_one(self.folder):
                    self._sweep(self.manifest())  # first: on a full disk what a killed writer left is in the way
                else:
                    self._replace(Manifest())  # founded before anything is written: a store's leavings are in a store
                try:
                    yield
                except BaseException:
                    self._sweep(self.manifest())
                    raise
        except BlockingIOError:
            raise UserError(f"{self.folder}: another nightdesk is writing bars; try again in a moment") from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserError(f"{self.folder}: cannot be written: {reason}; what it has is whole") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        file = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(file)

    def _refuse_company(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ours = {LOCK, CALENDAR, *map(unfinished, (MANIFEST, CALENDAR))}  # of those a kill while founding leaves some
        others = [entry for entry in self.folder.iterdir() if entry.name not in ours]
        if others and not self.is_one(self.folder):  # a store sweeps: never among the files of others
            raise BadInput(f"{self.folder}: has other files in it, and is no bar store; name a folder for it alone")


def _manifest(data: dict[str, Any]) -> Manifest:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']}, and this nightdesk knows {FORMAT}")
    parts = tuple(Part(**part) for part in data["parts"])
    sources = tuple(Source(**one) for one in data["sources"])
    return Manifest(data["generation"], parts, sources, data["ranges"], data["actions"])


def _by_period(series: Mapping[str, Series], timeframe: int) -> dict[str, dict[str, Series]]:
    """The bars by period, of a size that can be written anew every night: some 4 million bars of 500 symbols."""
    if timeframe >= DAY:
        return {"all": dict(series)} if series else {}
    length = "datetime64[Y]" if timeframe >= HOUR else "datetime64[M]"
    cut: dict[str, dict[str, Series]] = {}
    for symbol, bars in series.items():
        periods, starts = np.unique(bars.time.astype("datetime64[us]").astype(length), return_index=True)
        for period, start, stop in zip(periods, starts, [*starts[1:], len(bars)], strict=True):
            cut.setdefault(str(period), {})[symbol] = bars.rows(slice(start, stop))
    return cut


def _with_source(
    manifest: Manifest, feed: str, timeframe: int, series: Mapping[str, Series], source: Source
) -> Manifest:
    """The manifest with the ranges of these bars told of."""
    sources = manifest.sources if source in manifest.sources else (*manifest.sources, source)
    number = sources.index(source)
    name = f"{feed}/{timeframe_text(timeframe)}"
    ranges = dict(manifest.ranges.get(name, {}))
    for symbol, bars in series.items():
        ranges[symbol] = _ranges(ranges.get(symbol, ()), (int(bars.time[0]), int(bars.time[-1]), number))
    return replace(manifest, sources=sources, ranges={**manifest.ranges, name: ranges})


def _ranges(before: Sequence[Range], fresh: Range) -> list[Range]:
    """Ranges ascending, the fresh one among them; it counts where they overlap."""
    first, last, _ = fresh
    kept = [fresh]
    for since, until, source in before:
        if since < first:
            kept.append((since, min(until, first - 1), source))
        if until > last:
            kept.append((max(since, last + 1), until, source))
    told: list[Range] = []
    for since, until, source in sorted(kept):
        continues = told and told[-1][2] == source
        told.append((told.pop()[0] if continues else since, until, source))
    return told
