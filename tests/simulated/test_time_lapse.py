"""The clock of the demo's exchange: days to be watched, nights in a moment, and never backwards."""

from actors.kernel.clock import monotonic
from actors.simulated.exchange.wire import micros
from actors.simulated.time_lapse import TimeLapse
from strategies.sessions import HOUR, MINUTE
from tests.simulation.loop import run_virtual

OPEN = micros("2026-11-25T14:30:00Z")  # Wednesday; Thursday is Thanksgiving, Friday ends at one


def elapsed(start: int, *until: int) -> list[float]:
    """Seconds here between these moments there."""

    async def wait() -> list[float]:
        clock, seen = TimeLapse(start, speed=600, night_speed=36_000), []
        for at in until:
            before = monotonic()
            await clock.sleep_until(at)
            assert 0 <= clock.now() - at < 1_000_000
            seen.append(monotonic() - before)
        return seen

    return run_virtual(wait)


def test_a_session_takes_its_time_and_a_night_does_not() -> None:
    session, night = elapsed(OPEN, OPEN + 13 * HOUR // 2, OPEN + 48 * HOUR)
    assert round(session) == 39
    assert round(night, 1) == round((15 + 2) * 60 / 600 + (41.5 * 3600 - 17 * 60) / 36_000, 1)


def test_a_clock_that_starts_at_night_starts_fast() -> None:
    [night] = elapsed(OPEN - 10 * HOUR, OPEN - 2 * MINUTE)
    assert night < 1.1


def test_sleeping_goes_by_the_same_clock() -> None:
    async def doze() -> int:
        clock = TimeLapse(OPEN, speed=600, night_speed=36_000)
        before = clock.now()
        await clock.sleep(24 * 3600)
        return clock.now() - before

    assert run_virtual(doze) - 24 * HOUR < 1_000_000
