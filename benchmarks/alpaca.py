"""What the ports to Alpaca cost, idle and under every fault: memory, threads, open files, processor.

python -m benchmarks.alpaca [--minutes 10]

The simulated exchange runs in a process of its own, half a minute of it in a second; the ports, the feed and its store
are in this one. First ten seconds without a fault and without a message, then all faults at once for so many minutes.
The last line says whether anything grew: each figure at the end over the same a fifth of the way through.
"""

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import process_time
from typing import NamedTuple

import anyio
import structlog

from actors.kernel.clock import ScaledClock, io_sleep, monotonic
from actors.kernel.mailbox import Drained, reject
from actors.simulated.exchange.faults import FAULTS
from actors.simulated.exchange.server import KEY_ID, SECRET_KEY
from actors.simulated.exchange.wire import micros
from actors.store.store import SqliteStore
from actors.trading.alpaca.broker import AlpacaBroker
from actors.trading.alpaca.market import AlpacaMarket
from actors.trading.alpaca.sdk import Keys
from actors.trading.feed import Feed, feed_box
from actors.trading.ports import Refused
from actors.trading.quotes import QuoteBoard
from benchmarks.machine import machine

SPEED = 30
SYMBOLS = ("AAPL", "AMD", "AMZN", "GOOGL", "JPM", "META", "MSFT", "NVDA", "SPY", "TSLA")
SAMPLES = 10


class Cost(NamedTuple):
    """Of this process."""

    megabytes: float
    threads: int
    files: int
    cpu: float  # of one core, since the last sample


def cost(since: tuple[float, float]) -> Cost:
    """`since`: processor and wall seconds at the last sample."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(list(Path("/proc/self/fd").iterdir()))
    cpu = (process_time() - since[0]) / max(monotonic() - since[1], 1e-9)
    return Cost(pages * 4096 / 1e6, threading.active_count(), files, cpu)


@asynccontextmanager
async def exchange(speed: float, faults: str) -> AsyncIterator[tuple[str, ScaledClock]]:
    """Its address and its time."""
    command = [sys.executable, "-m", "daemon", "exchange", "--port", "0", "--speed", str(speed), "--faults", faults]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        said = dict[str, str]()
        while "faults" not in said:
            name, _, value = (await process.stdout.readline()).decode().strip().partition("  ")
            said[name] = value.strip()
        clock = ScaledClock(micros(said["time there"].partition(",")[0]), speed)
        clock.now()
        yield said["trading and data"].removeprefix("http://"), clock
    finally:
        process.kill()
        await process.communicate()


@asynccontextmanager
async def listening(address: str, clock: ScaledClock, folder: Path) -> AsyncIterator[None]:
    """The feed, its store, and the stream of order updates."""
    keys = Keys(KEY_ID, SECRET_KEY)
    broker = AlpacaBroker(keys, f"http://{address}")
    market = AlpacaMarket(keys, "iex", clock, broker.host, data_url=f"http://{address}", stream_url=f"ws://{address}")
    store = SqliteStore(folder)
    store.name, store.mailbox = "store", reject(1024)
    await store.start()

    async def feed() -> None:
        while True:  # as its supervisor would: an exchange that refuses the keys at the start ends it
            one = Feed(market, store, clock, QuoteBoard(), SYMBOLS, lambda: None)
            one.name, one.mailbox = "feed", feed_box()
            await one.start()
            with suppress(Refused):
                await one.run()
            await io_sleep(1)

    async def updates() -> None:
        while True:
            with suppress(Refused):
                await broker.run(lambda _: None)
            await io_sleep(1)

    async def keeping() -> None:
        with suppress(Drained):
            await store.run()

    async with anyio.create_task_group() as tasks:
        for part in (keeping, feed, updates):
            tasks.start_soon(part)
        yield
        tasks.cancel_scope.cancel()
    await store.stop()
    market.close()
    broker.close()


async def sampled(seconds: float) -> Cost:
    """What the next so many seconds cost."""
    since = process_time(), monotonic()
    await io_sleep(seconds)
    return cost(since)


def told(name: str, one: Cost) -> None:
    """A line of the table."""
    print(f"{name:<16} {one.megabytes:6.1f} MB  {one.threads:3} threads  {one.files:3} files  {one.cpu:6.1%} of a core")


async def run(minutes: float) -> None:
    """Idle, then everything at once."""
    with tempfile.TemporaryDirectory() as folder:
        async with exchange(1, "") as (address, clock), listening(address, clock, Path(folder) / "idle"):
            await io_sleep(8)
            told("idle", await sampled(10))
        samples: list[Cost] = []
        faults = ",".join(name for name in FAULTS if name != "half-day")
        async with exchange(SPEED, faults) as (address, clock), listening(address, clock, Path(folder) / "busy"):
            for _ in range(SAMPLES):
                samples.append(await sampled(minutes * 60 / SAMPLES))
                told("every fault", samples[-1])
    first, last = samples[SAMPLES // 5 - 1], samples[-1]
    ratios = ", ".join(f"{name} {getattr(last, name) / getattr(first, name):.2f}" for name in Cost._fields[:3])
    print(f"at the end over a fifth of the way through: {ratios}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    print(machine())
    asyncio.run(run(parser.parse_args().minutes))


if __name__ == "__main__":
    main()
