"""Where the synchronous core runs: on aiosqlite's threads in the daemon, inline in simulations."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiosqlite

from actors.store.schema import connect

R = TypeVar("R")


class Driver(Protocol):
    """Two connections: one writes and checkpoints, the other only reads."""

    async def open(self, path: Path, prepare: Callable[[sqlite3.Connection], R]) -> R:
        """Connect the writer, run `prepare` with it, then connect the reader."""

    def write(self, work: Callable[[sqlite3.Connection], R]) -> "asyncio.Future[R]":
        """Run `work` with the writing connection; it ends also when nobody waits for it."""

    def read(self, work: Callable[[sqlite3.Connection], R]) -> "asyncio.Future[R]":
        """Run `work` with the reading connection."""

    async def aside(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Run `work`, which only reads but for long, with a connection of its own."""

    async def close(self) -> None:
        """Disconnect both. Always needed: a connection left open keeps the process from ending."""


class _Connection(aiosqlite.Connection):
    """Runs whole functions on its thread: one hop for a transaction, not one for each statement."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        super().__init__(partial(connect, path, read_only=read_only), iter_chunk_size=0)

    def give_up(self) -> None:
        """Whoever waited has gone: end what is being read now. SQLite can be interrupted from any thread."""
        self._conn.interrupt()

    def submit(self, work: Callable[[sqlite3.Connection], R]) -> "asyncio.Future[R]":
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, partial(work, self._conn)))
        return future


async def _connected(path: Path, *, read_only: bool) -> _Connection:
    connection = _Connection(path, read_only=read_only)
    try:
        await connection
    except BaseException:
        # aiosqlite has told its thread to end but does not wait for it, and the thread reports to the loop at its end.
        connection._thread.join()  # noqa: SLF001 - our own subclass
        raise
    return connection


class ThreadDriver:
    """A thread for each connection."""

    def __init__(self) -> None:
        self._path = Path()
        self._writer: _Connection | None = None
        self._reader: _Connection | None = None

    async def open(self, path: Path, prepare: Callable[[sqlite3.Connection], R]) -> R:
        """As `Driver`."""
        self._path = path
        self._writer = await _connected(path, read_only=False)
        prepared = await self._writer.submit(prepare)
        self._reader = await _connected(path, read_only=True)
        return prepared

    def write(self, work: Callable[[sqlite3.Connection], R]) -> "asyncio.Future[R]":
        """As `Driver`."""
        return _opened(self._writer).submit(work)

    def read(self, work: Callable[[sqlite3.Connection], R]) -> "asyncio.Future[R]":
        """As `Driver`."""
        return _opened(self._reader).submit(work)

    async def aside(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """As `Driver`."""
        connection = await _connected(self._path, read_only=True)
        try:
            return await connection.submit(work)
        except asyncio.CancelledError:
            connection.give_up()
            raise
        finally:
            await connection.close()

    async def close(self) -> None:
        """As `Driver`."""
        reader, writer, self._reader, self._writer = self._reader, self._writer, None, None
        # The reader first: the last connection to close removes the WAL.
        for connection in (reader, writer):
            if connection is not None:
                await connection.close()


class InlineDriver:
    """No threads: everything is done when the call returns, so a virtual loop sees all of it.

    `faults` is called with "before" and "after" around each write and may raise: a sqlite3.Error before, to make it
    fail; anything after, to crash the store when the write is on disk and nobody knows.
    """

    def __init__(self, faults: Callable[[str], None] | None = None) -> None:
        self._faults = faults or (lambda _: None)
        self._path = Path()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    async def open(self, path: Path, prepare: Callable[[sqlite3.Connection], R]) -> R:
        """As `Driver`."""
        self._path = path
        self._writer = connect(path)
        prepared = prepare(self._writer)
        self._reader = connect(path, read_only=True)
        return prepared

    def write(self, work: Callable[[sqlite3.Connection], R]) -> "asyncio.Future[R]":
        """As `Driver`."""
        return _done(partial(self._write, work))

    def _write(self, work: Callable[[sqlite3.Connection], R]) -> R:
        self._faults("before")
        result = work(_opened(self._writer))
        self._faults("after")
        return result

    def read(self, work: Callable[[sqlite3.Connection], R]) -> "asyncio.Future[R]":
        """As `Driver`."""
        return _done(partial(work, _opened(self._reader)))

    async def aside(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """As `Driver`."""
        with closing(connect(self._path, read_only=True)) as connection:
            return work(connection)

    async def close(self) -> None:
        """As `Driver`."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None


def _done(work: Callable[[], R]) -> "asyncio.Future[R]":
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    # As with a thread, the outcome is learned later: in between, anything can happen to whoever waits.
    try:
        loop.call_soon(_hand_over, future.set_result, future, work())
    except Exception as error:  # noqa: BLE001 - handed to whoever waits, as a thread would
        loop.call_soon(_hand_over, future.set_exception, future, error)
    return future


def _hand_over(deliver: Callable[[Any], None], future: "asyncio.Future[Any]", outcome: object) -> None:
    if not future.done():
        deliver(outcome)


C = TypeVar("C")


def _opened(connection: C | None) -> C:
    if connection is None:
        raise sqlite3.ProgrammingError("the store is not open")
    return connection
