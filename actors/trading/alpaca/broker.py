"""Alpaca's trading behind the fence's port: orders by REST, what becomes of them by stream and by asking."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from actors.kernel.clock import chance, io_sleep
from actors.trading.alpaca import reading, sdk
from actors.trading.alpaca.line import Line, Patience
from actors.trading.alpaca.rest import DEADLINE_S, INSIST_S, Host, NotFound
from actors.trading.hours import rfc3339
from actors.trading.ports import (
    AccountState,
    BrokerMessage,
    Execution,
    Holding,
    Link,
    Order,
    OrderReport,
    OrderUpdate,
    Refused,
    Unreachable,
)

PAPER_URL = "https://paper-api.alpaca.markets"
LIVE_URL = "https://api.alpaca.markets"
OPEN_MAX = 500
FILLS_PAGE = 100
REMEMBERED = 10_000
DUST = 1e-6  # cents: 0.29 dollars are 28.999999999999996 of them

log = structlog.get_logger()


def trading_url(base_url: str | None, *, paper: bool) -> str:
    """Where accounts and orders are."""
    return (base_url or (PAPER_URL if paper else LIVE_URL)).rstrip("/")


class AlpacaBroker:
    """A `Broker`. Make it in the loop that uses it."""

    triggers_inside = False

    def __init__(
        self,
        keys: sdk.Keys,
        url: str,
        *,
        deadline_s: float = DEADLINE_S,
        insist_s: float = INSIST_S,
        patience: Patience | None = None,
    ) -> None:
        """`url` as `trading_url` says."""
        self.host = Host(url, keys, deadline_s=deadline_s, insist_s=insist_s)
        self._keys = keys
        self._stream_url = f"ws{url.removeprefix('http')}/stream"
        self._patience = patience or Patience()
        self._ours: OrderedDict[str, str] = OrderedDict()  # Alpaca's id of an order → ours

    def close(self) -> None:
        """Let go of idle connections."""
        self.host.close()

    async def run(self, sink: Callable[[BrokerMessage], None]) -> None:
        """Stream what happens to orders until cancelled. Raises Refused."""
        line = Line(
            "order updates",
            lambda hear: sdk.TradingSocket(self._stream_url, self._keys, hear),
            lambda message: message.get("stream") == "listening",
            chance(),
            self._patience,
        )
        await self._introduce(sink)
        await line.run(lambda message: self._hear(message, sink), sink)

    async def _introduce(self, sink: Callable[[BrokerMessage], None]) -> None:
        """Have REST say whether the keys are wrong: the stream says no to whatever it is, and not why."""
        while True:
            try:
                await self.account()
                return
            except Unreachable as error:
                sink(Link(up=False, reason=str(error)))
            await io_sleep(self._patience.first_s)

    def _hear(self, message: Mapping[str, Any], sink: Callable[[BrokerMessage], None]) -> None:
        if message.get("stream") != "trade_updates":
            return
        try:
            data = message["data"]
            report = self._report(data["order"])
            sink(OrderUpdate(report, reading.execution(data, report)))
        except (Unreachable, KeyError, TypeError) as error:
            # The order is asked about anyway: open orders are polled beside the stream.
            log.warning("order_update_senseless", reason=type(error).__name__)

    async def submit(self, order: Order) -> OrderReport:
        """Send once. Raises InDoubt, Unreachable where it was certainly not taken, Refused."""
        body = {
            "symbol": order.symbol,
            "side": order.side.value,
            "type": "market",
            "time_in_force": "day",
            "client_order_id": order.client_order_id,
        }
        if order.quantity is not None:
            body["qty"] = f"{order.quantity:.9f}".rstrip("0").rstrip(".")
        else:
            body["notional"] = f"{math.floor((order.notional or 0.0) * 100 + DUST) / 100:.2f}"
        return self._report(await self.host.post("/orders", body))

    async def order(self, client_order_id: str) -> OrderReport | None:
        """By our id; None: Alpaca has never seen it."""
        try:
            return self._report(await self.host.get("/orders:by_client_order_id", {"client_order_id": client_order_id}))
        except NotFound:
            return None

    async def open_orders(self) -> list[OrderReport]:
        """All that are not over."""
        orders: dict[str, OrderReport] = {}
        query: dict[str, Any] = {"status": "open", "limit": OPEN_MAX, "direction": "asc", "nested": "false"}
        while True:
            page = reading.listed(await self.host.get("/orders", query))
            before = len(orders)
            orders |= {report.broker_id: report for report in map(self._report, page)}
            if len(page) < OPEN_MAX or len(orders) == before:
                return list(orders.values())
            query["after"] = page[-1].get("submitted_at")

    async def cancel(self, client_order_id: str) -> None:
        """Ask for it to be ended. What is over already is no error."""
        known = await self.order(client_order_id)
        if known is None or known.over:
            return
        try:
            await self.host.delete(f"/orders/{known.broker_id}")
        except NotFound:
            return
        except Refused as refused:
            log.info("cancel_refused", order=client_order_id, reason=str(refused))  # 422: it was over sooner

    async def account(self) -> AccountState:
        """Its money."""
        return reading.account(await self.host.get("/account"))

    async def time(self) -> tuple[int, float]:
        """What time it is there, and how many times as fast as here it passes."""
        return reading.time_there(await self.host.get("/clock"))

    async def holdings(self) -> list[Holding]:
        """Its positions."""
        return [reading.holding(one) for one in reading.listed(await self.host.get("/positions"))]

    async def executions(self, after: int) -> list[Execution]:
        """Everything filled since, oldest first."""
        found: list[Execution] = []
        query: dict[str, Any] = {"after": rfc3339(after - 1), "direction": "asc", "page_size": FILLS_PAGE}
        while True:
            page = reading.listed(await self.host.get("/account/activities/FILL", query))
            for fill in page:
                ours = await self._our_id(str(reading.mapping(fill).get("order_id")))
                if ours is not None:
                    found.append(reading.activity(fill, ours))
            if len(page) < FILLS_PAGE:
                return found
            query["page_token"] = page[-1]["id"]

    async def _our_id(self, broker_id: str) -> str | None:
        if broker_id not in self._ours:
            try:
                self._report(await self.host.get(f"/orders/{broker_id}"))
            except NotFound:
                return None
        return self._ours.get(broker_id)

    def _report(self, data: Mapping[str, Any]) -> OrderReport:
        report = reading.order(data)
        self._ours[report.broker_id] = report.client_order_id
        if len(self._ours) > REMEMBERED:
            self._ours.popitem(last=False)
        return report
