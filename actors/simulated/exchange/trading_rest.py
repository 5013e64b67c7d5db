"""Alpaca's trading API over HTTP: account, clock, calendar, assets, orders, positions, activities."""

import math
from collections import defaultdict
from typing import Any

import orjson
from aiohttp import web

from actors.kernel.clock import Clock
from actors.simulated.exchange import wire
from actors.simulated.exchange.core import Exchange
from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.orders import Declined, Ticket
from actors.simulated.exchange.ports import SimulatedMarket
from actors.trading.ports import TERMINAL, Execution, Order, Session, Side
from strategies.sessions import DAY

ORDERS_DEFAULT, ORDERS_MAX = 50, 500
ACTIVITIES_DEFAULT, ACTIVITIES_MAX = 100, 100
ID_MAX = 128
CALENDAR_FIRST, CALENDAR_LAST = "1990-01-01", "2029-12-31"
DAYS_AHEAD = 10  # more than the exchange is ever closed


def answer(what: Any, status: int = 200) -> web.Response:
    """JSON."""
    return web.Response(status=status, body=orjson.dumps(what), content_type="application/json")


def declined(error: Declined) -> web.Response:
    """A no, as Alpaca words it."""
    return answer({"code": error.code, "message": error.message}, error.status)


class TradingRest:
    """The account of one exchange, as `routes`."""

    def __init__(
        self,
        exchange: Exchange,
        market: SimulatedMarket,
        symbols: frozenset[str],
        clock: Clock,
        speed: float,
        faults: FaultPlan,
    ) -> None:
        self._exchange, self._market, self._symbols = exchange, market, symbols
        self._clock, self._speed, self._faults = clock, speed, faults

    def routes(self) -> list[web.RouteDef]:
        """Where it answers."""
        return [
            web.get("/v2/account", self._account),
            web.get("/v2/account/activities", self._activities),
            web.get("/v2/account/activities/{type}", self._activities),
            web.get("/v2/clock", self._clock_now),
            web.get("/v2/calendar", self._calendar),
            web.get("/v2/assets", self._assets),
            web.get("/v2/assets/{symbol}", self._asset),
            web.get("/v2/positions", self._positions),
            web.get("/v2/positions/{symbol}", self._position),
            web.post("/v2/orders", self._submit),
            web.get("/v2/orders", self._orders),
            web.delete("/v2/orders", self._cancel_all),
            web.get("/v2/orders:by_client_order_id", self._order_by_our_id),
            web.get("/v2/orders/{id}", self._order),
            web.delete("/v2/orders/{id}", self._cancel),
        ]

    # --- the account -------------------------------------------------------------------------------------------------

    async def _account(self, _: web.Request) -> web.Response:
        return answer(wire.account(self._exchange.account()))

    async def _activities(self, request: web.Request) -> web.Response:
        """Fills, newest first unless asked otherwise; `page_token` is the id of the last one seen."""
        kinds = request.match_info.get("type") or request.query.get("activity_types", "FILL")
        if "FILL" not in kinds.split(","):
            return answer([])
        after, until = _time(request, "after", 0), _time(request, "until", self._clock.now() + 1)
        found = [
            activity
            for done, activity in zip(self._exchange.executed, self._activity(), strict=True)
            if after < done.time < until
        ]
        if request.query.get("direction", "desc") == "desc":
            found.reverse()
        if token := request.query.get("page_token"):
            ids = [activity["id"] for activity in found]
            found = found[ids.index(token) + 1 :] if token in ids else []
        return answer(found[: _count(request, "page_size", ACTIVITIES_DEFAULT, ACTIVITIES_MAX)])

    def _activity(self) -> list[wire.Json]:
        cumulative: dict[str, float] = defaultdict(float)

        def told(done: Execution) -> wire.Json:
            cumulative[done.client_order_id] += done.quantity
            return wire.activity(done, self._exchange.ticket(done.client_order_id), cumulative[done.client_order_id])

        return [told(done) for done in self._exchange.executed]

    async def _positions(self, _: web.Request) -> web.Response:
        return answer([wire.position(held, self._price(held.symbol)) for held in self._exchange.holdings()])

    async def _position(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        held = next((held for held in self._exchange.holdings() if held.symbol == symbol), None)
        if held is None:
            raise Declined(404, 40410000, "position does not exist")
        return answer(wire.position(held, self._price(symbol)))

    def _price(self, symbol: str) -> float:
        return self._exchange.price(symbol) or 0.0

    # --- the exchange ------------------------------------------------------------------------------------------------

    async def _clock_now(self, _: web.Request) -> web.Response:
        now = self._clock.now()
        days = self._market.days(wire.utc_date(now - DAY), wire.utc_date(now + DAYS_AHEAD * DAY))
        today = next(day for day in days if day.close > now)
        is_open = today.open <= now
        following = days[days.index(today) + 1]
        return answer(
            {
                "timestamp": wire.local_stamp(now),
                "is_open": is_open,
                "next_open": wire.local_stamp(following.open if is_open else today.open),
                "next_close": wire.local_stamp(today.close),
                "speed": self._speed,  # Alpaca's has no such field: time there runs as it does here
            }
        )

    async def _calendar(self, request: web.Request) -> web.Response:
        first, last = request.query.get("start", CALENDAR_FIRST)[:10], request.query.get("end", CALENDAR_LAST)[:10]
        try:
            days = self._market.days(max(first, CALENDAR_FIRST), min(last, CALENDAR_LAST))
        except ValueError as error:
            raise Declined(422, 42210000, "start and end must be dates, YYYY-MM-DD") from error
        return answer([_day(day) for day in days])

    async def _assets(self, request: web.Request) -> web.Response:
        if request.query.get("status", "active") != "active" or request.query.get("asset_class", "us_equity") != (
            "us_equity"
        ):
            return answer([])
        return answer([wire.asset(symbol) for symbol in sorted(self._symbols)])

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["symbol"]
        symbol = next((one for one in self._symbols if name in {one, wire.asset_id(one)}), None)
        if symbol is None:
            raise Declined(404, 40410000, f"asset not found for {name}")
        return answer(wire.asset(symbol))

    # --- orders ------------------------------------------------------------------------------------------------------

    async def _submit(self, request: web.Request) -> web.Response:
        order = _order_of(await _body(request), len(self._exchange.tickets()))
        self._exchange.submit(order, self._clock.now())
        if self._faults.holds("504"):
            return answer({"message": "gateway timeout"}, 504)
        return answer(wire.order(self._exchange.ticket(order.client_order_id)))

    async def _orders(self, request: web.Request) -> web.Response:
        status, query = request.query.get("status", "open"), request.query
        if status not in {"open", "closed", "all"}:
            raise Declined(422, 42210000, f"status {status} is not one of open, closed, all")
        symbols = {symbol for symbol in query.get("symbols", "").split(",") if symbol}
        after, until = _time(request, "after", -1), _time(request, "until", self._clock.now() + 1)
        found = [
            ticket
            for ticket in self._exchange.tickets()
            if (status == "all" or (ticket.state in TERMINAL) == (status == "closed"))
            and (not symbols or ticket.order.symbol in symbols)
            and query.get("side", ticket.order.side.value) == ticket.order.side.value
            and after < ticket.submitted_at <= until
        ]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        return answer([wire.order(ticket) for ticket in found[: _count(request, "limit", ORDERS_DEFAULT, ORDERS_MAX)]])

    async def _order_by_our_id(self, request: web.Request) -> web.Response:
        return answer(wire.order(self._exchange.ticket(request.query.get("client_order_id", ""))))

    async def _order(self, request: web.Request) -> web.Response:
        return answer(wire.order(self._ticket(request.match_info["id"])))

    async def _cancel(self, request: web.Request) -> web.Response:
        ticket = self._ticket(request.match_info["id"])
        if ticket.state in TERMINAL:
            raise Declined(422, 42210000, f'order is already in "{ticket.state}" state')
        self._exchange.cancel(ticket.order.client_order_id, self._clock.now())
        return web.Response(status=204)

    async def _cancel_all(self, _: web.Request) -> web.Response:
        waiting = [ticket for ticket in self._exchange.tickets() if ticket.state not in TERMINAL]
        for ticket in waiting:
            self._exchange.cancel(ticket.order.client_order_id, self._clock.now())
        return answer([{"id": ticket.broker_id, "status": 200, "body": wire.order(ticket)} for ticket in waiting], 207)

    def _ticket(self, broker_id: str) -> Ticket:
        found = next((ticket for ticket in self._exchange.tickets() if ticket.broker_id == broker_id), None)
        if found is None:
            raise Declined(404, 40410000, f"order not found for {broker_id}")
        return found


async def _body(request: web.Request) -> wire.Json:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise Declined(400, 40010000, "request body format is invalid")
    return body


def _order_of(body: wire.Json, known: int) -> Order:
    """The order that a request asks for. Raises Declined for all that this exchange does not trade."""
    symbol, identity = body.get("symbol"), body.get("client_order_id") or f"unnamed-{known}"
    if not isinstance(symbol, str) or not symbol:
        raise Declined(422, 40010001, "symbol is required")
    if str(body.get("side")) not in set(Side):
        raise Declined(422, 40010001, "side must be buy or sell")
    if body.get("type", "market") != "market" or body.get("order_class") not in (None, "", "simple"):
        raise Declined(422, 42210000, "this exchange takes simple market orders only")
    if body.get("time_in_force", "day") != "day":
        raise Declined(422, 42210000, "fractional orders must be DAY orders")
    if not isinstance(identity, str) or len(identity) > ID_MAX:
        raise Declined(422, 40010001, f"client_order_id must be no more than {ID_MAX} characters")
    return Order(identity, symbol, Side(str(body["side"])), _amount(body, "qty"), _amount(body, "notional"))


def _amount(body: wire.Json, name: str) -> float | None:
    if body.get(name) is None:
        return None
    decimals = 2 if name == "notional" else wire.DECIMALS
    try:
        value = float(body[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise Declined(422, 40010001, f"{name} must be a number greater than zero")
    if round(value, decimals) != value:
        raise Declined(422, 42210000, f"{name} must be limited to {decimals} decimal places")
    return value


def _day(day: Session) -> wire.Json:
    return {
        "date": day.date,
        "open": wire.clock_time(day.open),
        "close": wire.clock_time(day.close),
        "session_open": "0400",
        "session_close": "2000",
    }


def _time(request: web.Request, name: str, default: int) -> int:
    try:
        return wire.micros(request.query[name]) if name in request.query else default
    except ValueError as error:
        raise Declined(422, 42210000, f"{name} is not a time (RFC 3339)") from error


def _count(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal() or not 0 < int(text) <= most:
        raise Declined(422, 42210000, f"{name} must be between 1 and {most}")
    return int(text)
