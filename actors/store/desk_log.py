"""The trading desk's log: blocks of bars, gaps, and what else its decisions depend on, in the order of commitment."""

import asyncio
import sqlite3
import zlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol, TypeVar

import orjson

from actors.kernel.mailbox import Mailbox
from actors.store.codec import Damaged
from actors.store.desk_records import COLUMNS, BarBlock, DeskCommitted, DeskData, DeskEntry, DeskKind, Gap, NewDeskEntry

R = TypeVar("R")

ARCHIVED = "desk:archived"
"""The cursor of the nightly move: bars up to here are in the column store."""

_LEVEL = 1  # twice as quick as 6, and hardly larger on columns of binary numbers
_BARS = (DeskKind.BLOCK, DeskKind.REVISION)


class Changes(Protocol):
    """Where the store's writes go: group commit, durable when the future is done."""

    def __call__(self, work: Callable[[sqlite3.Connection], R], /) -> "asyncio.Future[R]":
        """Have `work` done in a transaction. Raises StoreUnavailable, or the future does."""


class Reads(Protocol):
    """Where the store's reads go."""

    async def __call__(self, work: Callable[[sqlite3.Connection], R], /) -> R:
        """Have `work` done by a reader. Raises StoreUnavailable."""


class DeskLog:
    """The desk's part of the store: `store.desk`. Writes are durable when they return."""

    def __init__(self, change: Changes, read: Reads) -> None:
        self._change = change
        self._read = read
        self._followers: list[Mailbox[DeskCommitted]] = []

    async def append(self, *entries: NewDeskEntry) -> tuple[DeskEntry, ...]:
        """Commit inputs, all or none. Raises StoreUnavailable, and ValueError or TypeError for what cannot be kept."""
        written = self._change(partial(append, entries=entries, rows=[row_of(entry) for entry in entries]))
        written.add_done_callback(self._announce)
        return await asyncio.shield(written)  # followers are to hear of it even if the sender goes away meanwhile

    def _announce(self, written: "asyncio.Future[tuple[DeskEntry, ...]]") -> None:
        if written.cancelled() or written.exception() is not None or not written.result():
            return
        committed = DeskCommitted(written.result())
        for follower in self._followers:
            follower.offer(committed)

    def follow(self, reader: Mailbox[DeskCommitted]) -> None:
        """From now on, offer `reader` every commit of inputs, after it is durable."""
        if not any(reader is follower for follower in self._followers):
            self._followers.append(reader)

    def unfollow(self, reader: Mailbox[DeskCommitted]) -> None:
        """No more. Unknown readers are ignored."""
        self._followers = [follower for follower in self._followers if follower is not reader]

    async def read(self, after: int, limit: int, kinds: Sequence[int] = ()) -> list[DeskEntry]:
        """Inputs with seq > after, oldest first; of all kinds, or of these."""
        return await self._read(partial(read_desk_log, after=after, limit=limit, kinds=kinds))

    async def bars(self, since: int, until: int) -> list[DeskEntry]:
        """Blocks and revisions of bars that start from `since` to before `until`, in the order of commitment."""
        return await self._read(partial(bars_between, since=since, until=until))

    async def last_seq(self) -> int:
        """The seq of the newest input ever; 0: there was none."""
        return await self._read(last_seq)

    async def cursor(self, name: str) -> int:
        """How far `name` has read; 0: it never did. Names begin with "desk:"."""
        return await self._read(partial(desk_cursor, name=name))

    async def advance(self, name: str, seq: int) -> None:
        """`name` has read up to `seq`, and will not need what is before it again."""
        await asyncio.shield(self._change(partial(advance, name=name, seq=seq)))

    async def prune(self, before: int, limit: int) -> int:
        """Drop at most `limit` inputs received before that time that every cursor has passed; returns how many."""
        return await asyncio.shield(self._change(partial(prune, before=before, limit=limit)))


def pack(data: DeskData) -> bytes:
    """As it is stored: JSON, and below it a block's columns as 64-bit little-endian integers; deflated."""
    if isinstance(data, BarBlock):
        columns = [getattr(data, name) for name in COLUMNS]
        if any(column.typecode != "q" or len(column) != len(data.symbols) for column in columns):
            raise ValueError("a block's columns have one 64-bit integer for each of its symbols")
        if len(set(data.symbols)) != len(data.symbols):
            raise ValueError("a block has one bar of each of its symbols")
        head = {"feed": data.feed, "source": data.source, "timeframe": data.timeframe, "time": data.time}
        text = orjson.dumps(head | {"symbols": data.symbols})
        return zlib.compress(b"\n".join((text, b"".join(column.tobytes() for column in columns))), _LEVEL)
    if isinstance(data, Gap):
        return zlib.compress(orjson.dumps(asdict(data)), _LEVEL)
    return zlib.compress(orjson.dumps(data), _LEVEL)


