"""The public port: HTTP in front of the gate, with a limit on everything a stranger can hold or fill."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from functools import lru_cache
from heapq import nsmallest
from http import HTTPStatus
from operator import attrgetter
from typing import Any, Final, Never, cast

import anyio
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from actors.billing import plain_request
from actors.billing.webhook import TOO_LARGE, UNAVAILABLE, UNKNOWN, Gate, Refused, Verdict, verdict
from actors.kernel.actor import Actor
from actors.kernel.clock import io_sleep, monotonic
from actors.kernel.mailbox import MailboxFull
from actors.store.protocol import StoreUnavailable
from config.errors import UserError

BODY_MAX: Final = 1 << 20
CONNECTIONS_MAX: Final = 512
"""Well below the 1024 file descriptors that a service commonly has: what is beyond is never accepted."""
ARRIVING_MAX: Final = 32 << 20
"""Bytes of bodies that are still arriving, together."""
REQUEST_S: Final = 20.0
"""From the first byte of a request to its last; who is slower is cut off."""
BODY_S: Final = 10.0
"""For a body that did not come with its headers; who is slower is told."""
IDLE_S: Final = 75.0
"""Longer than reverse proxies keep a connection idle, so that they are the ones to close it."""
TOO_FAST_S: Final = 0.1
"""Who sends faster than allowed is told so this much later: a flood that is refused costs the others nothing, too."""
DRAIN_S: Final = 2.0
AT_ONCE: Final = 64
BACKLOG: Final = 1024
"""Connections that wait in the kernel, also while one listener follows another."""

AHEAD_MAX: Final = 128 << 10
"""Bytes of requests that one client has sent ahead, beyond which nothing more of it is read."""

BROKEN: Final = Verdict(500, "internal error")
HEALTHY: Final = Verdict(200, "ok")
INCOMPLETE: Final = Verdict(400, "body is incomplete")
NOT_ALLOWED: Final = Verdict(405, "method not allowed")
TOO_SLOW: Final = Verdict(408, "body took too long")

log = logging.getLogger("nightdesk.listener")
log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Answer(web.StreamResponse):
    """A response rendered once and sent as it is: aiohttp renders each anew, at a third of the cost of an exchange."""

    def __init__(self, verdict: Verdict, *, close: bool) -> None:
        super().__init__(status=verdict.status)
        self._keep_alive = not close
        body = verdict.reason.encode()
        lines = [
            f"HTTP/1.1 {verdict.status} {HTTPStatus(verdict.status).phrase}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "X-Content-Type-Options: nosniff",
        ]
        if verdict.retry_after_s:
            lines.append(f"Retry-After: {verdict.retry_after_s}")
        if close:
            lines.append("Connection: close")
        self._head = "\r\n".join((*lines, "", "")).encode()
        self._whole = self._head + body

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it. Raises ConnectionResetError when the client is gone, or does not read what it is sent."""
        if not self.send(cast("Connection", request.protocol), whole=request.method != "HEAD"):
            raise ConnectionResetError

    def send(self, connection: "Connection", *, whole: bool = True) -> bool:
        """Send it, with its body or only the head; False when nobody takes it."""
        if connection.transport is None:
            return False
        if connection.writing_paused:
            connection.transport.abort()
            return False
        connection.transport.write(self._whole if whole else self._head)
        return True

    async def write_eof(self, data: bytes = b"") -> None:
        """Everything has been sent already."""


@lru_cache(256)
def answer(verdict: Verdict, *, close: bool) -> Answer:
    """The one answer there is for each verdict."""
    return Answer(verdict, close=close)


