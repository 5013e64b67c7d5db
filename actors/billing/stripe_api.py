"""Stripe's API, as far as it is asked: through the official SDK, which is imported when the first key is used."""

import importlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import aiohttp
import anyio.to_thread
import orjson

from actors.kernel.clock import SECOND, Clock, Random, io_sleep, monotonic

PAGE: Final = 100
REQUEST_S: Final = 20.0
READS_PER_S: Final = 20.0
"""Of the 100 that Stripe allows an account: the rest belongs to the owner's own programs."""
ATTEMPTS: Final = 5
BACKOFF_S: Final = 0.5
BACKOFF_S_MAX: Final = 20.0
_RIGHT: Final = re.compile(r"rak_([a-z_]+)_(read|write)")

Json = dict[str, Any]
Asked = tuple[str, str | None]  # key, connected account


class Unreachable(Exception):
    """Stripe did not answer, or only with errors that pass: try again later. The sentence says which."""


class NotAllowed(Exception):
    """The key is not accepted, or lacks a permission that the sentence names."""


class Wrong(Exception):
    """Stripe does not accept what was asked; the sentence is its own."""


class Page(NamedTuple):
    """Some events, newest first, and whether there are more (older ones) in the same range."""

    events: list[Json]
    more: bool


class Pace:
    """How often one account is asked, whoever of us asks."""

    def __init__(self) -> None:
        self._next = 0.0

    async def wait(self) -> None:
        """Until it is fair to ask again."""
        now = monotonic()
        self._next = max(now, self._next) + 1 / READS_PER_S
        await io_sleep(self._next - 1 / READS_PER_S - now)


class StripeApi:
    """One account's API. Asks no faster than is fair to the account's owner, and again where a failure may pass.

    `account`: the connected account on whose behalf the key's own asks.
    """

    def __init__(
        self,
        key: str,
        session: aiohttp.ClientSession,
        clock: Clock,
        rng: Random,
        *,
        base: str | None,
        account: str | None = None,
        attempts: int = ATTEMPTS,
        pace: Pace | None = None,
    ) -> None:
        self.skew_s: float | None = None
        """By how much Stripe's clock was ahead of ours at its last answer, give or take a second."""
        self._key = key
        self._session = session
        self._clock = clock
        self._rng = rng
        self._base = base
        self._options = {} if account is None else {"stripe_account": account}
        self._attempts = attempts
        self._client: Any = None
        self._pace = pace or Pace()

    async def events(
        self, since_s: int, until_s: int, *, older_than: str | None = None, undelivered: bool = False
    ) -> Page:
        """Those created from `since_s` up to, not including, `until_s` (unix seconds), newest first, at most 100."""
        asked: Json = {"limit": PAGE, "created": {"gte": since_s, "lt": until_s}}
        if older_than is not None:
            asked["starting_after"] = older_than
        if undelivered:
            asked["delivery_success"] = "false"
        found = await self._ask("get", "/v1/events", asked)
        page = Page(_rows(found), found.get("has_more") is True)
        if page.more and not page.events:
            raise Unreachable("Stripe's list of events makes no sense: it is empty, and has more")
        return page

    async def endpoints(self) -> list[Json]:
        """The webhook endpoints of the account, at most a hundred."""
        found = await self._ask("get", "/v1/webhook_endpoints", {"limit": PAGE})
        return _rows(found)

    async def create_endpoint(self, url: str, events: Sequence[str]) -> tuple[str, str]:
        """A new webhook endpoint; its id and its signing secret, which Stripe shows this once."""
        asked = {"url": url, "enabled_events": list(events), "description": "nightdesk"}
        made = await self._ask("post", "/v1/webhook_endpoints", asked)
        return str(made["id"]), str(made["secret"])

    async def retrieve(self, kind: str, object_id: str) -> Json | None:
        """One object by its id, `kind` as in the path (charges, invoices …); None where there is none."""
        try:
            return await self._ask("get", f"/v1/{kind}/{object_id}", {})
        except Wrong:
            return None

    async def _ask(self, method: str, path: str, asked: Json) -> Json:
        """The answer's JSON. A write is made once only: whether a failed one was done is not known."""
        if self._client is None:
            self._client = await connect(self._key, self._session, self._base)
        attempts = self._attempts if method == "get" else 1
        for attempt in range(1, attempts + 1):
            await self._pace.wait()
            try:
                response = await self._client.raw_request_async(method, path, **asked, **self._options)
                self._note_skew(response.headers)
                found = orjson.loads(response.body)
            except Exception as error:
                self._note_skew(getattr(error, "headers", None) or {})
                failure = failure_of(error, path)
                if failure is None:
                    raise
                if attempt == attempts or not isinstance(failure, Unreachable):
                    raise failure from None  # Stripe's own error quotes the request
            else:
                return found if isinstance(found, dict) else {}
            await io_sleep(min(BACKOFF_S * 2**attempt, BACKOFF_S_MAX) * self._rng.uniform(0.5, 1.0))
        raise AssertionError

    def _note_skew(self, headers: Mapping[str, str]) -> None:
        try:
            said = parsedate_to_datetime(headers["Date"]).timestamp()
        except (KeyError, TypeError, ValueError):
            return
        self.skew_s = said + 0.5 - self._clock.now() / SECOND  # it counts whole seconds


