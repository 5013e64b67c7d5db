"""The webhook channel against local servers that misbehave."""

import hashlib
import hmac
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import orjson
import pytest

from actors.alerts.channels.base import Channel, Outcome, Refused, RetryLater, Sent
from actors.alerts.channels.http import NotPublic, _public_socket, retry_after_s
from actors.alerts.channels.webhook import WebhookChannel
from actors.alerts.dispatcher import Dispatcher
from actors.kernel.clock import ScaledClock, chance
from actors.kernel.mailbox import conflate
from tests.alerts.rig import house
from tests.alerts.samples import SECOND, START, message, notification
from tests.alerts.servers import http_service
from tests.patience import PATIENCE_S

CLOCK = ScaledClock(START)


@asynccontextmanager
async def opened(channel: WebhookChannel) -> AsyncIterator[WebhookChannel]:
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()


async def outcome(channel: WebhookChannel) -> Outcome:
    async with opened(channel):
        return await channel.send(notification())


async def test_it_posts_the_payload_under_the_notifications_key() -> None:
    async with http_service() as service:
        assert await outcome(WebhookChannel(service.url, None, CLOCK)) == Sent()
    (request,) = service.requests
    assert (request.method, request.path) == ("POST", "/hook")
    assert orjson.loads(request.body) == notification().payload
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "inc_1.1.opened.ops"
    assert "nightdesk-signature" not in request.headers


async def test_with_a_secret_the_body_is_signed_with_its_time() -> None:
    async with http_service() as service:
        await outcome(WebhookChannel(service.url, "s3cret", CLOCK))
    (request,) = service.requests
    stamp, digest = (part.partition("=")[2] for part in request.headers["nightdesk-signature"].split(","))
    assert START // SECOND <= int(stamp) <= START // SECOND + 60
    assert digest == hmac.new(b"s3cret", stamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_sent(status: int) -> None:
    async with http_service((status, {}, b"")) as service:
        assert await outcome(WebhookChannel(service.url, None, CLOCK)) == Sent()


@pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_later(status: int) -> None:
    async with http_service((status, {}, b"")) as service:
        assert await outcome(WebhookChannel(service.url, None, CLOCK)) == RetryLater(f"HTTP {status}")


@pytest.mark.parametrize("status", [400, 410, 413, 422])
async def test_a_wrong_message_is_refused_with_what_the_service_said(status: int) -> None:
    async with http_service((status, {}, b"no\x07 such   field\n" + b"x" * 10_000)) as service:
        refusal = await outcome(WebhookChannel(service.url, None, CLOCK))
    assert isinstance(refusal, Refused)
    assert refusal.reason.startswith(f"HTTP {status}: no such field xxx")
    assert len(refusal.reason) < 100


async def test_the_time_asked_for_is_read_as_seconds_or_as_a_date() -> None:
    async with http_service((429, {"Retry-After": "37"}, b"")) as service:
        assert await outcome(WebhookChannel(service.url, None, CLOCK)) == RetryLater("HTTP 429", 37)
    dates = {"Retry-After": "Wed, 15 Nov 2023 00:01:30 GMT", "Date": "Wed, 15 Nov 2023 00:00:00 GMT"}
    assert retry_after_s(dates) == 90
    assert retry_after_s({"Retry-After": "soon"}) is None


async def test_a_redirect_is_not_followed() -> None:
    async with http_service() as elsewhere, http_service((307, {"Location": elsewhere.url}, b"")) as service:
        assert isinstance(await outcome(WebhookChannel(service.url, None, CLOCK)), Refused)
    assert elsewhere.requests == []


async def test_a_connection_that_breaks_is_tried_later_and_no_address_is_quoted() -> None:
    async with http_service("close") as service:
        later = await outcome(WebhookChannel(service.url, None, CLOCK))
    assert later == RetryLater("connection broke: ServerDisconnectedError")


async def test_nobody_listening_is_tried_later() -> None:
    async with http_service() as service:
        url = service.url
    later = await outcome(WebhookChannel(url, None, CLOCK))
    assert isinstance(later, RetryLater)
    assert later.reason.startswith("cannot connect: ")
    assert "hook" not in later.reason


async def test_a_tenants_address_may_not_lead_inside() -> None:
    async with http_service() as service:
        port = service.url.split(":")[2]
        for host in ("127.0.0.1", "localhost"):
            later = await outcome(WebhookChannel(f"http://{host}:{port}", None, CLOCK, public_only=True))
            assert later == RetryLater("cannot connect: the address is not public")
    assert service.requests == []


@pytest.mark.parametrize(
    "host",
    "10.0.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 ::1 fe80::1 fd00::1 "
    "::ffff:127.0.0.1 ::ffff:169.254.169.254".split(),
)
def test_addresses_that_are_not_public_are_refused_where_the_connection_is_made(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with pytest.raises(NotPublic):
        _public_socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 80)))


def test_a_public_address_is_let_through() -> None:
    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("93.184.215.14", 443))
    _public_socket(address).close()


async def test_from_the_outbox_through_failures_to_the_server_under_one_key(tmp_path: Path) -> None:
    """A broken connection, a 500 and a 429, then it is taken: four requests, one key, delivered once."""
    async with (
        http_service("close", (500, {}, b""), (429, {"Retry-After": "2"}, b""), (200, {}, b"")) as service,
        house(tmp_path) as place,
    ):
        clock = ScaledClock(START, speed=50)
        channel: Channel = WebhookChannel(service.url, None, clock)
        dispatcher = Dispatcher("ops", channel, place.store, clock, chance(1))
        dispatcher.name, dispatcher.mailbox = "alerts.ops", conflate(1)
        await place.enqueue(message("a"))
        await dispatcher.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.run)
            with anyio.fail_after(PATIENCE_S):
                while (await place.counts())["delivered"] == 0:
                    await clock.sleep(0.5)
            tasks.cancel_scope.cancel()
        await dispatcher.stop()
    assert [request.headers["idempotency-key"] for request in service.requests] == ["a"] * 4
