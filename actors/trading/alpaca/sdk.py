"""All that is taken from alpaca-py, and the only module that imports it.

Left out are its models (an order state they do not know is an error to them) and with them pandas, its retries (they
include POST), its waiting for a server for ever, and the loops around its streams, which reconnect and never tell why.
"""

import asyncio
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it has no types
import requests
from requests.adapters import HTTPAdapter


@contextmanager
def _without_pandas() -> Iterator[None]:
    """Seventy of the eighty megabytes of alpaca-py are pandas, which only the data frames of its models need."""
    if "pandas" in sys.modules:
        yield
        return
    stand_in = ModuleType("pandas")
    stand_in.DataFrame = object  # type: ignore[attr-defined]  # named in an annotation
    sys.modules["pandas"] = stand_in
    try:
        yield
    finally:
        del sys.modules["pandas"]


with warnings.catch_warnings(), _without_pandas():
    warnings.simplefilter("ignore", DeprecationWarning)  # alpaca-py 0.44 stands on websockets.legacy
    from alpaca.common.exceptions import APIError
    from alpaca.common.rest import RESTClient
    from alpaca.data.live.stock import StockDataStream
    from alpaca.trading.stream import TradingStream
    from websockets.exceptions import WebSocketException

__all__ = [
    "APIError",
    "DataSocket",
    "Keys",
    "Rest",
    "StreamError",
    "TradingSocket",
    "WebSocketException",
    "requests",
]

Hear = Callable[[Mapping[str, Any]], None]

ALREADY_AUTHENTICATED = 403
CLOSE_S = 2.0
SOCKET = {"ping_interval": 10, "ping_timeout": 20, "close_timeout": CLOSE_S, "max_queue": 1024}


@dataclass(frozen=True, slots=True)
class Keys:
    """Who we are to Alpaca. Its text shows no secret."""

    key_id: str
    secret_key: str

    def __repr__(self) -> str:
        return "Keys(…)"


class StreamError(Exception):
    """What Alpaca says on a stream instead of data. `code` as in its documentation; 0: it gave none."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})" if code else message)
        self.code = code


class _Session(requests.Session):
    """Every request has a deadline between any two bytes."""

    def __init__(self, timeout_s: float, seen: Callable[[requests.Response], None]) -> None:
        super().__init__()
        self._timeout_s = timeout_s
        self.hooks["response"].append(lambda response, *_, **__: seen(response))
        adapter = HTTPAdapter(max_retries=0)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        return super().request(*args, **kwargs | {"timeout": self._timeout_s})


class Rest(RESTClient):
    """alpaca-py's client for one host, raw, without its retries; used by one thread at a time.

    `seen` is shown every response, in that thread.
    """

    def __init__(self, url: str, keys: Keys, timeout_s: float, seen: Callable[[requests.Response], None]) -> None:
        super().__init__(url, keys.key_id, keys.secret_key, raw_data=True)
        self._session = _Session(timeout_s, seen)
        self._retry_codes = []

    def close(self) -> None:
        """Let go of idle connections."""
        self._session.close()


class DataSocket(StockDataStream):
    """One connection to the stream of market data; `hear` is given every message after the handshake."""

    _ws: Any

    def __init__(self, url: str, keys: Keys, channels: Mapping[str, list[str]], hear: Hear) -> None:
        super().__init__(keys.key_id, keys.secret_key, raw_data=True, websocket_params=SOCKET, url_override=url)
        self._handlers |= {channel: dict.fromkeys(symbols) for channel, symbols in channels.items()}
        self._hear = hear

    async def open(self) -> None:
        """Connect, say who we are, and subscribe; the confirmation is a message like others. Raises StreamError."""
        await self._connect()
        await self._auth()
        await self._send_subscribe_msg()

    async def listen(self) -> None:
        """Until the connection ends, which raises."""
        await self._consume()

    async def _auth(self) -> None:
        await self._ws.send(msgpack.packb({"action": "auth", "key": self._api_key, "secret": self._secret_key}))
        first = msgpack.unpackb(await self._ws.recv())[0]
        if first["T"] == "error":
            raise StreamError(first.get("code", 0), first.get("msg", "authentication failed"))

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        if msg.get("T") != "error":
            self._hear(msg)
        elif msg.get("code") != ALREADY_AUTHENTICATED:
            raise StreamError(msg.get("code", 0), msg.get("msg", "an error without a message"))


class TradingSocket(TradingStream):
    """One connection to the stream of what happens to orders; `hear` is given every message after the handshake."""

    _ws: Any
    _trade_updates_handler: Any

    def __init__(self, url: str, keys: Keys, hear: Hear) -> None:
        super().__init__(keys.key_id, keys.secret_key, raw_data=True, websocket_params=SOCKET, url_override=url)
        self._hear = hear
        self._trade_updates_handler = self._dispatch  # without one it does not subscribe

    async def open(self) -> None:
        """Connect, say who we are, and subscribe; the confirmation is a message like others. Raises StreamError."""
        try:
            await self._start_ws()  # type: ignore[no-untyped-call]
        except (ValueError, AttributeError) as error:  # what alpaca-py makes of any answer other than yes
            raise StreamError(0, str(error)) from error

    async def listen(self) -> None:
        """Until the connection ends, which raises."""
        await self._consume()  # type: ignore[no-untyped-call]

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        self._hear(msg)


async def close(socket: DataSocket | TradingSocket) -> None:
    """End a connection, whatever state it is in; returns in time."""
    transport = getattr(socket._ws, "transport", None)  # noqa: SLF001 - this module is the fence
    try:
        async with asyncio.timeout(CLOSE_S):
            await socket.close()
    except (TimeoutError, OSError, WebSocketException):
        if transport is not None:
            transport.abort()
