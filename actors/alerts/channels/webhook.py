"""JSON posted to any address, signed where a secret is set."""

import hashlib
import hmac
from urllib.parse import quote

import orjson

from actors.alerts.channels.base import Outcome, RateLimit, RetryLater
from actors.alerts.channels.http import HttpChannel
from actors.kernel.clock import SECOND, Clock
from actors.store.records import Notification


class WebhookChannel(HttpChannel):
    """For programs: each notification is one POST, under an Idempotency-Key that no retry changes.

    With a secret, `Nightdesk-Signature: t=<unix>,v1=<hex>` is the HMAC-SHA256 of `<t>.<body>`.
    """

    limit = RateLimit(per_minute=30_000, burst=1000)
    for_people = False
    abreast = 8

    def __init__(self, url: str, secret: str | None, clock: Clock, *, public_only: bool = False) -> None:
        super().__init__(public_only=public_only)
        self._url = url
        self._secret = secret
        self._clock = clock

    async def send(self, notification: Notification) -> Outcome:
        """Any 2xx means that it was taken."""
        body = orjson.dumps(notification.payload)
        # A header is ASCII; keys are, unless a channel's name is not.
        headers = {"Content-Type": "application/json", "Idempotency-Key": quote(notification.key, safe=".:/")}
        if self._secret is not None:
            headers["Nightdesk-Signature"] = signature(self._secret, body, self._clock.now() // SECOND)
        answer = await self._call("POST", self._url, body, headers)
        return answer if isinstance(answer, RetryLater) else answer.outcome


def signature(secret: str, body: bytes, at: int) -> str:
    """The header's value; `at` in unix seconds."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
