"""What the indicators say: as TA-Lib and Skender where they define the same, exact numbers where they do not."""

import csv
import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.bars import Bars, Block, Floats, Ints
from strategies.indicators import (
    ATR,
    EMA,
    MACD,
    ROC,
    RSI,
    SMA,
    VWAP,
    Bollinger,
    Cross,
    Highest,
    Lowest,
    NewWeek,
    Percentile,
    RelativeVolume,
    Trough,
    rank,
)
from strategies.lanes import Shape
from tests.strategies.market import random_bars

SEEDS = st.integers(0, 2**32 - 1)
LENGTHS = st.integers(2, 40)
REFERENCE = Path(os.environ.get("NIGHTDESK_TEST_DATA", "")) / "indicator_reference"


def one_symbol(rng: np.random.Generator) -> tuple[Shape, Block]:
    bars = random_bars(rng, rows=250, symbols=1, missing=0)
    shape, block = Shape(1, bars.symbols), bars.block(0, len(bars))
    shape.begin(block.present)
    return shape, block


def flat(values: np.ndarray) -> Floats:
    return np.asarray(values, np.float64)[:, 0, 0]


def same(ours: np.ndarray, theirs: Floats, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(flat(ours), theirs, rtol=tolerance, atol=tolerance)


@given(seed=SEEDS, n=LENGTHS)
@settings(max_examples=30)
def test_talib_agrees(seed: int, n: int) -> None:
    """On prices in units, so that both see the same numbers."""
    shape, block = one_symbol(np.random.default_rng(seed))
    close, high, low = flat(block.close), flat(block.high), flat(block.low)
    same(SMA(shape, n).update(block.close), talib.SMA(close, n))
    same(EMA(shape, n).update(block.close), talib.EMA(close, n))
    same(ROC(shape, n).update(block.close), talib.ROCP(close, n))
    same(ATR(shape, n).update(block.high, block.low, block.close), talib.ATR(high, low, close, n))
    upper, middle, lower = talib.BBANDS(close, n, 2.0, 2.0)
    for ours, theirs in zip(Bollinger(shape, n, 2.0).update(block.close), (lower, middle, upper), strict=True):
        same(ours, theirs, 1e-6)  # theirs cancels digits
    same(Highest(shape, n).update(block.high)[1:], talib.MAX(high, n)[:-1])
    same(Lowest(shape, n).update(block.low)[1:], talib.MIN(low, n)[:-1])


@given(seed=SEEDS, n=LENGTHS)
@settings(max_examples=30)
def test_talib_agrees_on_rsi_but_for_prices_that_never_moved(seed: int, n: int) -> None:
    """It says 0 where nothing has moved; we say 50, for there is neither strength nor weakness."""
    shape, block = one_symbol(np.random.default_rng(seed))
    theirs = talib.RSI(flat(block.close), n)
    ours = flat(RSI(shape, n).update(block.close))
    moved = np.cumsum(np.diff(flat(block.close), prepend=block.close[0, 0, 0]) != 0) > 0
    np.testing.assert_allclose(ours[moved], theirs[moved], rtol=1e-9)
    assert set(ours[~moved & ~np.isnan(ours)]) <= {50.0}


@given(seed=SEEDS)
@settings(max_examples=20)
def test_talib_agrees_on_macd_once_its_late_start_is_forgotten(seed: int) -> None:
    """It seeds the fast average late, so that both begin on one bar; the difference fades by 1 - 2/13 a bar."""
    shape, block = one_symbol(np.random.default_rng(seed))
    line, signal, _ = talib.MACD(flat(block.close), 12, 26, 9)
    ours_line, ours_signal = MACD(shape, 12, 26, 9).update(block.close)
    scale = flat(block.close).max()
    np.testing.assert_allclose(flat(ours_line)[200:] / scale, line[200:] / scale, atol=1e-9)
    np.testing.assert_allclose(flat(ours_signal)[200:] / scale, signal[200:] / scale, atol=1e-9)


@pytest.mark.skipif("NIGHTDESK_TEST_DATA" not in os.environ, reason="NIGHTDESK_TEST_DATA names no reference values")
@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("sma", ["sma"]),
        ("ema", ["ema"]),
        ("rsi", ["rsi"]),
        ("macd", ["macd", "signal"]),
        ("bb", ["lowerBand", "sma", "upperBand"]),
        ("atr", ["atr"]),
        ("vwap", ["vwap"]),
    ],
)
def test_skender_agrees(file: str, columns: Sequence[str]) -> None:
    """To the last digits a price has, warm-up included."""
    with (REFERENCE / "quotes" / "default.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    open_, high, low, close, volume = (
        np.array([float(row[name]) for row in rows]) for name in ("open", "high", "low", "close", "volume")
    )
    days = np.array([row["date"] for row in rows], "datetime64[us]").astype(np.int64)
    bars = Bars.from_columns(["SPY"], np.zeros(len(rows), np.int64), days, open_, high, low, close, volume)
    shape, block = Shape(1, bars.symbols), bars.block(0, len(bars))
    shape.begin(block.present)
    one_day = replace(block, dates=np.full(len(bars), block.dates[0]))  # theirs never starts anew
    outputs: dict[str, Callable[[], Sequence[Floats]]] = {
        "sma": lambda: [SMA(shape, 20).update(block.close)],
        "ema": lambda: [EMA(shape, 20).update(block.close)],
        "rsi": lambda: [RSI(shape, 14).update(block.close)],
        "macd": lambda: MACD(shape, 12, 26, 9).update(block.close),
        "bb": lambda: Bollinger(shape, 20, 2.0).update(block.close),
        "atr": lambda: [ATR(shape, 14).update(block.high, block.low, block.close)],
        "vwap": lambda: [VWAP(shape).update(one_day)],
    }
    results = json.loads((REFERENCE / "results" / f"{file}.standard.json").read_text())
    scale = 1.0 if file == "rsi" else float(bars.price_scale[0])
    for ours, name in zip(outputs[file](), columns, strict=True):
        theirs = np.array([np.nan if row[name] is None else row[name] for row in results])
        np.testing.assert_allclose(flat(ours) / scale, theirs, rtol=1e-11, atol=1e-11)


