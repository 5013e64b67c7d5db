"""The terminal, as a person reads it."""

import io
import re

from actors.alerts.channels.base import Sent
from actors.alerts.channels.console import ConsoleChannel, render
from tests.alerts.samples import notification


class Pipe(io.StringIO):
    encoding = "utf-8"


class Terminal(Pipe):
    def isatty(self) -> bool:
        return True


class OldTerminal(Terminal):
    encoding = "ascii"


async def written(stream: io.StringIO, kind: str = "incident.opened") -> str:
    assert (
        await ConsoleChannel(stream).send(notification(kind=kind, text="charged twice\nfirst: look\ninc_1")) == Sent()
    )
    return stream.getvalue()


async def test_a_pipe_gets_plain_text() -> None:
    plain = await written(Pipe())
    assert plain.splitlines() == [
        "● WARNING   acme · duplicate charge".ljust(92) + "22:13:20",
        "  charged twice",
        "  first: look",
        "  inc_1",
        "",
    ]


async def test_a_terminal_gets_the_same_in_colour() -> None:
    coloured = await written(Terminal())
    assert "\x1b[1;33m● WARNING" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == await written(Pipe())


async def test_a_terminal_that_knows_only_ascii_is_not_made_to_fail() -> None:
    old = await written(OldTerminal(), kind="incident.resolved")
    assert old.encode("ascii").startswith(b"\x1b[1;32mv OVER")


def test_long_lines_are_wrapped_and_indented() -> None:
    payload = {**notification().payload, "text": "title\nfirst: " + "word " * 60 + "\ninc_1"}
    lines = render(payload, colour=False).splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert lines[3].startswith("      word")
