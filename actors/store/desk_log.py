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
from actors.store.desk_records import (
    COLUMNS,
    BarBlock,
    DeskCommitted,
    DeskData,
    DeskEntry,
    DeskKind,
    DeskMark,
    Gap,
    NewDeskEntry,
    Parts,
)

R = TypeVar("R")

PREFIX = "desk:"
"""Begins the names of the desk's cursors."""

_LEVEL = 1  # twice as quick as 6, and hardly larger on columns of binary numbers
_SHORT = 4_000  # bytes, as of most words of the desk: to deflate them takes longer than all else that is done with them
_BARS = (DeskKind.BLOCK, DeskKind.REVISION)
_GAPS = (DeskKind.GAP, DeskKind.REFILLED)
_JSON_FROM = 10
_NEVER = 2**63 - 1


class Changes(Protocol):
    """Where the store's writes go: group commit, durable when the future is done."""

    def __call__(self, work: Callable[[sqlite3.Connection], R], /) -> "asyncio.Future[R]":
        """Have `work` done in a transaction. Raises StoreUnavailable, or the future does."""


class Reads(Protocol):
    """Where the store's reads go."""

    async def __call__(self, work: Callable[[sqlite3.Connection], R], /) -> R:
        """Have `work` done by a reader. Raises StoreUnavailable."""


class Known(Exception):
    """An entry with this key is in the log already; of what was to be appended with it, nothing is."""


class DeskLog:
    """The desk's part of the store: `store.desk`. Writes are durable when they return."""

    def __init__(self, change: Changes, read: Reads) -> None:
        self._change = change
        self._read = read
        self._followers: list[Mailbox[DeskCommitted]] = []

    async def append(
        self, entries: Sequence[NewDeskEntry], *, cursor: tuple[str, int] | None = None, parts: Parts | None = None
    ) -> int:
        """Commit inputs, all or none, and with them how far a reader has read and its state as of there.

        Parts of the state that are not given stay as they were saved before.
        Returns the seq of the last input (they are numbered without gaps), 0 without any. Raises Known,
        StoreUnavailable, and ValueError or TypeError for what cannot be kept.
        """
        written = self._change(partial(_commit, entries=entries, cursor=cursor, parts=parts or {}))
        written.add_done_callback(self._announce)
        # Followers are to hear of it even if the sender goes away meanwhile.
        committed = await asyncio.shield(written)
        return committed[-1].seq if committed else 0

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
        return await self._read(partial(_read_log, after=after, limit=limit, kinds=kinds))

    async def bars(self, since: int, until: int) -> list[DeskEntry]:
        """Blocks and revisions of bars that start from `since` to before `until`, in the order of commitment."""
        return await self._read(partial(_bars_between, since=since, until=until))

    async def last_seq(self) -> int:
        """The seq of the newest input ever; 0: there was none."""
        return await self._read(_last_seq)

    async def load(self, reader: str) -> DeskMark:
        """Where a reader stands; at its first appearance at 0, without any parts."""
        return await self._read(partial(_load, reader=reader))

    async def readers(self, beginning: str) -> list[str]:
        """All whose names begin so and that stand anywhere in the log, at work or not."""
        return await self._read(partial(_readers, beginning=beginning))

    async def prune(self, before: int, limit: int) -> int:
        """Drop at most `limit` inputs received before that time; returns how many. What some reader may need stays.

        A reader needs what is beyond its cursor, and beyond the seq of the state that it has saved.
        """
        return await asyncio.shield(self._change(partial(_prune, before=before, limit=limit)))


def pack(data: DeskData) -> bytes:
    """As it is stored: JSON, and below it a block's columns as 64-bit little-endian integers; deflated where long."""
    if isinstance(data, BarBlock):
        columns = [getattr(data, name) for name in COLUMNS]
        if any(column.typecode != "q" or len(column) != len(data.symbols) for column in columns):
            raise ValueError("a block's columns have one 64-bit integer for each of its symbols")
        if len(set(data.symbols)) != len(data.symbols):
            raise ValueError("a block has one bar of each of its symbols")
        head = {"feed": data.feed, "source": data.source, "timeframe": data.timeframe, "time": data.time}
        text = orjson.dumps(head | {"symbols": data.symbols})
        return zlib.compress(b"\n".join((text, b"".join(column.tobytes() for column in columns))), _LEVEL)
    text = orjson.dumps(asdict(data) if isinstance(data, Gap) else data)
    return zlib.compress(text, _LEVEL if len(text) > _SHORT else 0)


def unpack(kind: int, packed: bytes) -> DeskData:
    """What `pack` was given. Raises Damaged."""
    try:
        text, _, columns = zlib.decompress(packed).partition(b"\n")
        head: dict[str, Any] = orjson.loads(text)
        if kind in _GAPS:
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


def _time_of(entry: NewDeskEntry) -> int:
    match entry.data:
        case BarBlock(time=time):
            fitting, when = entry.kind in _BARS, time
        case Gap(since=since):
            fitting, when = entry.kind in _GAPS, since
        case _:
            fitting, when = entry.kind >= _JSON_FROM, entry.at
    if not fitting:
        raise ValueError(f"an input of kind {entry.kind} is no {type(entry.data).__name__}")
    return when


