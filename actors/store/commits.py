"""One batch after the other to the disk: who waits is answered, and a disk in trouble is noticed."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actors.kernel.clock import monotonic
from actors.store import upkeep
from actors.store.driver import Driver
from actors.store.premises import Ballast, files_of
from actors.store.protocol import StoreUnavailable
from actors.store.records import LogEntry
from actors.store.writer import DiskFailed, Outcome, Request, Writer, primary_code, reason_of

HANG_S = 4.0
"""Who waits for a disk that does not answer is told after this long."""

# What a transaction adds to the WAL, as measured: SQLite tells only when it checkpoints.
_PAGES_PER_COMMIT = 4
_CHANGES_PER_PAGE = 16


class Commits:
    """Writes batches, and knows how writing goes.

    `announce` is given what the log has gained; `on_trouble` a sentence when writes begin to fail, and None when they
    work again. `queued` takes the requests that have come meanwhile: while the disk hangs, they are refused, too.
    """

    def __init__(
        self,
        database: Path,
        driver: Driver,
        *,
        announce: Callable[[tuple[LogEntry, ...]], None],
        on_trouble: Callable[[str | None], None],
        queued: Callable[[], Awaitable[Sequence[Request]]],
    ) -> None:
        self.wal_pages = 0
        self.duplicates = 0
        self.last_seq = 0
        self.last_commit_s = 0.0
        self.trouble: str | None = None
        """Why nothing can be written."""
        self._database = database
        self._driver = driver
        self._announce = announce
        self._on_trouble = on_trouble
        self._queued = queued
        self._writer: Writer
        self._ballast: Ballast
        self._files: list[tuple[int, int] | None]
        self._writing: asyncio.Future[Any] | None = None

    def begin(self, writer: Writer, ballast: Ballast) -> None:
        """The database is open."""
        self._writer, self._ballast = writer, ballast
        self._files = files_of(self._database)
        self.last_seq = writer.log.last_seq
        if ballast.missing:
            self._failed(StoreUnavailable("the disk is full"))

    async def end(self) -> None:
        """Finish what is being written, and empty the WAL."""
        if self._writing is not None:
            await asyncio.wait((self._writing,))
        if self.wal_pages:
            await self.tidy(idle=True)

    async def write(self, requests: Sequence[Request]) -> None:
        """In one transaction. Raises what no retry can mend: then the store must end."""
        if files_of(self._database) != self._files:
            # SQLite would go on writing into files that nobody will find again.
            refuse(requests, "the database is gone")
            raise DiskFailed(f"{self._database}: the database was deleted or replaced while it was in use")
        started = monotonic()
        writing = self._driver.write(partial(self._writer.write, requests=requests))
        # By callback: whoever waits is answered even if this task is cancelled meanwhile.
        writing.add_done_callback(lambda written: self._tell(requests, written, monotonic() - started))
        await self._finished(writing, requests)
        if (error := writing.exception()) and not isinstance(error, sqlite3.Error | StoreUnavailable):
            raise error

    def _tell(self, requests: Sequence[Request], written: "asyncio.Future[Outcome]", seconds: float) -> None:
        try:
            outcome = written.result()
        except Exception as error:  # noqa: BLE001 - whoever waits is told; what no retry can mend is raised by `write`
            self._failed(error, requests)
            return
        self.last_commit_s = seconds
        self.duplicates += outcome.duplicates
        self.wal_pages += _PAGES_PER_COMMIT + outcome.changes // _CHANGES_PER_PAGE
        for request, result in outcome.results:
            if request.done.done():
                continue
            if isinstance(result, Exception):
                request.done.set_exception(result)
            else:
                request.done.set_result(result)
        if outcome.entries:
            # After the answers: a sender waits for its own, and nobody for the followers.
            self.last_seq = outcome.entries[-1].seq
            self._announce(outcome.entries)
        if self.trouble is not None and not self._ballast.missing:
            self.trouble = None
            self._on_trouble(None)

    async def _finished(self, writing: "asyncio.Future[Any]", waiting: Sequence[Request] = ()) -> None:
        """Wait for it. As long as the disk does not answer, all who wait are refused."""
        self._writing = writing
        while not writing.done():
            await asyncio.wait((writing,), timeout=HANG_S)
            if not writing.done():
                self._failed(StoreUnavailable("the disk does not answer"), waiting)
                waiting = await self._queued()

    def _failed(self, error: BaseException, requests: Sequence[Request] = ()) -> None:
        reason = reason_of(error) if isinstance(error, sqlite3.Error) else str(error)
        if isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_FULL:
            self._ballast.give_up()
        refuse(requests, reason)
        if self.trouble is None:
            self.trouble = reason
            self._on_trouble(reason)

    async def tidy(self, *, idle: bool) -> None:
        """Move the WAL into the database, and take back the room that was given up."""

        def tidy(connection: sqlite3.Connection) -> None:
            self._ballast.fill()
            upkeep.checkpoint(connection, truncate=idle)

        self.wal_pages = 0
        writing = self._driver.write(tidy)
        await self._finished(writing)
        if (error := writing.exception()) is not None:
            self._failed(error)


def refuse(requests: Sequence[Request], reason: str) -> None:
    """Tell those who still wait that nothing was written."""
    for request in requests:
        if not request.done.done():
            request.done.set_exception(StoreUnavailable(reason))
