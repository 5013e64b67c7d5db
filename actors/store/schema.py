"""Opening a database: how connections are set up, and how an older schema becomes today's."""

import sqlite3
from functools import cache
from importlib.resources import files
from pathlib import Path

from actors.store.premises import copy_into
from config.errors import UserError

BUSY_TIMEOUT_MS = 2_000
"""How long a batch waits for another process's lock: one that waits behind a waiting one still ends within 5 s."""

JOURNAL_SIZE_LIMIT = 16 << 20

CHECKED_AT_START = 256 << 20
"""Bytes of a database that is looked over before anything else, which takes half a second; a larger one is later."""

# The writer works at the ends of a few trees and a reader reads a row once; the rest is for the system's cache.
_WRITER_CACHE_KIB = 4_096
_READER_CACHE_KIB = 1_024


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection whose transactions we begin and end ourselves."""
    if not read_only:
        path.touch(mode=0o600)  # SQLite gives its other files the permissions of this one
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    # Only the writer checkpoints: SQLite before 3.51.3 can corrupt a WAL that two connections reset at once.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB if read_only else _WRITER_CACHE_KIB}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        return connection
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL, not NORMAL: a power cut under NORMAL lost acknowledged events; group commit makes the difference small.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT}")
    return connection


@cache
def migrations() -> dict[int, str]:
    """Schema version → the statements that lead to it, from the version before."""
    scripts = (entry for entry in files("actors.store").joinpath("migrations").iterdir() if entry.name.endswith(".sql"))
    return dict(sorted((int(script.name[:4]), script.read_text()) for script in scripts))


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version; 0: an empty database."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises UserError if the database is damaged, as far as that can be seen soon, or of a newer nightdesk."""
    version, known = version_of(connection), max(migrations())
    if version > known:
        raise UserError(
            f"{path}: written by a newer nightdesk (schema {version}, this one knows {known}); "
            "upgrade nightdesk or restore an older backup"
        )
    if path.stat().st_size <= CHECKED_AT_START and (damage := damage_of(connection, "quick_check")) is not None:
        raise UserError(f"{path}: the database is damaged ({damage}); restore a backup: nightdesk restore FILE")


def damage_of(connection: sqlite3.Connection, check: str) -> str | None:
    """What `check` (quick_check or integrity_check) finds first, in one line; None: all is well."""
    finding: str = connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
    return None if finding == "ok" else " ".join(finding.split())


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date in one transaction, after a copy of the old database next to it."""
    version = version_of(connection)
    pending = {number: script for number, script in migrations().items() if number > version}
    if not pending:
        return
    if version:
        copy_into(connection, path.with_name(f"{path.name}.v{version}.bak"))
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number, script in pending.items():
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    # executescript() would commit the transaction first.
    statements, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return statements
