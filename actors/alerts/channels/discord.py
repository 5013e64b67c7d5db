"""A webhook of Discord."""

from typing import Any

import orjson
from yarl import URL

from actors.alerts.channels.base import Outcome, RateLimit, RetryLater, Sent
from actors.alerts.channels.http import Answer, HttpChannel, json_object
from actors.alerts.messages import RESOLVED, clipped, headline, mood
from actors.store.records import Json, Notification

LONGEST_TITLE, LONGEST_DESCRIPTION = 256, 4096
COLOURS = {"critical": 0xD0021B, "warning": 0xF5A623, "info": 0x4A90D9, "over": 0x2EB67D}


class DiscordChannel(HttpChannel):
    """Five messages in two seconds and thirty a minute. The end of an incident turns its first message green."""

    limit = RateLimit(per_minute=30, burst=5)
    for_people = True
    abreast = 1

    def __init__(self, url: str, *, public_only: bool = False) -> None:
        super().__init__(public_only=public_only)
        self._url = URL(url)

    async def send(self, notification: Notification) -> Outcome:
        """A new message, or an edit of the one that told of the incident first."""
        first = notification.first_message
        if first and notification.kind == RESOLVED:
            edited = await self._request("PATCH", self._url / "messages" / first, notification.payload)
            if isinstance(edited, RetryLater) or edited.status != 404:  # 404: somebody deleted the message
                return _outcome(edited)
        return _outcome(await self._request("POST", self._url.update_query(wait="true"), notification.payload))

    async def _request(self, method: str, url: URL, payload: Json) -> Answer | RetryLater:
        body = orjson.dumps(rendered(payload))
        return await self._call(method, str(url), body, {"Content-Type": "application/json"})


def _outcome(answer: Answer | RetryLater) -> Outcome:
    if isinstance(answer, RetryLater):
        return answer
    said = json_object(answer.body)
    if answer.status == 200:
        return Sent(str(said["id"])) if "id" in said else RetryLater("HTTP 200, but not Discord's answer")
    if answer.status == 429 and isinstance(said.get("retry_after"), int | float):
        return RetryLater("HTTP 429", float(said["retry_after"]))
    return answer.outcome


def rendered(payload: Json) -> dict[str, Any]:
    """Nobody is mentioned, whatever the text contains."""
    embed = {
        "title": clipped(headline(payload), LONGEST_TITLE),
        "description": clipped(_escaped(payload["text"]), LONGEST_DESCRIPTION),
        "color": COLOURS[mood(payload)],
        "timestamp": payload["at"],
    }
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _escaped(text: str) -> str:
    """Underscores and stars are ids and amounts here, never style; links stay as they are."""
    return "\n".join(line if line.startswith("see: ") else _plain(line) for line in text.splitlines())


def _plain(line: str) -> str:
    return "".join(f"\\{character}" if character in "\\*_~`|>" else character for character in line)
