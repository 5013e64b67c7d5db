"""The log: every input of every decision, in the order it was committed, and the keys that make an event unique."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

import orjson

from actors.store.codec import DICTIONARY, Damaged, pack, unpack
from actors.store.records import BELOW, Appended, EventRow, Kind, LogEntry, NewEntry

_SCAN = 2_000
"""Rows looked at in one query for events of one tenant: queries stay short, so that the WAL can be reset."""

_DISORDER_US = 60_000_000
"""Entries are committed nearly in the order of their time; a clock set back by more than this hides the difference."""

_FIND_KEYS = (
    "SELECT tenant, event_id, seq FROM (VALUES",
    ") CROSS JOIN event_keys ON tenant = column1 AND event_id = column2",
)
_INSERT_KEYS = ("INSERT INTO event_keys (tenant, event_id, seq) VALUES", "")
_INSERT_LOG = ("INSERT INTO log (seq, kind, tenant, at, dictionary, data) VALUES", "")
_INSERT_BODIES = ("INSERT INTO archive (seq, body) VALUES", "")
_COUNT = "UPDATE meta SET value = value + ? WHERE key = 'stored'"

OF_TENANT = "(? IS NULL OR name = ? OR substr(name, 1, length(?)) = ?)"
"""Rows of one tenant, its connected accounts included, or (None) of all. Takes `of_tenant`."""

_ROWS_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
"""Each statement hands the interpreter over to the event loop and waits to get it back: rather few than many."""


class Packed:
    """A new entry, ready to be written. Making one raises TypeError or ValueError for an entry that cannot be.

    An event is `keyed`: written only if it is not known, unless it shall be read `again`.
    """

    __slots__ = ("at", "body", "data", "event_id", "keyed", "kind", "packed", "tenant")

    def __init__(self, entry: NewEntry, *, again: bool = False) -> None:
        self.kind, self.tenant, self.at, self.event_id = entry.kind, entry.tenant, entry.at, entry.event_id
        self.keyed = self.kind is Kind.EVENT and not again
        if self.kind is Kind.EVENT:
            if not self.event_id:
                raise ValueError("an event without an id cannot be told from another")
            self.data = entry.data
        else:
            # What followers are given is what a later reader of the log is given; events come from JSON already.
            self.data = orjson.loads(orjson.dumps(entry.data))
        self.packed, self.body = pack(self.data, entry.archive)


class Log:
    """Appends. Lives with the one connection that writes; what a transaction did here is undone by `forget`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.fresh: list[LogEntry] = []  # appended by the transaction under way
        self._tenants: dict[str, int] = {}
        self.last_seq: int = connection.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0]
        self._committed = self.last_seq

    def append(self, connection: sqlite3.Connection, entries: Sequence[Packed]) -> list[Appended]:
        """Write new entries; an event that is known changes nothing."""
        keys = [
            (self._tenants.get(one.tenant) or self._tenant(connection, one.tenant), one.event_id) for one in entries
        ]
        asked = [key for key, one in zip(keys, entries, strict=True) if one.keyed]
        known = {(tenant, event_id): seq for tenant, event_id, seq in _all_rows(connection, _FIND_KEYS, asked)}
        results: list[Appended] = []
        new_keys, rows, bodies = [], [], []
        seq = self.last_seq
        for key, entry in zip(keys, entries, strict=True):
            if entry.keyed and key in known:
                results.append(Appended(known[key], duplicate=True))
                continue
            seq += 1
            if entry.keyed:
                known[key] = seq
                new_keys.append((*key, seq))
            rows.append((seq, entry.kind, key[0], entry.at, DICTIONARY, entry.packed))
            if entry.body is not None:
                bodies.append((seq, entry.body))
            self.fresh.append(LogEntry(seq, entry.kind, entry.tenant, entry.at, entry.data))
            results.append(Appended(seq))
        _all_rows(connection, _INSERT_KEYS, new_keys)
        _all_rows(connection, _INSERT_LOG, rows)
        _all_rows(connection, _INSERT_BODIES, bodies)
        if new_keys:
            connection.execute(_COUNT, (len(new_keys),))
        self.last_seq = seq
        return results

    def _tenant(self, connection: sqlite3.Connection, name: str) -> int:
        self._tenants[name] = tenant_id(connection, name)
        return self._tenants[name]

    def mark(self) -> tuple[int, int]:
        """Where to `rewind` to when only a part of the transaction is undone."""
        return self.last_seq, len(self.fresh)

    def rewind(self, mark: tuple[int, int]) -> None:
        """Forget what was appended since the mark."""
        self.last_seq = mark[0]
        del self.fresh[mark[1] :]
        self._tenants.clear()

    def kept(self) -> tuple[LogEntry, ...]:
        """The transaction is on disk; what it appended."""
        fresh, self.fresh = tuple(self.fresh), []
        self._committed = self.last_seq
        return fresh

    def forget(self) -> None:
        """The transaction is undone."""
        self.fresh = []
        self.last_seq = self._committed
        self._tenants.clear()