def shape_of(closes: npt.ArrayLike, sets: int = 1) -> tuple[Shape, Ints]:
    """Lanes that have just begun, and prices (time, 1, symbols); one inner sequence a symbol."""
    block = np.array(closes, np.int64).T[:, None]
    shape = Shape(sets, [f"S{n}" for n in range(block.shape[2])])
    shape.begin(np.ones(block.shape, np.bool_))
    return shape, block


@given(seed=SEEDS, n=LENGTHS, width=st.sampled_from([1.0, 1.5, 2.0]))
@settings(max_examples=30)
def test_ties_with_the_bands_are_decided_exactly(seed: int, n: int, width: float) -> None:
    """On a coarse grid closes tie with the middle, and a band of whole width now and then; fractions are the judge."""
    close = np.random.default_rng(seed).integers(1, 6, 300) * 5_000 + 1_000_000
    shape, block = shape_of(close[None])
    lower, middle, upper = (flat(band) for band in Bollinger(shape, n, width).update(block))
    for t in range(n - 1, len(close)):
        window = [int(x) for x in close[t - n + 1 : t + 1]]
        off_mean = n * window[-1] - sum(window)
        reach_squared = Fraction(width) ** 2 * (n * sum(x * x for x in window) - sum(window) ** 2)
        assert (close[t] >= middle[t]) == (off_mean >= 0)
        assert (close[t] < lower[t]) == (off_mean < 0 and off_mean**2 > reach_squared)
        assert (close[t] > upper[t]) == (off_mean > 0 and off_mean**2 > reach_squared)


def test_a_share_that_costs_a_house_has_exact_bands() -> None:
    """Its squares do not fit 64 bits; its neighbour in the block is not disturbed."""
    close = np.random.default_rng(1).integers(1_000_000_000, 9_000_000_000, (2, 100))
    close[1] //= 100_000
    shape, block = shape_of(close)
    lower, middle, upper = Bollinger(shape, 20, 2.0).update(block)
    for symbol in range(2):
        for t in range(19, 100):
            window = [int(x) for x in close[symbol, t - 19 : t + 1]]
            deviation = statistics.pstdev(window)
            assert middle[t, 0, symbol] == statistics.fmean(window)
            assert (upper - lower)[t, 0, symbol] == pytest.approx(4 * deviation, rel=1e-13)


def test_exactly_three_percent_is_not_more_than_three_percent() -> None:
    shape, block = shape_of([[1_000_000, 1_030_000]])
    assert flat(ROC(shape, 1).update(block))[-1] == 0.03


def test_rsi_is_100_without_losses_0_without_gains_and_50_without_movement() -> None:
    shape, block = shape_of([[1, 2, 3, 4], [4, 3, 2, 1], [2, 2, 2, 2], [1, 2, 1, 2]])
    np.testing.assert_array_equal(RSI(shape, 2).update(block)[-1, 0], [100, 0, 50, 75])


