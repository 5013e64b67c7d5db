"""Which symbols may be traded, and when: membership intervals and sectors, both small CSV files."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from config.errors import BadInput
from strategies.bars import Bars, Bools, carry_forward
from strategies.csv_table import parse_date, rows
from strategies.sessions import Dates

# The names that public lists use for the same column.
SYMBOL = ("symbol", "ticker")
START, END = ("start", "start_date"), ("end", "end_date")
SECTOR = ("sector", "gics sector")

PAUSE = np.timedelta64(30, "D")
"""A company that is traded has a bar more often than that."""


@dataclass(frozen=True, slots=True)
class Interval:
    """`symbol` belongs to the universe from `start` to `end`, both included."""

    symbol: str
    start: date
    end: date


class Company(NamedTuple):
    """Whose bars stand in a column from row `start` to before row `stop`."""

    column: int
    start: int
    stop: int


def read_membership(path: Path) -> list[Interval]:
    """The intervals of a CSV `symbol,start,end`; an empty end is open. A symbol may come back, or be used again.

    Raises BadInput, also where two intervals of a symbol share a day: one of them must be meant otherwise.
    """
    intervals: list[Interval] = []
    of_symbol: defaultdict[str, list[tuple[Interval, str]]] = defaultdict(list)
    for place, (symbol, start, end) in rows(path, SYMBOL, START, END, optional=[END]):
        since, until = parse_date(f"{place}: start", start), parse_date(f"{place}: end", end or str(date.max))
        if until < since:
            raise BadInput(f"{place}: end: {end} is before start {start}")
        own = Interval(symbol, since, until)
        for other, before in of_symbol[symbol]:
            if own.start <= other.end and other.start <= own.end:
                raise BadInput(f"{place}: start: {symbol} is in the universe at {max(since, other.start)} by {before}")
        of_symbol[symbol].append((own, place))
        intervals.append(own)
    return intervals


def read_sectors(path: Path) -> dict[str, str]:
    """The sector of each symbol of a CSV `symbol,sector`."""
    sectors: dict[str, str] = {}
    for place, (symbol, sector) in rows(path, SYMBOL, SECTOR):
        if sectors.setdefault(symbol, sector) != sector:
            raise BadInput(f"{place}: sector: {symbol} is in {sectors[symbol]} already")
    return sectors


def restrict(bars: Bars, path: Path) -> Bars:
    """The same bars with the universe of a membership file at each bar time, by its exchange date.

    Where a ticker was used again its companies stand side by side, under the one name: what one has seen, the other
    does not remember. Raises BadInput when nobody is ever in the universe.
    """
    intervals = read_membership(path)
    members = members_of(bars.symbols, bars.dates, intervals)
    if not (members & bars.present).any():
        raise BadInput(f"{path}: has none of the bars' symbols at their dates ({_some(bars.symbols)})")
    companies = [company for column in range(len(bars.symbols)) for company in _companies(bars, column, intervals)]
    bars = replace(bars, members=members)
    return bars if len(companies) == len(bars.symbols) else _side_by_side(bars, companies)


def _companies(bars: Bars, column: int, intervals: Sequence[Interval]) -> list[Company]:
    """Those whose bars stand in a column: after a long pause between two memberships it is another one."""
    own = [one for one in intervals if one.symbol == bars.symbols[column]]
    there = np.flatnonzero(bars.present[:, column])
    if len(own) < 2 or not there.size:
        return [Company(column, 0, len(bars))]
    dates = bars.dates[there]
    starts = [0]
    for at in np.flatnonzero(np.diff(dates) > PAUSE):
        before, after = dates[at].item(), dates[at + 1].item()
        if any(one.end < after for one in own) and any(one.start > before for one in own):
            starts.append(int(there[at + 1]))
    return [Company(column, start, stop) for start, stop in pairwise([*starts, len(bars)])]


def _side_by_side(bars: Bars, companies: Sequence[Company]) -> Bars:
    columns = [company.column for company in companies]
    row = np.arange(len(bars))[:, None]
    own = (row >= [company.start for company in companies]) & (row < [company.stop for company in companies])
    present = bars.present[:, columns] & own
    closes = carry_forward(bars.close[:, columns], present)
    opens, highs, lows = (np.where(present, prices[:, columns], closes) for prices in (bars.open, bars.high, bars.low))
    return replace(
        bars,
        symbols=tuple(bars.symbols[column] for column in columns),
        open=opens,
        high=highs,
        low=lows,
        close=closes,
        volume=np.where(present, bars.volume[:, columns], 0),
        present=present,
        price_scale=bars.price_scale[columns],
        volume_scale=bars.volume_scale[columns],
        members=None if bars.members is None else bars.members[:, columns] & own,
    )


def members_of(symbols: Sequence[str], dates: Dates, intervals: Sequence[Interval]) -> Bools:
    """Who belongs to the universe on each exchange date, (dates, symbols)."""
    members = np.zeros((len(dates), len(symbols)), np.bool_)
    column = {symbol: n for n, symbol in enumerate(symbols)}
    for interval in intervals:
        if interval.symbol in column:
            since, until = dates >= np.datetime64(interval.start), dates <= np.datetime64(interval.end)
            members[:, column[interval.symbol]] |= since & until
    return members


def sectors_of(symbols: Sequence[str], path: Path) -> dict[str, str]:
    """The sectors of these symbols. Raises BadInput for one that has none: it could never be entered."""
    sectors = read_sectors(path)
    missing = [symbol for symbol in symbols if symbol not in sectors]
    if missing:
        raise BadInput(f"{path}: has no sector for {_some(missing)}")
    return {symbol: sectors[symbol] for symbol in symbols}


def _some(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:3]) + (f" and {len(symbols) - 3} more" if len(symbols) > 3 else "")
