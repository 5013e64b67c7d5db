"""What many tenants cost: python -m benchmarks.tenants [--tenants 1 100 1000] [--days 3] [--events 10000].

Each tenant is a shop that makes some 300 events a day (the mix is printed). The watch has lived through 30 days of it,
so each tenant has all the state it would have; of the log, the last `--days` are written, which is what a start, a
million events on, has to cope with. The database is written directly; then the real daemon is started on it, left
alone, and loaded over HTTP by another process, each event for the next tenant.
"""

import argparse
import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from actors.alerts.incidents import IncidentBook
from actors.alerts.routing import Routing
from actors.billing.detectors.rounds import next_round
from actors.billing.projection import ARCHIVED, Projector
from actors.billing.tenant_watch import LEDGER, packed, unpacked
from actors.billing.ticker import MINUTE
from actors.billing.watch import Watch
from actors.kernel.clock import SECOND, WallClock, chance, monotonic
from actors.kernel.mailbox import reject
from actors.simulated.business import Business
from actors.store.codec import DICTIONARY, pack
from actors.store.premises import DATABASE
from actors.store.records import DAEMON, Kind, LogEntry
from actors.store.store import SqliteStore
from benchmarks.footprint import resident_mb
from benchmarks.ingest import CONNECTIONS, lag_s
from benchmarks.machine import machine
from benchmarks.scenarios import PAYMENTS_A_DAY, SUBSCRIBERS
from tests.process.harness import ROOT, SECRET, running

DAY = 86_400
LIFE_DAYS = 30
PAYMENTS = 60  # a day, which makes some 300 events
STARTS = 3
Part = tuple[str, int, bytes]


@dataclass
class Life:
    """Of one tenant: its latest events as rows of the log, and the state that all of them led to."""

    rows: list[tuple[int, str, bytes]]  # at, event id, data
    parts: list[Part]
    mix: Counter[str]
    per_day: float


