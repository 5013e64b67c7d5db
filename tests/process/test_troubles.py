"""What goes wrong with the daemon itself is seen in `status`, at once, and told, as soon as it can be."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from daemon.office import rfc3339
from tests.patience import PATIENCE_S
from tests.process.harness import charge, nightdesk, now_s, running, until
from tests.store.running import running as store_running
from tests.store.running import tick


def test_a_scorer_that_cannot_start_is_seen_in_the_status_and_told_when_it_can(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        with closing(sqlite3.connect(tmp_path / "data" / "nightdesk.db", isolation_level=None)) as database:
            database.execute("ALTER TABLE dead_letters RENAME TO hidden")
            daemon.ask("/restart", {"actor": "billing.scorer"})
            until(lambda: daemon.log().count('"actor_crashed"') >= 4 or None)
            assert not daemon.get("/status")["ready"]
            assert nightdesk("status", "--socket", daemon.socket)[0] == 4
            assert daemon.deliver(charge()) == 200
            database.execute("ALTER TABLE hidden RENAME TO dead_letters")

        def told() -> dict[str, Any] | None:
            return next((one for one in daemon.sink.all if one["signal"] == "actor_restarting"), None)

        assert until(told)["scope"] == "billing.scorer"
        assert nightdesk("status", "--socket", daemon.socket)[0] == 0


def test_a_database_locked_by_others_is_seen_in_the_status_told_and_over_when_it_is_over(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        with closing(sqlite3.connect(tmp_path / "data" / "nightdesk.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            assert daemon.deliver(charge()) == 503
            status = daemon.get("/status")
            assert not status["ready"]
            assert "lock" in status["store"]["trouble"]
            assert nightdesk("status", "--socket", daemon.socket)[0] == 4
            database.execute("ROLLBACK")

        def over() -> list[str] | None:
            kinds = [one["kind"] for one in daemon.sink.all if one["signal"] == "store_trouble"]
            return kinds if len(kinds) > 1 else None

        assert until(over) == ["incident.opened", "incident.resolved"]
        assert daemon.deliver(charge()) == 200
        assert daemon.get("/status")["ready"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of 48 MB; a quarter of it becomes the ballast."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs a file system of its own")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_seen_in_the_status_told_and_over_when_there_is_room(tmp_path: Path, small_disk: Path) -> None:
    with running(tmp_path, {"data_dir": str(small_disk / "data")}) as daemon:
        filler = small_disk / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass
        until(lambda: daemon.deliver(charge()) == 503 or None)
        opened = daemon.sink.next()
        assert (opened["kind"], opened["signal"], opened["severity"]) == (
            "incident.opened",
            "store_trouble",
            "critical",
        )
        assert "full" in daemon.get("/status")["store"]["trouble"]
        assert nightdesk("status", "--socket", daemon.socket)[0] == 4
        filler.unlink()
        until(lambda: daemon.deliver(charge()) == 200 or None)
        assert daemon.sink.next()["kind"] == "incident.resolved"
        assert daemon.get("/status")["ready"]


def test_a_database_deleted_under_the_daemon_ends_it(tmp_path: Path) -> None:
    """So that the service manager starts it anew; nothing is acknowledged meanwhile."""
    with running(tmp_path) as daemon:
        assert daemon.process is not None
        assert daemon.deliver(charge()) == 200
        for file in (tmp_path / "data").glob("nightdesk.db*"):
            file.unlink()
        assert daemon.deliver(charge()) == 503
        assert daemon.process.wait(PATIENCE_S) == 1
        assert "deleted or replaced" in daemon.log()


def test_a_daemon_whose_last_life_was_in_the_future_goes_on_today(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        assert daemon.deliver(charge()) == 200
        daemon.stop()
        ahead = (now_s() + 3 * 86_400) * 1_000_000
        anyio.run(append_tick, tmp_path / "data", ahead)
        daemon.start()
        for _ in range(5):
            assert daemon.deliver(charge(customer="cus_1", failed=True)) == 200
        told = {daemon.sink.next()["signal"] for _ in range(2)}
        assert told == {"clock_drift", "decline_spike"}
        assert all(incident["opened"] < rfc3339(ahead - 86_400_000_000) for incident in daemon.incidents())
        assert daemon.incidents("webhook_lag") == []


async def append_tick(data_dir: Path, at: int) -> None:
    async with store_running(data_dir) as store:
        await store.append(tick(at))
