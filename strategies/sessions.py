"""The exchange's days: which dates have a session and when it opens and closes.

New York Stock Exchange, 1990 onwards. Holidays and early closes follow the exchange's rule 7.2 and its habits; days
that no rule gives (mourning, storms, attacks) are listed. New York's offset comes from the time zone database. Where
a broker's calendar says otherwise, it is right: see `correct`.
"""

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Dates = npt.NDArray[np.datetime64]
Micros = npt.NDArray[np.int64]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

NEW_YORK = ZoneInfo("America/New_York")
OPEN = 9 * HOUR + 30 * MINUTE
CLOSE = 16 * HOUR
EARLY_CLOSE = 13 * HOUR
EARLY_CLOSE_BEFORE_1993 = 14 * HOUR

MONDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = 0, 3, 4, 5, 6

CLOSED = {
    dt.date(1994, 4, 27),  # mourning, President Nixon
    dt.date(2001, 9, 11),
    dt.date(2001, 9, 12),
    dt.date(2001, 9, 13),
    dt.date(2001, 9, 14),
    dt.date(2004, 6, 11),  # mourning, President Reagan
    dt.date(2007, 1, 2),  # mourning, President Ford
    dt.date(2012, 10, 29),  # hurricane Sandy
    dt.date(2012, 10, 30),
    dt.date(2018, 12, 5),  # mourning, President Bush
    dt.date(2025, 1, 9),  # mourning, President Carter
}
Hours = tuple[int, int]
"""Open and close of a session, in microseconds UTC."""

_corrections: dict[dt.date, Hours | None] = {}

CLOSED_EARLY = {dt.date(1997, 12, 26), dt.date(1999, 12, 31), dt.date(2003, 12, 26)}


class Sessions(NamedTuple):
    """Sessions in order, each array of shape (n,): exchange date, open and close in microseconds UTC."""

    dates: Dates
    opens: Micros
    closes: Micros


def exchange_dates(times: Micros, timeframe: int) -> Dates:
    """The exchange date of each bar start: a daily bar stamped 00:00 UTC keeps its date, all others New York's."""
    local = times + utc_offset(times)
    if timeframe >= DAY:
        local = np.where(times % DAY == 0, times, local)
    return local.astype("datetime64[us]").astype("datetime64[D]")


def utc_offset(times: Micros) -> Micros:
    """New York minus UTC in microseconds (negative), at each time."""
    if not times.size:
        return np.zeros(0, np.int64)
    # A day's slack at both ends: a New York year does not begin with the UTC year.
    years = range(_year(times.min() - DAY), _year(times.max() + DAY) + 1)
    changes = [change for year in years for change in _clock_changes(year)]
    starts = np.array([start for start, _ in changes], np.int64)
    offsets = np.array([offset for _, offset in changes], np.int64)
    return offsets[np.searchsorted(starts, times, side="right") - 1]


def sessions_of(dates: Dates) -> tuple[Micros, Micros]:
    """Open and close of the session on each exchange date; -1 and -1 where the exchange is closed."""
    opens, closes = np.full(dates.shape, -1, np.int64), np.full(dates.shape, -1, np.int64)
    if dates.size:
        table = sessions_between(dates.min(), dates.max())
        row = np.minimum(np.searchsorted(table.dates, dates), len(table.dates) - 1)
        known = table.dates[row] == dates
        opens[known], closes[known] = table.opens[row][known], table.closes[row][known]
    return opens, closes


@lru_cache(maxsize=64)
def session_of(time: int, timeframe: int) -> tuple[Dates, Micros, Micros]:
    """The exchange date of one bar start, and open and close of its session, -1 and -1 without one: (1,), read-only."""
    dates = exchange_dates(np.array([time], np.int64), timeframe)
    found = (dates, *sessions_of(dates))
    for column in found:
        column.flags.writeable = False
    return found


def sessions_between(first: np.datetime64, last: np.datetime64) -> Sessions:
    """All sessions of the calendar years from `first`'s to `last`'s."""
    years = range(int(str(first)[:4]), int(str(last)[:4]) + 1)
    return Sessions(*(np.concatenate(column) for column in zip(*map(_sessions, years), strict=True)))


def correct(days: Mapping[dt.date, Hours | None]) -> None:
    """From now on these days, and only these, are not as the rules say; None: the exchange is closed.

    Of the whole process: there is one exchange, and what it does is not a matter of who asks.
    """
    _corrections.clear()
    _corrections.update(days)
    _sessions.cache_clear()
    session_of.cache_clear()


