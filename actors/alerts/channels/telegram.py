"""A bot of Telegram that writes to one chat."""

from html import escape
from typing import Any

import orjson

from actors.alerts.channels.base import Outcome, RateLimit, RetryLater, Sent
from actors.alerts.channels.http import HttpChannel, json_object
from actors.alerts.messages import clipped, headline
from actors.store.records import Json, Notification

LONGEST = 4096
ROOM_FOR_TITLE = 256


class TelegramChannel(HttpChannel):
    """Twenty messages a minute, what a group tolerates. What follows an incident's first message replies to it."""

    limit = RateLimit(per_minute=20, burst=3)
    for_people = True
    abreast = 1

    def __init__(self, token: str, chat_id: str | int, base_url: str) -> None:
        super().__init__()
        self._url = f"{base_url.rstrip('/')}/bot{token}/sendMessage"
        self._chat_id = chat_id

    async def send(self, notification: Notification) -> Outcome:
        """Telegram says `ok` in its answer, and how long to wait in the parameters of its refusal."""
        body = orjson.dumps({"chat_id": self._chat_id, **self._message(notification)})
        answer = await self._call("POST", self._url, body, {"Content-Type": "application/json"})
        if isinstance(answer, RetryLater):
            return answer
        said = json_object(answer.body)
        if said.get("ok") is True:
            return Sent(str(said["result"]["message_id"]))
        parameters = said.get("parameters") or {}
        if moved_to := parameters.get("migrate_to_chat_id"):
            self._chat_id = moved_to
            return RetryLater(f"the group has a new id; set chat_id to {moved_to}")
        if answer.status == 429 and "retry_after" in parameters:
            return RetryLater("HTTP 429", float(parameters["retry_after"]))
        outcome = answer.outcome
        return RetryLater("HTTP 200, but not Telegram's answer") if isinstance(outcome, Sent) else outcome

    def _message(self, notification: Notification) -> dict[str, Any]:
        message: dict[str, Any] = {
            "text": rendered(notification.payload),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        }
        if notification.first_message:
            first = int(notification.first_message)
            message["reply_parameters"] = {"message_id": first, "allow_sending_without_reply": True}
        return message


def rendered(payload: Json) -> str:
    """The limit counts what is shown, not the markup."""
    title = clipped(headline(payload), ROOM_FOR_TITLE)
    text = clipped(payload["text"], LONGEST - ROOM_FOR_TITLE - 1)
    return f"<b>{escape(title)}</b>\n{escape(text, quote=False)}"
