"""A process that posts signed charges over keep-alive connections as fast as they are answered.

python -m benchmarks.load PORT PATH SECRET EVENTS CONNECTIONS [SEED [TENANTS]]: prints one JSON object. With so many
tenants, {} in PATH is the number of the next of them.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator

import orjson

from actors.billing.signature import sign
from actors.kernel.clock import SECOND, WallClock, chance, monotonic
from actors.simulated import payloads
from actors.simulated.commerce import Charge, Customer, Ids
from benchmarks.machine import percentile

DECLINED = 0.05


def bodies(events: int, seed: int) -> Iterator[bytes]:
    """Charges of some 2.9 KB, each of another customer, one in twenty declined, with ids in the order of time."""
    rng = chance(seed)
    ids = Ids(rng)
    for number in range(events):
        now = WallClock().now() // SECOND
        who = Customer.new(ids, rng, now)
        decline = "insufficient_funds" if rng.random() < DECLINED else None
        amount = rng.choice((900, 1900, 2900, 4900, 9900)) + rng.randrange(100)
        one = Charge(f"ch_3{number:06}{seed}", f"pi_3{number:06}{seed}", who, amount, "usd", now, decline=decline)
        kind = "charge.failed" if decline else "charge.succeeded"
        event = payloads.event(f"evt_1{now:x}{seed}{number:010}", kind, now, who, payloads.charge(one))
        yield orjson.dumps(event, option=orjson.OPT_INDENT_2)


class Sender(asyncio.Protocol):
    """One connection, one request in flight."""

    def __init__(self, requests: Iterator[bytes], statuses: Counter[int], waits_ms: list[float]) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._requests, self._statuses, self._waits_ms = requests, statuses, waits_ms
        self._sent = 0.0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent = monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Once the answer is whole, send the next."""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        if end and len(body) >= length:
            self._waits_ms.append((monotonic() - self._sent) * 1000)
            self._statuses[int(head[9:12])] += 1
            self._answer = b""
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """All is sent, or the other side has gone."""
        self.done.set_result(exc)


async def load(
    port: int, path: str, secret: str, events: int, connections: int, seed: int = 1, tenants: int = 1
) -> dict[str, object]:
    """Everything is built and signed before the clock starts."""
    now = WallClock().now()
    head = f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json; charset=utf-8\r\n"
    prepared = []
    size = 0
    for number, body in enumerate(bodies(events, seed)):
        size += len(body)
        signature = sign(body, secret.encode(), now)
        line = f"POST {path.format(number % tenants)} {head}"
        prepared.append(f"{line}Stripe-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    requests = iter(prepared)
    statuses: Counter[int] = Counter()
    waits_ms: list[float] = []
    began = monotonic()
    senders = [
        (
            await asyncio.get_running_loop().create_connection(
                lambda: Sender(requests, statuses, waits_ms), "127.0.0.1", port
            )
        )[1]
        for _ in range(connections)
    ]
    broken = [error for error in await asyncio.gather(*(sender.done for sender in senders)) if error]
    seconds = monotonic() - began
    return {
        "per_s": statuses[200] / seconds,
        "p50_ms": percentile(waits_ms, 0.5),
        "p99_ms": percentile(waits_ms, 0.99),
        "statuses": statuses,
        "broken": len(broken),
        "mean_bytes": size // events,
    }


if __name__ == "__main__":
    port, path, secret, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(load(int(port), path, secret, *map(int, numbers)))))
