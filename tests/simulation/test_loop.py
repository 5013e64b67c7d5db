"""Virtual time can be trusted: it is instant, replayable, and says when nothing can happen any more."""

import asyncio

import anyio
import pytest

from actors.kernel.clock import io_sleep, monotonic
from tests.simulation.loop import Deadlock, run_virtual


async def racing(runners: int = 6) -> list[int]:
    finished: list[int] = []

    async def runner(number: int) -> None:
        for _ in range(3):
            await io_sleep(1)
            await io_sleep(0)
        finished.append(number)

    async with anyio.create_task_group() as group:
        for number in range(runners):
            group.start_soon(runner, number)
    return finished


def test_a_seed_is_one_order_and_many_seeds_are_many() -> None:
    orders = [tuple(run_virtual(racing, seed)) for seed in range(30)]
    assert orders == [tuple(run_virtual(racing, seed)) for seed in range(30)]
    assert len(set(orders)) > 20


def test_a_year_passes_at_once_and_timers_fire_at_their_times() -> None:
    async def year() -> list[float]:
        times = []
        for _ in range(365):
            await io_sleep(86_400)
            times.append(monotonic())
        return times

    assert run_virtual(year) == [pytest.approx(86_400 * day, abs=1e-3) for day in range(1, 366)]


def test_timers_of_one_instant_fire_in_any_order_but_none_before_its_time() -> None:
    async def fire() -> tuple[tuple[int, float], ...]:
        loop = asyncio.get_running_loop()
        fired: list[tuple[int, float]] = []

        def fire_one(number: int) -> None:
            fired.append((number, loop.time()))

        for number in range(5):
            loop.call_later(1.0, fire_one, number)
        loop.call_later(0.999, fire_one, 9)
        await io_sleep(2)
        return tuple(fired)

    seen = {run_virtual(fire, seed) for seed in range(20)}
    assert all(order[0] == (9, 0.999) and {time for _, time in order[1:]} == {1.0} for order in seen)
    assert len(seen) > 10


def test_sleeping_towards_a_time_between_two_microseconds_arrives() -> None:
    async def arrive() -> float:
        until = 86_400.0000005
        while monotonic() < until:
            await io_sleep(until - monotonic())
        return monotonic()

    assert run_virtual(arrive) == pytest.approx(86_400, abs=2e-6)


def test_timeouts_and_scopes_of_anyio_work_unchanged() -> None:
    async def late() -> float:
        with anyio.move_on_after(30) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(30):
                await anyio.sleep_forever()
        return monotonic()

    assert run_virtual(late) == 60.0


def test_a_deadlock_names_the_tasks_and_where_they_wait() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match=r"nothing can happen any more\n.*test_loop\.py:\d+"):
        run_virtual(wait_for_nobody)


def test_threads_are_refused() -> None:
    async def thread() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(RuntimeError, match="outside virtual time"):
        run_virtual(thread)


async def _order_of_death() -> list[int]:
    order: list[int] = []

    async def mortal(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(mortal, number)
        await io_sleep(1)
        tasks.cancel_scope.cancel()
    return order


def test_who_is_cancelled_together_ends_in_the_order_of_the_seed_wherever_in_memory_they_are() -> None:
    """Other tests have run before, or none: a seed that failed fails again."""
    kept: list[object] = []
    orders = []
    for run in range(8):
        orders.append(run_virtual(_order_of_death, seed=3))
        kept += [bytearray(size) for size in range(0, 2_000, run + 1)]
        del kept[::3]
    assert orders == [orders[0]] * 8
    assert sorted(orders[0]) == list(range(40))
    assert run_virtual(_order_of_death, seed=4) != orders[0]
