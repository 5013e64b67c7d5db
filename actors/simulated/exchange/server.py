"""The simulated exchange as a server that speaks Alpaca's protocols, for any client that takes other addresses.

REST below `/v2`, market data on `/v2/{feed}`, order updates on `/stream`, all on one port.
"""

import socket
from collections.abc import Awaitable, Callable

import anyio
from aiohttp import web

from actors.kernel.clock import Clock, WallClock, io_sleep, monotonic
from actors.simulated.exchange.data_rest import DataRest
from actors.simulated.exchange.data_stream import DataStream
from actors.simulated.exchange.faults import FAULTS, LASTING, REFUSALS
from actors.simulated.exchange.orders import Declined
from actors.simulated.exchange.trading_rest import TradingRest, answer, declined
from actors.simulated.exchange.update_stream import UpdateStream
from actors.simulated.exchange.venue import Venue

KEY_ID, SECRET_KEY = "PKSIMULATED", "simulated"
FEEDS = frozenset({"iex", "test"})
"""What the account has subscribed to: the free plan."""
REQUESTS_PER_MINUTE = 200
RETRY_AFTER_S = 2
LOOK_AT_FAULTS_S = 0.2

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RateLimit:
    """So many requests a minute; the allowance comes back evenly."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._at = monotonic()

    def take(self) -> bool:
        """Whether one more request is allowed."""
        now = monotonic()
        self._left = min(self._left + (now - self._at) * self.per_minute / 60, float(self.per_minute))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def headers(self) -> dict[str, str]:
        """How much is left, and when (unix seconds) all of it will be."""
        full_in_s = (self.per_minute - self._left) * 60 / self.per_minute
        return {
            "X-RateLimit-Limit": str(self.per_minute),
            "X-RateLimit-Remaining": str(int(self._left)),
            "X-RateLimit-Reset": str(int(WallClock().now() / 1_000_000 + full_in_s) + 1),
        }


class ExchangeServer:
    """Puts a venue's market and account on the wire, as Alpaca does."""

    def __init__(
        self,
        venue: Venue,
        clock: Clock,
        *,
        speed: float = 1.0,
        per_minute: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`say` is told when a spell of something begins and ends.

        `speed`: how many times as fast as life `clock` runs; its minutes are those of the rate limit.
        """
        self.faults, self.exchange = venue.faults, venue.exchange
        self._venue = venue
        self._symbols = venue.symbols
        keys = {KEY_ID: SECRET_KEY}
        self._data = DataStream(keys, FEEDS, self.faults)
        self._updates = UpdateStream(self.exchange, keys, self.faults, clock.now)
        self._rest = TradingRest(self.exchange, venue.market, self._symbols, clock, speed, self.faults)
        self._history = DataRest(venue.market, clock, FEEDS)
        self._limit = RateLimit(per_minute or round(REQUESTS_PER_MINUTE * max(1.0, speed)))
        self._say = say
        self._streams = frozenset({"/stream", *(f"/v2/{feed}" for feed in ("iex", "sip", "delayed_sip", "test"))})

    async def run(self, sock: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
        """Serve on a bound socket, and play the tape, until cancelled."""
        app = web.Application(middlewares=[self._faulty, self._known, self._in_words])
        for part in (self._data, self._updates, self._history, self._rest):
            app.add_routes(part.routes())
        # A request whose client has gone is given up, also one that is stalled.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.SockSite(runner, sock).start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._venue.market.run, self._symbols, self._data.sink)
                tasks.start_soon(self._venue.broker.run, self._updates.sink)
                tasks.start_soon(self._venue.play)
                tasks.start_soon(self._cast_spells)
                ready()
        finally:
            with anyio.CancelScope(shield=True):
                await self._drop()
                await runner.cleanup()

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    async def _cast_spells(self) -> None:
        """Spells strike also who is connected already."""
        spells: set[str] = set()
        while True:
            await io_sleep(LOOK_AT_FAULTS_S)
            self._updates.let_through()
            now = {name for name in LASTING if self.faults.holds(name)}
            for name in sorted(now - spells):
                self._say(f"{name}: {FAULTS[name]}")
                await self._strike(name)
            for name in sorted(spells - now):
                self._say(f"{name}: over")
            spells = now

    async def _strike(self, name: str) -> None:
        if name == "deaf":
            self._data.deafen()
            self._updates.deafen()
        elif name in REFUSALS:
            await self._data.drop()
        elif name in {"auth-refused", "restart"}:
            await self._drop()

    async def _drop(self) -> None:
        await self._data.drop()
        await self._updates.drop()

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.faults.holds("restart"):
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        if request.path in self._streams:
            return await handler(request)
        if self.faults.holds("stalled"):
            await anyio.sleep_forever()
        if self.faults.holds("429-bare"):
            return answer({"message": "too many requests."}, 429)
        allowed = not self.faults.holds("429") and self._limit.take()
        response = await handler(request) if allowed else answer({"message": "too many requests."}, 429)
        response.headers.update(self._limit.headers())
        if not allowed:
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return response

    @web.middleware
    async def _known(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Alpaca's trading API answers 401 to whom it does not know, its data API 403."""
        if request.path in self._streams:
            return await handler(request)
        key, secret = request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")
        if (key, secret) == (KEY_ID, SECRET_KEY) and not self.faults.holds("auth-refused"):
            return await handler(request)
        if request.path.startswith("/v2/stocks/") and key:
            return answer({"message": "forbidden."}, 403)
        return answer({"code": 40110000, "message": "request is not authorized"}, 401)

    @web.middleware
    async def _in_words(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Declined as error:
            return declined(error)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return answer({"code": error.status * 100_000, "message": error.reason.lower()}, error.status)
