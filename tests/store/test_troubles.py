"""A full disk, a held lock, a disk that fails or does not answer: nobody is told a lie, and it works again later."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.kernel.clock import WallClock, chance
from actors.kernel.mailbox import reject
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Fatal, Restart, Strategy, child, supervisor
from actors.store import commits
from actors.store.driver import InlineDriver, ThreadDriver
from actors.store.premises import BALLAST, DATABASE
from actors.store.protocol import StoreUnavailable
from actors.store.store import SqliteStore
from actors.store.writer import DiskFailed
from tests.patience import PATIENCE_S
from tests.store.running import NOON, event, found, notification, running, tick

HOLD_THE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def broken(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as injected")
    error.sqlite_errorcode, error.sqlite_errorname = code, "INJECTED"
    return error


async def test_a_lock_held_by_another_process_fails_every_write_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everyone who waits is told, also those who came later; after the release the same event is stored once."""
    monkeypatch.setattr("actors.store.schema.BUSY_TIMEOUT_MS", 500)
    troubles: list[str | None] = []
    async with running(tmp_path, on_trouble=troubles.append) as store:
        await store.append(event("evt_1"))
        holder = subprocess.Popen(  # noqa: ASYNC220 - it starts in no time, and it blocks us on purpose
            [sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path / DATABASE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdin
        assert holder.stdout
        assert await asyncio.to_thread(holder.stdout.readline) == b"held\n"
        first = asyncio.gather(store.append(event("evt_2")), store.commit_findings(found(1)), return_exceptions=True)
        await asyncio.wait([first], timeout=0.1)
        second = asyncio.gather(store.append(event("evt_3")), return_exceptions=True)
        with anyio.fail_after(PATIENCE_S):
            refused = [*await first, *await second]
        assert [str(error) for error in refused] == ["another process holds the database's lock"] * 3
        assert all(isinstance(error, StoreUnavailable) for error in refused)
        holder.communicate(b"")
        assert not (await store.append(event("evt_2"))).duplicate
        assert [entry.data["id"] for entry in await store.read_log(0, 9)] == ["evt_1", "evt_2"]
    assert troubles == ["another process holds the database's lock", None]


async def limit_pages(store: SqliteStore, pages: int) -> None:
    """SQLite then behaves as on a full disk."""

    def limit(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    await store._driver.write(limit)


async def test_a_full_disk_refuses_events_gives_up_the_ballast_and_works_again_with_room(tmp_path: Path) -> None:
    """Nothing that was acknowledged is lost, nothing refused is stored."""
    troubles: list[str | None] = []
    async with running(tmp_path, on_trouble=troubles.append) as store:
        await store.append(event("evt_0"))
        pages = (await store._driver.read(lambda db: db.execute("PRAGMA page_count").fetchone()))[0]
        await limit_pages(store, pages + 5)
        stored, refused = ["evt_0"], []
        for number in range(1, 60):
            try:
                await store.append(event(f"evt_{number}", note="".join(chance(number).choices("abcdefgh", k=2_000))))
            except StoreUnavailable as error:
                refused.append((f"evt_{number}", str(error)))
                assert not (tmp_path / BALLAST).exists()
                break
            else:
                stored.append(f"evt_{number}")
        assert refused[0][1] == "the disk is full"
        assert [entry.data["id"] for entry in await store.read_log(0, 99)] == stored
        await limit_pages(store, 1 << 30)
        assert not (await store.append(event(refused[0][0]))).duplicate
        assert troubles == ["the disk is full", None]
    assert (tmp_path / BALLAST).stat().st_size > 0


async def test_a_daemon_starts_on_a_full_disk_and_says_so(small_disk: Path) -> None:
    """Its ballast makes way: it refuses events, but it lives and can raise the alarm."""
    troubles: list[str | None] = []
    async with running(small_disk, ballast_bytes=64 << 20) as store:
        await store.append(event("evt_1"))
    filler = fill(small_disk)
    async with running(small_disk, ballast_bytes=64 << 20, on_trouble=troubles.append) as store:
        with pytest.raises(StoreUnavailable, match="nearly full"):
            await store.append(event("evt_2"))
        await store.enqueue([notification("alarm")])
        filler.unlink()
        await store.append(event("evt_2"))
    assert troubles == ["the disk is full", None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mounted)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can make a small disk")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def fill(disk: Path) -> Path:
    """Somebody else's file takes all the room there is."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
    return filler


async def append_many(store: SqliteStore) -> None:
    """More than a megabyte, incompressible."""
    for number in range(1, 1_000):
        await store.append(event(f"evt_{number}", note="".join(chance(number).choices("abcdefgh", k=4_000))))


async def test_on_a_disk_that_is_really_full_alarms_are_still_written_and_events_once_there_is_room(
    small_disk: Path,
) -> None:
    troubles: list[str | None] = []
    async with running(small_disk, ballast_bytes=64 << 20, on_trouble=troubles.append) as store:
        await store.append(event("evt_0"))
        filler = fill(small_disk)
        with pytest.raises(StoreUnavailable, match="full"):
            await append_many(store)
        acknowledged = [entry.data["id"] for entry in await store.read_log(0, 999)]
        with pytest.raises(StoreUnavailable, match="nearly full"):
            await store.append(event("evt_late"))
        await store.append(tick())
        await store.enqueue([notification("alarm")])
        assert troubles == ["the disk is full"]
        filler.unlink()
        assert not (await store.append(event("evt_late"))).duplicate
        assert troubles == ["the disk is full", None]
    async with running(small_disk) as store:
        kept = [entry.data["id"] for entry in await store.read_log(0, 999) if entry.data]
        assert kept == [*acknowledged, "evt_late"]
        assert [one.key for one in await store.due("ops", NOON, 9)] == ["alarm"]


async def test_while_the_ballast_is_missing_events_are_refused_and_all_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its room is for the alarm, the findings and their notifications."""
    troubles: list[str | None] = []
    faults: list[sqlite3.Error] = []

    def fail(when: str) -> None:
        if when == "before" and faults:
            raise faults.pop()

    async with running(tmp_path, driver=InlineDriver(fail), on_trouble=troubles.append) as store:
        with monkeypatch.context() as patch:
            patch.setattr(store._ballast, "_free", lambda: 0)
            faults.append(broken(sqlite3.SQLITE_FULL))
            with pytest.raises(StoreUnavailable, match="full"):
                await store.append(event("evt_1"))
            with pytest.raises(StoreUnavailable, match="nearly full"):
                await store.append(event("evt_1"))
            assert (await store.append(tick())).seq == 1
            await store.commit_findings(found(1))
            assert troubles == ["the disk is full"]
        assert (await store.append(event("evt_1"))).seq == 2
        assert troubles == ["the disk is full", None]


async def test_a_small_disk_loses_only_a_part_of_its_room_to_the_ballast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.store.premises.Ballast._free", lambda _: 40_000)
    async with running(tmp_path, ballast_bytes=64 << 20) as store:
        assert (await store.append(event("evt_1"))).seq == 1
        assert (tmp_path / BALLAST).stat().st_size == 10_000


async def supervised_until_fatal(
    data_dir: Path, faults: Callable[[str], None], scene: Callable[[SqliteStore], Any]
) -> None:
    store = SqliteStore(data_dir, driver=InlineDriver(faults), ballast_bytes=0)
    tree = supervisor(
        "test", Strategy.ONE_FOR_ONE, child("store", lambda: store, mailbox=reject(64), restart=Restart.NEVER)
    )
    house = Supervisor(tree, clock=WallClock(), rng=chance(1))
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(house.run)
            await house.ready.wait()
            await scene(store)


async def test_an_io_error_at_commit_ends_the_process_and_the_caller_is_told(tmp_path: Path) -> None:
    """What the disk holds is unknown, so only starting again from it is safe: all that was acknowledged is there."""

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "COMMIT" and armed:
                super().execute("ROLLBACK")
                raise broken(sqlite3.SQLITE_IOERR_FSYNC)
            return super().execute(sql, *parameters)

    armed: list[bool] = []
    answers: list[object] = []

    async def scene(store: SqliteStore) -> None:
        await store.append(event("evt_1"))
        armed.append(True)
        answers.extend(await asyncio.gather(store.append(event("evt_2")), return_exceptions=True))
        answers.extend(await asyncio.gather(store.append(event("evt_3")), return_exceptions=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.store.schema.sqlite3.connect", partial(sqlite3.connect, factory=Failing))
        with pytest.raises(ExceptionGroup) as fatal:
            await supervised_until_fatal(tmp_path, lambda _: None, scene)
    assert fatal.group_contains(Fatal)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    async with running(tmp_path) as store:
        assert [entry.data["id"] for entry in await store.read_log(0, 9)] == ["evt_1"]


async def test_a_crash_right_after_the_commit_leaves_the_event_stored_and_its_retry_a_duplicate(tmp_path: Path) -> None:
    crash: list[bool] = []

    def faults(when: str) -> None:
        if when == "after" and crash:
            raise RuntimeError("the power went")

    async def scene(store: SqliteStore) -> None:
        crash.append(True)
        with pytest.raises(StoreUnavailable):
            await store.append(event("evt_1"))

    with pytest.raises(ExceptionGroup):
        await supervised_until_fatal(tmp_path, faults, scene)
    async with running(tmp_path) as store:
        assert (await store.append(event("evt_1"))).duplicate


async def test_a_disk_that_does_not_answer_refuses_who_waits_and_loses_nothing_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "HANG_S", 0.05)
    troubles: list[str | None] = []
    answers = threading.Event()
    async with running(tmp_path, on_trouble=troubles.append) as store:
        stuck = store._change(lambda _: answers.wait())
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await stuck
        for number in (1, 2):
            with pytest.raises(StoreUnavailable, match="does not answer"):
                await store.append(event(f"evt_{number}"))
        assert troubles == ["the disk does not answer"]
        monkeypatch.setattr(commits, "HANG_S", PATIENCE_S)
        answers.set()
        assert not (await store.append(event("evt_1"))).duplicate
        assert troubles == ["the disk does not answer", None]


async def test_cancelling_callers_in_the_middle_of_a_commit_loses_nobody_elses_write(tmp_path: Path) -> None:
    """Nor the cancelled ones' own, once it was under way."""
    held = threading.Event()
    async with running(tmp_path) as store:
        slow = asyncio.ensure_future(store._change(lambda _: held.wait(PATIENCE_S)))  # noqa: TID251 - a task of the test
        beside = [asyncio.ensure_future(store.append(event(f"evt_{n}"))) for n in range(20)]  # noqa: TID251 - as above
        while store.mailbox.depth:
            await asyncio.wait([slow], timeout=0.001)
        slow.cancel()
        for one in beside[::2]:
            one.cancel()
        held.set()
        await asyncio.wait(beside)
        assert {entry.data["id"] for entry in await store.read_log(0, 99)} >= {f"evt_{n}" for n in range(1, 20, 2)}
        assert [task.result().duplicate for task in beside[1::2]] == [False] * 10
        for n in range(20):
            assert (await store.append(event(f"evt_{n}"))).seq <= 20


async def test_a_writer_that_is_cancelled_still_answers_who_waits(tmp_path: Path) -> None:
    """The supervisor cancels an actor that will not end; the transaction under way reaches the disk all the same."""
    held = threading.Event()
    store = SqliteStore(tmp_path, driver=ThreadDriver(), ballast_bytes=0)
    store.name, store.mailbox = "store", reject(64)
    await store.start()
    try:
        writer = asyncio.ensure_future(store.run())  # noqa: TID251 - a task of the test
        waiting = asyncio.ensure_future(store._change(lambda _: held.wait(PATIENCE_S)))  # noqa: TID251 - as above
        while store._commits._writing is None:
            await asyncio.wait([waiting], timeout=0.001)
        writer.cancel()
        await asyncio.wait([writer])
        held.set()
        assert await waiting is True
    finally:
        await store.stop()


async def test_a_wrong_change_fails_alone(tmp_path: Path) -> None:
    """What it did before it failed is undone, what the others did is not."""

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO tenants (name) VALUES ('ghost')")
        connection.execute("INSERT INTO outbox (key) VALUES ('not enough')")

    async with running(tmp_path, driver=InlineDriver()) as store:
        results = await asyncio.gather(
            store.append(event("evt_1")), store._change(half), store.commit_findings(found(0)), return_exceptions=True
        )
        assert [type(result).__name__ for result in results] == ["Appended", "IntegrityError", "NoneType"]
        names = await store._driver.read(lambda db: [row[0] for row in db.execute("SELECT name FROM tenants")])
        assert names == ["acme"]


async def test_more_writes_than_the_mailbox_holds_are_refused_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, queue=8) as store:
        results = await asyncio.gather(*(store.append(event(f"evt_{n}")) for n in range(20)), return_exceptions=True)
        assert [str(one) for one in results if isinstance(one, StoreUnavailable)] == ["too many writes wait"] * 12


async def test_a_store_that_has_stopped_refuses(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        pass
    with pytest.raises(StoreUnavailable, match="not running"):
        await store.append(tick())


@pytest.mark.parametrize("name", [DATABASE, f"{DATABASE}-wal"])
async def test_nothing_is_acknowledged_into_a_file_that_was_deleted(tmp_path: Path, name: str) -> None:
    async def story() -> None:
        async with running(tmp_path) as store:
            await store.append(event("evt_1"))
            (tmp_path / name).unlink()
            with pytest.raises(StoreUnavailable, match="gone"):
                await store.append(event("evt_2"))

    with pytest.raises(ExceptionGroup) as ended:
        await story()
    assert ended.group_contains(DiskFailed, match="deleted or replaced")
