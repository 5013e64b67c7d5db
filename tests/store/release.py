"""Freezes today's schema: `python -m tests.store.release`, once, with the migration that introduces it.

Writes a database of a little of everything as SQL, and beside it what the store reads from it. test_released.py opens
every such database with today's code.
"""

import asyncio
import sqlite3
import sys
import tempfile
from array import array
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from actors.store import schema
from actors.store.codec import unpack_body
from actors.store.desk_records import BarBlock, DeskKind, Gap, NewDeskEntry
from actors.store.premises import DATABASE
from actors.store.records import DAEMON, Delivery, Kind, NewEntry, Severity, Snapshot, State
from actors.store.store import SqliteStore
from tests.store.running import NOON, event, found, incident, notification, running, tick

RELEASED = Path(__file__).parent / "released"
MINUTE = 60_000_000
HOUR = 60 * MINUTE
EVER = NOON * 2


async def fill(store: SqliteStore) -> None:
    """Every kind of entry, events with and without a body, incidents and notifications of every state, poison."""
    await store.append(NewEntry(Kind.CONFIG, "acme", NOON, {"customer_decline_count": 5}))
    await store.append(event("evt_1", amount=1900, currency="usd", body=b'{"amount": 1900, "kept": true}'))
    await store.append(event("evt_2", amount=4900, currency="jpy"))
    await store.append(event("evt_1", tenant="globex", body="{“ünïcode”}".encode()))
    await store.append(tick(NOON + 60_000_000))
    await store.append(NewEntry(Kind.SIGNATURES, "acme", NOON, {"failed": 3}))
    await store.append(NewEntry(Kind.ALARM, DAEMON, NOON, {"signal": "store_trouble", "scope": "account"}))
    await store.append(NewEntry(Kind.COMMAND, DAEMON, NOON, {"command": "ack", "incident": "inc_1", "by": 0}))
    over: dict[str, Any] = {
        "state": State.RESOLVED,
        "resolved": NOON + HOUR,
        "false_positive": True,
        "severity": Severity.INFO,
    }
    await store.commit_findings(
        found(
            6,
            incidents=(
                incident("inc_1", acked=NOON + 1, notified=NOON, reminders=2, snoozed_until=NOON + HOUR),
                incident("inc_2", signal="decline_spike", scope="cus_1", tenant="globex", revision=3, **over),
            ),
            notifications=tuple(notification(f"key_{n}", "inc_1") for n in range(1, 4)),
            scores={2: 0.25, 3: 1.0},
            flagged=frozenset({3}),
            snapshot=Snapshot(5, {("acme", "incidents"): (1, b"\x00state\xff"), ("globex", "watch"): (2, b"{}")}),
        )
    )
    gap = Gap("iex", MINUTE, NOON, NOON + MINUTE, "the stream was down", ("AAPL",))
    block = BarBlock("iex", "stream", MINUTE, NOON, ("AAPL", "MSFT"), *(array("q", [n, -n]) for n in range(7)))
    await store.desk.append([NewDeskEntry(DeskKind.BLOCK, NOON, block), NewDeskEntry(DeskKind.GAP, NOON, gap)])
    moved = NewDeskEntry(13, NOON, {"execution": "e1"}, key="e1")
    await store.desk.append([moved], cursor=("book", 2), parts={"all": (1, b"\x00state")})
    await store.settle(1, Delivery.DELIVERED, attempts=1, at=NOON + 2)
    await store.settle(2, Delivery.FAILED, attempts=9, at=NOON + 3, error="410 Gone")
    for crash in range(3):
        await store.count_crash("billing.scorer", 7, "ValueError", NOON + crash)


async def contents(store: SqliteStore) -> Any:
    """All that a nightdesk reads from its database, as JSON would have it."""
    mark = await store.load_watch()
    status = await store.status()
    facts = {
        "log": await store.read_log(0, 100),
        "bodies": await store._driver.read(_bodies),
        "events": await store.events(tenant=None, since=None, after=0, limit=100),
        "incidents": await store.incidents(tenant=None),
        "due": await store.due("ops", EVER, 100),
        "outbox": status.notifications,
        "stored": status.stored,
        "cursor": mark.cursor,
        "skipped": sorted(mark.skipped),
        "snapshot": {"/".join(key): [version, state.hex()] for key, (version, state) in mark.snapshot.parts.items()},
        "folded_to": mark.snapshot.seq,
        "dead_letters": await store.dead_letters(),
        "desk": await store.desk.read(0, 100),
        "book": await store.desk.load("book"),
        "payer_key": (await store.payer_key()).hex(),
    }
    return orjson.loads(orjson.dumps(facts, default=_plain, option=orjson.OPT_NON_STR_KEYS))


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else list(value)


def _bodies(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT seq, data, body, dictionary FROM archive JOIN log USING (seq) ORDER BY seq")
    return {str(seq): unpack_body(data, body, dictionary).decode() for seq, data, body, dictionary in rows}


async def freeze(number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as store:
            await fill(store)
            seen = await contents(store)
        with closing(sqlite3.connect(Path(folder, DATABASE))) as connection:
            dump = [*connection.iterdump(), f"PRAGMA user_version = {number};", ""]
    (RELEASED / f"schema_{number}.sql").write_text("\n".join(dump))
    (RELEASED / f"schema_{number}.json").write_bytes(orjson.dumps(seen, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    newest = max(schema.migrations())
    if (RELEASED / f"schema_{newest}.sql").exists():
        sys.exit(f"schema {newest} is frozen already: what is released does not change")
    asyncio.run(freeze(newest))
