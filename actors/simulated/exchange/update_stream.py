"""Alpaca's stream of what happens to orders, in binary frames of JSON."""

from collections.abc import Callable

import anyio
from aiohttp import web

from actors.simulated.exchange import wire
from actors.simulated.exchange.core import Exchange
from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.lines import Line, Lines, Message, in_order, json_each, read
from actors.simulated.exchange.orders import State
from actors.trading.ports import BrokerMessage, OrderUpdate

_EVENTS: dict[str, str] = {
    State.FILLED: "fill",
    State.PARTIALLY_FILLED: "partial_fill",
    State.NEW: "new",
    State.CANCELED: "canceled",
    State.REJECTED: "rejected",
    State.EXPIRED: "expired",
}


class UpdateStream(Lines):
    """`/stream`: a client authenticates, listens, and is told."""

    def __init__(self, exchange: Exchange, keys: dict[str, str], faults: FaultPlan, now: Callable[[], int]) -> None:
        super().__init__()
        self._exchange, self._keys, self._faults, self._now = exchange, keys, faults, now
        self._listening: set[Line] = set()
        self._overtaken: list[Message] = []

    def routes(self) -> list[web.RouteDef]:
        """Where it answers."""
        return [web.get("/stream", self._serve)]

    def sink(self, message: BrokerMessage) -> None:
        """To all who listen; twice, or after the next, where faults say so."""
        if not isinstance(message, OrderUpdate):
            return
        update = self._update(message)
        if self._faults.holds("out-of-order"):
            self._overtaken.append(update)
            return
        for one in [update, *([update] if self._faults.holds("repeated") else [])]:
            self._send(one)
        self.let_through()

    def let_through(self) -> None:
        """What was overtaken arrives, last one first."""
        while self._overtaken:
            self._send(self._overtaken.pop())

    def _send(self, update: Message) -> None:
        for line in list(self._listening):
            if not line.offer(update):
                self._listening.discard(line)
                line.end()

    def _update(self, message: OrderUpdate) -> Message:
        report, done = message.report, message.execution
        data: Message = {
            "event": _EVENTS.get(report.state, report.state),
            "timestamp": wire.stamp(self._now()),
            "order": wire.order(self._exchange.ticket(report.client_order_id)),
        }
        if done is not None:
            held = next((one.quantity for one in self._exchange.holdings() if one.symbol == done.symbol), 0.0)
            data |= {
                "execution_id": done.execution_id,
                "price": wire.number(done.price),
                "qty": wire.number(done.quantity),
                "position_qty": wire.number(held),
                "timestamp": wire.stamp(done.time),
            }
        return {"stream": "trade_updates", "data": data}

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        await socket.prepare(request)
        line = Line(socket, json_each)
        self.open.add(line)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(line.write)
                known = False
                async for said in socket:
                    known = await self._obey(line, read(said, packed=False), known=known)
                tasks.cancel_scope.cancel()
        finally:
            self.open.discard(line)
            self._listening.discard(line)
        return socket

    async def _obey(self, line: Line, asked: Message | None, *, known: bool) -> bool:
        """Whether the client is known after this."""
        asked = asked or {}
        action, data = str(asked.get("action")), asked.get("data", asked)
        if not isinstance(data, dict):
            data = {}
        if action in {"authenticate", "auth"}:
            key, secret = data.get("key_id") or data.get("key"), data.get("secret_key") or data.get("secret")
            known = in_order(self._keys, key, secret) and not self._faults.holds("auth-refused")
            status = "authorized" if known else "unauthorized"
            await line.say({"stream": "authorization", "data": {"status": status, "action": "authenticate"}})
            if not known:
                await line.socket.close()
        elif action == "listen" and known:
            wanted = data.get("streams")
            streams = ["trade_updates"] if isinstance(wanted, list) and "trade_updates" in wanted else []
            if streams:
                self._listening.add(line)
            else:
                self._listening.discard(line)
            await line.say({"stream": "listening", "data": {"streams": streams}})
        else:
            await line.say({"stream": "listening", "data": {"error": "not authorized" if not known else "bad action"}})
        return known
