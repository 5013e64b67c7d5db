"""The clock of the demo's exchange: days to be watched, nights in a moment, and never backwards."""

from actors.kernel.clock import io_sleep, monotonic
from actors.simulated.exchange.wire import micros
from actors.simulated.time_lapse import TimeLapse
from strategies.sessions import HOUR, MINUTE, SECOND
from tests.simulation.loop import run_virtual

OPEN = micros("2026-11-25T14:30:00Z")  # Wednesday; Thursday is Thanksgiving, Friday ends at one


def clock_from(start: int) -> TimeLapse:
    return TimeLapse(start, waiting_speed=60, speed=600, night_speed=36_000)


def test_a_session_takes_its_time_and_a_night_does_not() -> None:
    async def wait() -> list[float]:
        clock, seen = clock_from(OPEN), []
        clock.hurry()
        for at in (OPEN + 13 * HOUR // 2, OPEN + 48 * HOUR):
            before = monotonic()
            await clock.sleep_until(at)
            assert 0 <= clock.now() - at < SECOND
            seen.append(monotonic() - before)
        return seen

    session, night = run_virtual(wait)
    assert round(session) == 39
    assert round(night, 1) == round((15 + 2) * 60 / 600 + (41.5 * 3600 - 17 * 60) / 36_000, 1)


def test_it_waits_at_a_pace_of_its_own_and_whoever_sleeps_wakes_sooner_when_it_hurries() -> None:
    async def wait() -> tuple[int, float]:
        clock = clock_from(OPEN - HOUR)
        clock.now()
        await io_sleep(10)
        waited = clock.now()
        clock.hurry()
        assert abs(clock.now() - waited) <= 1
        before = monotonic()
        await clock.sleep_until(OPEN)
        return waited, monotonic() - before

    waited, rest = run_virtual(wait)
    assert waited == OPEN - HOUR + 10 * MINUTE
    assert round(rest, 3) == round(48 * 60 / 36_000 + 2 * 60 / 600, 3)


def test_sleeping_goes_by_the_same_clock() -> None:
    async def doze() -> int:
        clock = clock_from(OPEN)
        clock.hurry()
        before = clock.now()
        await clock.sleep(24 * 3600)
        return clock.now() - before

    assert run_virtual(doze) - 24 * HOUR < SECOND
