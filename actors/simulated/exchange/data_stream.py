"""Alpaca's stream of market data: a client says who it is and what it wants, and gets it, as msgpack or JSON."""

import anyio
from aiohttp import web

from actors.simulated.exchange import past, wire
from actors.simulated.exchange.faults import REFUSALS, STREAM_ERRORS, FaultPlan
from actors.simulated.exchange.lines import Line, Lines, Message, in_order, json_list, msgpack_list, read
from actors.trading.ports import Bar, BarSeen, Halted, MarketMessage, QuoteSeen
from strategies.sessions import DAY

AUTH_S = 10.0
CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
LIMITED = ("trades", "quotes")
SYMBOLS_MAX = 30  # of LIMITED, on the free plan
ENDS = frozenset({402, 404, 409, *REFUSALS.values()})
"""Errors after which the connection is closed."""


class DataStream(Lines):
    """`/v2/{feed}`: a client says who it is and what it wants, and gets it."""

    def __init__(self, keys: dict[str, str], feeds: frozenset[str], faults: FaultPlan) -> None:
        super().__init__()
        self._keys, self._feeds, self._faults = keys, feeds, faults
        self._clients: dict[Line, dict[str, set[str]]] = {}
        self._trades = 0
        self._days: dict[str, Bar] = {}

    def routes(self) -> list[web.RouteDef]:
        """Where it answers."""
        return [web.get("/v2/{feed:iex|sip|delayed_sip|test}", self._serve)]

    def sink(self, message: MarketMessage) -> None:
        """To all who have subscribed to it."""
        match message:
            case BarSeen(bar, revised):
                kind, channel = ("u", "updatedBars") if revised else ("b", "bars")
                self._send(channel, {"T": kind, "S": bar.symbol, **wire.bar(bar)})
                if not revised:
                    self._send("dailyBars", {"T": "d", "S": bar.symbol, **wire.bar(self._day_with(bar))})
            case QuoteSeen(quote):
                self._send("quotes", {"T": "q", "S": quote.symbol, **wire.quote(quote)})
                self._trades += 1
                self._send("trades", {"T": "t", "S": quote.symbol, **wire.trade(quote, self._trades)})
            case Halted(symbol, halted, at):
                status = ("H", "Trading Halt") if halted else ("T", "Trading Resumption")
                reason = ("T1", "Halt News Pending") if halted else ("", "")
                self._send("statuses", _status(symbol, at, status, reason))

    def _day_with(self, bar: Bar) -> Bar:
        """The bar of the day so far."""
        slot, before = past.slot(bar.time, DAY), self._days.get(bar.symbol)
        day = past.together(slot, [before, bar] if before and before.time == slot else [bar])
        self._days[bar.symbol] = day
        return day

    def _send(self, channel: str, message: Message) -> None:
        for line, wanted in list(self._clients.items()):
            symbols = wanted[channel]
            if (message["S"] in symbols or "*" in symbols) and not line.offer(message):
                del self._clients[line]
                line.end(_error(407))

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        await socket.prepare(request)
        packed = "msgpack" in request.headers.get("Content-Type", "")
        line = Line(socket, msgpack_list if packed else json_list)
        self.open.add(line)
        try:
            await line.say({"T": "success", "msg": "connected"})
            with anyio.move_on_after(AUTH_S) as waiting:
                admitted = await self._admit(line, request, packed=packed)
            if waiting.cancelled_caught:
                await self._refuse(line, 404)
            elif admitted:
                await self._converse(line, packed=packed)
        finally:
            self.open.discard(line)
            self._clients.pop(line, None)
        await socket.close()
        return socket

    async def _admit(self, line: Line, request: web.Request, *, packed: bool) -> bool:
        feed, headers = request.match_info["feed"], request.headers
        if "APCA-API-KEY-ID" in headers:
            return await self._judge(line, feed, headers["APCA-API-KEY-ID"], headers.get("APCA-API-SECRET-KEY"))
        async for said in line.socket:
            asked = read(said, packed=packed)
            if asked is not None and asked.get("action") == "auth":
                return await self._judge(line, feed, asked.get("key"), asked.get("secret"))
            await self._refuse(line, 400 if asked is None else 401)
        return False

    async def _judge(self, line: Line, feed: str, key: object, secret: object) -> bool:
        if (code := self._why_not(feed, key, secret)) is not None:
            return await self._refuse(line, code)
        self._clients[line] = {channel: set() for channel in CHANNELS}
        await line.say({"T": "success", "msg": "authenticated"})
        return True

    def _why_not(self, feed: str, key: object, secret: object) -> int | None:
        if not in_order(self._keys, key, secret) or self._faults.holds("auth-refused"):
            return 402
        if feed not in self._feeds:
            return 409
        faulty = next((code for name, code in REFUSALS.items() if self._faults.holds(name)), None)
        return faulty or (406 if self._clients else None)

    async def _converse(self, line: Line, *, packed: bool) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(line.write)
            async for said in line.socket:
                if line in self._clients:
                    await self._obey(line, read(said, packed=packed))
            tasks.cancel_scope.cancel()

    async def _obey(self, line: Line, asked: Message | None) -> None:
        action = str(asked.get("action")) if asked else ""
        if asked is None:
            await self._refuse(line, 400)
        elif action == "auth":
            await self._refuse(line, 403)
        elif action not in {"subscribe", "unsubscribe"}:
            await self._refuse(line, 410)
        elif (wanted := self._changed(self._clients[line], asked, add=action == "subscribe")) is None:
            await self._refuse(line, 400)
        elif sum(len(wanted[channel]) for channel in LIMITED) > SYMBOLS_MAX:
            await self._refuse(line, 405)
        else:
            self._clients[line] = wanted
            await line.say({"T": "subscription", **{channel: sorted(wanted[channel]) for channel in CHANNELS}})

    @staticmethod
    def _changed(before: dict[str, set[str]], asked: Message, *, add: bool) -> dict[str, set[str]] | None:
        """The subscription after this; None where it is no proper one."""
        after: dict[str, set[str]] = {}
        for channel in CHANNELS:
            symbols = asked.get(channel) or []
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
                return None
            after[channel] = before[channel] | set(symbols) if add else before[channel] - set(symbols)
        return after

    @staticmethod
    async def _refuse(line: Line, code: int) -> bool:
        await line.say(_error(code))
        if code in ENDS:
            await line.socket.close()
        return False


def _error(code: int) -> Message:
    return {"T": "error", "code": code, "msg": STREAM_ERRORS[code]}


def _status(symbol: str, at: int, status: tuple[str, str], reason: tuple[str, str]) -> Message:
    return {
        "T": "s",
        "S": symbol,
        "sc": status[0],
        "sm": status[1],
        "rc": reason[0],
        "rm": reason[1],
        "t": at,
        "z": "C",
    }
