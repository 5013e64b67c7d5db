"""Nanoseconds from sender to reader: our mailboxes beside asyncio.Queue and an anyio memory stream, in one run.

One sender and one reader pass MESSAGES integers through a queue of 1024. The best of ROUNDS counts, as the noise of a
shared machine only ever adds. Run with: python -m benchmarks.mailbox
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio

from actors.kernel.actor import Actor
from actors.kernel.mailbox import Mailbox, block, conflate, drop_oldest, reject
from benchmarks.machine import machine

MESSAGES = 200_000
CAPACITY = 1024
ROUNDS = 5

Sender = Callable[[], Awaitable[None]]
Reader = Callable[[], Awaitable[None]]


def ours(mailbox: Mailbox[Any], *, put: bool = False, limit: int = 64) -> tuple[Sender, Reader]:
    """Our mailbox, told with back-pressure (put) or without waiting (offer); None is the last message."""

    async def send_by_put() -> None:
        for number in range(MESSAGES):
            await mailbox.put(number)
        await mailbox.put(None)

    async def send_by_offer() -> None:
        for number in range(MESSAGES):
            while not mailbox.offer(number):  # noqa: ASYNC110 - the bare loop is what is measured
                await asyncio.sleep(0)  # noqa: TID251 - a yield of the bare loop, which is part of the figure
        while not mailbox.offer(None):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)  # noqa: TID251 - as above

    async def read() -> None:
        while (await mailbox.take(limit))[-1] is not None:
            pass

    return (send_by_put if put else send_by_offer), read


class Sink(Actor[Any]):
    """Does nothing with what it receives; the whole way of a message to an actor."""

    async def receive(self, message: Any) -> None:
        """Until the last one."""
        if message is None:
            raise EOFError


def actor() -> tuple[Sender, Reader]:
    """From a teller's `put` to the end of `receive`, the turn accounted for."""
    sink = Sink()
    sink.mailbox = block(CAPACITY)
    send, _ = ours(sink.mailbox, put=True)

    async def read() -> None:
        with suppress(EOFError):
            await sink.run()

    return send, read


def asyncio_queue() -> tuple[Sender, Reader]:
    """The standard library's."""
    queue: asyncio.Queue[int] = asyncio.Queue(CAPACITY)

    async def send() -> None:
        for number in range(MESSAGES):
            await queue.put(number)

    async def read() -> None:
        for _ in range(MESSAGES):
            await queue.get()

    return send, read


def anyio_stream() -> tuple[Sender, Reader]:
    """The one anyio users reach for."""
    writer, reader = anyio.create_memory_object_stream[int](CAPACITY)

    async def send() -> None:
        with writer:
            for number in range(MESSAGES):
                await writer.send(number)

    async def read() -> None:
        with reader:
            for _ in range(MESSAGES):
                await reader.receive()

    return send, read


CASES: dict[str, Callable[[], tuple[Sender, Reader]]] = {
    "mailbox, put, take(64)": lambda: ours(block(CAPACITY), put=True),
    "mailbox, offer, take(64)": lambda: ours(reject(CAPACITY)),
    "mailbox, offer, take(1)": lambda: ours(reject(CAPACITY), limit=1),
    "mailbox, drop-oldest, overrun": lambda: ours(drop_oldest(CAPACITY)),
    "mailbox, conflate, 500 keys": lambda: ours(conflate(CAPACITY, key=lambda number: number and number % 500)),
    "actor, put to receive": actor,
    "asyncio.Queue": asyncio_queue,
    "anyio memory stream": anyio_stream,
}


async def hop_ns(case: Callable[[], tuple[Sender, Reader]]) -> float:
    """Nanoseconds of processor time a message, sending and taking together."""
    send, read = case()
    # Processor time: what the neighbours on a shared machine take does not count.
    began = time.process_time_ns()
    await asyncio.gather(send(), read())
    return (time.process_time_ns() - began) / MESSAGES


def main() -> None:
    """Measure everything in turn, several times, and print one table."""
    best = dict.fromkeys(CASES, float("inf"))
    for _ in range(ROUNDS):
        for name, case in CASES.items():
            best[name] = min(best[name], asyncio.run(hop_ns(case)))
    queue = best["asyncio.Queue"]
    print(f"{machine()}; {MESSAGES:,} messages, capacity {CAPACITY}, best of {ROUNDS}")
    print(f"{'':32}{'ns per hop':>12}{'of asyncio.Queue':>18}")
    for name, nanoseconds in best.items():
        print(f"{name:32}{nanoseconds:12.0f}{nanoseconds / queue:18.2f}")


if __name__ == "__main__":
    main()