class Connection(web.RequestHandler):
    """Reads plain requests itself, one after the other, and from the first that is not plain on leaves all to aiohttp.

    Knows what it is waiting for. Reads no clock: it would cost more than what it is to guard.
    """

    __slots__ = ("ahead", "at_work", "half_sent", "held", "overdue_at", "plain", "take", "turn")

    def __init__(self, manager: web.Server, take: "Take", **options: Any) -> None:
        super().__init__(manager, **options)
        self.take = take
        self.turn = manager.requests_count  # how many requests the server had seen when this client last got an answer
        self.at_work = False  # it is for us to answer
        self.held = False  # it sends too fast, and the answer that says so waits
        self.half_sent = False  # something has come since the last answer
        self.overdue_at: float | None = None
        self.plain = True
        self.ahead = b""  # what has come of plain requests that are not yet taken

    def data_received(self, data: bytes) -> None:
        """A request, a part of one, or several."""
        self.half_sent = True
        if not self.plain:
            super().data_received(data)
            return
        self.ahead += data
        if len(self.ahead) > AHEAD_MAX and self.transport is not None:
            self.transport.pause_reading()
        self.take_ahead()

    def take_ahead(self) -> None:
        """Take what has come, one request after the other, as far as each is answered at once."""
        while self.ahead and not self.at_work:
            request = plain_request.read(self.ahead)
            if request is None:
                self._leave_to_aiohttp()
            elif len(self.ahead) >= request.end:
                body, self.ahead = self.ahead[request.start : request.end], self.ahead[request.end :]
                self.at_work = True
                self.take(self, request.path, request.signature, body)
            else:
                break

    def _leave_to_aiohttp(self) -> None:
        self.plain = False
        ahead, self.ahead = self.ahead, b""
        super().data_received(ahead)

    def reply(self, answer: Answer, *, close: bool) -> None:
        """Answer a plain request."""
        self.answered()
        self.half_sent = bool(self.ahead)
        if answer.send(self) and self.transport is not None:
            if close:
                self.ahead = b""
                self.transport.close()
            else:
                self.transport.resume_reading()

    def answered(self) -> None:
        """It is the client's turn again."""
        if self._manager is not None:
            self.turn = self._manager.requests_count
        self.at_work = self.half_sent = self.held = False
        self.overdue_at = None

    def check(self, now: float) -> None:
        """Called every second: end it when its client takes longer than is allowed."""
        if self.at_work:
            return
        if self.plain and self.half_sent:
            self._leave_to_aiohttp()  # which has a limit for a body that does not come
        if not self.half_sent and not self.plain:
            return  # aiohttp ends it when it has been idle for long
        if self.overdue_at is None:
            self.overdue_at = now + (REQUEST_S if self.half_sent else IDLE_S)
        elif now >= self.overdue_at and self.half_sent:
            self.cut()
        elif now >= self.overdue_at and self.transport is not None:
            self.transport.close()

    def cut(self) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()


Take = Callable[[Connection, str, str, bytes], None]
"""What is done with a plain request: path, signature, body."""


