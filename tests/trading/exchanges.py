"""The same market and account behind both of the desk's ports: in the process, and over Alpaca's protocols."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from actors.kernel.clock import Clock, io_sleep
from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.generator import Synthetic
from actors.simulated.exchange.paper import PaperExchange
from actors.simulated.exchange.ports import SimulatedBroker, SimulatedMarket
from actors.simulated.exchange.server import KEY_ID, SECRET_KEY, ExchangeServer
from actors.simulated.exchange.ticker import Ticker
from actors.simulated.exchange.venue import Venue
from actors.trading.alpaca.broker import AlpacaBroker
from actors.trading.alpaca.line import Patience
from actors.trading.alpaca.market import AlpacaMarket
from actors.trading.alpaca.sdk import Keys
from actors.trading.ports import (
    Bar,
    BarSeen,
    Broker,
    BrokerMessage,
    Halted,
    Link,
    MarketData,
    MarketMessage,
    OrderUpdate,
)
from strategies.lab.costs import Costs
from strategies.sessions import MINUTE
from tests.patience import PATIENCE_S, PatientClock

OPEN = 1_790_602_200_000_000  # Monday 2026-09-28, 09:30 in New York
SYMBOLS = ("AAPL", "MSFT", "SPY")
SPEED = 480.0  # a minute of the exchange is an eighth of a second here
KEYS = Keys(KEY_ID, SECRET_KEY)
QUICK = Patience(handshake_s=2, first_s=0.1, longest_s=0.5, crowded_s=0.4, healthy_s=60, look_s=0.05)


@dataclass
class World:
    """An exchange that is open, and what was heard from it."""

    market: MarketData
    broker: Broker
    clock: Clock
    tape: Synthetic
    faults: FaultPlan
    urls: dict[str, str] = field(default_factory=dict)
    market_said: list[MarketMessage] = field(default_factory=list)
    broker_said: list[BrokerMessage] = field(default_factory=list)
    server: ExchangeServer | None = None

    async def until(self, happened: Callable[[], Any]) -> None:
        """Let time pass until it has."""
        with anyio.fail_after(PATIENCE_S):
            while not happened():
                await io_sleep(0.02)

    def bars(self, *, revised: bool = False) -> list[Bar]:
        """Those that were streamed so far."""
        return [one.bar for one in self.market_said if isinstance(one, BarSeen) and one.revised == revised]

    def links(self, *, broker: bool = False) -> list[Link]:
        said = self.broker_said if broker else self.market_said
        return [one for one in said if isinstance(one, Link)]

    def halts(self) -> list[Halted]:
        return [one for one in self.market_said if isinstance(one, Halted)]

    def updates(self, client_order_id: str) -> list[OrderUpdate]:
        return [
            one
            for one in self.broker_said
            if isinstance(one, OrderUpdate) and one.report.client_order_id == client_order_id
        ]

    async def listening(self) -> None:
        """Both streams are up, and prices are known."""
        await self.until(lambda: self.links() and self.links(broker=True) and len(self.market_said) > len(SYMBOLS) + 1)


@asynccontextmanager
async def inside(faults: FaultPlan) -> AsyncIterator[World]:
    clock, tape, costs = PatientClock(OPEN - MINUTE, SPEED), Synthetic(SYMBOLS, seed=1), Costs()
    exchange = PaperExchange(SYMBOLS, costs, faults=faults)
    market, broker = SimulatedMarket(tape, half_days=faults.holds("half-day")), SimulatedBroker(exchange, clock)
    ticker = Ticker(exchange, market, tape, costs, clock, faults)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ticker.play)
        yield World(market, broker, clock, tape, faults)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def over_alpaca(
    faults: FaultPlan,
    *,
    keys: Keys = KEYS,
    feed: str = "iex",
    silent_s: float = 90.0,
    deadline_s: float = PATIENCE_S,
    **server: Any,
) -> AsyncIterator[World]:
    clock, tape = PatientClock(OPEN - MINUTE, SPEED), Synthetic(SYMBOLS, seed=1)
    venue = Venue(tape, clock, costs=Costs(), faults=faults)
    exchange = ExchangeServer(venue, clock, **{"per_minute": 100_000} | server)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        host = f"127.0.0.1:{sock.getsockname()[1]}"
        async with anyio.create_task_group() as tasks:
            ready = anyio.Event()
            tasks.start_soon(exchange.run, sock, ready.set)
            await ready.wait()
            urls = {"data_url": f"http://{host}", "stream_url": f"ws://{host}", "base_url": f"http://{host}"}
            broker = AlpacaBroker(keys, urls["base_url"], deadline_s=deadline_s, patience=QUICK)
            market = AlpacaMarket(
                keys,
                feed,
                clock,
                broker.host,
                data_url=urls["data_url"],
                stream_url=urls["stream_url"],
                silent_s=silent_s,
                deadline_s=deadline_s,
                patience=QUICK,
            )
            yield World(market, broker, clock, tape, faults, urls, server=exchange)
            tasks.cancel_scope.cancel()
            market.close()
            broker.close()


WORLDS = {"in the process": inside, "over Alpaca's protocols": over_alpaca}


@asynccontextmanager
async def streaming(world: World) -> AsyncIterator[World]:
    """Both streams run while the block lasts, and are up when it begins."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.market.run, SYMBOLS, world.market_said.append)
        tasks.start_soon(world.broker.run, world.broker_said.append)
        await world.listening()
        yield world
        tasks.cancel_scope.cancel()


def minutes(bars: list[Bar]) -> set[int]:
    """After the open."""
    return {(bar.time - OPEN) // MINUTE for bar in bars}
