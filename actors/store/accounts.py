"""Tenants that were added while the daemon ran, and how far each tenant's Stripe account was compared with the log."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from functools import partial

import orjson

from actors.kernel.clock import SECOND
from actors.kernel.frozen import frozen
from actors.store.desk_log import Changes, Reads
from actors.store.log import Log, Packed, tenant_id
from actors.store.records import BELOW, Json, Kind, NewEntry


@frozen
class StoredTenant:
    """A tenant as it would stand in the config file."""

    name: str
    settings: Json
    changed: int


@frozen
class Backfill:
    """Where a tenant stands. What was created before `compared` is in the log; before `history_until` nobody watched.

    `fetched` and `stored` count since `since`; `missed` those that no webhook brought, not yet reported.
    """

    tenant: str
    since: int
    history_until: int
    compared: int
    fetched: int
    stored: int
    missed: int
    missed_first: int | None
    missed_last: int | None

    @property
    def in_history(self) -> bool:
        """What comes next happened before anybody watched."""
        return self.compared < self.history_until


NEVER = 2**63 - 1

HISTORY, MISSED = "history", "missed"
"""What a fetched event says under `backfilled`: it happened before anybody watched, or no webhook brought it.

Under `subscribed` it says False where none would have: the endpoint is not told of its type.
"""

_COLUMNS = "name, since, history_until, compared, fetched, stored, missed, missed_first, missed_last"


class Accounts:
    """The store's part for tenants and their Stripe accounts: `store.accounts`. Writes are durable when they return."""

    def __init__(self, change: Changes, read: Reads, log: Callable[[], Log], room: Callable[[], None]) -> None:
        self._change = change
        self._read = read
        self._log = log
        self._room = room  # raises StoreUnavailable where the disk has none for events

    async def tenants(self) -> list[StoredTenant]:
        """All of them, by name."""
        return await self._read(_tenants)

    async def save_tenant(self, tenant: str, settings: Json, at: int) -> None:
        """Add it, or put these settings in the place of the old ones."""
        await self._change(partial(_save_tenant, tenant=tenant, settings=settings, at=at))

    async def remove_tenant(self, tenant: str) -> bool:
        """Forget its settings and how far it was compared, not what was stored of it; False if there was none."""
        return await self._change(partial(_remove_tenant, tenant=tenant))

    async def connected(self, tenant: str) -> list[str]:
        """The accounts below it that were ever heard of, as tenants."""
        return await self._read(partial(_connected, tenant=tenant))

    async def backfills(self, tenant: str | None) -> list[Backfill]:
        """Where this tenant stands, or each."""
        return await self._read(partial(_backfills, tenant=tenant))

    async def begin(self, tenant: str, *, since: int, at: int) -> None:
        """Compare all from `since` on; what happened before `at` is history, and none of it was missed."""
        await self._change(partial(_begin, log=self._log(), tenant=tenant, since=since, at=at))

    async def fill(self, tenant: str, entries: Sequence[NewEntry], *, after: int, compared: int, at: int) -> bool:
        """Append the events of a tenant that are new, and note that it was compared from `after` on, all at once.

        False, and nothing is done, where it was not compared up to `after`: it has begun anew, or is removed. Raises
        ValueError or TypeError for events that cannot be kept.
        """
        self._room()
        packed = [Packed(entry) for entry in entries]
        span = (after, compared)
        return await self._change(partial(_fill, log=self._log(), tenant=tenant, entries=packed, span=span, at=at))

    async def report_missed(self, tenant: str, at: int) -> bool:
        """Put into the log how many events were missed since the last report; False if none were."""
        return await self._change(partial(_report_missed, log=self._log(), tenant=tenant, at=at))


def is_missed(event: Json) -> bool:
    """A webhook should have brought it."""
    return event.get("backfilled") == MISSED and event.get("subscribed") is not False


def _tenants(connection: sqlite3.Connection) -> list[StoredTenant]:
    rows = connection.execute(
        "SELECT name, settings, changed FROM tenant_settings JOIN tenants ON id = tenant ORDER BY name"
    )
    return [StoredTenant(name, orjson.loads(settings), changed) for name, settings, changed in rows]


def _save_tenant(connection: sqlite3.Connection, tenant: str, settings: Json, at: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO tenant_settings (tenant, settings, changed) VALUES (?, ?, ?)",
        (tenant_id(connection, tenant), orjson.dumps(settings).decode(), at),
    )


def _remove_tenant(connection: sqlite3.Connection, tenant: str) -> bool:
    number = tenant_id(connection, tenant)
    connection.execute("DELETE FROM backfills WHERE tenant = ?", (number,))
    return connection.execute("DELETE FROM tenant_settings WHERE tenant = ?", (number,)).rowcount > 0


def _connected(connection: sqlite3.Connection, tenant: str) -> list[str]:
    below = tenant + BELOW
    return [
        row[0]
        for row in connection.execute("SELECT name FROM tenants WHERE substr(name, 1, ?) = ?", (len(below), below))
    ]


def _backfills(connection: sqlite3.Connection, tenant: str | None) -> list[Backfill]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM backfills JOIN tenants ON id = tenant WHERE ? IS NULL OR name = ? ORDER BY name",  # noqa: S608 - column names
        (tenant, tenant),
    )
    return [Backfill(*row) for row in rows]


def _begin(connection: sqlite3.Connection, log: Log, tenant: str, since: int, at: int) -> None:
    _save(connection, Backfill(tenant, since, at, since, 0, 0, 0, None, None))
    _note(connection, log, tenant, at, {"state": "began", "since": since})


def _fill(
    connection: sqlite3.Connection, log: Log, tenant: str, entries: Sequence[Packed], span: tuple[int, int], at: int
) -> bool:
    found = _backfills(connection, tenant)
    if not found or found[0].compared != span[0]:
        return False
    before = found[0]
    appended = log.append(connection, entries)
    fresh = [entry for entry, one in zip(entries, appended, strict=True) if not one.duplicate]
    missed = [int(one.data["created"]) * SECOND for one in fresh if is_missed(one.data)]
    after = replace(
        before,
        compared=span[1],
        fetched=before.fetched + len(entries),
        stored=before.stored + len(fresh),
        missed=before.missed + len(missed),
        missed_first=min([before.missed_first or NEVER, *missed]) if before.missed or missed else None,
        missed_last=max([before.missed_last or 0, *missed]) if before.missed or missed else None,
    )
    _save(connection, after)
    if before.in_history and not after.in_history:
        _note(connection, log, tenant, at, {"state": "ended", "fetched": after.fetched, "stored": after.stored})
    return True


def _report_missed(connection: sqlite3.Connection, log: Log, tenant: str, at: int) -> bool:
    found = _backfills(connection, tenant)
    if not found or not found[0].missed:
        return False
    one = found[0]
    _save(connection, replace(one, missed=0, missed_first=None, missed_last=None))
    missed = {"missed": one.missed, "first": one.missed_first, "last": one.missed_last}
    _note(connection, log, tenant, at, {"state": "missed", **missed})
    return True


def _save(connection: sqlite3.Connection, one: Backfill) -> None:
    number, *values = (tenant_id(connection, one.tenant), *astuple(one)[1:])
    connection.execute("INSERT OR REPLACE INTO backfills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *values))


def _note(connection: sqlite3.Connection, log: Log, tenant: str, at: int, data: Json) -> None:
    log.append(connection, [Packed(NewEntry(Kind.BACKFILL, tenant, at, data))])
