"""What clients do to the exchange, and its own faults, leave nothing behind."""

import asyncio
import gc
import threading
from contextlib import suppress
from pathlib import Path

import aiohttp
import anyio

from actors.kernel.clock import io_sleep
from actors.simulated.exchange.server import KEY_ID, SECRET_KEY
from tests.simulated.exchange_rig import Floor, exchange_floor

STORMS = ("deaf", "406", "auth-refused", "restart", "429", "429-bare")


def held() -> tuple[int, int, int]:
    """Open files, threads, tasks."""
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir()), threading.active_count(), len(asyncio.all_tasks())


async def misbehave(floor: Floor, number: int) -> None:
    """Everything a client does in a bad night: connects, is cut off, gives up waiting, goes without a word."""
    with suppress(ConnectionError, aiohttp.ClientError, TimeoutError):
        async with floor.connected("/v2/iex") as stream:
            await stream.say(action="auth", key=KEY_ID, secret=SECRET_KEY)
            await stream.say(action="subscribe", bars=["*"], quotes=["*"])
            with anyio.move_on_after(0.02):
                await stream.until(lambda _: False)
    with suppress(ConnectionError, aiohttp.ClientError):
        async with floor.connected("/stream") as stream:
            await stream.say(action="authenticate", data={"key_id": KEY_ID, "secret_key": SECRET_KEY})
            await stream.say(action="listen", data={"streams": ["trade_updates"]})
            with suppress(aiohttp.ClientError):
                await floor.order(f"o{number}", notional="10")
    with suppress(TimeoutError, aiohttp.ClientError):
        floor.faults.force("stalled")
        await floor.ask("GET", "/account", timeout=aiohttp.ClientTimeout(0.02))
    floor.faults.lift("stalled")


async def storm(floor: Floor, nights: int, since: int) -> None:
    for number in range(nights):
        name = STORMS[number % len(STORMS)]
        floor.faults.force(name)
        await misbehave(floor, since + number)
        floor.faults.lift(name)


async def test_storms_leave_no_socket_no_thread_and_no_task_behind() -> None:
    async with exchange_floor(per_minute=1_000_000) as floor:
        await storm(floor, 12, 0)
        before = held()
        await storm(floor, 60, 100)
        await io_sleep(0.5)
        after = held()
        assert all(now <= then + 2 for then, now in zip(before, after, strict=True)), (before, after)
