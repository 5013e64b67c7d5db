"""History into the bar store: what is missing, and no more; after a kill it goes on where it was."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Protocol

import numpy as np

from actors.kernel.frozen import frozen
from actors.trading.blocks import SHARE
from actors.trading.ports import Bar, Session
from strategies.adjustments import Action
from strategies.bar_columns import NAMES, NO_BARS, Series, joined
from strategies.bar_store import BarStore, Range, Source
from strategies.bars import timeframe_text
from strategies.sessions import DAY, MINUTE, OPEN

FROM = "Alpaca"
"""Begins the text of its sources: what came from elsewhere, such as the nightly archive, may have holes."""
LENGTHS = (MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, DAY)
"""Bars that begin with the sessions; longer ones begin with the clock's hours, and the lab makes better ones itself."""
SESSION = 390 * MINUTE
BARS_AT_ONCE = 250_000
"""In memory, some 20 MB: the symbols of a month are stored in groups of so many."""


class History(Protocol):
    """Where it comes from."""

    feed: str

    def pages(self, symbols: Collection[str], timeframe: int, start: int, end: int) -> AsyncIterator[Sequence[Bar]]:
        """Raw bars with start <= time < end, by symbol, then time."""

    async def actions(self, symbols: Collection[str], first: str, last: str) -> list[Action]:
        """Splits and dividends from date to date, both included."""


@frozen
class Step:
    """Sessions that are asked for at once, and of whom."""

    symbols: tuple[str, ...]
    sessions: tuple[Session, ...]


async def fetch(
    history: History,
    store: BarStore,
    timeframe: int,
    steps: Sequence[Step],
    source: Source,
    done: Callable[[int], None],
) -> int:
    """Store the bars of `steps`, one after the other; how many there were. `done` is told the number of each.

    Raises Unreachable and Refused as the market does, and UserError when another process writes.
    """
    if steps:
        symbols = sorted({symbol for step in steps for symbol in step.symbols})
        first = min(step.sessions[0].date for step in steps)
        store.add_actions(await history.actions(symbols, first, max(step.sessions[-1].date for step in steps)))
    count = 0
    for number, step in enumerate(steps, 1):
        found: dict[str, Series] = {}
        begins, ends = step.sessions[0].open, step.sessions[-1].close
        async for page in history.pages(step.symbols, timeframe, begins - (OPEN if timeframe >= DAY else 0), ends):
            for symbol, bars in groupby(page, key=lambda bar: bar.symbol):
                fresh = _series(bars, step.sessions, timeframe)
                found[symbol] = joined(found.get(symbol, NO_BARS), fresh, timeframe)
        store.add(history.feed, timeframe, found, source)
        count += sum(len(series) for series in found.values())
        done(number)
    return count


def missing(
    store: BarStore, feed: str, timeframe: int, symbols: Sequence[str], sessions: Sequence[Session]
) -> list[Step]:
    """What the store does not have of these whole sessions: month by month (daily bars all at once), oldest first."""
    manifest = store.manifest()
    ranges = manifest.ranges.get(f"{feed}/{timeframe_text(timeframe)}", {})
    ours = {number for number, source in enumerate(manifest.sources) if source.text.startswith(FROM)}
    steps: list[Step] = []
    for _, month in groupby(sessions, key=lambda one: "" if timeframe >= DAY else one.date[:7]):
        lacking = {day: _without(day, symbols, ranges, ours) for day in month}
        days = tuple(day for day, without in lacking.items() if without)
        names = sorted(set().union(*lacking.values()))
        steps += (Step(tuple(group), days) for group in _groups(names, timeframe, len(days)))
    return steps


def _without(
    day: Session, symbols: Sequence[str], ranges: Mapping[str, Sequence[Range]], ours: Collection[int]
) -> set[str]:
    return {
        symbol
        for symbol in symbols
        if not any(
            source in ours and since < day.close and until >= day.open - OPEN
            for since, until, source in ranges.get(symbol, ())
        )
    }


def _groups(names: Sequence[str], timeframe: int, days: int) -> Iterator[Sequence[str]]:
    bars = days * -(-SESSION // timeframe)
    size = max(1, BARS_AT_ONCE // max(bars, 1))
    return (names[start : start + size] for start in range(0, len(names), size))


def _series(bars: Iterable[Bar], sessions: Sequence[Session], timeframe: int) -> Series:
    """The bars of one symbol that lie in the sessions."""
    rows = [
        (bar.time, bar.open, bar.high, bar.low, bar.close, round(bar.volume * SHARE), bar.vwap, bar.trades)
        for bar in bars
    ]
    columns = np.array(rows, np.int64).reshape(-1, len(NAMES)).T
    opens = np.array([session.open - (OPEN if timeframe >= DAY else 0) for session in sessions])
    closes = np.array([session.close for session in sessions])
    place = np.searchsorted(opens, columns[0], side="right") - 1
    inside = (place >= 0) & (columns[0] < closes[place])
    return Series(*(np.ascontiguousarray(column[inside]) for column in columns))
