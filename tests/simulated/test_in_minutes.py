"""Longer bars are the sum of the minutes in which they are played."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from actors.simulated.exchange.in_minutes import InMinutes, minutes_of
from actors.simulated.exchange.past import together
from actors.simulated.exchange.tape import Recorded
from actors.trading.ports import Bar
from strategies.sessions import DAY, MINUTE
from tests.strategies.market import random_bars


@given(st.integers(0, 2**32), st.integers(1, 400))
def test_the_minutes_of_a_bar_are_that_bar(seed: int, minutes: int) -> None:
    rng = default_rng(seed)
    low, middle, other, high = sorted(rng.integers(1, 10**6, 4).tolist())
    open_, close = (middle, other) if rng.random() < 0.5 else (other, middle)
    bar = Bar("A", 0, open_, high, low, close, float(rng.integers(0, 10**6)))
    made = minutes_of(bar, 0, minutes * MINUTE)
    assert [one.time for one in made] == list(range(0, minutes * MINUTE, MINUTE))
    assert all(one.low <= min(one.open, one.close) <= max(one.open, one.close) <= one.high for one in made)
    sum_ = together(0, made)
    assert (sum_.open, sum_.high, sum_.low, sum_.close, sum_.volume) == (open_, high, low, close, bar.volume)


@pytest.mark.parametrize("timeframe", ["15m", "2h", "1d"])
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_any_recording_can_be_played_in_minutes_of_the_sessions(timeframe: str, seed: int) -> None:
    bars = random_bars(default_rng(seed), timeframe, rows=20)
    tape = InMinutes(Recorded(bars))
    played = list(tape.moments())
    times = [moment.time for moment in played]
    assert times == sorted(set(times))
    spans = {int(one): int(two) for one, two in zip(bars.session_open, bars.session_close, strict=True)}
    assert all(any(opens <= time < closes for opens, closes in spans.items()) for time in times)
    for column, symbol in enumerate(bars.symbols):
        minutes = [bar for moment in played for bar in moment.bars if bar.symbol == symbol]
        assert sum(bar.volume for bar in minutes) == pytest.approx(float(bars.volume[:, column].sum()))
        present = np.flatnonzero(bars.present[:, column])
        assert (minutes[0].open, minutes[-1].close) == (bars.open[present[0], column], bars.close[present[-1], column])
    half = times[len(times) // 2]
    assert tape.history(bars.symbols, half, half + DAY) == [
        bar for moment in played if half <= moment.time < half + DAY for bar in moment.bars
    ]
