"""When the exchange is open: holidays, early closes, daylight saving; and which date a bar belongs to."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from strategies.sessions import DAY, HOUR, MINUTE, Dates, Micros, exchange_dates, sessions_between, sessions_of


def at(*times: str) -> Micros:
    return np.array(times, "datetime64[us]").astype(np.int64)


def days(*dates: str) -> Dates:
    return np.array(dates, "datetime64[D]")


def test_an_ordinary_day_runs_from_half_past_nine_to_four_in_new_york() -> None:
    opens, closes = sessions_of(days("2024-01-10", "2024-07-10"))
    np.testing.assert_array_equal(opens, at("2024-01-10T14:30", "2024-07-10T13:30"))
    np.testing.assert_array_equal(closes, at("2024-01-10T21:00", "2024-07-10T20:00"))


@pytest.mark.parametrize(
    "date",
    [
        "2024-06-08",  # a Saturday
        "2024-03-29",  # Good Friday
        "2021-12-24",  # Christmas Day on a Saturday
        "2022-06-20",  # Juneteenth on a Sunday
        "2012-10-29",  # hurricane Sandy
        "2001-09-11",
        "2025-01-09",  # mourning
    ],
)
def test_the_exchange_is_closed(date: str) -> None:
    opens, closes = sessions_of(days(date))
    assert opens == closes == -1


def test_a_new_years_day_on_saturday_is_not_made_up_for() -> None:
    assert sessions_of(days("2021-12-31"))[0] > 0


@pytest.mark.parametrize("date", ["2024-07-03", "2023-11-24", "2019-12-24", "1999-12-31", "2002-07-05", "2013-07-03"])
def test_the_exchange_closes_at_one(date: str) -> None:
    opens, closes = sessions_of(days(date))
    assert closes - opens == 3 * HOUR + 30 * MINUTE


@pytest.mark.skipif("NIGHTDESK_TEST_DATA" not in os.environ, reason="NIGHTDESK_TEST_DATA names no recorded calendar")
def test_every_session_since_1990_is_the_recorded_one() -> None:
    path = Path(os.environ["NIGHTDESK_TEST_DATA"]) / "nyse_calendar" / "xnys.csv"
    with path.open() as file:
        rows = [(row[""][:10], row["open"][:-1], row["close"][:-1]) for row in csv.DictReader(file)]
    dates, opens, closes = zip(*rows, strict=True)
    table = sessions_between(days(dates[0])[0], days(dates[-1])[0])
    until = table.dates <= days(dates[-1])[0]
    np.testing.assert_array_equal(table.dates[until], days(*dates))
    np.testing.assert_array_equal(table.opens[until], at(*opens))
    np.testing.assert_array_equal(table.closes[until], at(*closes))


def test_a_daily_bar_stamped_midnight_utc_keeps_its_date_and_any_other_takes_new_yorks() -> None:
    stamps = at("2024-01-10T00:00", "2024-01-10T05:00", "2024-07-10T04:00", "2024-01-10T14:30")
    expected = days("2024-01-10", "2024-01-10", "2024-07-10", "2024-01-10")
    np.testing.assert_array_equal(exchange_dates(stamps, DAY), expected)


def test_an_evening_in_new_york_is_not_yet_the_next_date() -> None:
    """00:30 UTC in winter; a quarter of an hour's bar stamped midnight UTC is New York's evening too."""
    stamps = at("2024-01-11T00:30", "2024-01-11T00:00")
    np.testing.assert_array_equal(exchange_dates(stamps, 15 * MINUTE), days("2024-01-10", "2024-01-10"))


def test_the_clocks_change_at_two_in_the_morning() -> None:
    """Half past four in the morning UTC is the day before in New York's winter."""
    stamps = at("2024-03-10T04:30", "2024-03-11T04:30", "2024-11-03T04:30", "2024-11-04T04:30")
    expected = days("2024-03-09", "2024-03-11", "2024-11-03", "2024-11-03")
    np.testing.assert_array_equal(exchange_dates(stamps, MINUTE), expected)
