"""Opening old, new, foreign and damaged databases."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from actors.store import schema
from actors.store.premises import DATABASE
from actors.store.upkeep import restore
from config.errors import UserError
from tests.store.running import event, running


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """One that holds an event."""
    async with running(tmp_path) as store:
        await store.append(event("evt_1"))
    return tmp_path / DATABASE


def scalar(path: Path, sql: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(sql).fetchone()
        return row[0] if row else None


def contents(path: Path) -> bytes:
    return path.read_bytes()


def scratch(path: Path) -> None:
    """Seven pages in the middle become nonsense."""
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\x55" * 7 * 4096)


def a_later_release(patch: pytest.MonkeyPatch, script: str) -> int:
    """Whose newest migration is `script`; returns its number."""
    known = schema.migrations()
    newest = max(known) + 1
    patch.setattr(schema, "migrations", lambda: known | {newest: script})
    return newest


async def refusal(data_dir: Path) -> str:
    with pytest.raises(UserError) as refused:
        async with running(data_dir):
            pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def test_an_older_database_is_copied_and_migrated(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy beside it is the database as it was."""
    old = scalar(database, "PRAGMA user_version")
    new = a_later_release(monkeypatch, "CREATE TABLE extra (a INTEGER) STRICT;\nINSERT INTO extra\nVALUES (7);\n")
    async with running(database.parent) as store:
        assert (await store.append(event("evt_1"))).duplicate
    assert scalar(database, "SELECT a FROM extra") == 7
    assert scalar(database, "PRAGMA user_version") == new
    backup = database.with_name(f"{DATABASE}.v{old}.bak")
    assert scalar(backup, "PRAGMA user_version") == old
    assert scalar(backup, "SELECT count(*) FROM log") == 1
    assert backup.stat().st_mode & 0o077 == 0


async def test_an_upgrade_can_be_taken_back(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older release refuses the new schema until the copy from before is restored."""
    old = scalar(database, "PRAGMA user_version")
    with monkeypatch.context() as patch:
        a_later_release(patch, "CREATE TABLE extra (a INTEGER) STRICT;\n")
        async with running(database.parent) as store:
            await store.append(event("evt_2"))
    assert "newer nightdesk" in await refusal(database.parent)
    restore(database.with_name(f"{DATABASE}.v{old}.bak"), database.parent)
    async with running(database.parent) as store:
        assert (await store.append(event("evt_1"))).duplicate
        assert not (await store.append(event("evt_2"))).duplicate


async def test_a_migration_that_fails_changes_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps are one transaction: the old release can still open it."""
    old = scalar(database, "PRAGMA user_version")
    with monkeypatch.context() as patch:
        a_later_release(patch, "CREATE TABLE extra (a INTEGER) STRICT;\nINSERT INTO nowhere VALUES (1);\n")
        assert "no such table: nowhere" in await refusal(database.parent)
    assert scalar(database, "PRAGMA user_version") == old
    assert scalar(database, "SELECT name FROM sqlite_master WHERE name = 'extra'") is None
    async with running(database.parent) as store:
        assert (await store.append(event("evt_1"))).duplicate


async def test_a_database_of_a_newer_nightdesk_is_refused_unchanged(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = contents(database)
    assert "newer nightdesk (schema 99" in await refusal(database.parent)
    assert contents(database) == before


async def test_a_damaged_database_is_refused(database: Path) -> None:
    scratch(database)
    assert "damaged" in await refusal(database.parent)


async def test_a_large_database_is_looked_over_when_all_else_stands(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gigabyte takes seconds: nobody's webhooks wait for that."""
    monkeypatch.setattr(schema, "CHECKED_AT_START", 0)
    async with running(database.parent) as store:
        assert await store.examine() is None
    with database.open("r+b") as file:
        file.seek(-4096, 2)  # a page that nobody reads today
        file.write(b"\x55" * 4096)
    async with running(database.parent) as store:
        assert await store.examine() is not None


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("These are my notes, not a database.\n" * 100)
    assert "not a database" in await refusal(tmp_path)


async def test_what_is_written_is_for_the_owner_only(database: Path) -> None:
    async with running(database.parent) as store:
        await store.append(event("evt_2"))
        modes = {path.name: path.stat().st_mode & 0o077 for path in database.parent.iterdir()}
    assert set(modes.values()) == {0}, modes


async def test_the_writer_syncs_at_every_commit_and_the_reader_cannot_write(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        asked = ["journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint"]
        settings = await store._driver.write(lambda db: [db.execute(f"PRAGMA {name}").fetchone()[0] for name in asked])
        assert settings == ["wal", 2, 1, 0]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await store._driver.read(lambda db: db.execute("DELETE FROM log"))
