"""What a channel is: something that can be sent a notification and says what became of it."""

from dataclasses import dataclass
from typing import Protocol

from actors.store.records import Notification


@dataclass(frozen=True, slots=True)
class Sent:
    """The service has taken it. `message`: as what it knows it, where later messages can be joined to it."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """It was not taken now; a later attempt may succeed. `after`: the seconds the service asked for, if it did."""

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never be taken like this: the message or the settings are wrong."""

    reason: str


Outcome = Sent | RetryLater | Refused


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `burst` at once and `per_minute` in the long run: what the service tolerates."""

    per_minute: float
    burst: int = 1


class Channel(Protocol):
    """One way to people or programs. `send` may raise OSError or TimeoutError: both mean later."""

    limit: RateLimit
    for_people: bool
    """Messages for people are gathered when many come at once; a program gets each one."""
    abreast: int
    """Messages about different incidents that may be under way at the same time."""

    async def open(self) -> None:
        """Acquire what lasts: a session, a connection."""

    async def send(self, notification: Notification) -> Outcome:
        """One attempt; the dispatcher bounds its time."""

    async def close(self) -> None:
        """Release it."""
