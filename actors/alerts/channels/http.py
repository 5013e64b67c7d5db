"""What the channels over HTTP share: a session of their own, and what an answer means for the next attempt."""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson

from actors.alerts.channels.base import Outcome, Refused, RetryLater, Sent

MOST_ANSWER_BYTES = 16_384
QUOTED = 80
USER_AGENT = "nightdesk"

# A wrong message stays wrong. The other 4xx (a page missing during a deploy, a key being rolled) may pass.
NEVER = frozenset({400, 402, 406, 410, 411, 412, 413, 414, 415, 416, 417, 422, 431})


class NotPublic(OSError):
    """The address is not one of the public internet."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and the first bytes of what the service said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def outcome(self) -> Outcome:
        """2xx: sent. 429, 5xx and what may pass: later. Wrong messages and redirects: refused."""
        if 200 <= self.status < 300:
            return Sent()
        if 300 <= self.status < 400:
            return Refused(f"HTTP {self.status}: redirects are not followed; set the channel's final address")
        if self.status in NEVER:
            return Refused(f"HTTP {self.status}{self._said()}")
        return RetryLater(f"HTTP {self.status}{self._said()}", retry_after_s(self.headers))

    def _said(self) -> str:
        text = " ".join(self.body.decode("utf-8", "replace").split())
        printable = "".join(character for character in text if character.isprintable())
        return f": {printable[:QUOTED]}" if printable and not printable.startswith("<") else ""


class HttpChannel:
    """Posts, and reads little of what it is answered. Follows no redirect, keeps no cookie, asks no proxy.

    `public_only` is for addresses that a tenant may choose: each connection is checked where it is made, against the
    very address it goes to, so no name and no rebinding leads inside.
    """

    def __init__(self, *, public_only: bool = False) -> None:
        self._public_only = public_only

    async def open(self) -> None:
        """Make the session; connections are made when first needed."""
        connector = aiohttp.TCPConnector(socket_factory=_public_socket if self._public_only else None)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT},
            timeout=aiohttp.ClientTimeout(total=None),  # the dispatcher bounds every attempt
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _call(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer | RetryLater:
        """The service's answer, or that there was none."""
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return Answer(response.status, response.headers, await _beginning(response.content))
        except aiohttp.ClientConnectorError as error:
            return RetryLater(f"cannot connect: {error.strerror or type(error.os_error).__name__}")
        except aiohttp.ClientError as error:
            # The name only: the text of some of these quotes the address, and with it a secret.
            return RetryLater(f"connection broke: {type(error).__name__}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`Retry-After`, in seconds or as a date (counted from the answer's own Date)."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    body = b""
    async for chunk in content.iter_chunked(MOST_ANSWER_BYTES):
        body += chunk
        if len(body) >= MOST_ANSWER_BYTES:
            break
    return body


def json_object(body: bytes) -> dict[str, Any]:
    """What the service said, if that is a JSON object; else nothing."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _public_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, target = address
    host = ipaddress.ip_address(str(target[0]).partition("%")[0])
    inner = getattr(host, "ipv4_mapped", None) or host
    if not inner.is_global or inner.is_multicast:
        raise NotPublic(None, "the address is not public")
    return socket.socket(family, kind, protocol)
