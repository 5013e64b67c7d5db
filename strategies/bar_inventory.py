"""What the bar store holds: series, their ranges and sources, and the sessions of which they have no bar."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from strategies.bar_columns import Column, Part
from strategies.bar_store import BarStore, Opened
from strategies.bars import timeframe_text
from strategies.sessions import DAY, HOUR, Dates, exchange_dates, sessions_between


@dataclass(frozen=True, slots=True)
class Gap:
    """`sessions` sessions without a bar, the first on `since` and the last on `until` (YYYY-MM-DD)."""

    since: str
    until: str
    sessions: int


@dataclass(frozen=True, slots=True)
class SourceRange:
    """Bars that start from `since` to `until`, both included, in µs, and where they came from."""

    since: int
    until: int
    source: str


@dataclass(frozen=True, slots=True)
class Holding:
    """The bars of one symbol; `first` and `last` are bar starts in µs."""

    feed: str
    timeframe: str
    symbol: str
    bars: int
    first: int
    last: int
    gaps: Sequence[Gap]
    ranges: Sequence[SourceRange]


def inventory(store: BarStore, symbols: Sequence[str] = ()) -> Iterator[Holding]:
    """Every series, or those of these symbols, by feed, timeframe and symbol."""
    for feed, timeframe in sorted({(part.feed, part.timeframe) for part in store.manifest().parts}):
        opened = store.opened(feed, timeframe)
        manifest = store.manifest()  # read after the bars: it knows of each of them where it came from
        name = timeframe_text(timeframe)
        ranges = manifest.ranges[f"{feed}/{name}"]
        for symbol in opened.symbols:
            if symbols and symbol not in symbols:
                continue
            pieces = list(_pieces(opened, symbol))
            yield Holding(
                feed,
                name,
                symbol,
                sum(len(times) for times in pieces),
                int(pieces[0][0]),
                int(pieces[-1][-1]),
                list(_gaps(pieces, timeframe)),
                [SourceRange(since, until, manifest.sources[source].text) for since, until, source in ranges[symbol]],
            )


def _pieces(opened: Opened, symbol: str) -> Iterator[Column]:
    for part, columns in opened.parts:
        if symbol in part.rows:
            yield _times(part, columns, symbol)


def _times(part: Part, columns: Mapping[str, Column], symbol: str) -> Column:
    times: Column = columns["time"][slice(*part.rows[symbol])].astype(np.int64) * part.unit
    return times


def _gaps(pieces: Sequence[Column], timeframe: int) -> Iterator[Gap]:
    dates = np.unique(np.concatenate([_dates(times, timeframe) for times in pieces]))
    sessions = sessions_between(dates[0], dates[-1]).dates
    sessions = sessions[(sessions >= dates[0]) & (sessions <= dates[-1])]
    missing = np.flatnonzero(~np.isin(sessions, dates))
    for run in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1):
        if run.size:
            yield Gap(str(sessions[run[0]]), str(sessions[run[-1]]), len(run))


def _dates(times: Column, timeframe: int) -> Dates:
    if timeframe < DAY:  # New York's date changes on a full hour of UTC: looking at the hours is enough
        times = np.unique(times // HOUR) * HOUR
    return exchange_dates(times.astype(np.int64), timeframe)
