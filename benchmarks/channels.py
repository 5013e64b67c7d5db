"""A thousand incidents over five channels: all healthy, then with one that hangs and one that answers 429.

python -m benchmarks.channels [--incidents 1000] [--per-second 100] [--rounds 3]

The real daemon; each incident is a customer charged twice. Says when the healthy channels had all of theirs, how long
it took from the acknowledgement of an event to the arrival of its notification, and what the webhook path paid for it.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import anyio
from aiohttp import web

from actors.kernel.clock import io_sleep, monotonic
from benchmarks.machine import machine, percentile
from tests.process.harness import TOKEN, RunningDaemon, charge, running, signed

CHANNELS = ("first", "second", "third", "fourth", "fifth")
BAD = {"fourth": "hangs", "fifth": "answers 429"}
PATIENCE_S = 60.0


class Sinks:
    """Five endpoints; the time at which each was told of each customer's incident."""

    def __init__(self, *, broken: bool) -> None:
        self.broken = broken
        self.opened: dict[str, dict[str, float]] = {name: {} for name in CHANNELS}
        self.url = ""
        self.over = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        """As the channel named in the path behaves."""
        name = request.match_info["channel"]
        body = json.loads(await request.read())
        if self.broken and BAD.get(name) == "hangs":
            await self.over.wait()
        if self.broken and BAD.get(name) == "answers 429":
            return web.Response(status=429, headers={"Retry-After": "1"})
        if body["signal"] == "duplicate_charge":
            self.opened[name].setdefault(body["scope"], monotonic())
        return web.Response()

    @property
    def healthy(self) -> list[str]:
        """Those that work in this round."""
        return [name for name in CHANNELS if not (self.broken and name in BAD)]


@asynccontextmanager
async def listening(sinks: Sinks) -> AsyncIterator[None]:
    """All five on one port."""
    app = web.Application()
    app.router.add_post("/{channel}", sinks.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sinks.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        sinks.over.set()
        await runner.cleanup()


async def deliver(port: int, incidents: int, per_second: float) -> tuple[list[float], dict[str, float]]:
    """Two charges a customer, each at its own time. Returns waits in ms, and when each customer was acknowledged."""
    waits_ms: list[float] = []
    acknowledged: dict[str, float] = {}
    customers = [f"cus_{number // 2:05d}" for number in range(2 * incidents)]
    events = [charge(customer=customer, amount=2900) for customer in customers]
    began = monotonic()

    async def send(session: aiohttp.ClientSession, number: int) -> None:
        body = json.dumps(events[number]).encode()
        await io_sleep(began + number / per_second - monotonic())
        sent = monotonic()
        async with session.post(f"http://127.0.0.1:{port}/webhook/{TOKEN}", data=body, headers=signed(body)) as answer:
            assert answer.status == 200, answer.status
        acknowledged[customers[number]] = monotonic()
        waits_ms.append((monotonic() - sent) * 1000)

    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(connector=connector) as session, anyio.create_task_group() as tasks:
        for number in range(len(events)):
            tasks.start_soon(send, session, number)
    return waits_ms, acknowledged


async def arrived(sinks: Sinks, incidents: int) -> float:
    """When the last healthy channel had its last incident."""
    with anyio.fail_after(PATIENCE_S):
        while any(len(sinks.opened[name]) < incidents for name in sinks.healthy):
            await io_sleep(0.02)
    return max(max(sinks.opened[name].values()) for name in sinks.healthy)


async def measured(daemon: RunningDaemon, sinks: Sinks, incidents: int, per_second: float) -> dict[str, float]:
    """The figures of one round, by their names in the table."""
    waits_ms, acknowledged = await deliver(daemon.port, incidents, per_second)
    last_s = await arrived(sinks, incidents) - max(acknowledged.values())
    handed_ms = [
        (at - acknowledged[customer]) * 1000 for name in sinks.healthy for customer, at in sinks.opened[name].items()
    ]
    return {
        "all told, s after the last acknowledgement": last_s,
        "acknowledged to arrived, p50 ms": percentile(handed_ms, 0.5),
        "acknowledged to arrived, p99 ms": percentile(handed_ms, 0.99),
        "webhook path, p50 ms": percentile(waits_ms, 0.5),
        "webhook path, p99 ms": percentile(waits_ms, 0.99),
    }


async def round_of(incidents: int, per_second: float, *, broken: bool) -> dict[str, float]:
    """A daemon of its own for each round."""
    sinks = Sinks(broken=broken)
    async with listening(sinks):
        channels: list[dict[str, Any]] = [
            {"name": name, "type": "webhook", "url": f"{sinks.url}/{name}"} for name in CHANNELS
        ]
        settings = {"alerts": {"channels": channels}}
        with tempfile.TemporaryDirectory() as folder, running(Path(folder), settings, start=False) as daemon:
            # In a thread: READY is waited for, and the sinks must go on.
            await anyio.to_thread.run_sync(daemon.start)
            return await measured(daemon, sinks, incidents, per_second)


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=1000)
    parser.add_argument("--per-second", type=float, default=100.0, help="events delivered in a second (100)")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(arguments.rounds):
        for broken, figures in rounds.items():
            figures.append(await round_of(arguments.incidents, arguments.per_second, broken=broken))
    print(machine())
    print(f"{arguments.incidents} incidents at {arguments.per_second:.0f} events a second, five webhook channels,")
    print(f"medians of {arguments.rounds} rounds that took turns")
    print(f"{'':<46}{'all healthy':>12}{'two broken':>12}{'ratio':>8}")
    for name in rounds[False][0]:
        healthy, with_broken = (median(figures[name] for figures in rounds[broken]) for broken in (False, True))
        print(f"{name:<46}{healthy:>12.2f}{with_broken:>12.2f}{with_broken / healthy:>8.2f}")


if __name__ == "__main__":
    asyncio.run(main())
