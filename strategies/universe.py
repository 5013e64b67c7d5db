"""Which symbols may be traded, and when: membership intervals and sectors, both small CSV files."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from config.errors import BadInput
from strategies.bars import Bars

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
    for place, (symbol, start, end) in _rows(path, SYMBOL, START, END):
        since, until = _date(f"{place}: start", start), _date(f"{place}: end", end or str(date.max))
        if until < since:
            raise BadInput(f"{place}: end: {end} is before start {start}")
        intervals.append(Interval(symbol, since, until))
    return intervals


def read_sectors(path: Path) -> dict[str, str]:
    """The sector of each symbol of a CSV `symbol,sector`."""
    sectors: dict[str, str] = {}
    for place, (symbol, sector) in _rows(path, SYMBOL, SECTOR):
        if sectors.setdefault(symbol, sector) != sector:
            raise BadInput(f"{place}: sector: {symbol} is in {sectors[symbol]} already")
    return sectors


def restrict(bars: Bars, path: Path) -> Bars:
    """The same bars with the universe of a membership file at each bar time, by its exchange date.

    Raises BadInput when nobody is ever in it.
    """
    members = np.zeros(bars.present.shape, np.bool_)
    column = {symbol: n for n, symbol in enumerate(bars.symbols)}
    for interval in read_membership(path):
        if interval.symbol in column:
            since = bars.dates >= np.datetime64(interval.start)
            until = bars.dates <= np.datetime64(interval.end)
            members[:, column[interval.symbol]] |= since & until
    if not (members & bars.present).any():
        raise BadInput(f"{path}: has none of the bars' symbols at their dates ({_some(bars.symbols)})")
    return replace(bars, members=members)


def sectors_of(symbols: Sequence[str], path: Path) -> dict[str, str]:
    """The sectors of these symbols. Raises BadInput for one that has none: it could never be entered."""
    sectors = read_sectors(path)
    missing = [symbol for symbol in symbols if symbol not in sectors]
    if missing:
        raise BadInput(f"{path}: has no sector for {_some(missing)}")
    return {symbol: sectors[symbol] for symbol in symbols}


def _some(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:3]) + (f" and {len(symbols) - 3} more" if len(symbols) > 3 else "")


def _rows(path: Path, *columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Place and fields of each row; a column has one of its names, in any case."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = {name.strip().lower(): name for name in reader.fieldnames or ()}
            found = [next((header[name] for name in names if name in header), None) for names in columns]
            for names, name in zip(columns, found, strict=True):
                if name is None:
                    raise BadInput(
                        f"{path}:1: {names[0]}: this column is missing (found: {', '.join(header) or 'nothing'})"
                    )
            rows = [
                (f"{path}:{reader.line_num}", [(row[name or ""] or "").strip() for name in found]) for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    for place, fields in rows:
        for names, field in zip(columns, fields, strict=True):
            if not field and names is not END:
                raise BadInput(f"{place}: {names[0]}: is empty")
    return rows


def _date(where: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{where}: {text!r} is not a date (YYYY-MM-DD)") from error