def _rows(found: Json) -> list[Json]:
    rows = found.get("data")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


async def connect(key: str, session: aiohttp.ClientSession, base: str | None) -> Any:
    """The SDK's client on our own HTTP session. Raises NotAllowed for what cannot be a key."""
    # In a thread: importing takes a tenth of a second, in which webhooks would wait.
    stripe: Any = await anyio.to_thread.run_sync(importlib.import_module, "stripe")
    stripe.enable_telemetry = False
    if not key.isascii() or not key.isprintable() or " " in key:
        raise NotAllowed("the API key is no key: it holds characters that none has")
    return stripe.StripeClient(
        key,
        http_client=stripe.AIOHTTPClient(session=session, timeout=aiohttp.ClientTimeout(total=REQUEST_S)),
        base_addresses={"api": base} if base else None,
        max_network_retries=0,  # we wait by our own clock and chance, and longer
    )


class Stripe:
    """The APIs of all accounts that an actor asks, over a session that it opens and closes. `base`: as in StripeApi.

    `paces` are shared with the other actors that ask.
    """

    def __init__(self, clock: Clock, rng: Random, base: str | None, paces: defaultdict[Asked, Pace]) -> None:
        self._clock = clock
        self._rng = rng
        self._base = base
        self._paces = paces
        self._apis: dict[Asked, StripeApi] = {}

    def open(self) -> None:
        """Nothing is asked yet."""
        self._session = http_session()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def api(self, key: str, account: str | None = None) -> StripeApi:
        """Always the same one, for it knows how often it asked."""
        api = self._apis.get((key, account))
        if api is None:
            pace = self._paces[key, account]
            api = StripeApi(key, self._session, self._clock, self._rng, base=self._base, account=account, pace=pace)
            self._apis[key, account] = api
        return api


def http_session() -> aiohttp.ClientSession:
    """What all accounts share: few connections, no cookies."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=8), cookie_jar=aiohttp.DummyCookieJar())


def failure_of(error: Exception, path: str) -> Exception | None:  # noqa: PLR0911 - one for each kind there is
    """What an error of the SDK means to us; None for one that is not about Stripe."""
    import stripe  # noqa: PLC0415 - whoever comes here has imported it

    match error:
        case stripe.APIConnectionError() | aiohttp.ClientError() | TimeoutError():
            return Unreachable("Stripe's API does not answer")
        case stripe.RateLimitError():
            return Unreachable("Stripe's API asks for fewer requests (429)")
        case stripe.AuthenticationError():
            return NotAllowed("Stripe does not accept the API key; was it revoked, or mistyped?")
        case stripe.PermissionError():
            return NotAllowed(f"the API key lacks the permission {missing_right(str(error), path)}")
        case stripe.StripeError() if error.http_status is not None and 400 <= error.http_status < 500:
            return Wrong(error.user_message or f"Stripe answered {error.http_status}")
        case stripe.StripeError():
            return Unreachable(f"Stripe's API answers with errors ({error.http_status})")
        case orjson.JSONDecodeError():
            return Unreachable("Stripe's API answers with what is not JSON")
    return None


def missing_right(said: str, path: str) -> str:
    """In the words of the Dashboard: `Events: read`. Stripe's sentence names it; else the path tells."""
    found = _RIGHT.search(said)
    subject, access = (found[1], found[2]) if found else (path.split("/")[2].rstrip("s"), "read")
    return f"“{subject.replace('_', ' ').capitalize()}s: {access}”"
