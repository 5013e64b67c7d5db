"""How a command speaks to the daemon: HTTP over its Unix socket, by the standard library, so that it starts at once."""

import argparse
import http.client
import json
import os
import socket
from collections.abc import Generator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from config.errors import BadInput, DaemonUnreachable, UserError
from config.paths import default_socket
from daemon import __version__

TIMEOUT_S = 30.0
READ_BYTES = 1 << 16


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def connect(arguments: argparse.Namespace) -> "Client":
    """The daemon that `--socket`, `--config` and the environment name."""
    return Client(socket_path(arguments.socket, arguments.config, dict(os.environ)))


def socket_path(explicit: Path | None, config: Path | None, environ: dict[str, str]) -> Path:
    """`--socket`, else what the config file says, else NIGHTDESK_CONTROL__SOCKET, else the default."""
    if explicit:
        return explicit
    if config and (said := _socket_of(config)):
        return said
    if said_by_environment := environ.get("NIGHTDESK_CONTROL__SOCKET"):
        return Path(said_by_environment)
    return default_socket()


def _socket_of(config: Path) -> Path | None:
    # Only the one key is read: checking the whole tree is the daemon's work and costs a command its quick start.
    from config.yaml_file import read_yaml  # noqa: PLC0415 - YAML is only needed with --config

    control = read_yaml(config).get("control")
    said = control.get("socket") if isinstance(control, dict) else None
    return Path(said) if isinstance(said, str) else None


class Answer(dict[str, Any]):
    """An object of an answer. That a key is not there is told in one line: the daemon is of another version."""

    def __init__(self, version: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._version = version

    def __missing__(self, key: str) -> Any:
        raise UserError(of_another_version(self._version, f"its answer has no {key!r}"))


def of_another_version(version: str, what: str) -> str:
    """The sentence about a daemon of that version ("": of one that did not say) that we do not understand."""
    which = f"of version {version}" if version else "older"
    return f"{what}: the daemon is {which}, this command of version {__version__}; restart the daemon after an upgrade"


class Client:
    """One daemon, behind one socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, path: str) -> Any:
        """The answer's JSON. Raises DaemonUnreachable, or UserError with what the daemon said."""
        return self._whole("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Ask for a change; as get."""
        return self._whole("POST", path, body)

    def lines(self, path: str) -> Generator[str, None, None]:
        """An answer of JSON lines, as they come; for a stream without end this blocks between lines."""
        with closing(_UnixConnection(self._path)) as connection:
            response = self._request(connection, "GET", path)
            connection.sock.settimeout(None)
            rest = b""
            try:
                while data := response.read1(READ_BYTES):
                    *lines, rest = (rest + data).split(b"\n")
                    yield from (line.decode() for line in lines)
            except (http.client.HTTPException, OSError):
                raise DaemonUnreachable("the daemon broke off; what was printed is not all (see its log)") from None

    def _whole(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        with closing(_UnixConnection(self._path)) as connection:
            response = self._request(connection, method, path, body)
            return json.loads(response.read(), object_hook=partial(Answer, version_of(response)))

    def _request(
        self, connection: _UnixConnection, method: str, path: str, body: dict[str, Any] | None = None
    ) -> http.client.HTTPResponse:
        payload = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
        except PermissionError:
            raise UserError(f"{self._path}: permission denied; join the socket's group, or use sudo") from None
        except TimeoutError:
            raise UserError(f"the daemon did not answer within {TIMEOUT_S:g} s ({self._path})") from None
        except OSError:
            raise DaemonUnreachable(
                f"the daemon is not running (no answer on {self._path}); start it with: nightdesk run"
            ) from None
        if response.status >= 400:
            raise _refusal(response)
        return response


def version_of(response: http.client.HTTPResponse) -> str:
    """Of the daemon that gave it; "" where it does not say."""
    return response.headers.get("Nightdesk-Version", "")


def _refusal(response: http.client.HTTPResponse) -> UserError:
    # What is wrong with a question is told as 400: an address that is unknown is one of another version.
    if response.status not in {404, 405}:
        with suppress(ValueError, KeyError, TypeError):
            message = json.loads(response.read())["error"]
            return (BadInput if response.status in {400, 422} else UserError)(message)
    return UserError(of_another_version(version_of(response), f"it answered {response.status} {response.reason}"))
