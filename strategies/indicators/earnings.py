"""Earnings dates as bars see them."""

import csv
import datetime as dt
from pathlib import Path

import numpy as np

from config.errors import BadInput
from strategies.bars import Bools, Ints
from strategies.indicators.indicator import History, Indicator
from strategies.lanes import Shape
from strategies.sessions import Dates

FIELDS = ("symbol", "date", "timing")


class Announced(Indicator):
    """The first own bar that can react to an earnings announcement.

    `calendar` is a CSV with the columns symbol, date (ISO 8601) and timing: `bmo`, before the market opens, counts from
    that date's bar, `amc`, after it closes, from the next. Without a calendar nothing is ever announced. A symbol's
    first bar is never a reaction, for nothing came before it. Raises BadInput.
    """

    def __init__(self, shape: Shape, calendar: str) -> None:
        super().__init__(shape)
        first_days = read_calendar(Path(calendar)) if calendar else {}
        known = [(day, place) for place, symbol in enumerate(shape.symbols) for day in first_days.get(symbol, ())]
        # In a tuple, for it is no part of the state.
        self._first_days: tuple[Ints, ...] = tuple(np.array(known, np.int64).reshape(-1, 2).T)
        self._announced = History(shape, 1)

    def update(self, dates: Dates) -> Bools:
        """(time, 1, symbols): True on a reacting bar."""
        first_days, places = self._first_days
        so_far = np.zeros((len(dates) + 1, len(self._shape.symbols)), np.int64)
        np.add.at(so_far, (np.searchsorted(dates.astype(np.int64), first_days), places), 1)
        joined = self._announced.extend(self._shape.pack(so_far.cumsum(axis=0)[:-1, None]))
        bar = self._shape.seen + np.arange(1, len(joined))[:, None, None]
        announced: Bools = self._shape.unpack((joined[1:] > joined[:-1]) & (bar > 1))
        return announced


def read_calendar(path: Path) -> dict[str, list[int]]:
    """By symbol, in order, the first dates that can react, as days since 1970. Raises BadInput with file and line."""
    first_days: dict[str, list[int]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if not set(FIELDS) <= set(rows.fieldnames or ()):
                raise BadInput(f"{path}:1: the header needs {','.join(FIELDS)}")
            for row in rows:
                first_days.setdefault(row["symbol"], []).append(_first_day(row, f"{path}:{rows.line_num}"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error.strerror if isinstance(error, OSError) else 'not a text file'}") from error
    return {symbol: sorted(days) for symbol, days in first_days.items()}


def _first_day(row: dict[str, str | None], where: str) -> int:
    try:
        day = dt.date.fromisoformat(row["date"] or "")
    except ValueError:
        raise BadInput(f"{where}: date: {row['date']!r} is not a date such as 2024-05-31") from None
    if row["timing"] not in {"bmo", "amc"}:
        raise BadInput(f"{where}: timing: {row['timing']!r} is neither bmo nor amc")
    return (day - dt.date(1970, 1, 1)).days + (row["timing"] == "amc")
