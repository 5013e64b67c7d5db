"""The simulated exchange on a real port, and plain clients that speak Alpaca's protocols without Alpaca's library."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import anyio

from actors.kernel.clock import Clock, io_sleep
from actors.simulated.exchange import wire
from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.generator import Synthetic
from actors.simulated.exchange.server import KEY_ID, SECRET_KEY, ExchangeServer
from actors.simulated.exchange.tape import Tape
from actors.simulated.exchange.venue import Venue
from tests.patience import PATIENCE_S, PatientClock

OPEN = wire.micros("2026-11-20T14:30:00Z")
FAST = 600.0  # a minute there is a tenth of a second here
HEADERS = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": SECRET_KEY}


@dataclass
class Reply:
    status: int
    body: Any
    headers: dict[str, str]


class Stream:
    """A websocket of which one message is read after the other."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._batch: list[dict[str, Any]] = []

    async def say(self, **message: Any) -> Self:
        await self.socket.send_json(message)
        return self

    async def next(self) -> dict[str, Any]:
        """The next message; raises ConnectionError at the end."""
        if not self._batch:
            with anyio.fail_after(PATIENCE_S):
                said = await self.socket.receive()
            if said.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                raise ConnectionError(said.type)
            messages = said.json()
            self._batch = messages if isinstance(messages, list) else [messages]
        return self._batch.pop(0)

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while not wanted(message := await self.next()):
            pass
        return message

    async def is_silent(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self.socket.receive()
            return False
        return True


class Floor:
    """A running exchange."""

    def __init__(self, server: ExchangeServer, clock: Clock, port: int, http: aiohttp.ClientSession) -> None:
        self.server, self.clock, self.faults = server, clock, server.faults
        self.address = f"127.0.0.1:{port}"
        self.http = http

    async def ask(self, method: str, path: str, headers: dict[str, str] = HEADERS, **options: Any) -> Reply:
        async with self.http.request(method, f"http://{self.address}/v2{path}", headers=headers, **options) as answer:
            body = await answer.json(content_type=None) if answer.status != 204 else None
            return Reply(answer.status, body, dict(answer.headers))

    async def get(self, path: str, **params: Any) -> Reply:
        return await self.ask("GET", path, params=params)

    async def order(self, identity: str, symbol: str = "AAPL", side: str = "buy", **amount: Any) -> Reply:
        """A market order, by default for a thousand dollars."""
        body = {"symbol": symbol, "side": side, "type": "market", "time_in_force": "day", "client_order_id": identity}
        return await self.ask("POST", "/orders", json=body | (amount or {"notional": "1000"}))

    @asynccontextmanager
    async def connected(self, path: str, **options: Any) -> AsyncIterator[Stream]:
        async with self.http.ws_connect(f"ws://{self.address}{path}", **options) as websocket:
            yield Stream(websocket)

    @asynccontextmanager
    async def data(self, **channels: list[str]) -> AsyncIterator[Stream]:
        """A stream of market data that is authenticated and subscribed."""
        async with self.connected("/v2/iex") as stream:
            await stream.say(action="auth", key=KEY_ID, secret=SECRET_KEY)
            await stream.say(action="subscribe", **channels)
            await stream.until(lambda message: message["T"] == "subscription")
            yield stream

    @asynccontextmanager
    async def updates(self) -> AsyncIterator[Stream]:
        """A stream of order updates that is authenticated and listening."""
        async with self.connected("/stream") as stream:
            await stream.say(action="authenticate", data={"key_id": KEY_ID, "secret_key": SECRET_KEY})
            await stream.say(action="listen", data={"streams": ["trade_updates"]})
            await stream.until(lambda message: message["stream"] == "listening")
            yield stream

    async def at(self, time: int) -> None:
        """Wait until the exchange's time."""
        await self.clock.sleep_until(time)


@asynccontextmanager
async def exchange_floor(
    *names: str, speed: float = FAST, start: int = OPEN, tape: Tape | None = None, **options: Any
) -> AsyncIterator[Floor]:
    """An exchange that is open since `start`, on which these faults hold always."""
    plan = FaultPlan()
    for name in names:
        plan.force(name)
    clock = PatientClock(start, speed)
    server = ExchangeServer(Venue(tape or Synthetic(seed=3), clock, seed=3, faults=plan), clock, **options)
    ready = anyio.Event()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as http:
            tasks.start_soon(server.run, sock, ready.set)
            await ready.wait()
            while start >= OPEN and server.exchange.price("AAPL") is None:
                await io_sleep(0.001)
            yield Floor(server, clock, port, http)
            tasks.cancel_scope.cancel()
