"""Local services that misbehave on demand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Line = tuple[int, dict[str, str], bytes] | str


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpService:
    """Answers what stands first in `script` (the last line for ever): (status, headers, body), "hang" or "close"."""

    script: list[Line] = field(default_factory=lambda: [(200, {}, b"ok")])
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Request(request.method, request.path_qs, headers, await request.read()))
        line = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        if line == "hang":
            await asyncio.Event().wait()
        if isinstance(line, str):
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        status, extra, body = line
        return web.Response(status=status, headers=extra, body=body)


@asynccontextmanager
async def http_service(*script: Line) -> AsyncIterator[HttpService]:
    service = HttpService()
    if script:
        service.script = list(script)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield service
    finally:
        await runner.cleanup()
