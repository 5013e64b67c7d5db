"""What the sums promise, whatever comes: never below nothing, nothing lost in a snapshot, no order known."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.billing.baseline import HOUR_S, WARM_HOURS, SeasonalRate
from actors.billing.cusum import BIN_S, Share, Surges
from actors.billing.lull import Lull
from actors.kernel.clock import chance

START = 1_780_000_000 // HOUR_S * HOUR_S
gaps = st.lists(st.integers(0, 40 * HOUR_S), max_size=60)


def again(saved: Any) -> Any:
    """Through JSON, as a snapshot goes."""
    return orjson.loads(orjson.dumps(saved, default=tuple))


@given(gaps, st.integers(0, 60))
def test_surges_go_on_from_a_snapshot_as_if_nothing_had_been(steps: list[int], cut: int) -> None:
    whole, resumed, at = Surges(1.0), Surges(1.0), START
    for number, step in enumerate(steps):
        at += step
        if number == cut:
            resumed = Surges(1.0)
            resumed.load(again(whole.save()))
        assert whole.count(at, at, 12.0) == resumed.count(at, at, 12.0)
        assert all(total.w >= 0 for total in whole._sums)
    assert again(whole.save()) == again(resumed.save())


@settings(max_examples=50)
@given(st.lists(st.integers(0, 7000), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_within_two_hours_the_order_of_arrival_decides_nothing(seconds: list[int], order: Any) -> None:
    """Whether it is a surge, and how near it came to one, is the same."""
    shuffled = seconds[:]
    order.shuffle(shuffled)
    highest = []
    for told in (sorted(seconds), shuffled):
        surges = Surges(1.0)
        surges.add(START + 7200, 12.0)
        found = [surges.count(START + second, START + 7200, 12.0) for second in told]
        highest.append(max((min(one.score, 1.0) for one in found if one), default=None))
    assert highest[0] == pytest.approx(highest[1])


@given(st.lists(st.tuples(st.integers(0, 3 * HOUR_S), st.booleans()), max_size=80), st.integers(0, 80))
def test_a_share_goes_on_from_a_snapshot_and_is_a_share(steps: list[tuple[int, bool]], cut: int) -> None:
    whole, resumed, at = Share(0.1, 40), Share(0.1, 40), START
    for number, (step, failed) in enumerate(steps):
        at += step
        if number == cut:
            resumed = Share(0.1, 40)
            resumed.load(again(whole.save()))
        assert whole.add(at, 8.0, failed=failed) == resumed.add(at, 8.0, failed=failed)
        assert whole.strongest(8.0) == resumed.strongest(8.0)
        assert 0 < whole.usual <= 0.5
        assert all(total[0] >= 0 for total in whole._sums)


@given(gaps, st.integers(0, 60), st.sampled_from((0.0, 0.25)))
def test_a_lull_is_due_when_it_says(steps: list[int], cut: int, ratio: float) -> None:
    whole, resumed, at = Lull(ratio), Lull(ratio), START
    for number, step in enumerate(steps):
        at += step
        if number == cut:
            resumed = Lull(ratio)
            resumed.load(again(whole.save()))
        for one in (whole, resumed):
            one.learn(at)
            one.take(at)
        assert whole.when(20.0) == resumed.when(20.0)
    due = whole.when(20.0)
    if due is not None and whole.score(20.0) < 1:
        whole.advance(due - 2)
        assert whole.score(20.0) < 1
        whole.advance(due + 1)
        assert whole.score(20.0) >= 0.999


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_no_hour_teaches_without_bound(count: int) -> None:
    """A flood teaches ten times the mean and three; and three times as much cannot come of it overnight."""
    rate = SeasonalRate(2.0, 2.0)
    hour = START // HOUR_S
    for quiet in range(hour, hour + 48):
        rate.learn(quiet, 0)
    before = rate.expected(hour + 48)
    rate.learn(hour + 48, count)
    assert rate.expected(hour + 49) <= before + (10 * before + 3) / 48


def test_a_rate_finds_the_busy_hours_and_the_quiet_days() -> None:
    """Ten an hour by day, one by night, nothing on Sundays; four weeks of it."""
    rate, rng, hour = SeasonalRate(1.0), chance(1), START // HOUR_S
    for now in range(hour, hour + 2 * WARM_HOURS):
        busy = 0 if now // 24 % 7 == 3 else 10 if 8 <= now % 24 < 20 else 1
        rate.learn(now, sum(rng.random() < 0.5 for _ in range(2 * busy)))
    day = (hour // 24 + 29) * 24
    weekday = next(day + 24 * n for n in range(7) if (day // 24 + n) % 7 == 1)
    sunday = next(day + 24 * n for n in range(7) if (day // 24 + n) % 7 == 3)
    assert rate.warm
    assert 8 < rate.expected(weekday + 12) < 13
    assert 0.5 < rate.expected(weekday + 3) < 2
    assert rate.expected(sunday + 12) < 1.5
    assert rate.at_least(weekday + 12) < rate.expected(weekday + 12) < rate.at_most(weekday + 12)


def test_what_came_an_age_ago_is_stepped_over() -> None:
    surges = Surges(1.0)
    for number in range(30):
        surges.count(START + number, START, 12.0)
    later = START + 20 * 365 * 24 * HOUR_S
    assert surges.count(later, later, 12.0) is None
    assert surges._settled == later // BIN_S - 24
