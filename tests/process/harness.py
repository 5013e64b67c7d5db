"""The real daemon as a child process, with a folder, a config, a public port, a control socket and a webhook sink."""

import hashlib
import hmac
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from actors.kernel.clock import WallClock, monotonic
from daemon.cli.client import Client
from tests.patience import PATIENCE_S

T = TypeVar("T")
SECRET = "whsec_test"
TOKEN = "acme-token"
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""
ROOT = Path(__file__).parent.parent.parent


def now_s() -> int:
    return WallClock().now() // 1_000_000


def signed(body: bytes, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    t = now_s() if at is None else at
    mac = hmac.new(secret.encode(), b"%d." % t + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={t},v1={mac}", "Content-Type": "application/json"}


_ids = iter(range(1, 1_000_000_000))


def charge(*, customer: str = "", failed: bool = False, created: int | None = None, **fields: Any) -> dict[str, Any]:
    """A charge event of its own id, in the shape of API 2024-06-20."""
    number = next(_ids)
    stamp = now_s() if created is None else created
    charge_fields: dict[str, Any] = {
        "id": f"ch_{number:08d}",
        "object": "charge",
        "amount": 1900 + number % 97,
        "amount_refunded": 0,
        "currency": "usd",
        "created": stamp,
        "customer": customer or f"cus_{number:08d}",
        "payment_intent": f"pi_{number:08d}",
        "invoice": None,
        "paid": not failed,
        "captured": not failed,
        "status": "failed" if failed else "succeeded",
        "failure_code": "card_declined" if failed else None,
        **fields,
    }
    return {
        "id": f"evt_{os.getpid()}_{number:08d}",
        "object": "event",
        "api_version": "2024-06-20",
        "created": stamp,
        "type": "charge.failed" if failed else "charge.succeeded",
        "livemode": False,
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": charge_fields},
    }


class Sink:
    """A webhook endpoint that keeps what it is sent; `behave` may answer otherwise than 200."""

    def __init__(self) -> None:
        self.received: queue.Queue[tuple[dict[str, str], dict[str, Any]]] = queue.Queue()
        self.all: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.behave: Callable[[], int] = lambda: 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = sink.behave()
                if status == 200:
                    sink.all.append(body)
                    sink.keys.append(self.headers["Idempotency-Key"])
                    sink.received.put((dict(self.headers), body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def next(self, timeout: float = PATIENCE_S) -> dict[str, Any]:
        return self.received.get(timeout=timeout)[1]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class RunningDaemon:
    """`nightdesk run` in a folder of its own. `start` returns when it has said READY."""

    def __init__(self, folder: Path, sink: Sink, settings: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.sink = sink
        self._kept = keep_a_port()
        self.port: int = self._kept.getsockname()[1]
        self.config = folder / "nightdesk.yaml"
        self.socket = folder / "control.sock"
        self.errors = folder / "stderr.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.program = ["daemon"]
        self.configure(settings or {})

    def configure(self, settings: dict[str, Any]) -> None:
        """Write the config: the defaults of these tests, overlaid section by section."""
        tree: dict[str, Any] = {
            "data_dir": "./data",
            "control": {"socket": "./control.sock"},
            "web": {"listen": None},
            "billing": {
                "listen": f"127.0.0.1:{self.port}",
                "tenants": [{"name": "acme", "token": TOKEN, "webhook_secrets": [SECRET]}],
            },
            # No digests but in their own test: at a full hour one would come among what others wait for.
            "alerts": {
                "channels": [{"name": "ops", "type": "webhook", "url": self.sink.url}],
                "digest": {"every": None},
            },
        }
        for section, values in settings.items():
            tree[section] = {**tree[section], **values} if isinstance(tree.get(section), dict) else values
        self.config.write_text(yaml.safe_dump(tree))

    def start(self, *, listening: socket.socket | None = None) -> None:
        """With `listening`, hand that socket over as systemd does: as file descriptor 3, to the pid that is named."""
        command = [sys.executable, "-m", *self.program, "run", "--config", str(self.config)]
        if listening is not None:
            command = [sys.executable, "-c", HAND_OVER, str(listening.fileno()), *command]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self.errors.open("ab") as errors:
            address = self.folder / f"notify.{next(_ids)}"
            notify.bind(str(address))
            notify.settimeout(0.1)
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "NOTIFY_SOCKET": str(address)},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=() if listening is None else (listening.fileno(),),
            )
            deadline = monotonic() + PATIENCE_S
            while monotonic() < deadline:
                if self.process.poll() is not None:
                    raise AssertionError(f"the daemon ended with {self.process.returncode}: {self.log()[-2000:]}")
                try:
                    if b"READY=1" in notify.recv(4096):
                        return
                except TimeoutError:
                    continue
            raise AssertionError(f"not ready within {PATIENCE_S} s: {self.log()[-2000:]}")

    def log(self) -> str:
        return self.errors.read_text() if self.errors.exists() else ""

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._kept.close()

    def post(self, body: bytes, headers: dict[str, str] | None = None, path: str = f"/webhook/{TOKEN}") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("POST", path, body, headers if headers is not None else signed(body))
            return connection.getresponse().status
        finally:
            connection.close()

    def deliver(self, event: dict[str, Any], **more: Any) -> int:
        return self.post(json.dumps(event, indent=2).encode(), **more)

    def get(self, path: str) -> dict[str, Any]:
        return cast("dict[str, Any]", Client(self.socket).get(path))

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return cast("dict[str, Any]", Client(self.socket).post(path, body))

    def incidents(self, signal_name: str | None = None) -> list[dict[str, Any]]:
        found = self.get("/incidents")["incidents"]
        return [incident for incident in found if signal_name in (None, incident["signal"])]

    def settled(self) -> dict[str, Any]:
        """The status, once everything stored is scored and everything to be told is told."""

        def at_rest() -> dict[str, Any] | None:
            status = self.get("/status")
            done = status["events"]["lag"] == 0 and status["notifications"]["pending"] == 0
            return status if done else None

        return until(at_rest)


def until(probe: Callable[[], T | None]) -> T:
    """What `probe` returns as soon as it is something: another process can only be asked again and again."""
    deadline = monotonic() + PATIENCE_S
    pause = threading.Event()
    while (found := probe()) is None:
        assert monotonic() < deadline, f"still waiting after {PATIENCE_S} s"
        pause.wait(0.02)
    return found


def nightdesk(*arguments: str | Path, program: Sequence[str] = ("daemon",)) -> tuple[int, list[str]]:
    """Run a command; exit code, and the lines on stderr (on stdout where there are none)."""
    done = subprocess.run(
        [sys.executable, "-m", *program, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, (done.stderr or done.stdout).splitlines()


def keep_a_port() -> socket.socket:
    """While this is open nobody else is given its port, and a server, which reuses addresses, may take it."""
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    return kept


@contextmanager
def running(folder: Path, settings: dict[str, Any] | None = None, *, start: bool = True) -> Iterator[RunningDaemon]:
    """A daemon that is ready, and is gone afterwards whatever happened."""
    sink = Sink()
    daemon = RunningDaemon(folder, sink, settings)
    try:
        if start:
            daemon.start()
        yield daemon
    finally:
        daemon.close()
        sink.close()
