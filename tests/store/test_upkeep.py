"""Copies, retention and what the status says."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.store import store as store_module
from actors.store.driver import InlineDriver
from actors.store.premises import DATABASE
from actors.store.records import Delivery, Snapshot, State
from actors.store.store import SqliteStore
from actors.store.upkeep import restore
from config.errors import BadInput, UserError
from tests.patience import PATIENCE_S
from tests.store.running import NOON, event, found, incident, notification, running, tick

HOUR = 3_600_000_000


def rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def ids(data_dir: Path) -> list[str]:
    async with running(data_dir) as store:
        return [entry.data["id"] for entry in await store.read_log(0, 99)]


async def test_a_backup_taken_while_writing_is_whole_and_restores(tmp_path: Path) -> None:
    """The old database is moved aside, and the payer key comes with the backup: hashes stay comparable."""
    data_dir, copy = tmp_path / "data", tmp_path / "copy.db"
    async with running(data_dir) as store:
        key = await store.payer_key()
        await store.append(event("evt_1"))
        writes = asyncio.gather(*(store.append(event(f"evt_{n}")) for n in range(2, 200)))
        assert await store.backup(copy) == copy.stat().st_size
        await writes
    kept = rows(copy, "log")
    assert 1 <= kept <= 199
    aside = restore(copy, data_dir)
    assert aside is not None
    assert rows(aside, "log") == 199
    assert len(await ids(data_dir)) == min(kept, 99)
    async with running(data_dir) as store:
        assert await store.payer_key() == key


async def test_a_backup_overwrites_nothing_and_a_failed_one_leaves_nothing(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    async with running(tmp_path / "data") as store:
        with pytest.raises(UserError, match="exists already"):
            await store.backup(taken)
        with pytest.raises(UserError, match="could not be written"):
            await store.backup(tmp_path / "no such folder" / "copy.db")
    assert taken.read_text() == "mine"
    assert names(tmp_path) == {"taken", "data"}


async def test_a_restore_keeps_what_the_old_wal_still_held(tmp_path: Path) -> None:
    """The old database was killed, not stopped: its newest events are in the WAL, which goes aside with it."""
    data_dir, copy = tmp_path / "data", tmp_path / "copy.db"
    async with running(data_dir) as store:
        await store.append(event("evt_1"))
        await store.backup(copy)
        await store.append(event("evt_2"))
        killed = tmp_path / "killed"
        killed.mkdir()
        for path in data_dir.glob(f"{DATABASE}*"):
            (killed / path.name).write_bytes(path.read_bytes())
    aside = restore(copy, killed)
    assert aside is not None
    assert rows(aside, "log") == 2
    assert await ids(killed) == ["evt_1"]
    assert restore(copy, killed) != aside


async def test_a_restore_over_a_damaged_database_keeps_the_damaged_one(tmp_path: Path) -> None:
    data_dir, copy = tmp_path / "data", tmp_path / "copy.db"
    async with running(data_dir) as store:
        await store.append(event("evt_1"))
        await store.backup(copy)
    (data_dir / DATABASE).write_bytes(b"rubble" * 1_000)
    (data_dir / f"{DATABASE}-wal").write_bytes(b"dust" * 1_000)
    aside = restore(copy, data_dir)
    assert aside is not None
    assert aside.read_bytes() == b"rubble" * 1_000
    assert aside.with_name(f"{aside.name}-wal").exists()
    assert await ids(data_dir) == ["evt_1"]


def test_a_restore_into_an_empty_directory_needs_no_old_database(tmp_path: Path) -> None:
    async def make() -> None:
        async with running(tmp_path / "data") as store:
            await store.append(event("evt_1"))
            await store.backup(tmp_path / "copy.db")

    asyncio.run(make())
    assert restore(tmp_path / "copy.db", tmp_path / "new") is None
    assert asyncio.run(ids(tmp_path / "new")) == ["evt_1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "schema 0 is not one"),
        (b"These are my notes. " * 300, "not a backup of nightdesk"),
        ("PRAGMA user_version = 99", "schema 99 is not one"),
        ("CREATE TABLE notes (a)", "schema 0 is not one"),
    ],
)
def test_what_is_not_a_backup_is_refused_and_nothing_changes(
    tmp_path: Path, content: bytes | str | None, message: str
) -> None:
    file, data_dir = tmp_path / "backup.db", tmp_path / "data"
    match content:
        case bytes():
            file.write_bytes(content)
        case str():
            with closing(sqlite3.connect(file)) as connection:
                connection.execute(content)
    data_dir.mkdir()
    (data_dir / DATABASE).write_bytes(b"as it was")
    with pytest.raises(BadInput, match=message) as refused:
        restore(file, data_dir)
    assert str(file) in str(refused.value)
    assert (data_dir / DATABASE).read_bytes() == b"as it was"
    assert not [*data_dir.glob("*.old"), *data_dir.glob("*.restoring")]


async def test_a_backup_with_a_row_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """SQLite finds it whole; only reading it shows the damage."""
    async with running(tmp_path / "live") as store:
        await store.append(event("evt_1"))
        await store.backup(tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy, copy:
        copy.execute("UPDATE log SET data = randomblob(50)")
    with pytest.raises(BadInput, match="row 1 of the log cannot be read"):
        restore(tmp_path / "copy.db", tmp_path / "other")


async def test_a_restore_under_a_running_daemon_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.backup(tmp_path / "copy.db")
        with pytest.raises(UserError, match="in use by another nightdesk"):
            restore(tmp_path / "copy.db", tmp_path)


async def test_a_second_daemon_on_the_same_directory_is_refused_by_the_first_ones_pid(tmp_path: Path) -> None:
    """And once the first has stopped, not any more."""
    async with running(tmp_path) as store:
        with pytest.raises(UserError, match=r"in use by another nightdesk \(pid \d+\)"):
            async with running(tmp_path):
                pass
        await store.append(event("evt_1"))
    assert await ids(tmp_path) == ["evt_1"]


async def test_a_data_directory_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the data directory cannot be written") as refused:
        async with running(tmp_path / "file" / "data"):
            pass
    assert "\n" not in str(refused.value)


async def prune_all(store: SqliteStore, before: int) -> list[int]:
    """How many each step dropped, three at a time."""
    steps: list[int] = []
    while dropped := await store.prune(bodies_before=before, log_before=before, limit=3):
        steps.append(dropped)
    return steps


async def test_retention_drops_bodies_then_rows_but_never_keys_nor_what_a_restart_folds(tmp_path: Path) -> None:
    async with running(tmp_path, driver=InlineDriver()) as store:
        for n in range(10):
            await store.append(event(f"evt_{n}", at=NOON + n * HOUR, body=b"body"))
        scores = dict.fromkeys(range(1, 11), 0.5)
        await store.commit_findings(found(9, scores=scores, snapshot=Snapshot(6, {})))
        steps = await prune_all(store, NOON + 8 * HOUR)
        assert max(steps) == 3
        assert sum(steps) == 8 + 6
        assert [entry.seq for entry in await store.read_log(0, 99)] == [7, 8, 9, 10]
        assert [row.seq for row in await store.events(tenant=None, since=None, after=0, limit=99)] == [7, 8, 9, 10]
        again = [await store.append(event(f"evt_{n}", body=b"body")) for n in range(10)]
        assert [one.seq for one in again if one.duplicate] == list(range(1, 11))
        assert (await store.status()).stored == 10
    assert (rows(tmp_path / DATABASE, "archive"), rows(tmp_path / DATABASE, "scores")) == (2, 4)


async def test_retention_drops_old_messages_and_incidents_that_are_over_but_nothing_that_is_under_way(
    tmp_path: Path,
) -> None:
    over: dict[str, Any] = {"state": State.RESOLVED, "resolved": NOON + HOUR}
    incidents = (
        incident("inc_over", **over),
        incident("inc_over_today", state=State.RESOLVED, resolved=NOON + 9 * HOUR),
        incident("inc_open"),
        incident("inc_untold", **over),
    )
    told = tuple(notification(f"key_{name}", name) for name in ("inc_over", "inc_over_today", "inc_open", "inc_untold"))
    async with running(tmp_path, driver=InlineDriver()) as store:
        await store.commit_findings(found(0, incidents=incidents, notifications=told))
        for row in (1, 2, 3):
            await store.settle(row, Delivery.DELIVERED, attempts=1, at=NOON)
        steps = await prune_all(store, NOON + 2 * HOUR)
        assert max(steps) <= 3
        left = {one.id for one in await store.incidents(tenant=None)}
        assert left == {"inc_over_today", "inc_open", "inc_untold"}
        assert [row.key for row in await store.due("ops", 1 << 60, 99)] == ["key_inc_untold"]
        assert (await store.status()).notifications == {"delivered": 0, "failed": 0, "pending": 1}


async def test_seqs_never_start_again_even_if_everything_is_old(tmp_path: Path) -> None:
    """The newest row stays, for the next seq is counted from it."""
    async with running(tmp_path) as store:
        for n in range(3):
            await store.append(event(f"evt_{n}"))
        await store.commit_findings(found(3, snapshot=Snapshot(3, {})))
        await prune_all(store, NOON + HOUR)
    async with running(tmp_path) as store:
        assert (await store.append(tick())).seq == 4


async def test_a_long_read_holds_up_no_write(tmp_path: Path) -> None:
    """Nor does a checkpoint wait for it; when it ends, the WAL shrinks again."""
    async with running(tmp_path) as store:
        await store.append(event("evt_0"))
        with closing(sqlite3.connect(tmp_path / DATABASE)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM log").fetchone()
            for n in range(1, 50):
                await store.append(event(f"evt_{n}"))
            await store._commits.tidy(idle=True)
            assert (await store.append(event("evt_50"))).seq == 51
            assert reader.execute("SELECT count(*) FROM log").fetchone() == (1,)
            assert (await store.status()).wal_bytes > 0
        await store._commits.tidy(idle=True)
        assert (await store.status()).wal_bytes == 0


async def test_the_wal_is_emptied_when_nothing_is_written_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "IDLE_S", 0.01)
    async with running(tmp_path) as store:
        await store.append(event("evt_1"))
        async with asyncio.timeout(PATIENCE_S):
            while (await store.status()).wal_bytes:
                pass


async def test_the_wal_is_moved_between_batches_under_steady_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would grow without end while nobody pauses."""
    monkeypatch.setattr(store_module, "CHECKPOINT_PAGES", 50)
    async with running(tmp_path) as store:
        sizes = []
        for n in range(20):
            await asyncio.gather(*(store.append(event(f"evt_{n}_{m}", body=b"x" * 4_000)) for m in range(40)))
            sizes.append((await store.status()).wal_bytes)
        assert max(sizes[10:]) <= max(sizes[:10]) * 1.5


async def test_the_status_is_true(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await asyncio.gather(*(store.append(entry) for entry in (event("evt_1"), event("evt_1"), tick())))
        sent = (notification("a", "inc_1"), notification("b"), notification("c"))
        await store.commit_findings(found(2, incidents=(incident(),), notifications=sent))
        await store.settle(1, Delivery.DELIVERED, attempts=1, at=NOON)
        await store.settle(2, Delivery.FAILED, attempts=9, at=NOON, error="HTTP 500")
        status = await store.status()
        assert (status.stored, status.duplicates, status.last_seq, status.cursor) == (1, 1, 2, 2)
        assert status.notifications == {"pending": 1, "delivered": 1, "failed": 1}
        assert status.open_incidents == 1
        assert status.last_commit_ms > 0
        assert status.wal_bytes == (tmp_path / f"{DATABASE}-wal").stat().st_size
    async with running(tmp_path) as store:
        after = await store.status()
        assert (after.stored, after.duplicates, after.last_seq, after.cursor) == (1, 0, 2, 2)
        assert after.bytes == (tmp_path / DATABASE).stat().st_size
