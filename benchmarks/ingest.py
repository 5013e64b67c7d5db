"""Signed events per second, durable before they are acknowledged, beside a bare aiohttp handler in the same run.

python -m benchmarks.ingest [--events 20000] [--rounds 3] [--stored 1000000]

The load comes from another process over 32 keep-alive connections; daemon and bare handler take turns. With --stored,
the database holds that many events before the first round.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import orjson
from aiohttp import web

from actors.billing.events import normalise
from actors.billing.projection import ARCHIVED, Projector
from actors.billing.signature import examine, sign
from actors.kernel.clock import monotonic
from actors.kernel.mailbox import reject
from actors.store.codec import pack
from actors.store.records import Findings, Kind, LogEntry, NewEntry, Snapshot
from actors.store.store import SqliteStore
from benchmarks.load import bodies
from benchmarks.machine import machine
from tests.process.harness import ROOT, SECRET, TOKEN, RunningDaemon, keep_a_port, running, until

CONNECTIONS = 32
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SPEC = {"billing": {"tenants": [
    {"name": "acme", "token": TOKEN, "webhook_secrets": [SECRET], "rate_limit": {"per_second": 1e6, "burst": 1_000_000}}
]}}  # fmt: skip


def bare(port: int) -> None:
    """The limit: a handler that reads the body and answers."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhook/{token}", handle)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=lambda *_: None)


@contextmanager
def bare_handler() -> Iterator[tuple[int, int]]:
    """Port and pid of one in a process of its own."""
    with keep_a_port() as kept:
        port: int = kept.getsockname()[1]
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.ingest", "--bare", str(port)], cwd=ROOT)
        try:
            until(lambda: listens(port) or None)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait()


def listens(port: int) -> bool:
    """Whether someone accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def load(port: int, events: int, seed: int) -> dict[str, Any]:
    """One round from another process."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), f"/webhook/{TOKEN}", SECRET]
    done = subprocess.run(
        [*command, str(events), str(CONNECTIONS), str(seed)], cwd=ROOT, check=True, capture_output=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["statuses"] == {"200": events}, result
    assert result["broken"] == 0, result
    return result


def cpu_s(pid: int) -> dict[str, float]:
    """CPU seconds of the main thread and of the others together."""
    used = {"loop": 0.0, "threads": 0.0}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        used["loop" if task.name == str(pid) else "threads"] += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return used


def measured(pid: int, port: int, events: int, seed: int) -> dict[str, Any]:
    """One round, and the CPU it took per event in µs."""
    before = cpu_s(pid)
    result = load(port, events, seed)
    after = cpu_s(pid)
    return result | {f"{part}_us": (after[part] - before[part]) / events * 1e6 for part in before}


async def fill(folder: Path, events: int) -> None:
    """Store events as if they had been received, scored and found harmless."""
    store = SqliteStore(folder)
    store.name, store.mailbox = "store", reject(1024)
    await store.start()
    projector = Projector(await store.payer_key(), ARCHIVED)
    templates = [orjson.loads(body) for body in bodies(500, seed=999)]

    async def append(number: int) -> None:
        event_id = f"evt_0{number:024}"
        data = {**projector.project(templates[number % len(templates)]), "id": event_id}
        await store.append(NewEntry(Kind.EVENT, "acme", number, data, event_id))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        for first in range(0, events, 256):
            await asyncio.gather(*(append(number) for number in range(first, min(events, first + 256))))
        await store.commit_findings(Findings(cursor=events, snapshot=Snapshot(events, {})))
        tasks.cancel_scope.cancel()
    await store.stop()


def parts() -> list[tuple[str, float]]:
    """What the pure functions on the way cost alone, in µs an event."""
    sample = list(bodies(200, seed=7))
    now = 1_790_000_000_000_000
    signatures = [sign(body, SECRET.encode(), now) for body in sample]
    events = [orjson.loads(body) for body in sample]
    projector = Projector(b"k" * 32, ARCHIVED)
    projections = [projector.project(event) for event in events]
    entries = [LogEntry(seq, Kind.EVENT, "acme", now, data) for seq, data in enumerate(projections)]
    secrets = (SECRET.encode(),)
    return [
        ("verify the signature", each(lambda n: examine(signatures[n], sample[n], secrets, now))),
        ("parse", each(lambda n: orjson.loads(sample[n]))),
        ("project", each(lambda n: projector.project(events[n]))),
        ("deflate (writer thread)", each(lambda n: pack(projections[n], None))),
        ("read the facts", each(lambda n: normalise(entries[n].data, now))),
    ]


def each(work: Callable[[int], object]) -> float:
    """The best of five rounds over 200 samples, in µs a call."""
    rounds = []
    for _ in range(5):
        began = monotonic()
        for number in range(200):
            work(number)
        rounds.append((monotonic() - began) / 200 * 1e6)
    return min(rounds)


def lag_s(daemon: RunningDaemon) -> float:
    """How long after the last answer everything is scored."""
    began = monotonic()
    until(lambda: daemon.get("/status")["events"]["lag"] == 0 or None)
    return monotonic() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="per round (20000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stored", type=int, default=0, help="events in the database before the first round (0)")
    parser.add_argument("--bare", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        bare(arguments.bare)
        return
    limit, ours, lags = [], [], []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), SPEC, start=False) as daemon:
        if arguments.stored:
            data = Path(folder, "data")
            data.mkdir()
            asyncio.run(fill(data, arguments.stored))
        daemon.start()
        assert daemon.process is not None
        with bare_handler() as (port, pid):
            for seed in range(1, arguments.rounds + 1):
                limit.append(measured(pid, port, arguments.events, seed))
                ours.append(measured(daemon.process.pid, daemon.port, arguments.events, seed))
                lags.append(lag_s(daemon))
        stored = daemon.get("/status")["events"]["stored"]
    show(limit, ours, lags, stored)


def show(limit: list[dict[str, Any]], ours: list[dict[str, Any]], lags: list[float], stored: int) -> None:
    """Medians over the rounds."""

    def of(rounds: list[dict[str, Any]], key: str) -> float:
        return median(float(one[key]) for one in rounds)

    print(machine())
    print(
        f"{ours[0]['mean_bytes']} bytes an event, {CONNECTIONS} connections, {len(ours)} rounds, {stored:,} at the end"
    )
    print(f"{'':<34}{'bare handler':>14}{'nightdesk':>12}{'ratio':>8}{'budget':>9}")
    reached, possible = of(ours, "per_s"), of(limit, "per_s")
    print(f"{'acknowledged a second':<34}{possible:>14,.0f}{reached:>12,.0f}{reached / possible:>8.2f}{'0.30':>9}")
    for name, key in (("p50, ms", "p50_ms"), ("p99, ms", "p99_ms"), ("CPU of the loop, µs an event", "loop_us")):
        print(f"{name:<34}{of(limit, key):>14.1f}{of(ours, key):>12.1f}")
    print(f"{'CPU of the writer, µs an event':<34}{'':>14}{of(ours, 'threads_us'):>12.1f}")
    print(f"{'scored after the last answer, s':<34}{'':>14}{max(lags):>12.2f}{'':>8}{'1.00':>9}")
    print("\nwhere it goes, measured alone:")
    for name, cost in parts():
        print(f"  {name:<32}{cost:>14.1f} µs")


if __name__ == "__main__":
    main()
