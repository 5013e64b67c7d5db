"""Group commit: what was asked for while the last transaction was being written is the next one."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from actors.kernel.frozen import frozen
from actors.store.log import Log, Packed
from actors.store.records import LogEntry, NewEntry

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DiskFailed(Exception):
    """What is on disk is not known: only starting again from it is safe."""


@frozen
class Append:
    """An entry to append, and who waits for it."""

    entry: NewEntry
    done: "asyncio.Future[Any]"


@frozen
class Change:
    """Any other write, and who waits for its result."""

    work: Callable[[sqlite3.Connection], Any]
    done: "asyncio.Future[Any]"


Request = Append | Change


@frozen
class Outcome:
    """What became of a batch that is on disk: each request's result or its own error, and what the log gained."""

    results: list[tuple[Request, Any]]
    entries: tuple[LogEntry, ...]
    duplicates: int
    changes: int  # rows


class Writer:
    """The synchronous core of all writing; runs where the driver lets it, always with the one writing connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.log = Log(connection)

    def write(self, connection: sqlite3.Connection, requests: Sequence[Request]) -> Outcome:
        """All requests in one transaction. One that is wrong in itself fails alone; sqlite3.Error: none was done."""
        results: list[tuple[Request, Any]] = []
        appends, packed, changes = [], [], []
        for request in requests:
            if isinstance(request, Change):
                changes.append(request)
                continue
            try:
                packed.append(Packed(request.entry))
                appends.append(request)
            except (TypeError, ValueError) as error:
                results.append((request, error))
        before = connection.total_changes
        connection.execute("BEGIN IMMEDIATE")
        try:
            appended = self.log.append(connection, packed)
            results += zip(appends, appended, strict=True)
            results += [(change, self._apply(connection, change)) for change in changes]
            _commit(connection)
        except BaseException as error:
            self.log.forget()
            _roll_back(connection)
            if isinstance(error, sqlite3.Error) and primary_code(error) in _DAMAGE:
                raise DiskFailed(f"the database is damaged: {error}") from error
            raise
        duplicates = sum(one.duplicate for one in appended)
        return Outcome(results, self.log.kept(), duplicates, connection.total_changes - before)

    def _apply(self, connection: sqlite3.Connection, change: Change) -> Any:
        mark = self.log.mark()
        connection.execute("SAVEPOINT change")
        try:
            result = change.work(connection)
        except Exception as error:
            if not connection.in_transaction or not _own_fault(error):
                raise
            connection.execute("ROLLBACK TO change")
            self.log.rewind(mark)
            result = error
        connection.execute("RELEASE change")
        return result


def _own_fault(error: Exception) -> bool:
    """Whether the request is wrong, not the disk."""
    ours = sqlite3.IntegrityError | sqlite3.ProgrammingError
    return (
        not isinstance(error, sqlite3.Error) or isinstance(error, ours) or primary_code(error) == sqlite3.SQLITE_ERROR
    )


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # after some errors, such as a full disk, SQLite has rolled back already
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise DiskFailed(f"ROLLBACK: {error}") from error


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if primary_code(error) == sqlite3.SQLITE_IOERR:
            raise DiskFailed(f"COMMIT: {error.sqlite_errorname}") from error
        raise


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 for an error of the Python module."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def reason_of(error: sqlite3.Error) -> str:
    """Why nothing was written, for whoever wanted to write."""
    match primary_code(error):
        case sqlite3.SQLITE_FULL:
            return "the disk is full"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another process holds the database's lock"
        case _:
            return f"the database cannot be written: {error}"
