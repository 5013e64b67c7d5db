"""Keeping the database in shape: checkpoints, retention, copies."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from actors.store import outbox, schema
from actors.store.codec import Damaged, unpack
from actors.store.findings import cursor_of
from actors.store.premises import DATABASE, DataDirLock, copy_into, sync
from config.errors import BadInput, UserError


def checkpoint(connection: sqlite3.Connection, *, truncate: bool) -> None:
    """Move the WAL into the database as far as readers allow; with `truncate`, empty it if nobody reads."""
    connection.execute("PRAGMA busy_timeout = 0")  # never wait for a reader: there will be another time
    try:
        connection.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if truncate else 'PASSIVE'})").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {schema.BUSY_TIMEOUT_MS}")


def prune(connection: sqlite3.Connection, *, bodies_before: int, log_before: int, limit: int) -> int:
    """Drop archived bodies, log rows, messages and incidents of before these times, at most `limit`; returns how many.

    Rows that a restart would fold again stay, and so does the newest: from it the next seq is counted. What is pending
    or open stays, however old.
    """
    bodies = _older(
        "SELECT seq, at FROM archive JOIN log USING (seq) ORDER BY seq LIMIT ?", connection, bodies_before, limit
    )
    connection.executemany("DELETE FROM archive WHERE seq = ?", bodies)
    folded = min(cursor_of(connection, "watch"), cursor_of(connection, "snapshot"))
    rows = _older(
        "SELECT seq, at FROM log WHERE seq < ? AND seq < (SELECT max(seq) FROM log) ORDER BY seq LIMIT ?",
        connection,
        log_before,
        limit - len(bodies),
        folded + 1,
    )
    for table in ("scores", "crashes", "archive", "log"):
        connection.executemany(f"DELETE FROM {table} WHERE seq = ?", rows)  # noqa: S608 - constants
    dropped = len(bodies) + len(rows)
    dropped += _prune_messages(connection, log_before, limit - dropped)
    return dropped + _prune_incidents(connection, log_before, limit - dropped)


def _prune_messages(connection: sqlite3.Connection, before: int, limit: int) -> int:
    """What was delivered or given up."""
    settled = "SELECT id, created FROM outbox WHERE state <> 'pending' ORDER BY id LIMIT ?"
    old = _older(settled, connection, before, limit)
    connection.executemany("DELETE FROM outbox WHERE id = ?", old)
    return len(old)


def _prune_incidents(connection: sqlite3.Connection, before: int, limit: int) -> int:
    """Those that are over, and of which nothing remains to be told."""
    old = connection.execute(
        """
        SELECT id FROM incidents WHERE state = 'resolved' AND opened < :before AND resolved < :before
            AND NOT EXISTS (SELECT 1 FROM outbox WHERE incident = incidents.id AND incident IS NOT NULL)
        ORDER BY opened LIMIT :limit
        """,
        {"before": before, "limit": limit},
    ).fetchall()
    connection.executemany("DELETE FROM messages WHERE incident = ?", old)
    connection.executemany("DELETE FROM incidents WHERE id = ?", old)
    return len(old)


def _older(sql: str, connection: sqlite3.Connection, before: int, limit: int, *bounds: int) -> list[tuple[int]]:
    # The oldest rows come first, so looking at `limit` of them is enough.
    return [(number,) for number, at in connection.execute(sql, (*bounds, limit)) if at < before]


def counts(connection: sqlite3.Connection) -> tuple[int, int, dict[str, int], dict[str, dict[str, int]]]:
    """Events ever stored, open incidents, notifications by their state, and by channel those not delivered."""
    stored: int = connection.execute("SELECT value FROM meta WHERE key = 'stored'").fetchone()[0]
    opened: int = connection.execute("SELECT count(*) FROM incidents WHERE state = 'open'").fetchone()[0]
    return stored, opened, outbox.counts(connection), outbox.undelivered(connection)


def backup(connection: sqlite3.Connection, target: Path) -> int:
    """As `copy_into`, but never over a file that exists."""
    with suppress(PermissionError):  # where we may not look we may not write: the copy says so
        if target.exists():
            raise UserError(f"{target}: exists already; name another file")
    return copy_into(connection, target)


def restore(backup_file: Path, data_dir: Path) -> Path | None:
    """Put a backup in the place of the database; returns where the old one is now, if there was one.

    Raises UserError when a daemon runs on the data directory, BadInput when the file is not a whole backup.
    """
    _examine(backup_file)
    lock = DataDirLock(data_dir)
    try:
        database = data_dir / DATABASE
        copy = data_dir / f"{DATABASE}.restoring"
        shutil.copyfile(backup_file, copy)
        copy.chmod(0o600)
        if os.geteuid() == 0:
            # Root restores for the service, which could not open what is root's.
            owner = data_dir.stat()
            os.chown(copy, owner.st_uid, owner.st_gid)
        sync(copy)
        aside = _set_aside(database) if database.exists() else None
        copy.rename(database)
        sync(data_dir)
        return aside
    finally:
        lock.release()


def _examine(backup_file: Path) -> None:
    try:
        backup_file.open("rb").close()
    except OSError as error:
        raise BadInput(f"{backup_file}: {(error.strerror or str(error)).lower()}") from None
    connection = sqlite3.connect(f"{backup_file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        version = schema.version_of(connection)
        damage = schema.damage_of(connection, "integrity_check")
        known = 1 <= version <= max(schema.migrations())
        if damage is None and known:
            damage = _unreadable(connection)
    except sqlite3.DatabaseError as error:
        raise BadInput(f"{backup_file}: not a backup of nightdesk ({error})") from error
    finally:
        connection.close()
    if damage is not None:
        raise BadInput(f"{backup_file}: the backup is damaged ({damage})")
    if not known:
        raise BadInput(f"{backup_file}: schema {version} is not one that this nightdesk knows")


def _unreadable(connection: sqlite3.Connection) -> str | None:
    """The first row of the log that SQLite finds whole and that cannot be unpacked all the same."""
    for seq, data, dictionary in connection.execute("SELECT seq, data, dictionary FROM log"):
        try:
            unpack(data, dictionary)
        except Damaged:
            return f"row {seq} of the log cannot be read"
    return None


def _set_aside(database: Path) -> Path:
    aside = next(
        path for number in range(1, 10_000) if not (path := database.with_name(f"{DATABASE}.{number}.old")).exists()
    )
    # Without a WAL it is one file. A damaged one keeps its WAL, which goes aside with it.
    with suppress(sqlite3.Error), closing(schema.connect(database)) as connection:
        checkpoint(connection, truncate=True)
    # A link first: at no moment is there no database, which a daemon would take for a fresh start.
    aside.hardlink_to(database)
    wal = database.with_name(f"{DATABASE}-wal")
    if wal.exists():
        wal.rename(aside.with_name(f"{aside.name}-wal"))
    database.with_name(f"{DATABASE}-shm").unlink(missing_ok=True)
    return aside
