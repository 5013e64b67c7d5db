"""Open websockets: what waits to be sent on each, in which words, and whether it has gone deaf."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import WSMessage, WSMsgType, web

from actors.simulated.exchange import wire

BACKLOG_MAX = 20_000
"""Messages that wait for one client; with more it is too slow."""
RESTARTING = 1012

Message = dict[str, Any]
Frames = Iterable[bytes | str]


class Line:
    """One open socket. `encode` makes frames of messages."""

    def __init__(self, socket: web.WebSocketResponse, encode: Callable[[list[Message]], Frames]) -> None:
        self.socket = socket
        self.deaf = False
        self._encode = encode
        self._waiting: asyncio.Queue[Message] = asyncio.Queue(BACKLOG_MAX)
        self._ending = False

    def offer(self, message: Message) -> bool:
        """Send it in its turn; False when too much is waiting already."""
        if self.deaf:
            return True
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    def end(self, *last_words: Message) -> None:
        """Forget what is waiting, and close after these."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._ending = True
        for message in last_words:
            self._waiting.put_nowait(message)

    async def say(self, *messages: Message) -> None:
        """Send at once."""
        if self.deaf:
            return
        with suppress(ConnectionError):
            for frame in self._encode(list(messages)):
                await (self.socket.send_str(frame) if isinstance(frame, str) else self.socket.send_bytes(frame))

    async def write(self) -> None:
        """Send what is offered, as much at once as there is, until cancelled or closed."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await self.say(*batch)
            if self._ending:
                await self.socket.close()
                return


class Lines:
    """The open sockets of one kind."""

    def __init__(self) -> None:
        self.open: set[Line] = set()

    def deafen(self) -> None:
        """They stay open, and say nothing more."""
        for line in self.open:
            line.deaf = True

    async def drop(self) -> None:
        """Close them."""
        for line in list(self.open):
            await line.socket.close(code=RESTARTING)


def json_each(messages: list[Message]) -> Frames:
    """A binary frame of JSON for each, as trade updates come."""
    return [orjson.dumps(message) for message in messages]


def json_list(messages: list[Message]) -> Frames:
    """One text frame with a list; `t` is a text."""
    yield orjson.dumps([{**one, "t": wire.stamp(one["t"])} if "t" in one else one for one in messages]).decode()


def msgpack_list(messages: list[Message]) -> Frames:
    """One binary frame with a list; `t` is msgpack's own time."""
    import msgpack  # type: ignore[import-untyped]  # noqa: PLC0415 - only for clients that speak it

    def timed(one: Message) -> Message:
        return {**one, "t": msgpack.Timestamp.from_unix_nano(one["t"] * 1_000)} if "t" in one else one

    yield msgpack.packb([timed(one) for one in messages])


def in_order(keys: Mapping[str, str], key: object, secret: object) -> bool:
    """Whether somebody is who he says."""
    return isinstance(key, str) and key in keys and keys[key] == secret


def read(said: WSMessage, *, packed: bool) -> Message | None:
    """What a client said; None where nobody can understand it."""
    try:
        if said.type is WSMsgType.BINARY and packed:
            import msgpack  # noqa: PLC0415 - only for clients that speak it

            asked = msgpack.unpackb(said.data)
        else:
            asked = orjson.loads(said.data)
    except ValueError:
        return None
    return asked if isinstance(asked, dict) else None
