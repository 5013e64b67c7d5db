"""Parts of a snapshot that are read one by one, by who cannot wait for a thread to answer.

What is remembered of each subscription is such a part, named `ledger:` and its id. There may be a million of them, so
they are neither loaded at start nor kept in memory.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from actors.store.schema import connect

SHELVED = "ledger:"
"""Begins the names of these parts."""

NOT_SHELVED = f"part NOT GLOB '{SHELVED}?*'"
"""Which parts are loaded at start."""


class ShelfReader:
    """A connection that only reads, opened when it is first needed. Reading takes microseconds from a cached file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def of(self, tenant: str) -> "Shelf":
        """One tenant's."""
        return Shelf(self, tenant)

    def execute(self, query: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        """Run a query."""
        if self._connection is None:
            self._connection = connect(self._path, read_only=True)
        return self._connection.execute(query, values)

    def close(self) -> None:
        """Until the next read."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Shelf:
    """Those of one tenant, by the rest of their names, as of the last commit."""

    def __init__(self, reader: ShelfReader, tenant: str) -> None:
        self._reader = reader
        self._tenant = tenant

    def get(self, name: str) -> bytes | None:
        """The state of one part; None where there is none, or no more."""
        query = """
            SELECT state FROM snapshots JOIN tenants ON id = tenant WHERE name = ? AND part = ? AND version > 0
        """
        row = self._reader.execute(query, (self._tenant, SHELVED + name)).fetchone()
        return row[0] if row else None

    def parts(self) -> list[tuple[str, int, bytes]]:
        """Name, version and state of those parts of this tenant that are not shelved."""
        query = """
            SELECT part, version, state FROM snapshots JOIN tenants ON id = tenant
            WHERE name = ? AND version > 0 AND (part < ? OR part >= ? OR part = ?)
        """
        values = self._tenant, SHELVED, SHELVED.replace(":", ";"), SHELVED
        return self._reader.execute(query, values).fetchall()

    def states(self) -> Iterator[tuple[str, bytes]]:
        """Name and state of each."""
        yield from self._all("state")

    def heads(self, size: int) -> Iterator[tuple[str, bytes]]:
        """Of each, its name and the first so many bytes of its state."""
        return self._all(f"substr(state, 1, {size})")

    def _all(self, column: str) -> sqlite3.Cursor:
        # A range is a search in the index, as LIKE is not; the semicolon is what follows on the colon.
        query = f"""
            SELECT substr(part, ?), {column} FROM snapshots JOIN tenants ON id = tenant
            WHERE name = ? AND part > ? AND part < ? AND version > 0
        """  # noqa: S608 - the column is one of two written above
        values = len(SHELVED) + 1, self._tenant, SHELVED, SHELVED.replace(":", ";")
        return self._reader.execute(query, values)
