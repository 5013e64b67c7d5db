"""The gate as strangers meet it: a real listener on a real port in front of the real store."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from actors.billing.listener import Listener, bind
from actors.billing.signature import sign
from actors.billing.webhook import Archive, Gate, Tenant
from actors.kernel.clock import SECOND, Clock, WallClock, chance
from actors.kernel.mailbox import Mailbox, reject
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Restart, Strategy, child, supervisor
from actors.store.records import EventRow, LogEntry
from actors.store.store import SqliteStore

SECRET = b"whsec_acme"
ACME = Tenant("acme", "acme-token-1", (SECRET,))
BETA = Tenant("beta", "beta-token-1", (b"whsec_beta",))


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str


class Gatehouse:
    """One running gate, and someone who knocks."""

    def __init__(self, store: SqliteStore, gate: Gate, clock: Clock, port: int, client: aiohttp.ClientSession) -> None:
        self.store, self.gate, self.clock, self.port, self.client = store, gate, clock, port, client
        self.bare: list[asyncio.StreamWriter] = []

    async def post(
        self,
        event: Any = None,
        *,
        body: bytes | None = None,
        path: str = "/webhook/acme-token-1",
        secret: bytes = SECRET,
        age_s: int = 0,
        signature: str | None = None,
        method: str = "POST",
    ) -> Reply:
        """Deliver an event, or a body as it is, signed as Stripe would."""
        if body is None:
            body = json.dumps(event).encode()
        if signature is None:
            signature = sign(body, secret, self.clock.now() - age_s * SECOND)
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json; charset=utf-8"}
        async with self.client.request(
            method, f"http://127.0.0.1:{self.port}{path}", data=io.BytesIO(body), headers=headers
        ) as response:
            return Reply(response.status, dict(response.headers), await response.text())

    async def stored(self) -> list[EventRow]:
        """What is in the store."""
        return await self.store.events(tenant=None, since=None, after=0, limit=10_000)

    async def logged(self) -> list[LogEntry]:
        """What the log says."""
        return await self.store.read_log(0, 10_000)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.bare.append(writer)
        return reader, writer


def charge(event_id: str = "evt_1", **changes: Any) -> dict[str, Any]:
    subject = {"id": "ch_1", "object": "charge", "amount": 1900, "currency": "usd", "customer": "cus_1"}
    return {"id": event_id, "object": "event", "type": "charge.succeeded", "created": 1_790_000_000} | {
        "data": {"object": subject | changes}
    }


@asynccontextmanager
async def gatehouse(
    folder: Path,
    *tenants: Tenant,
    clock: Clock | None = None,
    archive: Archive = "redacted",
    room: Callable[[], Mailbox[Any]] = lambda: reject(1024),
) -> AsyncIterator[Gatehouse]:
    clock = clock or WallClock()
    store = SqliteStore(folder, ballast_bytes=1 << 16)
    gate = Gate(store, clock, tenants or (ACME, BETA), archive=archive)
    with bind("127.0.0.1", 0) as socket:
        tree = supervisor(
            "house",
            Strategy.ONE_FOR_ONE,
            child("store", lambda: store, mailbox=room(), restart=Restart.NEVER, stop_s=10),
            child("listener", lambda: Listener(gate, [socket]), stop_s=5),
        )
        host = Supervisor(tree, clock=clock, rng=chance(1))
        async with aiohttp.ClientSession() as client:
            # A task, not a task group: a fixture may end in another task than it began in.
            running = asyncio.get_running_loop().create_task(host.run())
            await asyncio.wait(
                {running, asyncio.get_running_loop().create_task(host.ready.wait())}, return_when="FIRST_COMPLETED"
            )
            house = Gatehouse(store, gate, clock, socket.getsockname()[1], client)
            try:
                yield house
            finally:
                for writer in house.bare:
                    writer.close()
                await client.close()
                host.stop()
                await running
