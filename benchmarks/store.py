"""What it costs to commit an event, beside the bare inserts SQLite would need for the same bytes.

python -m benchmarks.store [--events 20000] [--stored 0]

Callers wait for their event to be durable before they send the next, as the gate's connections do. CPU counts all
threads. `ratio` is the bare inserts' CPU per event divided by ours, both in batches of 32.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import anyio
import orjson

from actors.kernel.clock import chance
from actors.kernel.mailbox import Drained, reject
from actors.store.premises import DATABASE
from actors.store.records import Kind, NewEntry
from actors.store.store import SqliteStore
from benchmarks.machine import machine

BATCH = 32


def charges(count: int, first: int = 0) -> list[NewEntry]:
    """Projections of about 1 KB each, as by default no body is archived; ids begin with the time, as Stripe's do."""
    rng = chance(first)

    def token() -> str:
        return "".join(rng.choices("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", k=14))

    return [_charge(f"evt_{number:012d}{token()}", token(), number) for number in range(first, first + count)]


def _charge(event_id: str, tail: str, number: int) -> NewEntry:
    at = 1_790_000_000 + number
    card = {"amount_authorized": 1900, "payer": f"{number:016x}"}
    charge = {
        "id": f"ch_3{tail}",
        "object": "charge",
        "amount": 1900 + number % 7,
        "amount_captured": 1900,
        "amount_refunded": 0,
        "balance_transaction": f"txn_3{tail}",
        "captured": True,
        "created": at,
        "currency": "usd",
        "customer": f"cus_{tail}",
        "disputed": False,
        "fraud_details": {},
        "invoice": f"in_1{tail}",
        "livemode": True,
        "outcome": {"network_status": "approved_by_network", "risk_level": "normal", "risk_score": number % 60},
        "paid": True,
        "payment_intent": f"pi_3{tail}",
        "payment_method": f"pm_1{tail}",
        "payment_method_details": {"card": card, "type": "card"},
        "refunded": False,
        "status": "succeeded",
        "payer": f"{number:016x}",
    }
    projection = {
        "id": event_id,
        "object": "event",
        "api_version": "2024-06-20",
        "created": at,
        "data": {"object": charge},
        "livemode": True,
        "pending_webhooks": 1,
        "type": "charge.succeeded",
        "request": {"id": f"req_{tail}", "idempotency_key": f"key-{tail}"},
    }
    return NewEntry(Kind.EVENT, "acme", at * 1_000_000, projection, event_id)


async def append_all(store: SqliteStore, entries: list[NewEntry], callers: int) -> tuple[float, float]:
    """Wall and CPU seconds."""
    todo: Iterator[NewEntry] = iter(entries)

    async def caller() -> None:
        for entry in todo:
            await store.append(entry)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return time.perf_counter() - wall, time.process_time() - cpu


async def ours(data_dir: Path, events: int, stored: int) -> float:
    """Print a line for each number of callers; returns CPU microseconds per event with a batch of callers."""
    store = SqliteStore(data_dir, ballast_bytes=0)
    store.name, store.mailbox = "store", reject(1024)
    reference = 0.0

    async def live() -> None:
        with suppress(Drained):
            await store.run()

    try:
        await store.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live)
            first = 0
            while first < stored:
                await append_all(store, charges(20_000, first), 256)
                first += 20_000
            for callers in (1, 8, BATCH, 128):
                count = max(500, events if callers > 1 else events // 20)
                wall, cpu = await append_all(store, charges(count, first), callers)
                first += count
                print(f"{callers:>8}{count / wall:>12,.0f}{cpu / count * 1e6:>12.1f}")
                if callers == BATCH:
                    reference = cpu / count * 1e6
            store.mailbox.close("done", drain=True)
    finally:
        await store.stop()
    print(f"{(data_dir / DATABASE).stat().st_size / first:.0f} bytes an event, {first:,} events stored")
    return reference


def bare(path: Path, events: int) -> float:
    """CPU microseconds per event of one INSERT of the undeflated bytes into a keyed table, in batches, FULL."""
    entries = [(entry.event_id, orjson.dumps(entry.data)) for entry in charges(events)]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE event (id TEXT PRIMARY KEY, data BLOB) STRICT")
        began = time.process_time()
        for start in range(0, events, BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO event VALUES (?, ?)", entries[start : start + BATCH])
            connection.execute("COMMIT")
        return (time.process_time() - began) / events * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="events per line (20000)")
    parser.add_argument("--stored", type=int, default=0, help="events stored before measuring begins (0)")
    arguments = parser.parse_args()
    print(machine())
    print(f"{'callers':>8}{'events/s':>12}{'CPU us':>12}")
    with tempfile.TemporaryDirectory() as folder:
        cost = asyncio.run(ours(Path(folder) / "ours", arguments.events, arguments.stored))
        inserts = bare(Path(folder) / "bare.db", arguments.events)
    print(f"bare inserts {inserts:.1f} us CPU an event, ours {cost:.1f}: ratio {inserts / cost:.2f}")


if __name__ == "__main__":
    main()
