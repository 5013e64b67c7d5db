"""Retention runs by itself, at its hour, in virtual time."""

from pathlib import Path

import anyio

from actors.kernel.clock import SECOND, ScaledClock
from actors.kernel.mailbox import Mailbox
from actors.store.driver import InlineDriver
from actors.store.janitor import Janitor
from actors.store.records import Snapshot
from actors.store.store import SqliteStore
from tests.simulation.loop import run_virtual
from tests.store.running import NOON, event, found, running

DAY = 86_400


async def _month(folder: Path) -> None:
    clock = ScaledClock(NOON)
    async with running(folder, driver=InlineDriver()) as store:
        for day in range(40):
            await store.append(event(f"evt_{day}", at=NOON + day * DAY * SECOND, body=b"body"))
        await store.commit_findings(found(40, snapshot=Snapshot(40, {})))
        janitor = Janitor(store, clock, keep_bodies_s=30 * DAY, keep_log_s=35 * DAY)
        janitor.name, janitor.mailbox = "janitor", Mailbox(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(janitor.run)
            await clock.sleep_until(NOON + 40 * DAY * SECOND)
            tasks.cancel_scope.cancel()
        await _nothing_forgotten(store)


async def _nothing_forgotten(store: SqliteStore) -> None:
    left = await store.read_log(0, 100)
    assert [entry.data["id"] for entry in left] == [f"evt_{day}" for day in range(5, 40)]
    again = [await store.append(event(f"evt_{day}")) for day in range(40)]
    assert all(one.duplicate for one in again)


def test_a_month_later_the_old_is_gone_and_repeats_are_still_known(tmp_path: Path) -> None:
    run_virtual(lambda: _month(tmp_path))


class Leaping(ScaledClock):
    """Is a year ahead between two of its days."""

    def now(self) -> int:
        day = (super().now() - NOON) // (DAY * SECOND)
        return super().now() + (365 * DAY * SECOND if 2 <= day < 4 else 0)


async def _leap(folder: Path) -> None:
    clock = Leaping(NOON)
    async with running(folder, driver=InlineDriver()) as store:
        for day in range(4):
            await store.append(event(f"evt_{day}", at=NOON + day * DAY * SECOND))
        await store.commit_findings(found(4, snapshot=Snapshot(4, {})))
        janitor = Janitor(store, clock, keep_bodies_s=30 * DAY, keep_log_s=30 * DAY)
        janitor.name, janitor.mailbox = "janitor", Mailbox(1)
        await janitor.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(janitor.run)
            await clock.sleep(2.9 * DAY)
            assert len(await store.read_log(0, 99)) == 4
            tasks.cancel_scope.cancel()
        reborn = Janitor(store, clock, keep_bodies_s=30 * DAY, keep_log_s=30 * DAY)
        reborn.name, reborn.mailbox = "janitor", Mailbox(1)
        await reborn.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reborn.run)
            await clock.sleep(0.9 * DAY)
            assert len(await store.read_log(0, 99)) == 4
            await clock.sleep(0.15 * DAY)
            assert len(await store.read_log(0, 99)) == 1
            tasks.cancel_scope.cancel()


def test_nothing_is_dropped_by_a_clock_that_leapt_ahead_also_after_a_restart(tmp_path: Path) -> None:
    """A year ahead for two days: it is not believed for a day, in neither life; then it is."""
    run_virtual(lambda: _leap(tmp_path))