class Server(web.Server):
    """aiohttp's low-level server: a router costs as much as everything the gate does."""

    def __init__(self, handler: Handler, take: Take, **options: Any) -> None:
        super().__init__(handler, **options)
        self._take = take

    def __call__(self) -> Connection:
        """A new connection; where there are too many, those that have kept us waiting longest make room."""
        if len(self._connections) >= CONNECTIONS_MAX and len(alive := self.open()) >= CONNECTIONS_MAX:
            waiting = [one for one in alive if one.held or not one.at_work]
            # Many at a time, so that a flood does not have us look through all for every single one.
            for one in nsmallest(CONNECTIONS_MAX // 16, waiting, key=attrgetter("turn")):
                one.cut()
        return Connection(self, self._take, loop=self._loop, **self._kwargs)

    def open(self) -> list[Connection]:
        """The connections that have a client, oldest first."""
        return [
            one
            for one, transport in self._connections.items()
            if isinstance(one, Connection) and not transport.is_closing()
        ]


class Listener(Actor[Never]):
    """Serves webhooks and /healthz on sockets that are bound already, and leaves them open for whoever comes next."""

    def __init__(self, gate: Gate, sockets: Sequence[socket.socket]) -> None:
        self._gate = gate
        self._sockets = sockets
        self._arriving = 0
        self._draining = False
        self._server: Server | None = None
        self._accepting: list[asyncio.Server] = []

    async def start(self) -> None:
        """Serve."""
        await self._gate.open()
        self._server = Server(
            self._handle,
            self._take,
            access_log=None,
            auto_decompress=False,  # signatures are over the bytes as they came
            keepalive_timeout=IDLE_S,
            lingering_time=DRAIN_S,
            logger=log,
        )
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            sock = each.dup()
            # asyncio accepts this many before it looks at any: were it more, they would be too many to make room for.
            self._accepting.append(await loop.create_server(self._server, sock=sock, backlog=AT_ONCE))
            sock.listen(BACKLOG)

    async def run(self) -> None:
        """Once a second, end what takes too long and file what failed."""
        while True:
            await io_sleep(1.0)
            if self._server is not None:
                for connection in self._server.open():
                    connection.check(monotonic())
            with suppress(StoreUnavailable, MailboxFull):  # counted on, and filed once the store writes again
                await self._gate.file_failures()

    async def stop(self) -> None:
        """Accept no more, answer what has come with the word that this connection closes, and let clients go."""
        self._draining = True
        for accepting in self._accepting:
            accepting.close()
        if self._server is None:
            return
        end = monotonic() + DRAIN_S
        while self._server.connections and monotonic() < end:
            await io_sleep(0.02)
        await self._server.shutdown(0.1)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        try:
            given = await self._judge(request, connection)
        except Refused as refused:
            given = refused.verdict
        except (ConnectionError, web.RequestPayloadError):
            given = INCOMPLETE
        self._count(given)
        if given.status == 429:
            await io_sleep(TOO_FAST_S)
        connection.answered()
        return answer(given, close=self._draining or not request.keep_alive or not request.content.is_eof())

    def _take(self, connection: Connection, path: str, signature: str, body: bytes) -> None:
        """A plain request, without a task of its own: the store's answer is passed on when it comes."""
        if self._server is not None:
            self._server.requests_count += 1
        door = self._gate.door(path.partition("?")[0])
        if door is None:
            self._reply(connection, UNKNOWN)
            return
        try:
            stored = self._gate.admit(door, signature, body)
        except Refused as refused:
            if refused.verdict.status == 429:
                connection.held = True
                asyncio.get_running_loop().call_later(TOO_FAST_S, self._reply_later, connection, refused.verdict)
            else:
                self._reply(connection, refused.verdict)
        except Exception:
            log.exception("a delivery could not be taken")
            self._reply(connection, BROKEN)
        else:
            stored.add_done_callback(lambda stored: self._reply_later(connection, verdict(stored)))

    def _reply(self, connection: Connection, given: Verdict) -> None:
        self._count(given)
        connection.reply(answer(given, close=self._draining), close=self._draining)

    def _reply_later(self, connection: Connection, given: Verdict) -> None:
        self._reply(connection, given)
        connection.take_ahead()

    def _count(self, given: Verdict) -> None:
        if given.status >= 400:
            self._gate.refused[given.reason] += 1

    async def _judge(self, request: web.BaseRequest, connection: Connection) -> Verdict:
        path = request.raw_path.partition("?")[0]
        if path == "/healthz":
            return HEALTHY if request.method in {"GET", "HEAD"} else NOT_ALLOWED
        if not path.startswith("/webhook"):
            return UNKNOWN
        if request.method != "POST":
            return NOT_ALLOWED
        if (request.content_length or 0) > BODY_MAX:
            return TOO_LARGE
        if (door := self._gate.door(path)) is None:
            return UNKNOWN
        content = request.content
        body = content.read_nowait() if content.is_eof() else await self._read(request)
        connection.at_work = True
        stored = self._gate.admit(door, request.headers.get("Stripe-Signature", ""), body)
        await asyncio.wait((stored,))
        return verdict(stored)

    async def _read(self, request: web.BaseRequest) -> bytes:
        """A body that has not come with its headers. Raises Refused when it is too large or too slow."""
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            with anyio.move_on_after(BODY_S):
                while part := await request.content.readany():
                    body += part
                    self._arriving += len(part)
                    if len(body) > BODY_MAX:
                        raise Refused(TOO_LARGE)
                    if self._arriving > ARRIVING_MAX:
                        raise Refused(UNAVAILABLE)
                return bytes(body)
        finally:
            self._arriving -= len(body)
        raise Refused(TOO_SLOW)


WHAT_TO_DO: Final = {
    EADDRINUSE: "end the program that listens there, or choose another port",
    EACCES: "ports below 1024 are for root: start by the systemd socket, or listen elsewhere behind a proxy",
    EADDRNOTAVAIL: "choose an address this machine has",
}


def bind(host: str, port: int) -> socket.socket:
    """A listening socket of our own. Raises UserError when the port is taken or the address is not ours."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        what_to_do = WHAT_TO_DO.get(error.errno or 0, "choose another")
        reason = (error.strerror or str(error)).split(" (")[0]
        raise UserError(f"billing.listen: {host}:{port}: {reason.lower()}; {what_to_do}") from error
