"""Alpaca's REST in threads: with a deadline of ours, a pace, reads that are tried again and POSTs that never are."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import partial
from typing import Any, NoReturn
from urllib.parse import urlsplit

import structlog

from actors.kernel.clock import io_sleep, monotonic
from actors.trading.alpaca import sdk
from actors.trading.alpaca.pace import Pace
from actors.trading.ports import InDoubt, Refused, Unreachable

ABREAST = 3
"""Requests at once to one host; a thread that a stalled server holds keeps its place until its socket gives up."""
DEADLINE_S = 10.0
INSIST_S = 30.0
"""On a read, all attempts together."""
AGAIN_S = 0.5

log = structlog.get_logger()


class Failure(Enum):
    """What an answer other than a good one means for the caller."""

    REFUSED = auto()  # a definite no
    LATER = auto()  # it was not done, and may be asked again
    DOUBTFUL = auto()  # nothing is known


class _Failed(Exception):
    def __init__(self, failure: Failure, status: int, words: str) -> None:
        super().__init__(words)
        self.failure, self.status = failure, status


class NotFound(Refused):
    """There is no such thing."""


class Host:
    """One of Alpaca's hosts. Raises Unreachable, Refused with Alpaca's words, and NotFound."""

    def __init__(self, url: str, keys: sdk.Keys, *, deadline_s: float = DEADLINE_S, insist_s: float = INSIST_S) -> None:
        self._name = url.partition("://")[2] or url
        self.is_alpacas = is_alpacas(url)
        self._insist_s = insist_s
        self._deadline_s = deadline_s
        self._pace = Pace(monotonic())
        seen = partial(self._seen, asyncio.get_running_loop())
        self._all = [sdk.Rest(url.rstrip("/"), keys, deadline_s, seen) for _ in range(ABREAST)]
        self._free = asyncio.Queue[sdk.Rest]()
        for rest in self._all:
            self._free.put_nowait(rest)

    def close(self) -> None:
        """Let go of idle connections."""
        for rest in self._all:
            rest.close()

    async def get(self, path: str, query: Mapping[str, Any] | None = None, *, version: str = "v2") -> Any:
        """Read; tried again for a while when nothing, or nothing definite, is answered."""
        give_up_at = monotonic() + self._insist_s
        pause_s, trouble = AGAIN_S, ""
        while True:
            try:
                answer = await self._attempt(lambda rest: rest.get(path, dict(query or {}), api_version=version))
            except _Failed as failed:
                if failed.failure is Failure.REFUSED or monotonic() + pause_s > give_up_at:
                    self._tell(failed, Unreachable)
                trouble = str(failed)
            else:
                if trouble:
                    log.info("alpaca_answered_late", host=self._name, path=path, reason=trouble)
                return answer
            await io_sleep(pause_s)
            pause_s *= 2

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send once. Raises InDoubt unless it is certain that nothing has happened (then Unreachable or Refused)."""
        try:
            return await self._attempt(lambda rest: rest.post(path, dict(body)), wait_s=self._deadline_s)
        except _Failed as failed:
            self._tell(failed, InDoubt if failed.failure is Failure.DOUBTFUL else Unreachable)

    async def delete(self, path: str) -> None:
        """Ask for something to be ended, once."""
        try:
            await self._attempt(lambda rest: rest.delete(path))
        except _Failed as failed:
            self._tell(failed, Unreachable)

    def _tell(self, failed: _Failed, unknown: type[Unreachable]) -> NoReturn:
        if failed.status == 404:
            raise NotFound(str(failed)) from failed
        if failed.failure is Failure.REFUSED:
            raise Refused(f"{self._name}: {failed}") from failed
        raise unknown(f"{self._name}: {failed}") from failed

    async def _attempt(self, request: Callable[[sdk.Rest], Any], *, wait_s: float = INSIST_S) -> Any:
        """One request, answered or not within the deadline, after waiting for its turn for at most `wait_s`."""
        turn_s = self._pace.wait_s(monotonic())
        if turn_s > wait_s:
            raise _Failed(Failure.LATER, 429, f"no request is allowed for {turn_s:.0f} s")
        await io_sleep(turn_s)
        try:
            async with asyncio.timeout(self._deadline_s):
                rest = await self._free.get()
        except TimeoutError:
            raise _Failed(Failure.LATER, 0, "all connections wait for answers") from None
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._in_thread(rest, request)
        except TimeoutError:
            raise _Failed(Failure.DOUBTFUL, 0, f"no answer within {self._deadline_s:g} s") from None
        except Exception as error:
            raise _sorted(error) from error

    def _in_thread(self, rest: sdk.Rest, request: Callable[[sdk.Rest], Any]) -> "asyncio.Future[Any]":
        """The answer. `rest` is free again when the thread has ended, also when nobody waits any more."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def settle(value: Any, error: Exception | None) -> None:
            self._free.put_nowait(rest)
            if answer.done():
                return
            if error is None:
                answer.set_result(value)
            else:
                answer.set_exception(error)

        def work() -> None:
            value, failure = None, None
            try:
                value = request(rest)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is sorted where it is awaited
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, value, failure)

        # A daemon thread, for a pool's would keep the process from ending until a stalled server lets go of them.
        threading.Thread(target=work, name=f"alpaca {self._name}", daemon=True).start()
        return answer

    def _seen(self, loop: asyncio.AbstractEventLoop, response: sdk.requests.Response) -> None:
        if not loop.is_closed():
            headers, status = dict(response.headers), response.status_code
            loop.call_soon_threadsafe(lambda: self._pace.answered(status, headers, monotonic()))


def is_alpacas(url: str) -> bool:
    """Whether it is Alpaca's own, and not a local exchange."""
    return f".{urlsplit(url).hostname}".endswith(".alpaca.markets")


def _sorted(error: Exception) -> _Failed:
    """What became of a request, from what alpaca-py made of it."""
    if isinstance(error, sdk.APIError):
        status = error.status_code or 0
        words = f"HTTP {status}: {_words(error)}"
        if status == 429:
            return _Failed(Failure.LATER, status, words)
        return _Failed(Failure.REFUSED if 400 <= status < 500 and status != 408 else Failure.DOUBTFUL, status, words)
    if isinstance(error, sdk.requests.exceptions.ConnectionError) and _never_connected(error):
        return _Failed(Failure.LATER, 0, "cannot connect")
    # A timeout, a connection that broke, an answer that is no JSON. Its text may quote the address: the name only.
    return _Failed(Failure.DOUBTFUL, 0, type(error).__name__)


def _never_connected(error: Exception) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason).__name__ in {"NewConnectionError", "ConnectTimeoutError", "NameResolutionError"}


def _words(error: sdk.APIError) -> str:
    try:
        words = str(error.message)
    except (ValueError, KeyError, TypeError):
        words = str(error)
    printable = "".join(character for character in " ".join(words.split()) if character.isprintable())
    return printable[:120] if printable and not printable.startswith("<") else "no reason given"
