"""Digests: which was the last, what the next is about, and that no period has two."""

import sqlite3
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import orjson

from actors.store import outbox
from actors.store.desk_log import Changes, Reads
from actors.store.findings import LOAD_INCIDENT, incident_of
from actors.store.records import Incident, Json, NewNotification

_KEY = "digest"


class Digests:
    """The store's part for digests: `store.digests`. Writes are durable when they return."""

    def __init__(self, change: Changes, read: Reads) -> None:
        self._change = change
        self._read = read

    async def mark(self) -> Json | None:
        """Where the last one ended, in its writer's own words; None before the first."""
        return await self._read(_mark)

    async def file(self, notifications: Sequence[NewNotification], mark: Json) -> None:
        """Put them into the outbox and move the mark, both or neither."""
        await self._change(partial(_file, notifications=notifications, mark=mark))

    async def incidents(self, since: int, also: Collection[str]) -> list[Incident]:
        """Those that opened after `since`, that are open, or whose id is among `also`; oldest first."""
        return await self._read(partial(_incidents, since=since, also=also))


def _mark(connection: sqlite3.Connection) -> Json | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    mark: dict[str, Any] | None = orjson.loads(row[0]) if row else None
    return mark


def _file(connection: sqlite3.Connection, notifications: Sequence[NewNotification], mark: Json) -> None:
    outbox.enqueue(connection, notifications)
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (_KEY, orjson.dumps(mark).decode()),
    )


def _incidents(connection: sqlite3.Connection, since: int, also: Collection[str]) -> list[Incident]:
    rows = connection.execute(
        f"""
        {LOAD_INCIDENT}
        WHERE incidents.state = 'open' OR (incidents.state = 'resolved' AND opened > ?)
            OR incidents.id IN (SELECT value FROM json_each(?))
        ORDER BY opened, incidents.id
        """,  # noqa: S608 - a constant
        (since, orjson.dumps(sorted(also)).decode()),
    )
    return [incident_of(row) for row in rows]
