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