def lived(days: int, now: int) -> Life:
    """A shop's last 30 days, up to `now` (µs), of which the log keeps the last few."""
    begin = now // SECOND - LIFE_DAYS * DAY
    business = Business(chance(5), begin, customers=SUBSCRIBERS * PAYMENTS, busy=0.9 * PAYMENTS / PAYMENTS_A_DAY)
    watch, projector = Watch(IncidentBook(Routing())), Projector(bytes(32), ARCHIVED)
    life, seq, last = Life([], [], Counter(), 0.0), 0, begin * SECOND
    for at, event in business.events():
        if at >= now:
            break
        while watch.due <= at:
            last = max(-(-watch.due // MINUTE), last // MINUTE + 1) * MINUTE
            seq += 1
            watch.apply(LogEntry(seq, Kind.TICK, DAEMON, last, {}))
        last, seq = max(last, at), seq + 1
        data = projector.project(event)
        watch.apply(LogEntry(seq, Kind.EVENT, "shop", last, data))
        life.mix[event["type"]] += 1
        if at >= now - days * DAY * SECOND:
            life.rows.append((last, event["id"], pack(data, None)[0]))
    life.parts = [(part, *state) for (tenant, part), state in watch.snapshot() if tenant == "shop"]
    life.per_day = life.mix.total() / LIFE_DAYS
    return life


def of_tenant(name: str, part: Part, now: int) -> Part:
    """As it would be for a tenant of this name: each has a minute of its own for its hourly looks."""
    named, version, state = part
    rounds = {signal: next_round(name, signal, now) for signal in ("renewals_missing", "silent_lapse")}
    if named in rounds:
        state = packed([rounds[named], unpacked(state)[1]])
    elif named == "due":
        state = packed([min(*unpacked(state), *rounds.values())])
    return named, version, state


async def make(folder: Path) -> None:
    """An empty database."""
    store = SqliteStore(folder)
    store.name, store.mailbox = "store", reject(1024)
    await store.start()
    await store.stop()


def fill(folder: Path, names: list[str], life: Life, now: int) -> float:
    """Write log, keys and state; returns bytes an event of the log and its indexes."""
    asyncio.run(make(folder))
    path = folder / DATABASE
    empty = path.stat().st_size
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany("INSERT INTO tenants (id, name) VALUES (?, ?)", enumerate(names, 10))
        numbers = range(10, 10 + len(names))
        last = len(life.rows) * len(names)
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", log_rows(life, numbers))
        connection.executemany("INSERT INTO event_keys VALUES (?, ?, ?)", key_rows(life, numbers))
        connection.execute("UPDATE meta SET value = ? WHERE key = 'stored'", (last,))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        each = (path.stat().st_size - empty) / last
        for number, name in zip(numbers, names, strict=True):
            parts = (of_tenant(name, part, now) for part in life.parts)
            rows = [(number, part, version, last, state) for part, version, state in parts]
            connection.executemany("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)", rows)
        cursors = [("watch", last), ("snapshot", last)]
        connection.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?)", cursors)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return each


def log_rows(life: Life, numbers: range) -> Iterator[tuple[Any, ...]]:
    """In the order of time, so that the tenants' rows lie among each other as they would."""
    seq = 0
    for at, _, data in life.rows:
        for number in numbers:
            seq += 1
            yield seq, Kind.EVENT, number, at, DICTIONARY, data


def key_rows(life: Life, numbers: range) -> Iterator[tuple[Any, ...]]:
    """Likewise."""
    seq = 0
    for _, event_id, _ in life.rows:
        for number in numbers:
            seq += 1
            yield number, event_id, seq


def spec(names: list[str]) -> dict[str, Any]:
    """The configuration."""
    limit = {"per_second": 1e6, "burst": 1_000_000}
    tenants = [
        {"name": name, "token": f"token-{number}", "webhook_secrets": [SECRET], "rate_limit": limit}
        for number, name in enumerate(names)
    ]
    return {"billing": {"tenants": tenants}}


def measured(names: list[str], life: Life, now: int, events: int) -> dict[str, float]:
    """One size."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), spec(names), start=False) as daemon:
        data = Path(folder, "data")
        data.mkdir()
        found = {"bytes": fill(data, names, life, now), "mb": (data / DATABASE).stat().st_size / 2**20}
        daemon.start()  # writes down the thresholds of each tenant, once
        daemon.stop()
        starts = []
        for _ in range(STARTS):
            began = monotonic()
            daemon.start()
            starts.append(monotonic() - began)
            daemon.stop()
        daemon.start()
        found |= {"start": median(starts), "idle": resident_mb(daemon)}
        command = [sys.executable, "-m", "benchmarks.load", str(daemon.port), "/webhook/token-{}", SECRET]
        command += [str(events), str(CONNECTIONS), "1", str(len(names))]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        result = json.loads(done.stdout)
        assert result["statuses"] == {"200": events}, result
        found |= {"lag": lag_s(daemon), "per_s": result["per_s"], "p99": result["p99_ms"], "busy": resident_mb(daemon)}
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--days", type=int, default=3, help="of log, of the 30 that were lived through (3)")
    parser.add_argument("--events", type=int, default=10_000, help="sent, one tenant after the other (10000)")
    given = parser.parse_args()
    now = WallClock().now() // (3600 * SECOND) * 3600 * SECOND
    life = lived(given.days, now)
    kept = [len(state) for part, _, state in life.parts if not part.startswith(LEDGER)]
    known = [len(state) for part, _, state in life.parts if part.startswith(LEDGER)]
    print(f"{machine()}\neach tenant: {life.per_day:.0f} events a day, {given.days} of 30 days in the log")
    print("mix: " + ", ".join(f"{kind} {count / life.mix.total():.0%}" for kind, count in life.mix.most_common()))
    print(f"state of one: {sum(kept):,} bytes; of its {len(known) - 1} subscriptions: {sum(known):,} bytes\n")
    print(f"{'tenants':>8}{'in the log':>12}{'bytes each':>12}{'file, MB':>10}{'start, s':>10}{'idle, MB':>10}", end="")
    print(f"{'loaded, MB':>12}{'stored/s':>10}{'p99, ms':>9}{'lag, s':>8}")
    base: float | None = None
    for number in given.tenants:
        one = measured([f"shop-{index}" for index in range(number)], life, now, given.events)
        base = one["idle"] if base is None else base
        print(f"{number:>8,}{len(life.rows) * number:>12,}{one['bytes']:>12.0f}{one['mb']:>10.0f}", end="")
        print(f"{one['start']:>10.2f}{one['idle']:>10.1f}{one['busy']:>12.1f}{one['per_s']:>10,.0f}", end="")
        print(f"{one['p99']:>9.1f}{one['lag']:>8.2f}   idle +{one['idle'] - base:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