def unruly(first: dt.date, last: dt.date, told: Mapping[dt.date, Hours]) -> dict[dt.date, Hours | None]:
    """The days from `first` to `last`, both included, on which the sessions that a broker told are not the rules'."""
    ruled: dict[dt.date, Hours] = {}
    for year in range(first.year, last.year + 1):
        ruled |= _by_date(_ruled(year))
    days = [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
    return {day: told.get(day) for day in days if told.get(day) != ruled.get(day)}


def _by_date(sessions: Sessions) -> dict[dt.date, Hours]:
    opens, closes = sessions.opens.tolist(), sessions.closes.tolist()
    return dict(zip(sessions.dates.tolist(), zip(opens, closes, strict=True), strict=True))


@lru_cache(maxsize=256)
def _sessions(year: int) -> Sessions:
    ruled = _ruled(year)
    changed = {day: hours for day, hours in _corrections.items() if day.year == year}
    if not changed:
        return ruled
    held = sorted((day, hours) for day, hours in (_by_date(ruled) | changed).items() if hours is not None)
    dates = np.array([day for day, _ in held], "datetime64[D]")
    opens, closes = np.array([hours for _, hours in held], np.int64).reshape(-1, 2).T
    return Sessions(dates, opens, closes)


def _ruled(year: int) -> Sessions:
    days = np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="datetime64[D]")
    dates = days[np.is_busday(days, holidays=sorted(_holidays(year)))]
    midnight = dates.astype("datetime64[us]").astype(np.int64)
    midnight -= utc_offset(midnight + CLOSE)  # the clocks change on Sunday nights only: any hour of the day will do
    early = np.isin(dates, np.array(sorted(_early_closes(year)), "datetime64[D]"))
    early_close = EARLY_CLOSE if year >= 1993 else EARLY_CLOSE_BEFORE_1993
    return Sessions(dates, midnight + OPEN, midnight + np.where(early, early_close, CLOSE))


def _holidays(year: int) -> set[dt.date]:
    new_year = dt.date(year, 1, 1)
    holidays = {
        # A New Year's Day on Saturday is not made up for: the Friday belongs to the old year's accounts.
        new_year if new_year.weekday() != SUNDAY else dt.date(year, 1, 2),
        _nth(year, 2, MONDAY, 3),  # Washington's birthday
        _easter(year) - dt.timedelta(days=2),  # Good Friday
        _last_monday_of_may(year),  # Memorial Day
        _observed(dt.date(year, 7, 4)),
        _nth(year, 9, MONDAY, 1),  # Labor Day
        _nth(year, 11, THURSDAY, 4),  # Thanksgiving
        _observed(dt.date(year, 12, 25)),
    }
    if year >= 1998:
        holidays.add(_nth(year, 1, MONDAY, 3))  # Martin Luther King
    if year >= 2022:
        holidays.add(_observed(dt.date(year, 6, 19)))  # Juneteenth
    return holidays | {day for day in CLOSED if day.year == year}


def _early_closes(year: int) -> set[dt.date]:
    early = {dt.date(year, 12, 24)} | {day for day in CLOSED_EARLY if day.year == year}
    if year >= 1992:
        early.add(_nth(year, 11, THURSDAY, 4) + dt.timedelta(days=1))
    if year >= 1995:
        on_thursday = dt.date(year, 7, 4).weekday() == THURSDAY
        # Until 2012 the Friday after a Thursday's holiday was the short day, since then the Wednesday before.
        early.add(dt.date(year, 7, 5) if on_thursday and year <= 2012 else dt.date(year, 7, 3))
    return early


def _nth(year: int, month: int, weekday: int, n: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _last_monday_of_may(year: int) -> dt.date:
    last = dt.date(year, 5, 31)
    return last - dt.timedelta(days=last.weekday())


def _observed(day: dt.date) -> dt.date:
    return day + dt.timedelta(days={SATURDAY: -1, SUNDAY: 1}.get(day.weekday(), 0))


def _easter(year: int) -> dt.date:
    """Easter Sunday (the anonymous Gregorian computus, Meeus 1991)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    h = (19 * a + b - d - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    w = (32 + 2 * e + 2 * i - h - k) % 7
    month, day = divmod(h + w - 7 * ((a + 11 * h + 22 * w) // 451) + 114, 31)
    return dt.date(year, month, day + 1)


def _year(time: np.int64) -> int:
    return int(str(np.datetime64(int(time), "us"))[:4])


@lru_cache(maxsize=256)
def _clock_changes(year: int) -> list[tuple[int, int]]:
    """Moments of the UTC year from which an offset holds, the year's first moment included; found by bisection."""
    start, end = (_seconds(dt.datetime(y, 1, 1, tzinfo=dt.UTC)) for y in (year, year + 1))
    middle = _seconds(dt.datetime(year, 7, 1, tzinfo=dt.UTC))
    changes = [(start * SECOND, _offset(start))]
    for low, high in ((start, middle), (middle, end)):
        before, after = low, high
        while after - before > 1:
            probe = (before + after) // 2
            before, after = (probe, after) if _offset(probe) == _offset(low) else (before, probe)
        if _offset(high) != _offset(low):
            changes.append((after * SECOND, _offset(after)))
    return changes


def _seconds(moment: dt.datetime) -> int:
    return int(moment.timestamp())


def _offset(seconds: int) -> int:
    offset = dt.datetime.fromtimestamp(seconds, NEW_YORK).utcoffset()
    assert offset is not None  # noqa: S101 - an aware datetime has one
    return round(offset / dt.timedelta(microseconds=1))
