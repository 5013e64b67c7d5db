"""A command and a daemon of different versions: one line that says so."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
import structlog
from aiohttp import web

from daemon import __version__
from daemon.cli import main
from daemon.control import answer_in_json


def iter_head(request: BinaryIO) -> Iterator[bytes]:
    """Its lines up to the empty one: a client that is cut short while it speaks would not hear the answer."""
    while line := request.readline().strip():
        yield line


@contextmanager
def answering(path: Path, *head: str, body: bytes = b"{}") -> Iterator[None]:
    """A daemon that gives one answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as request:
                said = {
                    name.lower(): value for name, _, value in (line.partition(b": ") for line in iter_head(request))
                }
                request.read(int(said.get(b"content-length", 0)))
                lines = [*head, f"Content-Length: {len(body)}", "", ""]
                connection.sendall("\r\n".join(lines).encode() + body)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("command", "head", "body", "says"),
    [
        (
            ["mrr"],
            ["HTTP/1.1 404 Not Found", "Nightdesk-Version: 0.0.7"],
            b'{"error": "Not Found"}',
            "it answered 404 Not Found: the daemon is of version 0.0.7",
        ),
        (["top"], ["HTTP/1.1 404 Not Found"], b"404: Not Found", "it answered 404 Not Found: the daemon is older"),
        (
            ["status"],
            ["HTTP/1.1 200 OK", "Nightdesk-Version: 9.0.0"],
            b'{"ready": true, "actors": {}}',
            "its answer has no 'failed': the daemon is of version 9.0.0",
        ),
        (
            ["ack", "inc_1"],
            ["HTTP/1.1 200 OK", "Nightdesk-Version: 9.0.0"],
            b"{}",
            "its answer has no 'state': the daemon is of version 9.0.0",
        ),
    ],
)
def test_a_daemon_of_another_version_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], head: list[str], body: bytes, says: str
) -> None:
    with answering(tmp_path / "control.sock", *head, body=body):
        assert main([*command, "--socket", str(tmp_path / "control.sock")]) == 1
    ours = f"this command of version {__version__}; restart the daemon after an upgrade"
    assert capsys.readouterr().err == f"nightdesk: {says}, {ours}\n"


async def test_a_fault_of_the_daemon_is_logged_and_told_as_its_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def failing(_request: web.Request) -> web.Response:
        raise ZeroDivisionError

    app = web.Application(middlewares=[answer_in_json])
    app.router.add_get("/mrr", failing)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.UnixSite(runner, tmp_path / "control.sock").start()
        with structlog.testing.capture_logs() as logged:
            assert await asyncio.to_thread(main, ["mrr", "--socket", str(tmp_path / "control.sock")]) == 1
    finally:
        await runner.cleanup()
    [line] = [entry for entry in logged if entry["event"] == "control_fault"]
    assert line["route"] == "/mrr"
    assert capsys.readouterr().err == (
        "nightdesk: the daemon failed at mrr (ZeroDivisionError); its log says why (control_fault)\n"
    )