def unpack(kind: int, packed: bytes) -> DeskData:
    """What `pack` was given. Raises Damaged."""
    try:
        text, _, columns = zlib.decompress(packed).partition(b"\n")
        head: dict[str, Any] = orjson.loads(text)
        if kind in {DeskKind.GAP, DeskKind.REFILLED}:
            return Gap(**head | {"symbols": tuple(head["symbols"])})
        return _block(head, memoryview(columns)) if kind in _BARS else head
    except (zlib.error, ValueError, TypeError, KeyError) as error:
        raise Damaged(f"its data cannot be read: {error}") from error


def _block(head: dict[str, Any], columns: memoryview) -> BarBlock:
    symbols = tuple(head["symbols"])
    width = len(symbols) * 8
    if len(columns) != width * len(COLUMNS):
        raise ValueError("a block is not of the size that it says")
    values = {name: array("q", bytes(columns[n * width : (n + 1) * width])) for n, name in enumerate(COLUMNS)}
    return BarBlock(**head | values | {"symbols": symbols})


def row_of(entry: NewDeskEntry) -> tuple[int, int, int, bytes]:
    """An input as `append` writes it. Raises ValueError or TypeError for what cannot be kept."""
    return entry.kind, entry.at, _time_of(entry), pack(entry.data)


def _time_of(entry: NewDeskEntry) -> int:
    match entry.data:
        case BarBlock(time=time):
            fitting, when = entry.kind in _BARS, time
        case Gap(since=since):
            fitting, when = entry.kind in {DeskKind.GAP, DeskKind.REFILLED}, since
        case _:
            fitting, when = entry.kind >= 10, entry.at
    if not fitting:
        raise ValueError(f"an input of kind {entry.kind} is no {type(entry.data).__name__}")
    return when


def append(
    connection: sqlite3.Connection, entries: Sequence[NewDeskEntry], rows: Sequence[tuple[int, int, int, bytes]]
) -> tuple[DeskEntry, ...]:
    """Write inputs, each with its `row_of`."""
    insert = "INSERT INTO desk_log (kind, at, time, data) VALUES (?, ?, ?, ?) RETURNING seq"
    seqs = [connection.execute(insert, row).fetchone()[0] for row in rows]
    return tuple(DeskEntry(one.kind, one.at, one.data, seq) for one, seq in zip(entries, seqs, strict=True))


def read_desk_log(connection: sqlite3.Connection, after: int, limit: int, kinds: Sequence[int] = ()) -> list[DeskEntry]:
    """Inputs with seq > after, oldest first; of all kinds, or of these."""
    these = f"AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
    rows = connection.execute(
        f"SELECT seq, kind, at, data FROM desk_log WHERE seq > ? {these} ORDER BY seq LIMIT ?",  # noqa: S608 - marks only
        (after, *kinds, limit),
    )
    return [_entry(*row) for row in rows]


def bars_between(connection: sqlite3.Connection, since: int, until: int) -> list[DeskEntry]:
    """Blocks and revisions of bars that start from `since` to before `until`, in the order of commitment."""
    rows = connection.execute(
        "SELECT seq, kind, at, data FROM desk_log WHERE kind IN (1, 2) AND time >= ? AND time < ? ORDER BY seq",
        (since, until),
    )
    return [_entry(*row) for row in rows]


def _entry(seq: int, kind: int, at: int, packed: bytes) -> DeskEntry:
    try:
        return DeskEntry(kind, at, unpack(kind, packed), seq)
    except Damaged as error:
        return DeskEntry(kind, at, {}, seq, damage=str(error))


def last_seq(connection: sqlite3.Connection) -> int:
    """The seq of the newest input ever; 0: there was none."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'desk_log'").fetchone()
    return row[0] if row else 0


def desk_cursor(connection: sqlite3.Connection, name: str) -> int:
    """How far `name` has read; 0: it never did."""
    row = connection.execute("SELECT seq FROM cursors WHERE name = ?", (name,)).fetchone()
    return row[0] if row else 0


def advance(connection: sqlite3.Connection, name: str, seq: int) -> None:
    """`name` has read up to `seq`. Also for use inside another transaction. Raises ValueError if it would go back."""
    if not name.startswith("desk:"):
        raise ValueError(f"{name!r} is not the name of a cursor in the desk's log")
    if seq < desk_cursor(connection, name):
        raise ValueError(f"the cursor {name} would go back to {seq}")
    connection.execute(
        "INSERT INTO cursors (name, seq) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq", (name, seq)
    )


def prune(connection: sqlite3.Connection, before: int, limit: int) -> int:
    """Drop at most `limit` inputs received before that time that every cursor has passed; returns how many."""
    dropped = connection.execute(
        """
        DELETE FROM desk_log WHERE seq IN (
            SELECT seq FROM desk_log WHERE at < ? AND seq <= (
                SELECT coalesce(min(seq), 0) FROM cursors WHERE name LIKE 'desk:%'
            ) ORDER BY seq LIMIT ?
        )
        """,
        (before, limit),
    )
    return dropped.rowcount
