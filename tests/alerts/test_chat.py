"""Slack, Discord and Telegram against local servers that speak as they do, and misbehave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from actors.alerts.channels.base import Channel, Outcome, Refused, RetryLater, Sent
from actors.alerts.channels.discord import DiscordChannel
from actors.alerts.channels.slack import SlackChannel
from actors.alerts.channels.telegram import TelegramChannel
from tests.alerts.samples import notification
from tests.alerts.servers import HttpService, Line, http_service

OK: dict[str, Line] = {
    "slack": (200, {}, b"ok"),
    "discord": (200, {}, b'{"id": "555", "channel_id": "1"}'),
    "telegram": (200, {}, b'{"ok": true, "result": {"message_id": 77}}'),
}
OWN_ID = {"slack": "", "discord": "555", "telegram": "77"}
TALKS = pytest.mark.parametrize("name", list(OK))


@asynccontextmanager
async def talking(name: str, *script: Line) -> AsyncIterator[tuple[Channel, HttpService]]:
    async with http_service(*script) as service:
        channels: dict[str, Channel] = {
            "slack": SlackChannel(service.url),
            "discord": DiscordChannel(service.url),
            "telegram": TelegramChannel("1:secret", -100, service.url),
        }
        channel = channels[name]
        await channel.open()
        try:
            yield channel, service
        finally:
            await channel.close()


def body(service: HttpService, nth: int = 0) -> dict[str, Any]:
    said: dict[str, Any] = orjson.loads(service.requests[nth].body)
    return said


async def outcome(name: str, *script: Line) -> Outcome:
    async with talking(name, *script) as (channel, _):
        return await channel.send(notification())


@TALKS
async def test_what_the_service_takes_is_sent(name: str) -> None:
    assert await outcome(name, OK[name]) == Sent(OWN_ID[name])


@TALKS
@pytest.mark.parametrize("status", [500, 502, 503, 404, 403])
async def test_what_may_pass_is_tried_later(name: str, status: int) -> None:
    later = await outcome(name, (status, {}, b"<html>"))
    assert later == RetryLater(f"HTTP {status}")


@TALKS
async def test_a_broken_connection_is_tried_later(name: str) -> None:
    assert await outcome(name, "close") == RetryLater("connection broke: ServerDisconnectedError")


@TALKS
async def test_a_wrong_message_is_refused(name: str) -> None:
    assert isinstance(await outcome(name, (400, {}, b"invalid")), Refused)


@TALKS
@pytest.mark.parametrize("said", [b"<html>please log in</html>", b"[]", b"{}", b"null", b""])
async def test_a_200_that_is_not_the_services_own_is_not_taken_for_sent(name: str, said: bytes) -> None:
    """A captive portal or a proxy answers 200 to everything."""
    later = await outcome(name, (200, {}, said))
    assert isinstance(later, RetryLater)
    assert later.reason.startswith("HTTP 200, but not ")


@pytest.mark.parametrize(
    ("name", "answer", "after"),
    [
        ("slack", (429, {"Retry-After": "30"}, b"rate_limited"), 30),
        ("discord", (429, {"Retry-After": "2"}, b'{"retry_after": 1.337, "global": false}'), 1.337),
        ("discord", (429, {"Retry-After": "900"}, b"banned"), 900),
        ("telegram", (429, {}, b'{"ok": false, "error_code": 429, "parameters": {"retry_after": 17}}'), 17),
    ],
)
async def test_each_service_says_in_its_own_way_how_long_to_wait(name: str, answer: Line, after: float) -> None:
    later = await outcome(name, answer)
    assert isinstance(later, RetryLater)
    assert later.after == after


@TALKS
async def test_a_text_of_any_length_fits_the_services_limits(name: str) -> None:
    async with talking(name, OK[name]) as (channel, service):
        await channel.send(notification(text="<&>" * 5000))
    said = body(service)
    match name:
        case "slack":
            assert len(said["attachments"][0]["blocks"][0]["text"]["text"]) <= 3000
        case "discord":
            assert len(said["embeds"][0]["title"]) + len(said["embeds"][0]["description"]) <= 6000
            assert len(said["embeds"][0]["description"]) <= 4096
        case _:
            shown = said["text"].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
            assert len(shown) <= 4096 + len("<b></b>")


async def test_slack_shows_the_headline_on_the_phone_and_interprets_nothing() -> None:
    async with talking("slack", OK["slack"]) as (channel, service):
        await channel.send(notification(text="<!channel> & more"))
    said = body(service)
    assert said["text"] == "● WARNING acme · duplicate charge"
    assert said["attachments"][0]["blocks"][0]["text"]["text"] == "&lt;!channel&gt; &amp; more"


async def test_discord_mentions_nobody_and_shows_ids_as_they_are() -> None:
    async with talking("discord", OK["discord"]) as (channel, service):
        await channel.send(notification(text="@everyone cus_a_b"))
    said = body(service)
    assert said["allowed_mentions"] == {"parse": []}
    assert said["embeds"][0]["description"] == "@everyone cus\\_a\\_b"
    assert service.requests[0].path == "/hook?wait=true"


async def test_discord_turns_the_first_message_of_an_incident_green_when_it_is_over() -> None:
    async with talking("discord", OK["discord"]) as (channel, service):
        await channel.send(notification())
        for kind in ("incident.updated", "incident.resolved"):
            await channel.send(notification(kind=kind, first_message="555"))
    assert [(request.method, request.path) for request in service.requests] == [
        ("POST", "/hook?wait=true"),
        ("POST", "/hook?wait=true"),
        ("PATCH", "/hook/messages/555"),
    ]


async def test_discord_posts_anew_where_somebody_deleted_the_message() -> None:
    gone: Line = (404, {}, b'{"code": 10008}')
    async with talking("discord", gone, OK["discord"]) as (channel, service):
        assert await channel.send(notification(kind="incident.resolved", first_message="444")) == Sent("555")
    assert [request.method for request in service.requests] == ["PATCH", "POST"]


async def test_telegram_replies_to_the_first_message_of_an_incident() -> None:
    async with talking("telegram", OK["telegram"]) as (channel, service):
        await channel.send(notification())
        await channel.send(notification(kind="incident.resolved", first_message="77"))
    assert "reply_parameters" not in body(service, 0)
    assert body(service, 1)["reply_parameters"] == {"message_id": 77, "allow_sending_without_reply": True}
    assert service.requests[0].path == "/hook/bot1:secret/sendMessage"


async def test_telegram_escapes_what_would_be_markup() -> None:
    async with talking("telegram", OK["telegram"]) as (channel, service):
        await channel.send(notification(text="a < b & c"))
    assert body(service)["text"] == "<b>● WARNING acme · duplicate charge</b>\na &lt; b &amp; c"


async def test_telegram_follows_a_group_that_has_moved() -> None:
    moved: Line = (400, {}, b'{"ok": false, "parameters": {"migrate_to_chat_id": -200}}')
    async with talking("telegram", moved, OK["telegram"]) as (channel, service):
        assert await channel.send(notification()) == RetryLater("the group has a new id; set chat_id to -200")
        assert await channel.send(notification()) == Sent("77")
    assert body(service, 1)["chat_id"] == -200


@TALKS
async def test_no_secret_of_an_address_is_in_a_reason(name: str) -> None:
    bad: list[Line] = ["close", (404, {}, b""), (301, {"Location": "http://x/"}, b"")]
    for line in bad:
        later = await outcome(name, line)
        assert not isinstance(later, Sent)
        assert "secret" not in later.reason
        assert "hook" not in later.reason
