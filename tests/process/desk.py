"""The real daemon trades through the real alpaca-py on the simulated exchange's server, a thread of the test."""

import asyncio
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from actors.kernel.clock import WallClock
from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.generator import Synthetic
from actors.simulated.exchange.paper import PaperExchange
from actors.simulated.exchange.server import KEY_ID, SECRET_KEY, ExchangeServer
from actors.simulated.exchange.venue import Venue
from actors.trading.ports import Order, OrderReport
from tests.patience import PATIENCE_S
from tests.process.at_another_time import OtherClock
from tests.process.harness import RunningDaemon, running

OPEN = 1_790_602_200_000_000  # Monday 2026-09-28, 09:30 in New York
SPEED = 60.0
SYMBOLS = ("AAPL", "MSFT", "SPY")
RESTLESS = '''
import numpy as np
from strategies.base import Signals, Strategy


class Restless(Strategy):
    """Buys whatever it does not hold and sells whatever it does, every minute."""

    timeframe = "1m"

    def step(self, bars):
        always = np.ones(bars.close.shape, bool)
        return Signals(enter=always, leave=always, score=bars.close)
'''


class Mischief(FaultPlan):
    """Knows what has struck. What is planned strikes until it is `calm`."""

    def __init__(self, names: Collection[str] = (), seed: int = 0) -> None:
        super().__init__(names, seed)
        self.struck: set[str] = set()
        self.calm = False

    def holds(self, name: str) -> bool:
        found = name in self._forced if self.calm else super().holds(name)
        if found:
            self.struck.add(name)
        return found


class Exchange:
    """The server, its faults, and what was sent to it. `taken` is called in its thread whenever it took an order."""

    account: PaperExchange

    def __init__(self, faults: Mischief | None = None, speed: float = SPEED) -> None:
        self.began_s, self.speed = WallClock().now() / 1_000_000, speed
        self.faults = faults or Mischief()
        self.posts: list[str] = []
        self.taken: Callable[[], None] = lambda: None
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        async def serve() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            clock = OtherClock(self.began_s, OPEN, self.speed)
            venue = Venue(Synthetic(SYMBOLS, seed=5), clock, faults=self.faults)
            server = ExchangeServer(venue, clock, speed=self.speed, per_minute=100_000)
            self.account = server.exchange
            submit = server.exchange.submit

            def taking(order: Order, at: int) -> OrderReport:
                self.posts.append(order.client_order_id)
                report = submit(order, at)
                self.taken()
                return report

            server.exchange.submit = taking  # type: ignore[method-assign]
            with suppress(asyncio.CancelledError):
                await server.run(self._sock, self._ready.set)

        asyncio.run(serve())

    def holdings(self) -> dict[str, float]:
        """What it says that the account holds."""
        return {held.symbol: held.quantity for held in self.account.holdings()}

    @contextmanager
    def open(self) -> Iterator["Exchange"]:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._task.cancel)  # type: ignore[union-attr]
            self._thread.join()


@contextmanager
def trading(folder: Path, address: str, **changes: Any) -> Iterator[RunningDaemon]:
    """A daemon that trades there; not started yet, and gone afterwards."""
    own = folder / "own"
    own.mkdir()
    (own / "restless.py").write_text(RESTLESS)
    settings: dict[str, Any] = {
        "enabled": True,
        "key_id": KEY_ID,
        "secret_key": SECRET_KEY,
        "base_url": f"http://{address}",
        "data_url": f"http://{address}",
        "stream_url": f"ws://{address}",
        "capital_per_strategy": 20_000,
        "universe": {"symbols": list(SYMBOLS)},
        "strategies_dir": str(own),
        "strategies": ["restless"],
        "risk": {"max_orders_per_minute": 1000},
    }
    with running(folder, {"trading": settings | changes}, start=False) as daemon:
        yield daemon
