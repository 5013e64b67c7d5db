"""The three kinds of time: of the wall, accelerated or virtual, and monotonic."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kernel.clock import SECOND, ScaledClock, WallClock, chance, entropy, io_sleep, monotonic, token
from tests.simulation.loop import run_virtual

NOON = 1_800_000_000 * SECOND


@given(st.integers(0, 4_000_000_000 * SECOND), st.floats(0.01, 100_000), st.integers(1, 10_000_000 * SECOND))
def test_sleep_until_returns_at_the_time_and_not_before(start: int, speed: float, ahead: int) -> None:
    async def story() -> tuple[int, float]:
        clock = ScaledClock(start, speed)
        await clock.sleep_until(start + ahead)
        return clock.now(), monotonic()

    now, waited_s = run_virtual(story)
    tolerance = 2 * speed + 1
    assert start + ahead <= now <= start + ahead + tolerance
    assert waited_s == pytest.approx(ahead / SECOND / speed, abs=1e-5 + 2e-6 / speed)


async def test_an_accelerated_clock_sleeps_less_and_its_deadlines_do_not() -> None:
    clock = ScaledClock(NOON, speed=60.0)
    assert clock.now() == NOON
    await clock.sleep(3600)
    assert clock.now() == NOON + 3600 * SECOND
    assert monotonic() == 60.0
    await io_sleep(1)
    assert clock.now() == NOON + 3660 * SECOND
    await clock.sleep_until(NOON)
    assert monotonic() == 61.0


def test_outside_a_loop_an_accelerated_clock_stands_at_its_start() -> None:
    assert ScaledClock(NOON).now() == NOON


def test_a_clock_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="positive"):
        ScaledClock(NOON, speed=0)


def test_the_wall_clock_is_utc_microseconds() -> None:
    assert 1_700_000_000 * SECOND < WallClock().now() < 10_000_000_000 * SECOND


def test_a_wall_clock_set_while_we_sleep_is_noticed_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> float:
        clock, loop = WallClock(), asyncio.get_running_loop()
        # Half-way through the hour somebody sets the clock 20 minutes ahead.
        monkeypatch.setattr(clock, "now", lambda: int((loop.time() + (1200 if loop.time() >= 1800 else 0)) * SECOND))
        await clock.sleep_until(3600 * SECOND)
        return loop.time()

    assert 2400 <= run_virtual(story) <= 2460


def test_a_time_of_day_is_not_waited_for_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> float:
        clock, loop = WallClock(), asyncio.get_running_loop()
        # Half-way through the hour somebody sets it back by a day.
        monkeypatch.setattr(clock, "now", lambda: int((loop.time() - (86_400 if loop.time() >= 1800 else 0)) * SECOND))
        await clock.sleep_until(3600 * SECOND)
        return loop.time()

    assert 1800 <= run_virtual(story) <= 1860


def test_a_seed_replays_chance_and_without_one_it_is_the_systems() -> None:
    assert [chance(7).random() for _ in range(3)] == [chance(7).random() for _ in range(3)]
    assert chance().random() != chance().random()
    assert len({token(16) for _ in range(100)} | {entropy(16).hex() for _ in range(100)}) == 200
