"""What a broker says of the exchange's days counts, where it says something."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from config.errors import BadInput
from strategies.calendar_file import CalendarFile
from strategies.sessions import HOUR, Hours, correct, sessions_between, sessions_of

FIRST, LAST = dt.date(2024, 7, 1), dt.date(2024, 7, 8)


@pytest.fixture(autouse=True)
def _by_rule() -> Iterator[None]:
    yield
    correct({})


def ruled() -> dict[dt.date, Hours]:
    """The rules' sessions of the days from FIRST to LAST."""
    table = sessions_between(np.datetime64(FIRST), np.datetime64(LAST))
    days = zip(table.dates.tolist(), zip(table.opens.tolist(), table.closes.tolist(), strict=True), strict=True)
    return {day: hours for day, hours in days if FIRST <= day <= LAST}


def hours_of(day: dt.date) -> Hours:
    opens, closes = sessions_of(np.array([day], "datetime64[D]"))
    return int(opens[0]), int(closes[0])


def test_a_day_of_mourning_an_early_close_and_a_session_on_a_saturday_are_as_the_broker_says(tmp_path: Path) -> None:
    told = ruled()
    early, closed, saturday = dt.date(2024, 7, 2), dt.date(2024, 7, 5), dt.date(2024, 7, 6)
    told[early] = (told[early][0], told[early][1] - 3 * HOUR)
    told[saturday] = (told.pop(closed)[0] + 24 * HOUR, told[early][1] + 96 * HOUR)
    CalendarFile(tmp_path).heed(FIRST, LAST, told)
    assert hours_of(early) == told[early]
    assert hours_of(closed) == (-1, -1)
    assert hours_of(saturday) == told[saturday]
    assert {day: hours_of(day) for day in told} == told
    assert (tmp_path / "calendar.csv").read_text().splitlines() == [
        "date,open,close",
        "2024-07-02,2024-07-02T13:30:00Z,2024-07-02T17:00:00Z",
        "2024-07-05,,",
        "2024-07-06,2024-07-06T13:30:00Z,2024-07-06T17:00:00Z",
    ]
    correct({})
    assert hours_of(closed) == ruled()[closed]
    CalendarFile(tmp_path).apply()
    assert hours_of(closed) == (-1, -1)


def test_an_answer_like_the_rules_writes_nothing_and_takes_back_what_was_said_of_these_days(tmp_path: Path) -> None:
    file, told = CalendarFile(tmp_path), ruled()
    file.heed(FIRST, LAST, told)
    assert not (tmp_path / "calendar.csv").exists()
    shut = {day: hours for day, hours in told.items() if day.day not in {2, 8}}
    file.heed(FIRST, LAST, shut)
    file.heed(FIRST, dt.date(2024, 7, 7), {day: hours for day, hours in told.items() if day.day != 8})
    assert hours_of(dt.date(2024, 7, 2)) == told[dt.date(2024, 7, 2)]
    assert hours_of(dt.date(2024, 7, 8)) == (-1, -1)


def test_a_spoilt_file_is_named_by_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "calendar.csv"
    path.write_text("date,open,close\n2024-07-05,,\n2024-07-08,noon,\n")
    with pytest.raises(BadInput, match=r"calendar\.csv:3: open: 'noon' is not a time such as"):
        CalendarFile(tmp_path).apply()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own use of pandas
def test_every_session_from_1990_to_2030_is_that_of_exchange_calendars() -> None:
    """10,322 sessions: holidays, early closes, daylight saving, and days that no rule gives."""
    calendars = pytest.importorskip("exchange_calendars")
    schedule = calendars.get_calendar("XNYS", start="1990-01-01", end="2030-12-31").schedule
    dates = schedule.index.to_numpy().astype("datetime64[D]")
    table = sessions_between(dates[0], dates[-1])
    np.testing.assert_array_equal(table.dates, dates)
    for ours, theirs in ((table.opens, "open"), (table.closes, "close")):
        stamps = schedule[theirs].dt.tz_convert(None).to_numpy().astype("datetime64[us]").astype(np.int64)
        np.testing.assert_array_equal(ours, stamps)
