"""The seam behind which the data lives: operations of the subject, not of SQL. Another engine would implement this."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from actors.kernel.mailbox import Mailbox
from actors.store.accounts import Accounts
from actors.store.desk_log import DeskLog
from actors.store.digests import Digests
from actors.store.records import (
    Appended,
    Committed,
    DeadLetter,
    Delivery,
    EventRow,
    Findings,
    Incident,
    LogEntry,
    NewEntry,
    NewNotification,
    Notification,
    StoreStatus,
    Watermark,
)
from actors.store.shelf import Shelf


class StoreUnavailable(Exception):
    """The write did not happen: disk full, I/O error, or another process holds the lock. The caller may try again."""


class Store(Protocol):
    """Every write is durable when it returns and raises StoreUnavailable within 5 s when it cannot be."""

    # the log
    def append(self, entry: NewEntry) -> "asyncio.Future[Appended]":
        """Commit one input. An event whose (tenant, event_id) is known changes nothing."""

    def follow(self, reader: Mailbox[Committed]) -> None:
        """From now on, offer `reader` every commit of log entries, after it is durable."""

    def unfollow(self, reader: Mailbox[Committed]) -> None:
        """No more. Unknown readers are ignored."""

    async def read_log(self, after: int, limit: int) -> list[LogEntry]:
        """Entries with seq > after, oldest first."""

    async def events(
        self, *, tenant: str | None, since: int | None, after: int, limit: int, newest: bool = False
    ) -> list[EventRow]:
        """Events received since `since` with seq > after, oldest first; with `newest`, the last `limit` of them."""

    async def examine(self) -> str | None:
        """Look over a database that was too large for it at the start: what is damaged, or None. It takes a while."""

    # the watch
    async def load_watch(self) -> Watermark:
        """Where the scorer stands. The shelved parts of the snapshot are left out."""

    def shelf(self, tenant: str) -> Shelf:
        """Those of one tenant, to be read when needed."""

    async def commit_findings(self, findings: Findings) -> None:
        """Cursor, incidents, notifications, scores and snapshot in one transaction. Keys that exist change nothing."""

    async def scored(self, seq: int) -> None:
        """Return once the watch has committed up to `seq`."""

    async def count_crash(self, actor: str, seq: int, error: str, at: int) -> int:
        """One more crash over this entry; the third moves it to the dead letters. Returns the count."""

    async def bury(self, actor: str, seq: int, error: str, at: int) -> None:
        """Move an entry to the dead letters at once."""

    # incidents and their notifications
    async def incidents(self, *, tenant: str | None, state: str | None = None, limit: int = 500) -> list[Incident]:
        """Oldest first."""

    async def incident(self, incident_id: str, *, tenant: str | None) -> Incident | None:
        """By its id, if it is this tenant's."""

    async def enqueue(self, notifications: Sequence[NewNotification]) -> None:
        """Put messages that belong to no incident (digest, test) into the outbox."""

    async def outcomes(self, keys: Sequence[str]) -> dict[str, str | None]:
        """Channel → what came of these messages: "" where it has arrived, else why not; None while nobody has tried."""

    async def due(self, channel: str, now: int, limit: int) -> list[Notification]:
        """Pending notifications of a channel whose time has come, oldest first."""

    async def next_due(self, channel: str) -> int | None:
        """When the next pending notification of a channel may be tried."""

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
        """Record the outcome of a delivery attempt; `message`: as what the service knows what it took."""

    # dead letters
    async def dead_letters(self) -> list[DeadLetter]:
        """Oldest first."""

    async def revive(self, dead_letter: int, at: int) -> bool:
        """Append the entry to the log anew, so that it is read once more; False if there is no such dead letter."""

    # the trading desk's inputs
    @property
    def desk(self) -> DeskLog:
        """Its log."""

    # summaries
    @property
    def digests(self) -> Digests:
        """Which was the last, and what the next is about."""

    # tenants and their Stripe accounts
    @property
    def accounts(self) -> Accounts:
        """Those that were added while the daemon ran, and how far each was compared with Stripe."""

    # the secret of the house
    async def payer_key(self) -> bytes:
        """32 bytes made once per database: payers are kept as hashes under it."""

    # upkeep
    async def status(self) -> StoreStatus:
        """Sizes, lag and counts."""

    async def backup(self, target: Path) -> int:
        """Write a consistent copy; returns its size in bytes. Refuses to overwrite."""

    async def prune(self, *, bodies_before: int, log_before: int, limit: int) -> int:
        """Drop archived bodies and log rows received before these times, at most `limit`; dedup keys stay for ever."""
