"""The store actor: everyone's writes, group by group, on one connection; everyone's reads on another."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio

from actors.kernel.actor import Actor
from actors.kernel.clock import entropy
from actors.kernel.mailbox import Mailbox
from actors.store import findings as watch
from actors.store import log, outbox, schema, upkeep
from actors.store.accounts import Accounts
from actors.store.commits import Commits, refuse
from actors.store.desk_log import DeskLog
from actors.store.digests import Digests
from actors.store.driver import Driver, ThreadDriver
from actors.store.premises import DATABASE, Ballast, DataDirLock
from actors.store.protocol import StoreUnavailable
from actors.store.records import (
    Appended,
    Committed,
    DeadLetter,
    Delivery,
    EventRow,
    Findings,
    Incident,
    Kind,
    LogEntry,
    NewEntry,
    NewNotification,
    Notification,
    StoreStatus,
    Watermark,
)
from actors.store.shelf import Shelf, ShelfReader
from actors.store.writer import Append, Change, Request, Writer
from config.errors import UserError

R = TypeVar("R")

BATCH_MAX = 256
"""Requests in one transaction: enough to make the fsync cheap, few enough that nobody waits long.

As long as the loop hears of more, they join: the loop is then at rest while the writer works. At work together, each
wants the interpreter back from the other after every system call, which cost more than all the rest of an event.
"""

IDLE_S = 1.0
"""After this long without a write the WAL is emptied into the database."""

CHECKPOINT_PAGES = 1_000
"""Pages in the WAL (4 KB each) after which it is moved into the database between two batches."""

BALLAST_BYTES = 64 << 20

NEARLY_FULL = "the disk is nearly full: no more events until there is room"


class SqliteStore(Actor[Request]):
    """`Store` on SQLite. Its failure ends the process: start it with Restart.NEVER and a rejecting mailbox.

    `on_trouble` is called with a sentence when writes begin to fail, and with None when they work again.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        driver: Driver | None = None,
        ballast_bytes: int = BALLAST_BYTES,
        on_trouble: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._data_dir = data_dir
        self._path = data_dir / DATABASE
        self._driver = driver or ThreadDriver()
        self._ballast_bytes = ballast_bytes
        self._followers: list[Mailbox[Committed]] = []
        self._commits = Commits(
            self._path, self._driver, announce=self._announce, on_trouble=on_trouble, queued=self._queued
        )
        self._lock: DataDirLock | None = None
        self._ballast: Ballast
        self._writer: Writer
        self._key: bytes
        self._open = False
        self._cursor = 0
        self._unscored: list[tuple[int, asyncio.Future[None]]] = []
        self._shelves = ShelfReader(self._path)
        self.desk = DeskLog(self._change, self._read)
        self.digests = Digests(self._change, self._read)
        self.accounts = Accounts(self._change, self._read, lambda: self._writer.log, self._require_room)

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Lock the data directory, check the database and bring its schema up to date. Raises UserError."""
        self._lock = DataDirLock(self._data_dir)
        self._ballast = Ballast(self._data_dir, self._ballast_bytes)
        self._ballast.relieve()
        try:
            self._writer, self._key = await self._driver.open(self._path, self._prepare)
        except sqlite3.Error as error:
            raise UserError(f"{self._path}: the database cannot be opened ({error})") from error
        self._commits.begin(self._writer, self._ballast)
        self._cursor = await self._read(partial(watch.cursor_of, name="watch"))
        self._open = True

    def _prepare(self, connection: sqlite3.Connection) -> tuple[Writer, bytes]:
        schema.check(connection, self._path)
        schema.migrate(connection, self._path)
        self._ballast.fill()
        connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('payer_key', ?)", (entropy(32),))
        key = connection.execute("SELECT value FROM meta WHERE key = 'payer_key'").fetchone()[0]
        return Writer(connection), key

    async def run(self) -> None:
        """Commit what is asked for, batch by batch."""
        try:
            while True:
                batch: Sequence[Any] = ()
                with anyio.move_on_after(IDLE_S if self._commits.wal_pages else None):
                    batch = await self.mailbox.take(BATCH_MAX, gather=BATCH_MAX)
                if requests := self._admit(batch):
                    await self._commits.write(requests)
                if not batch or self._commits.wal_pages >= CHECKPOINT_PAGES:
                    await self._commits.tidy(idle=not batch)
        finally:
            self._open = False
            refuse(await self._queued(), "the store has stopped")

    async def stop(self) -> None:
        """Finish what is being written, empty the WAL and close."""
        self._open = False
        try:
            await self._commits.end()
        finally:
            self._shelves.close()
            await self._driver.close()
            if self._lock is not None:
                self._lock.release()

    def _admit(self, batch: Sequence[Request]) -> list[Request]:
        """Without those whose sender went away; while the ballast is missing its room is kept for all but events."""
        requests = [request for request in batch if not request.done.done()]
        if not self._ballast.missing or self._ballast.recover():
            return requests
        events = [one for one in requests if isinstance(one, Append) and one.entry.kind is Kind.EVENT]
        refuse(events, NEARLY_FULL)
        return [request for request in requests if not request.done.done()]

    def _require_room(self) -> None:
        if self._ballast.missing and not self._ballast.recover():
            raise StoreUnavailable(NEARLY_FULL)

    def _announce(self, entries: tuple[LogEntry, ...]) -> None:
        committed = Committed(entries)
        for follower in self._followers:
            follower.offer(committed)

    async def _queued(self) -> Sequence[Any]:
        return await self.mailbox.take(self.mailbox.depth) if self.mailbox.depth else ()

    def _change(self, work: Callable[[sqlite3.Connection], R]) -> "asyncio.Future[R]":
        return self._submit(Change(work, asyncio.get_running_loop().create_future()))

    def _submit(self, request: Request) -> "asyncio.Future[Any]":
        if not self._open:
            refuse([request], "the store is not running")
        elif not self.mailbox.offer(request):
            refuse([request], "too many writes wait")
        return request.done

    async def _read(self, work: Callable[[sqlite3.Connection], R]) -> R:
        return await _available(self._driver.read(work))

    # --- the log -----------------------------------------------------------------------------------------------------

    def append(self, entry: NewEntry) -> "asyncio.Future[Appended]":
        """As `Store`."""
        return self._submit(Append(entry, asyncio.get_running_loop().create_future()))

    def follow(self, reader: Mailbox[Committed]) -> None:
        """As `Store`. Following twice is following once."""
        if not any(reader is follower for follower in self._followers):
            self._followers.append(reader)

    def unfollow(self, reader: Mailbox[Committed]) -> None:
        """As `Store`."""
        self._followers = [follower for follower in self._followers if follower is not reader]

    async def read_log(self, after: int, limit: int) -> list[LogEntry]:
        """As `Store`."""
        return await self._read(partial(log.read_log, after=after, limit=limit))

    async def events(
        self, *, tenant: str | None, since: int | None, after: int, limit: int, newest: bool = False
    ) -> list[EventRow]:
        """As `Store`."""
        # To find the few events of one tenant it may look at all of them: nobody else shall wait for that.
        listing = partial(log.events, tenant=tenant, since=since, after=after, limit=limit, newest=newest)
        return await _available(self._driver.aside(listing))

    async def examine(self) -> str | None:
        """As `Store`."""
        if self._path.stat().st_size <= schema.CHECKED_AT_START:
            return None
        return await _available(self._driver.aside(partial(schema.damage_of, check="quick_check")))

    # --- the watch ---------------------------------------------------------------------------------------------------

    async def load_watch(self) -> Watermark:
        """As `Store`."""
        return await self._read(watch.load_watch)

    def shelf(self, tenant: str) -> Shelf:
        """As `Store`."""
        return self._shelves.of(tenant)

    async def commit_findings(self, findings: Findings) -> None:
        """As `Store`. Raises ValueError if the cursor would go back."""
        written = self._change(partial(watch.commit_findings, findings=findings))
        written.add_done_callback(partial(self._advance, findings.cursor))
        await asyncio.shield(written)  # the cursor is to be known even if the scorer goes away meanwhile

    def _advance(self, cursor: int, written: "asyncio.Future[None]") -> None:
        if written.exception() is not None:
            return
        self._cursor = cursor
        for seq, scored in self._unscored:
            if seq <= self._cursor and not scored.done():
                scored.set_result(None)
        self._unscored = [(seq, scored) for seq, scored in self._unscored if not scored.done()]

    async def scored(self, seq: int) -> None:
        """As `Store`."""
        if seq > self._cursor:
            scored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._unscored.append((seq, scored))
            await scored

    async def count_crash(self, actor: str, seq: int, error: str, at: int) -> int:
        """As `Store`."""
        return await self._change(partial(watch.count_crash, actor=actor, seq=seq, error=error, at=at))

    async def bury(self, actor: str, seq: int, error: str, at: int) -> None:
        """As `Store`."""
        await self._change(partial(watch.bury, actor=actor, seq=seq, error=error, at=at))

    # --- incidents and their notifications ---------------------------------------------------------------------------

    async def incidents(self, *, tenant: str | None, state: str | None = None, limit: int = 500) -> list[Incident]:
        """As `Store`: the newest `limit` of them."""
        return await self._read(partial(watch.incidents, tenant=tenant, state=state, limit=limit))

    async def incident(self, incident_id: str, *, tenant: str | None) -> Incident | None:
        """As `Store`."""
        return await self._read(partial(watch.incident, incident_id=incident_id, tenant=tenant))

    async def enqueue(self, notifications: Sequence[NewNotification]) -> None:
        """As `Store`."""
        await self._change(partial(outbox.enqueue, notifications=notifications))

    async def outcomes(self, keys: Sequence[str]) -> dict[str, str | None]:
        """As `Store`."""
        return await self._read(partial(outbox.outcomes, keys=keys))

    async def due(self, channel: str, now: int, limit: int) -> list[Notification]:
        """As `Store`."""
        return await self._read(partial(outbox.due, channel=channel, now=now, limit=limit))

    async def next_due(self, channel: str) -> int | None:
        """As `Store`."""
        return await self._read(partial(outbox.next_due, channel=channel))

    async def settle(
        self,
        notification: int,
        state: Delivery,
        *,
        attempts: int,
        at: int,
        not_before: int = 0,
        error: str = "",
        message: str = "",
    ) -> None:
        """As `Store`."""
        outcome = partial(outbox.settle, notification=notification, state=state, attempts=attempts, at=at)
        await self._change(partial(outcome, not_before=not_before, error=error, message=message))

    # --- dead letters ------------------------------------------------------------------------------------------------

    async def dead_letters(self) -> list[DeadLetter]:
        """As `Store`."""
        return await self._read(watch.dead_letters)

    async def revive(self, dead_letter: int, at: int) -> bool:
        """As `Store`; False also if it was revived before."""
        return await self._change(partial(watch.revive, log=self._writer.log, dead_letter=dead_letter, at=at))

    # --- upkeep ------------------------------------------------------------------------------------------------------

    async def payer_key(self) -> bytes:
        """As `Store`."""
        return self._key

    async def status(self) -> StoreStatus:
        """As `Store`."""
        stored, open_incidents, notifications, undelivered = await self._read(upkeep.counts)
        wal = self._path.with_name(f"{self._path.name}-wal")
        return StoreStatus(
            bytes=self._path.stat().st_size,
            wal_bytes=wal.stat().st_size if wal.exists() else 0,
            last_commit_ms=self._commits.last_commit_s * 1_000,
            stored=stored,
            duplicates=self._commits.duplicates,
            last_seq=self._commits.last_seq,
            cursor=self._cursor,
            open_incidents=open_incidents,
            notifications=notifications,
            undelivered=undelivered,
            trouble=self._commits.trouble,
        )

    async def backup(self, target: Path) -> int:
        """As `Store`. Raises UserError."""
        return await self._driver.aside(partial(upkeep.backup, target=target))

    async def prune(self, *, bodies_before: int, log_before: int, limit: int) -> int:
        """As `Store`."""
        return await self._change(
            partial(upkeep.prune, bodies_before=bodies_before, log_before=log_before, limit=limit)
        )


async def _available(reading: Awaitable[R]) -> R:
    try:
        return await reading
    except sqlite3.Error as error:
        raise StoreUnavailable(f"the database cannot be read: {error}") from error
