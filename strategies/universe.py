"""Which symbols may be traded, and when: membership intervals and sectors, both small CSV files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from config.errors import BadInput
from strategies.bars import Bars, Bools
from strategies.csv_table import parse_date, rows
from strategies.sessions import Dates

# The names that public lists use for the same column.
SYMBOL = ("symbol", "ticker")
START, END = ("start", "start_date"), ("end", "end_date")
SECTOR = ("sector", "gics sector")


@dataclass(frozen=True, slots=True)
class Interval:
    """`symbol` belongs to the universe from `start` to `end`, both included."""

    symbol: str
    start: date
    end: date


def read_membership(path: Path) -> list[Interval]:
    """The intervals of a CSV `symbol,start,end`; an empty end is open. A symbol may come back, or be used again."""
    intervals = []
    for place, (symbol, start, end) in rows(path, SYMBOL, START, END, optional=[END]):
        since, until = parse_date(f"{place}: start", start), parse_date(f"{place}: end", end or str(date.max))
        if until < since:
            raise BadInput(f"{place}: end: {end} is before start {start}")
        intervals.append(Interval(symbol, since, until))
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

    Raises BadInput when nobody is ever in it.
    """
    members = members_of(bars.symbols, bars.dates, read_membership(path))
    if not (members & bars.present).any():
        raise BadInput(f"{path}: has none of the bars' symbols at their dates ({_some(bars.symbols)})")
    return replace(bars, members=members)


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
