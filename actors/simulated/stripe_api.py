"""The part of Stripe's API that a watch asks: events, endpoints and single objects, with Stripe's own faults."""

import asyncio
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, Self

from aiohttp import web

from actors.kernel.clock import SECOND, Clock
from actors.simulated.commerce import Payload

KEPT_S = 30 * 86_400
LIMIT_MAX = 100
ALL_RIGHTS = frozenset(
    f"rak_{right}"
    for right in (
        "event_read",
        "webhook_endpoint_read",
        "webhook_endpoint_write",
        "charge_read",
        "payment_intent_read",
        "invoice_read",
        "subscription_read",
    )
)
RESOURCES = {
    "charges": "charge",
    "payment_intents": "payment_intent",
    "invoices": "invoice",
    "subscriptions": "subscription",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Account:
    """What Stripe knows of one account."""

    def __init__(self, clock: Clock) -> None:
        self.endpoints: list[Payload] = []
        self.objects: dict[str, Payload] = {}
        """By id, each as its newest event showed it."""
        self._clock = clock
        self._events: list[tuple[int, int, Payload]] = []  # created, order, event
        self._undelivered: set[str] = set()
        self._by_id: dict[str, int] = {}

    def happened(self, event: Payload) -> None:
        """It is in the list from now on, and not delivered."""
        self._by_id[event["id"]] = len(self._by_id)
        insort(self._events, (event["created"], self._by_id[event["id"]], event), key=lambda row: row[:2])
        self._undelivered.add(event["id"])
        subject = event["data"]["object"]
        if "id" in subject:
            self.objects[subject["id"]] = subject

    def delivered(self, event_id: str) -> None:
        """Every endpoint has acknowledged it."""
        self._undelivered.discard(event_id)

    def list_events(self, query: "Query") -> tuple[list[Payload], bool]:
        """A page, newest first, and whether there are more. Raises KeyError for a cursor that is no event."""
        begin = self._clock.now() // SECOND - KEPT_S
        rows = [
            event
            for created, _, event in self._events[bisect_left(self._events, (begin,), key=lambda row: row[:1]) :]
            if query.holds(created) and (not query.undelivered or event["id"] in self._undelivered)
        ]
        rows.reverse()
        places = {event["id"]: place for place, event in enumerate(rows)}
        if query.starting_after:
            rows = rows[places[query.starting_after] + 1 :]
        if query.ending_before:
            rows = rows[: places[query.ending_before]]
            return rows[-query.limit :], len(rows) > query.limit
        return rows[: query.limit], len(rows) > query.limit


class Query:
    """What a request for events asks for. Raises ValueError with Stripe's words."""

    def __init__(self, asked: Any) -> None:
        self.limit = int(asked.get("limit", 10))
        if not 1 <= self.limit <= LIMIT_MAX:
            raise ValueError("This value must be greater than or equal to 1 and at most 100.")
        self.starting_after = asked.get("starting_after")
        self.ending_before = asked.get("ending_before")
        self.undelivered = asked.get("delivery_success") == "false"
        self._low = max(int(asked.get("created[gte]", 0)), int(asked.get("created[gt]", -1)) + 1)
        self._high = min(int(asked.get("created[lt]", 1 << 40)), int(asked.get("created[lte]", 1 << 40)) + 1)

    def holds(self, created: int) -> bool:
        """Whether the range does."""
        return self._low <= created < self._high


class StripeServer:
    """Serves accounts, by key (`rk_1`, or for a connected account `rk_1 acct_1`), over HTTP on a port of its own.

    `faults` are used up by the next requests, one each: an HTTP status, "hang", "drop" or 0 for none.
    """

    def __init__(self, accounts: dict[str, Account], clock: Clock) -> None:
        self.accounts = accounts
        self.rights: dict[str, frozenset[str]] = {}
        """What a restricted key may do; a key that is not here may do everything."""
        self.faults: deque[int | str] = deque()
        self.asked: Counter[str] = Counter()
        self.url = ""
        self._clock = clock
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listening when it returns."""
        app = web.Application(middlewares=[self._dated, self._stripe])
        app.add_routes(
            [
                web.get("/v1/events", self._events),
                web.get("/v1/webhook_endpoints", self._endpoints),
                web.post("/v1/webhook_endpoints", self._create_endpoint),
                web.get("/v1/{resource}/{id}", self._object),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Every connection is closed."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _dated(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers["Date"] = formatdate(self._clock.now() / SECOND, usegmt=True)
        return response

    @web.middleware
    async def _stripe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked[f"{request.method} {request.path}"] += 1
        fault = self.faults.popleft() if self.faults else None
        if fault == "hang":
            await asyncio.Event().wait()
        if fault == "drop" and request.transport is not None:
            request.transport.abort()
        if isinstance(fault, int) and fault:
            return refusal(fault, "Request rate limit exceeded." if fault == 429 else "An unknown error occurred.")
        key = key_of(request)
        if key not in self.accounts:
            return refusal(401, "Invalid API Key provided: rk_test_***")
        resource = request.path.split("/")[2]
        right = f"rak_{RESOURCES.get(resource, resource.rstrip('s'))}_{'read' if request.method == 'GET' else 'write'}"
        if right not in self.rights.get(key, ALL_RIGHTS):
            return refusal(
                403,
                f"The provided key 'rk_test_***' does not have the required permissions for this endpoint. "
                f"Having the '{right}' permission would allow this request to continue.",
            )
        return await handler(request)

    async def _events(self, request: web.Request) -> web.Response:
        account = self.accounts[key_of(request)]
        try:
            events, more = account.list_events(Query(request.query))
        except ValueError as error:
            return refusal(400, str(error))
        except KeyError as error:
            return refusal(400, f"No such event: {error}")
        return listed("/v1/events", events, more=more)

    async def _endpoints(self, request: web.Request) -> web.Response:
        account = self.accounts[key_of(request)]
        shown = [{key: value for key, value in row.items() if key != "secret"} for row in account.endpoints]
        return listed("/v1/webhook_endpoints", shown, more=False)

    async def _create_endpoint(self, request: web.Request) -> web.Response:
        account = self.accounts[key_of(request)]
        form = await request.post()
        if not str(form.get("url", "")).startswith("https://"):
            return refusal(400, "Invalid URL: URL must begin with https://")
        number = len(account.endpoints) + 1
        endpoint = {
            "id": f"we_{number}",
            "object": "webhook_endpoint",
            "url": form["url"],
            "enabled_events": [value for key, value in form.items() if key.startswith("enabled_events[")],
            "status": "enabled",
            "secret": f"whsec_made_by_stripe_{number}",
        }
        account.endpoints.append(endpoint)
        return web.json_response(endpoint)

    async def _object(self, request: web.Request) -> web.Response:
        account = self.accounts[key_of(request)]
        found = account.objects.get(request.match_info["id"])
        if found is None:
            return refusal(404, f"No such object: '{request.match_info['id']}'")
        return web.json_response(found)


def key_of(request: web.Request) -> str:
    """The API key it came with, and the connected account it is about: `rk_1`, or `rk_1 acct_1`."""
    key = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return f"{key} {request.headers.get('Stripe-Account', '')}".strip()


def listed(url: str, rows: list[Payload], *, more: bool) -> web.Response:
    """A list, as Stripe writes it."""
    return web.json_response({"object": "list", "data": rows, "has_more": more, "url": url})


def refusal(status: int, message: str) -> web.Response:
    """An error, as Stripe writes it."""
    kind = "api_error" if status >= 500 else "invalid_request_error"
    return web.json_response({"error": {"type": kind, "message": message}}, status=status)
