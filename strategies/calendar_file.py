"""Days on which the exchange was not open as its rules say, as a broker's calendar told them; kept beside the bars."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from config.errors import BadInput
from strategies.bar_columns import replace_file
from strategies.bar_store import CALENDAR
from strategies.csv_table import parse_date, rows
from strategies.sessions import Hours, correct, unruly

DATE, OPEN, CLOSE = ("date",), ("open",), ("close",)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class CalendarFile:
    """A CSV `date,open,close`, times in UTC; without them the exchange was closed. `apply` makes it count."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CALENDAR

    def apply(self) -> None:
        """From now on the days in the file are as it says. Raises BadInput for a file that somebody has spoilt."""
        correct(self._read())

    def heed(self, first: dt.date, last: dt.date, told: Mapping[dt.date, Hours]) -> None:
        """Write down where a broker's sessions from day to day, both included, are not the rules', and apply it."""
        known = self._read()
        kept = {day: hours for day, hours in known.items() if not first <= day <= last}
        fresh = dict(sorted((kept | unruly(first, last, told)).items()))
        if fresh != known:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lines = (f"{day},{_text(hours, 0)},{_text(hours, 1)}" for day, hours in fresh.items())
            replace_file(self._path, "\n".join(("date,open,close", *lines, "")).encode())
        correct(fresh)

    def _read(self) -> dict[dt.date, Hours | None]:
        if not self._path.exists():
            return {}
        days: dict[dt.date, Hours | None] = {}
        for place, (date, opened, closed) in rows(self._path, DATE, OPEN, CLOSE, optional=[OPEN, CLOSE]):
            hours = (
                (_micros(f"{place}: open", opened), _micros(f"{place}: close", closed)) if opened or closed else None
            )
            days[parse_date(f"{place}: date", date)] = hours
        return days


def _text(hours: Hours | None, which: int) -> str:
    if hours is None:
        return ""
    return (EPOCH + dt.timedelta(microseconds=hours[which])).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micros(where: str, text: str) -> int:
    try:
        return (dt.datetime.fromisoformat(text) - EPOCH) // dt.timedelta(microseconds=1)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{where}: {text!r} is not a time such as 2025-07-03T17:00:00Z") from error