def test_relative_volume_leaves_out_the_bar_itself() -> None:
    shape, block = shape_of([[100, 300, 400, 0, 0, 0, 5]])
    expected = [np.nan, np.nan, 2.0, 0.0, 0.0, np.nan, np.inf]
    np.testing.assert_array_equal(flat(RelativeVolume(shape, 2).update(block.astype(np.float64))), expected)


def test_crossing_needs_both_bars_defined_and_counts_a_touch_before() -> None:
    a = np.array([np.nan, 1.0, 2.0, 2.0, 3.0, 2.0, 1.0])[:, None, None]
    shape, _ = shape_of([[0] * 7])
    above, below = Cross(shape).update(a, np.full_like(a, 2.0))
    np.testing.assert_array_equal(np.flatnonzero(above), [4])
    np.testing.assert_array_equal(np.flatnonzero(below), [6])


def test_of_equal_lows_the_earliest_counts() -> None:
    shape, low = shape_of([[5, 3, 4, 3, 9, 9]])
    rsi = RSI(shape, 1)
    at = np.array([10.0, 11.0, 12.0, 13.0, 14.0, 15.0])[:, None, None]
    trough, other = Trough(shape, 4, 2, of=rsi).update(low, at)
    np.testing.assert_array_equal(flat(trough), [np.nan] * 4 + [3, 3])
    np.testing.assert_array_equal(flat(other), [np.nan] * 4 + [11, 11])


@given(seed=SEEDS, n=st.integers(2, 150), percent=st.sampled_from([0.0, 1.0, 10.0, 33.3, 50.0, 99.0, 100.0]))
@settings(max_examples=30)
def test_a_percentile_is_numpys_linear_one_of_the_bars_before(seed: int, n: int, percent: float) -> None:
    values = np.random.default_rng(seed).integers(0, 50, 200) / 7
    shape, _ = shape_of([[0] * 200])
    ours = flat(Percentile(shape, n, percent).update(values[:, None, None]))
    theirs = [np.percentile(values[t - n : t], percent) for t in range(n, 200)]
    np.testing.assert_array_equal(ours, [*[np.nan] * n, *theirs])


def test_vwap_begins_anew_with_the_exchange_date_and_is_undefined_without_volume() -> None:
    days = np.array(["2024-03-08"] * 3 + ["2024-03-11"] * 2, "datetime64[D]")
    shape, price = shape_of([[100, 200, 300, 400, 500]])
    bars = random_bars(np.random.default_rng(1), rows=5, symbols=1, missing=0).block(0, 5)
    volume = np.array([0, 1, 3, 1, 1], np.int64)[:, None, None]
    bars = replace(bars, dates=days, high=price, low=price, close=price, volume_units=volume)
    np.testing.assert_array_equal(flat(VWAP(shape).update(bars)), [np.nan, 200, 275, 400, 450])


def test_vwap_says_when_a_session_is_too_large_to_add_up() -> None:
    shape, price = shape_of([[10**15, 10**15]])
    bars = random_bars(np.random.default_rng(1), rows=2, symbols=1, missing=0).block(0, 2)
    bars = replace(bars, high=price, low=price, close=price, volume_units=np.full_like(price, 10**5))
    with pytest.raises(OverflowError, match="64 bits"):
        VWAP(shape).update(bars)


def test_an_iso_week_begins_with_its_first_bar_whatever_day_that_is() -> None:
    """27 May 2024, a Monday, was Memorial Day; 30 and 31 December belong to the new year's first week."""
    dates = np.array(
        ["2024-05-24", "2024-05-28", "2024-05-29", "2024-12-27", "2024-12-30", "2025-01-02"], "datetime64[D]"
    )
    shape, _ = shape_of([[0] * 6])
    begins = NewWeek(shape).update(dates)[:, 0, 0]
    np.testing.assert_array_equal(begins, [True, True, False, True, True, False])


def test_ranks_go_to_members_only_and_ties_by_symbol_order() -> None:
    values = np.array([[[0.3, 0.5, np.nan, 0.5, 0.9]]])
    members = np.array([[[True, True, True, True, False]]])
    np.testing.assert_array_equal(rank(values, members)[0, 0], [3, 1, np.nan, 2, np.inf])


def test_an_input_that_differs_from_set_to_set_must_say_where_it_comes_from() -> None:
    """Else sets with equal windows would be taken for one."""
    shape, close = shape_of([[1, 2, 3, 4, 5]], sets=2)
    rsi = RSI(shape, np.array([[2], [3]]))
    with pytest.raises(ValueError, match="of"):
        SMA(shape, 2).update(rsi.update(close))
    assert SMA(shape, 2, of=rsi).warmup.tolist() == [[4], [5]]