def _commit(
    connection: sqlite3.Connection,
    entries: Sequence[NewDeskEntry],
    cursor: tuple[str, int] | None,
    parts: Parts,
) -> tuple[DeskEntry, ...]:
    # Packed here, on the store's thread: the loop has others to serve.
    rows = [(entry.kind, entry.at, _time_of(entry), pack(entry.data)) for entry in entries]
    connection.executemany("INSERT INTO desk_log (kind, at, time, data) VALUES (?, ?, ?, ?)", rows)
    last = _last_seq(connection)
    seqs = range(last - len(entries) + 1, last + 1)
    _claim(connection, [(entry.key, seq) for entry, seq in zip(entries, seqs, strict=True) if entry.key])
    if cursor is not None:
        _advance(connection, *cursor, parts)
    elif parts:
        raise ValueError("a state is saved as of a cursor")
    return tuple(DeskEntry(seq, one.kind, one.at, one.data) for one, seq in zip(entries, seqs, strict=True))


def _claim(connection: sqlite3.Connection, keys: Sequence[tuple[str, int]]) -> None:
    claimed = connection.executemany("INSERT OR IGNORE INTO desk_keys (key, seq) VALUES (?, ?)", keys)
    if claimed.rowcount < len(keys):
        seq_of = "SELECT seq FROM desk_keys WHERE key = ?"
        raise Known(next(key for key, seq in keys if connection.execute(seq_of, (key,)).fetchone() != (seq,)))


def _advance(connection: sqlite3.Connection, reader: str, seq: int, parts: Parts) -> None:
    before = _cursor(connection, reader)
    if seq < before:
        raise ValueError(f"the cursor of {reader} would go back from {before} to {seq}")
    connection.execute("INSERT OR REPLACE INTO cursors (name, seq) VALUES (?, ?)", (PREFIX + reader, seq))
    connection.executemany(
        "INSERT OR REPLACE INTO desk_snapshots (reader, part, version, seq, state) VALUES (?, ?, ?, ?, ?)",
        [(reader, part, version, seq, state) for part, (version, state) in parts.items()],
    )
    if parts:  # those that are not among them have not changed since
        connection.execute("UPDATE desk_snapshots SET seq = ? WHERE reader = ?", (seq, reader))


def _cursor(connection: sqlite3.Connection, reader: str) -> int:
    row = connection.execute("SELECT seq FROM cursors WHERE name = ?", (PREFIX + reader,)).fetchone()
    return row[0] if row else 0


def _readers(connection: sqlite3.Connection, beginning: str) -> list[str]:
    rows = connection.execute("SELECT name FROM cursors WHERE name LIKE ? || '%'", (PREFIX + beginning,))
    return [name.removeprefix(PREFIX) for (name,) in rows]


def _load(connection: sqlite3.Connection, reader: str) -> DeskMark:
    saved = "SELECT part, version, state, seq FROM desk_snapshots WHERE reader = ?"
    rows = connection.execute(saved, (reader,)).fetchall()
    parts = {part: (version, state) for part, version, state, _ in rows}
    return DeskMark(_cursor(connection, reader), min((seq for *_, seq in rows), default=0), parts)


def _read_log(connection: sqlite3.Connection, after: int, limit: int, kinds: Sequence[int]) -> list[DeskEntry]:
    these = f"AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
    rows = connection.execute(
        f"SELECT seq, kind, at, data FROM desk_log WHERE seq > ? {these} ORDER BY seq LIMIT ?",  # noqa: S608 - marks only
        (after, *kinds, limit),
    )
    return [_entry(*row) for row in rows]


def _bars_between(connection: sqlite3.Connection, since: int, until: int) -> list[DeskEntry]:
    rows = connection.execute(
        "SELECT seq, kind, at, data FROM desk_log WHERE kind IN (1, 2) AND time >= ? AND time < ? ORDER BY seq",
        (since, until),
    )
    return [_entry(*row) for row in rows]


def _entry(seq: int, kind: int, at: int, packed: bytes) -> DeskEntry:
    try:
        return DeskEntry(seq, kind, at, unpack(kind, packed))
    except Damaged as error:
        return DeskEntry(seq, kind, at, {}, damage=str(error))


def _last_seq(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'desk_log'").fetchone()
    return row[0] if row else 0


def _prune(connection: sqlite3.Connection, before: int, limit: int) -> int:
    dropped = connection.execute(
        """
        DELETE FROM desk_log WHERE seq IN (
            SELECT seq FROM desk_log WHERE at < ?
                AND seq <= (SELECT coalesce(min(seq), 0) FROM cursors WHERE name LIKE ? || '%')
                AND seq <= (SELECT coalesce(min(seq), ?) FROM desk_snapshots)
            ORDER BY seq LIMIT ?
        )
        """,
        (before, PREFIX, _NEVER, limit),
    )
    return dropped.rowcount
