"""An incoming webhook of Slack."""

import orjson

from actors.alerts.channels.base import Outcome, RateLimit, RetryLater
from actors.alerts.channels.http import HttpChannel
from actors.alerts.messages import clipped, headline, mood
from actors.store.records import Json, Notification

LONGEST_BLOCK = 3000
COLOURS = {"critical": "#d0021b", "warning": "#f5a623", "info": "#4a90d9", "over": "#2eb67d"}


class SlackChannel(HttpChannel):
    """One message a second and short bursts, as Slack asks; an incoming webhook can neither edit nor thread."""

    limit = RateLimit(per_minute=60, burst=3)
    for_people = True
    abreast = 1

    def __init__(self, url: str, *, public_only: bool = False) -> None:
        super().__init__(public_only=public_only)
        self._url = url

    async def send(self, notification: Notification) -> Outcome:
        """Slack answers 200 and `ok`; another 200 is a proxy's, not Slack's."""
        body = orjson.dumps(rendered(notification.payload))
        answer = await self._call("POST", self._url, body, {"Content-Type": "application/json"})
        if isinstance(answer, RetryLater):
            return answer
        if answer.status == 200 and answer.body.strip() != b"ok":
            return RetryLater("HTTP 200, but not Slack's answer")
        return answer.outcome


def rendered(payload: Json) -> Json:
    """The headline is what a phone shows; the text stands beside a bar in the colour of the severity."""
    text = clipped(payload["text"], LONGEST_BLOCK // 2)  # escaping may lengthen it
    section = {"type": "section", "text": {"type": "mrkdwn", "text": clipped(_escaped(text), LONGEST_BLOCK)}}
    return {
        "text": _escaped(headline(payload)),
        "unfurl_links": False,
        "attachments": [{"color": COLOURS[mood(payload)], "blocks": [section]}],
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
