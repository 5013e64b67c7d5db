"""Bars on one time axis: exact units, missing bars, calendars; and short bars put together to longer ones."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import BadInput
from strategies.bars import Bars, Block, parse_timeframe
from strategies.resample import resample
from strategies.sessions import DAY, HOUR, MINUTE
from tests.strategies.market import bar_times, random_bars


def bars_at(times: np.ndarray, closes: list[float], *, adjustment: str = "raw") -> Bars:
    close = np.array(closes, np.float64)
    stamps = np.asarray(times, "datetime64[us]").astype(np.int64)
    only = np.zeros(len(stamps), np.int64)
    return Bars.from_columns(["A"], only, stamps, close, close, close, close, close, adjustment=adjustment)


def test_prices_are_ten_thousandths_of_a_dollar_rounded_half_to_even() -> None:
    bars = bars_at(np.arange("2024-01-01", "2024-01-05", dtype="datetime64[D]"), [1.00005, 1.00015, 12.34, 0.0001])
    assert bars.close[:, 0].tolist() == [10_000, 10_002, 123_400, 1]
    assert bars.price_scale.tolist() == [10_000]


def test_an_adjusted_series_keeps_six_digits_of_its_lowest_price() -> None:
    bars = bars_at(np.arange("2024-01-01", "2024-01-03", dtype="datetime64[D]"), [0.0123456, 150], adjustment="all")
    assert bars.price_scale.tolist() == [10_000_000]
    assert bars.close[:, 0].tolist() == [123_456, 1_500_000_000]


def test_a_price_that_rounds_to_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match=r"A: a price of 4e-05 rounds to nothing in units of 0.0001 dollar"):
        bars_at(np.array(["2024-01-01"]), [0.00004])


def test_a_number_that_float64_cannot_keep_is_refused() -> None:
    with pytest.raises(BadInput, match=r"A: 1e\+12 is too large a number"):
        bars_at(np.array(["2024-01-01"]), [1e12])


def test_fractions_of_a_share_are_kept() -> None:
    times = np.array(["2024-01-01", "2024-01-01"], "datetime64[us]").astype(np.int64)
    price, volume = np.ones(2), np.array([0.5, 300.0])
    bars = Bars.from_columns(["COIN", "SHARE"], np.arange(2), times, price, price, price, price, volume)
    np.testing.assert_array_equal(bars.volume[0] / bars.volume_scale, [0.5, 300])
    assert bars.volume_scale.tolist() == [10_000, 1]
    np.testing.assert_array_equal(bars.block(0, 1).volume, [[[0.5, 300]]])


def test_a_fraction_of_a_share_to_come_does_not_change_the_volume_of_bars_before_it() -> None:
    times, price, only = np.arange(3) * DAY, np.ones(3), np.zeros(3, np.int64)
    whole, fractional = (
        Bars.from_columns(["A"], only, times, price, price, price, price, np.array([50_000, 150_000, last]))
        for last in (50_000.0, 50_000.5)
    )
    np.testing.assert_array_equal(whole.block(0, 2).volume, fractional.block(0, 2).volume)


@pytest.mark.parametrize("field", ["volume", *(field.name for field in fields(Block))])
def test_what_a_strategy_is_shown_cannot_be_overwritten(field: str) -> None:
    bars = random_bars(np.random.default_rng(1), rows=4)
    for block in (bars.block(0, 4), replace(bars, members=bars.present.copy()).block(0, 4)):
        with pytest.raises(ValueError, match="read-only"):
            getattr(block, field)[...] = 1


def test_a_missing_bar_repeats_the_last_close_and_nothing_before_the_first() -> None:
    times = np.array([DAY, 2 * DAY, 2 * DAY, 3 * DAY])
    symbol = np.array([0, 0, 1, 1])
    close, volume = np.array([10.0, 11.0, 20.0, 21.0]), np.full(4, 5.0)
    bars = Bars.from_columns(["A", "B"], symbol, times, close - 1, close + 1, close - 2, close, volume)
    assert bars.present.tolist() == [[True, False], [True, True], [False, True]]
    assert bars.close.tolist() == [[100_000, 0], [110_000, 200_000], [110_000, 210_000]]
    assert bars.open[2, 0] == bars.high[2, 0] == bars.low[2, 0] == 110_000
    assert bars.volume[2, 0] == 0


def test_daily_bars_in_local_time_are_daily_although_one_day_has_23_hours() -> None:
    stamps = np.array(["2024-03-08T05:00", "2024-03-09T05:00", "2024-03-10T05:00", "2024-03-11T04:00"])
    assert bars_at(stamps, [1, 1, 1, 1]).timeframe == DAY


def test_symbols_that_tick_at_different_minutes_do_not_make_bars_shorter() -> None:
    times = np.array([0, 5, 15, 20]) * MINUTE
    price = np.ones(4)
    assert Bars.from_columns(["A", "B"], np.array([0, 1, 0, 1]), times, *[price] * 5).timeframe == 15 * MINUTE


def test_the_last_bar_of_a_session_is_known_from_the_calendar() -> None:
    """Two-hour bars on a full day and on the day after Thanksgiving."""
    stamps = ["2019-11-27T20:30", "2019-11-27T18:30", "2019-11-29T14:30", "2019-11-29T16:30"]
    bars = bars_at(np.sort(np.array(stamps)), [1, 1, 1, 1])
    assert bars.timeframe == 2 * HOUR
    assert bars.last_of_session.tolist() == [False, True, False, True]
    block = bars.block(0, 4)
    assert block.minutes_after_open[:, 0, 0].tolist() == [240, 360, 0, 120]
    assert block.minutes_before_close[:, 0, 0].tolist() == [150, 30, 210, 90]


@pytest.mark.parametrize("text", ["", "h", "0m", "2x", "-1d", "1.5h"])
def test_a_strange_timeframe_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="timeframe"):
        parse_timeframe(text)


@given(seed=st.integers(0, 2**32 - 1), timeframe=st.sampled_from(["2h", "1h", "1d", "30m"]))
@settings(max_examples=20)
def test_a_longer_bar_is_its_shorter_ones_put_together(seed: int, timeframe: str) -> None:
    bars = random_bars(np.random.default_rng(seed), "15m", rows=700, symbols=3, missing=0.5)
    longer = resample(bars, timeframe)
    length = parse_timeframe(timeframe)
    slots = np.unique(bars.session_open) if length == DAY else bar_times(timeframe, 700)
    assert np.isin(longer.times, slots).all()
    for row, start in enumerate(longer.times):
        slot = (bars.times >= start) & (bars.times < min(start + length, longer.session_close[row]))
        for n in range(3):
            own = np.flatnonzero(slot & bars.present[:, n])
            assert longer.present[row, n] == bool(own.size)
            if own.size:
                assert longer.open[row, n] == bars.open[own[0], n]
                assert longer.high[row, n] == bars.high[own, n].max()
                assert longer.low[row, n] == bars.low[own, n].min()
                assert longer.close[row, n] == bars.close[own[-1], n]
                assert longer.volume[row, n] == bars.volume[own, n].sum()


def test_slots_begin_at_the_open_and_the_last_one_is_short() -> None:
    minutes = np.arange("2024-07-02T13:30", "2024-07-02T20:00", 15, dtype="datetime64[m]")
    longer = resample(bars_at(minutes, [1.0] * len(minutes)), "2h")
    starts = [np.datetime_as_string(np.datetime64(int(t), "us"), unit="m")[-5:] for t in longer.times]
    assert starts == ["13:30", "15:30", "17:30", "19:30"]


def test_trades_outside_the_session_are_in_no_longer_bar() -> None:
    """Premarket, the close itself, a Sunday."""
    stamps = np.array(["2024-07-02T13:15", "2024-07-02T13:30", "2024-07-02T20:00", "2024-07-07T15:00"])
    longer = resample(bars_at(stamps, [1.0, 2.0, 3.0, 4.0]), "1d")
    assert longer.close.tolist() == [[20_000]]


def test_an_hour_that_runs_across_the_open_belongs_to_the_session() -> None:
    stamps = np.arange("2024-07-02T13:00", "2024-07-02T20:00", 60, dtype="datetime64[m]")
    longer = resample(bars_at(stamps, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), "1d")
    assert (longer.open[0, 0], longer.close[0, 0]) == (10_000, 70_000)


@pytest.mark.parametrize(("timeframe", "reason"), [("5m", "15 minutes"), ("20m", "15 minutes"), ("2d", "15 minutes")])
def test_bars_are_not_cut_smaller_or_unevenly(timeframe: str, reason: str) -> None:
    bars = random_bars(np.random.default_rng(1), "15m", rows=30)
    with pytest.raises(BadInput, match=f"timeframe {timeframe}: cannot be made of bars of {reason}"):
        resample(bars, timeframe)


def test_bars_outside_every_session_cannot_be_put_together() -> None:
    sunday = np.arange("2024-07-07T14:00", "2024-07-07T15:00", 15, dtype="datetime64[m]")
    with pytest.raises(BadInput, match="no bar lies inside a session"):
        resample(bars_at(sunday, [1.0] * 4), "1h")


def test_bars_of_the_wanted_length_stay_as_they_are() -> None:
    bars = random_bars(np.random.default_rng(1), "15m", rows=30)
    assert resample(bars, "15m") is bars
    assert bars.timeframe == 15 * MINUTE
