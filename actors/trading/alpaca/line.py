"""Keeps one stream connected: who was healthy comes back soon, who is refused waits longer and longer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import structlog

from actors.kernel.clock import Random, io_sleep, monotonic
from actors.trading.alpaca import sdk
from actors.trading.ports import Link, Refused

TOO_MANY = 405

FATAL = {
    402: "the keys are wrong, or belong to another environment (paper keys work with paper: true only)",
    TOO_MANY: "the plan allows fewer symbols on this stream; shorten trading.universe.symbols",
    409: "the plan does not include this feed; set trading.feed to iex",
    411: "these keys may not use this stream",
}
"""Nothing changes by trying again; but what has worked and is refused suddenly may be their mistake, and pass."""

CROWDED = 406
"""Another connection is still counted: who comes back at once keeps it alive."""

log = structlog.get_logger()


class TooManySymbols(Refused):
    """More were subscribed to than the plan allows."""


class Socket(Protocol):
    """One connection."""

    async def open(self) -> None:
        """Up to and including the subscription."""

    async def listen(self) -> None:
        """Until it ends, which raises."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what, in monotonic seconds."""

    handshake_s: float = 15.0
    first_s: float = 1.0
    longest_s: float = 60.0
    crowded_s: float = 15.0
    healthy_s: float = 60.0
    look_s: float = 5.0


class Deaf(Exception):
    """Connected, and nothing comes although something should."""


class Line:
    """Connects, listens, and connects again.

    `make` gives a new socket that passes every message to `hear`. `confirmed` says of a message whether it confirms
    the subscription: only then the stream is up. `deaf` says whether something should have come by now.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[sdk.Hear], Any],
        confirmed: Callable[[Mapping[str, Any]], bool],
        rng: Random,
        patience: Patience,
        deaf: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._name = name
        self._make = make
        self._confirmed = confirmed
        self._rng = rng
        self._patience = patience
        self._deaf = deaf
        self._up_at: float | None = None
        self._heard = False

    async def run(self, hear: sdk.Hear, tell: Callable[[Link], None]) -> None:
        """Until cancelled. `tell` hears of ups and downs; raises Refused for what no waiting will change."""
        failures, ever_up = 0, False
        while True:
            code, reason = await self._connection(hear, tell)
            ever_up = ever_up or self._up_at is not None
            if code in FATAL and not ever_up:
                kind = TooManySymbols if code == TOO_MANY else Refused
                raise kind(f"{self._name}: {reason}: {FATAL[code]}")
            if self._up_at is not None:
                tell(Link(up=False, reason=reason))
                if self._heard or monotonic() - self._up_at >= self._patience.healthy_s:
                    failures = 0
            pause_s = min(self._patience.first_s * 2.0**failures, self._patience.longest_s)
            if code in {CROWDED, *FATAL}:
                pause_s = max(pause_s, self._patience.crowded_s)
            failures = min(failures + 1, 10)
            log.warning("stream_down", stream=self._name, reason=reason, again_in_s=round(pause_s, 1))
            await io_sleep(pause_s * self._rng.uniform(0.75, 1.0))

    async def _connection(self, hear: sdk.Hear, tell: Callable[[Link], None]) -> tuple[int, str]:
        """One connection's life; the code and the words of its end."""
        self._up_at, self._heard = None, False
        confirmed = asyncio.Event()

        def receive(message: Mapping[str, Any]) -> None:
            if self._confirmed(message):
                if self._up_at is None:
                    self._up_at = monotonic()
                    confirmed.set()
                    tell(Link(up=True))
                return
            self._heard = True
            hear(message)

        socket = self._make(receive)
        end = 0, "the stream ended"
        try:
            async with asyncio.timeout(self._patience.handshake_s):
                await socket.open()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, confirmed)
                await self._listen(socket)
        except Exception as error:  # noqa: BLE001 - whatever alpaca-py trips over, the remedy is a new connection
            end = _told(error)
        finally:
            with anyio.CancelScope(shield=True):
                await sdk.close(socket)
        return end

    async def _listen(self, socket: Socket) -> None:
        await socket.listen()
        raise Deaf("the stream ended")

    async def _watch(self, confirmed: asyncio.Event) -> None:
        async with asyncio.timeout(self._patience.handshake_s):
            await confirmed.wait()
        if self._deaf is None:
            return
        while not await self._deaf():
            await io_sleep(self._patience.look_s)
        raise Deaf("nothing came although the exchange is open")


def _told(error: BaseException) -> tuple[int, str]:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, sdk.StreamError):
        return error.code, str(error)
    if isinstance(error, Deaf):
        return 0, str(error)
    if isinstance(error, TimeoutError):
        return 0, "no answer in time"
    # The text of others may quote addresses or what was sent.
    return 0, f"connection broke: {type(error).__name__}"