def _all_rows(connection: sqlite3.Connection, sql: tuple[str, str], rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Execute a statement over all `rows`, many at once; `sql` is what stands before and after the rows."""
    found: list[Any] = []
    done = 0
    for size in _ROWS_AT_ONCE:
        while len(rows) - done >= size:
            values = [*chain.from_iterable(rows[done : done + size])]
            found += connection.execute(_statement(*sql, size, len(rows[0])), values).fetchall()
            done += size
    return found


@cache
def _statement(before: str, after: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"{before} {', '.join([row] * rows)} {after}"


def tenant_id(connection: sqlite3.Connection, name: str) -> int:
    """The number of a tenant, given at its first appearance."""
    connection.execute("INSERT OR IGNORE INTO tenants (name) VALUES (?)", (name,))
    number: int = connection.execute("SELECT id FROM tenants WHERE name = ?", (name,)).fetchone()[0]
    return number


def of_tenant(tenant: str | None) -> tuple[str | None, ...]:
    """What OF_TENANT takes."""
    below = None if tenant is None else tenant + BELOW
    return tenant, tenant, below, below


def read_log(connection: sqlite3.Connection, after: int, limit: int) -> list[LogEntry]:
    """Entries with seq > after, oldest first."""
    rows = connection.execute(
        """
        SELECT seq, kind, name, at, data, dictionary FROM log JOIN tenants ON id = tenant
        WHERE seq > ? ORDER BY seq LIMIT ?
        """,
        (after, limit),
    )
    return [_entry(*row) for row in rows]


def _entry(seq: int, kind: int, tenant: str, at: int, packed: bytes, dictionary: int) -> LogEntry:
    try:
        return LogEntry(seq, Kind(kind), tenant, at, unpack(packed, dictionary))
    except (Damaged, ValueError) as error:  # ValueError: a kind that is none
        return LogEntry(seq, Kind.TICK, tenant, at, {}, damage=str(error))


def events(
    connection: sqlite3.Connection, *, tenant: str | None, since: int | None, after: int, limit: int, newest: bool
) -> list[EventRow]:
    """Events received since `since` with seq > after, oldest first; with `newest`, the last `limit` of them."""
    # Two queries: SQLite looks up one minimum or maximum, but reads the whole table for both together.
    low = max(connection.execute("SELECT coalesce(min(seq), 1) FROM log").fetchone()[0], after + 1)
    high = connection.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0]
    if since is not None:
        low = _first_since(connection, since - _DISORDER_US, low, high)
    found: list[EventRow] = []
    while low <= high and len(found) < limit:
        window = (max(low, high - _SCAN + 1), high) if newest else (low, min(high, low + _SCAN - 1))
        found += _events_between(connection, window, tenant, since, limit - len(found), newest=newest)
        low, high = (low, window[0] - 1) if newest else (window[1] + 1, high)
    return found[::-1] if newest else found


def _events_between(
    connection: sqlite3.Connection,
    window: tuple[int, int],
    tenant: str | None,
    since: int | None,
    limit: int,
    *,
    newest: bool,
) -> list[EventRow]:
    rows = connection.execute(
        f"""
        SELECT seq, name, at, data, dictionary, coalesce(score, 0.0), coalesce(flagged, 0)
        FROM log JOIN tenants ON id = tenant LEFT JOIN scores USING (seq)
        WHERE seq BETWEEN ? AND ? AND kind = ? AND at >= ? AND {OF_TENANT}
            AND seq NOT IN (SELECT seq FROM dead_letters WHERE replayed IS NOT NULL)
        ORDER BY seq {"DESC" if newest else "ASC"} LIMIT ?
        """,  # noqa: S608 - our own words
        (*window, Kind.EVENT, since or 0, *of_tenant(tenant), limit),
    )
    return [event for row in rows if (event := _event_row(*row)) is not None]


def _event_row(
    seq: int, tenant: str, at: int, packed: bytes, dictionary: int, score: float, flagged: int
) -> EventRow | None:
    """None: it is damaged, and a dead letter."""
    try:
        data = unpack(packed, dictionary)
    except Damaged:
        return None
    try:
        created = int(data["created"]) * 1_000_000
    except (KeyError, TypeError, ValueError):
        created = at
    return EventRow(
        seq, tenant, str(data.get("id", "")), str(data.get("type", "")), created, at, score, flagged=bool(flagged)
    )


def _first_since(connection: sqlite3.Connection, since: int, low: int, high: int) -> int:
    """The first seq from `low` on whose entry is not older; by bisection, for the log has no index by time."""
    while low <= high:
        middle = (low + high) // 2
        at = connection.execute("SELECT at FROM log WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)).fetchone()[0]
        low, high = (middle + 1, high) if at < since else (low, middle - 1)
    return low
