"""The control socket: HTTP over a Unix socket. The group may read; only root and the daemon's own user may change."""

import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import structlog
from aiohttp import web

from actors.kernel.actor import Actor
from config.errors import UserError
from daemon import __version__
from daemon.account_office import AccountOffice
from daemon.desk_office import DeskOffice
from daemon.office import LIMIT_MAX, Office

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BACKLOG = 32
SAYS = {"Nightdesk-Version": __version__}
"""With every answer: a command of another version can then tell why it does not understand."""


class Control(Actor[None]):
    """Serves the office on a listening Unix socket, which outlives this actor."""

    def __init__(self, listening: socket.socket, office: Office, accounts: AccountOffice, desk: DeskOffice) -> None:
        self._listening = listening
        self._office = office
        self._accounts = accounts
        self._desk = desk
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Ready when it answers."""
        app = web.Application(middlewares=[answer_in_json])
        reads: dict[str, Handler] = {
            "/status": self._json(self._office.status),
            "/top": self._json(self._office.top),
            "/actors": self._json(self._office.actors),
            "/incidents": self._incidents,
            "/events": self._events,
            "/mrr": self._mrr,
            "/dead-letters": self._json(self._office.dead_letters),
            "/tenants": self._json(self._accounts.tenants),
            "/backfill": self._backfill,
            "/positions": self._json(self._desk.positions),
            "/strategies": self._json(self._desk.strategies),
        }
        changes = {
            "/ack": self._office.ack,
            "/false-positive": self._office.false_positive,
            "/snooze": self._office.snooze,
            "/restart": self._office.restart,
            "/reload": self._office.reload,
            "/backup": self._office.backup,
            "/loglevel": self._office.loglevel,
            "/test-alert": self._office.test_alert,
            "/dead-letters/replay": self._office.revive,
            "/tenants/add": self._accounts.add,
            "/tenants/change": self._accounts.change,
            "/tenants/rotate-secret": self._accounts.rotate,
            "/tenants/remove": self._accounts.remove,
            "/tenants/register-endpoint": self._accounts.register_endpoint,
            "/backfill": self._accounts.backfill,
            "/halt": self._desk.halt,
            "/resume": self._desk.resume,
            "/flatten": self._desk.flatten,
        }
        app.add_routes([web.get(path, handler) for path, handler in reads.items()])
        app.add_routes([web.post(path, self._change(act)) for path, act in changes.items()])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listening.dup()).start()

    async def stop(self) -> None:
        """Close the connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _json(self, read: Callable[[], Awaitable[dict[str, Any]]]) -> Handler:
        async def handler(_request: web.Request) -> web.Response:
            return _respond(await read())

        return handler

    def _change(self, act: Callable[[dict[str, Any], int], Awaitable[dict[str, Any]]]) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            pid, uid = _peer(request)
            if uid not in {0, os.geteuid()}:
                raise web.HTTPForbidden(reason="only root and the daemon's own user may change anything")
            try:
                body = orjson.loads(await request.read() or b"{}")
            except orjson.JSONDecodeError:
                body = None
            if not isinstance(body, dict):
                raise web.HTTPBadRequest(reason="expected a JSON object")
            answer = await act(body, uid)
            log.info("operator_command", command=request.path, uid=uid, pid=pid, **_scalars(body))
            return _respond(answer)

        return handler

    async def _incidents(self, request: web.Request) -> web.Response:
        return _respond(await self._office.incidents(request.query.get("tenant"), request.query.get("state")))

    async def _mrr(self, request: web.Request) -> web.Response:
        at = request.query.get("at")
        moment = None if at is None else self._office.moment(at, "at")
        return _respond(await self._office.mrr(request.query.get("tenant"), moment))

    async def _backfill(self, request: web.Request) -> web.Response:
        return _respond(await self._accounts.progress(request.query.get("tenant")))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        limit = request.query.get("limit")
        if limit is not None and (not limit.isdecimal() or int(limit) > LIMIT_MAX):
            raise web.HTTPBadRequest(
                reason=f"limit: expected a whole number up to {LIMIT_MAX}; without it all are listed"
            )
        await self._office.require(request.query.get("tenant"))
        since = request.query.get("since")
        pages = self._office.events(
            tenant=request.query.get("tenant"),
            since=None if since is None else self._office.moment(since, "since"),
            limit=int(limit) if limit else None,
            follow=request.query.get("follow") == "1",
        )
        response = web.StreamResponse(headers=SAYS | {"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        # Whoever followed the events may leave at any time.
        with suppress(ConnectionResetError):
            async for page in pages:
                await response.write(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in page))
        return response


@web.middleware
async def answer_in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is `{"error": one line}`, and so is a fault of our own: its trace is for the log."""
    try:
        return await handler(request)
    except UserError as error:
        return _respond({"error": str(error)}, status=400 if error.exit_code == 2 else 409)
    except web.HTTPException as error:
        return _respond({"error": error.reason}, status=error.status)
    except Exception as error:
        if request.writer.output_size:  # too late for another answer: the connection breaks off
            raise
        log.exception("control_fault", route=request.path)
        fault = f"the daemon failed at {request.path[1:]} ({type(error).__name__}); its log says why (control_fault)"
        return _respond({"error": fault}, status=500)


def _respond(answer: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(answer), status=status, content_type="application/json", headers=SAYS)


def _scalars(body: dict[str, Any]) -> dict[str, Any]:
    """What of an order is logged. Secrets come within objects, and so never are."""
    return {f"arg_{key}": value for key, value in body.items() if isinstance(value, (str, int, float))}


def _peer(request: web.Request) -> tuple[int, int]:
    """The (pid, uid) at the other end, as the kernel vouches for it."""
    peer: socket.socket | None = request.transport.get_extra_info("socket") if request.transport else None
    if peer is None:
        raise web.HTTPForbidden(reason="the connection is gone")
    pid, uid, _gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return pid, uid


def bind(path: Path) -> socket.socket:
    """A listening Unix socket of mode 0660. A stale file is replaced, a living daemon or a foreign file never."""
    with suppress(PermissionError):  # who may not even look there is told so by bind
        if path.is_symlink() or path.exists():
            _clear(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    # The umask, not a later chmod: between bind and chmod anybody could have connected.
    umask = os.umask(0o117)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        server.bind(str(path))
    except OSError as error:
        server.close()
        what = error.strerror or str(error)
        raise UserError(f"control.socket: cannot listen on {path}: {what.lower()}") from None
    finally:
        os.umask(umask)
    server.listen(BACKLOG)
    server.setblocking(False)
    return server


def _clear(path: Path) -> None:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise UserError(f"control.socket: {path} exists and is no socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise UserError(f"control.socket: cannot tell who owns {path}: {error.strerror}") from None
    raise UserError(f"control.socket: another daemon answers on {path}; stop it first, or choose another path")
