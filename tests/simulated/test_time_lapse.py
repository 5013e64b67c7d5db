"""The clock of the demo's exchange: days to be watched, nights in a moment, and never backwards."""

from itertools import pairwise

import anyio

from actors.kernel.clock import io_sleep, monotonic
from actors.simulated.exchange.wire import micros
from actors.simulated.time_lapse import TimeLapse
from strategies.sessions import HOUR, MINUTE, SECOND
from tests.simulation.loop import run_virtual

OPEN = micros("2026-11-25T14:30:00Z")  # Wednesday; Thursday is Thanksgiving, Friday ends at one

NOON = OPEN + 2 * HOUR


def clock_from(start: int) -> TimeLapse:
    return TimeLapse(start, dawdling_speed=60, speed=600, night_speed=36_000)


def test_a_session_takes_its_time_and_a_night_does_not() -> None:
    async def wait() -> list[float]:
        clock, seen = clock_from(OPEN - MINUTE // 2), []
        clock.hurry()
        for at in (OPEN + 2 * MINUTE, OPEN + 13 * HOUR // 2, OPEN + 48 * HOUR):
            before = monotonic()
            await clock.sleep_until(at)
            assert 0 <= clock.now() - at < SECOND
            seen.append(monotonic() - before)
        return seen

    opening, session, night = run_virtual(wait)
    assert round(opening, 2) == 150 / 60
    assert round(session, 2) == round((390 - 2) * 60 / 600, 2)
    assert round(night, 1) == round(15 * 60 / 600 + (41.5 * 3600 - 15.5 * 60) / 36_000 + 30 / 60, 1)


def test_it_changes_its_pace_and_never_goes_back() -> None:
    async def change() -> list[int]:
        clock = clock_from(NOON)
        seen = [clock.now()]
        for pace in (clock.hurry, clock.dawdle, clock.hurry):
            await io_sleep(10)
            seen.append(clock.now())
            pace()
            assert 0 <= seen[-1] - clock.now() + 1 <= 2
        await io_sleep(10)
        return [*seen, clock.now()]

    minutes = [(after - before) // MINUTE for before, after in pairwise(run_virtual(change))]
    assert minutes == [10, 100, 10, 100]


def test_who_sleeps_wakes_at_the_same_time_there_whatever_the_pace() -> None:
    async def wait() -> list[float]:
        clock, woken = clock_from(NOON), []

        async def sleeper() -> None:
            await clock.sleep_until(NOON + HOUR)
            assert 0 <= clock.now() - NOON - HOUR < SECOND
            woken.append(monotonic())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sleeper)
            await io_sleep(30)  # half an hour
            clock.hurry()
            await io_sleep(1)  # ten minutes
            clock.dawdle()
            await io_sleep(10)  # ten minutes
            clock.hurry()  # a second is left
        return woken

    assert [round(at, 2) for at in run_virtual(wait)] == [42]


def test_sleeping_goes_by_the_same_clock() -> None:
    async def doze() -> int:
        clock = clock_from(OPEN)
        clock.hurry()
        before = clock.now()
        await clock.sleep(24 * 3600)
        return clock.now() - before

    assert run_virtual(doze) - 24 * HOUR < SECOND
