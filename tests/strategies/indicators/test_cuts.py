"""However a series is cut, whoever stands beside it, and whatever bars are missing: the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.bars import Bars
from tests.strategies.indicators.feeding import INDICATORS, feed, random_settings
from tests.strategies.market import random_bars, random_cuts

SEEDS = st.integers(0, 2**32 - 1)
ROWS = 120


def own_bars(bars: Bars, symbol: int) -> Bars:
    """The bars of one symbol alone, without the times at which it has none."""
    row = np.flatnonzero(bars.present[:, symbol])
    scale = bars.price_scale[symbol]
    open_, high, low, close = (getattr(bars, name)[row, symbol] / scale for name in ("open", "high", "low", "close"))
    volume = bars.volume[row, symbol].astype(np.float64)
    only = np.zeros(len(row), np.int64)
    names = [bars.symbols[symbol]]
    return Bars.from_columns(names, only, bars.times[row], open_, high, low, close, volume, timeframe=bars.timeframe)


@pytest.mark.parametrize("name", INDICATORS)
@given(seed=SEEDS)
@settings(max_examples=20)
def test_any_cut_gives_the_same_bits(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bars = random_bars(rng, "15m", rows=ROWS, symbols=int(rng.integers(1, 12)), missing=rng.choice([0, 0.1, 0.6]))
    windows = random_settings(rng, int(rng.integers(1, 6)))
    whole = feed(INDICATORS[name], windows, bars, [(0, len(bars))])
    pieces = feed(INDICATORS[name], windows, bars, random_cuts(rng, len(bars)))
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", INDICATORS)
@given(seed=SEEDS)
@settings(max_examples=10)
def test_a_set_gives_the_same_bits_alone_as_beside_others(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bars = random_bars(rng, "15m", rows=ROWS, symbols=int(rng.integers(1, 12)), missing=0.1)
    windows = random_settings(rng, 4)
    together = feed(INDICATORS[name], windows, bars, [(0, len(bars))])
    for lane in range(4):
        alone = feed(INDICATORS[name], {key: rows[[lane]] for key, rows in windows.items()}, bars, [(0, len(bars))])
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one[:, [lane]], other)


@pytest.mark.parametrize("name", [name for name in INDICATORS if name != "NewWeek"])
@given(seed=SEEDS)
@settings(max_examples=10)
def test_a_missing_bar_is_as_if_the_symbol_traded_alone_without_it(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bars = random_bars(rng, "15m", rows=ROWS, symbols=5, missing=rng.choice([0.1, 0.6]))
    windows = random_settings(rng, 2)
    together = feed(INDICATORS[name], windows, bars, random_cuts(rng, len(bars)))
    for symbol in range(5):
        own = own_bars(bars, symbol)
        alone = feed(INDICATORS[name], windows, own, [(0, len(own))])
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one[bars.present[:, symbol], :, symbol], other[..., 0])
            assert not (one[~bars.present[:, symbol], :, symbol] > 0).any(), "a missing bar has no value"
