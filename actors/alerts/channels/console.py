"""What happens, on the terminal, as a person wants to read it."""

import textwrap
from typing import TextIO

from anyio import CapacityLimiter, to_thread

from actors.alerts.channels.base import Outcome, RateLimit, Sent
from actors.alerts.messages import heading, mark, mood
from actors.store.records import Json, Notification

WIDTH = 100
BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"
COLOURS = {"critical": "\x1b[1;31m", "warning": "\x1b[1;33m", "info": "\x1b[1;36m", "over": "\x1b[1;32m"}
ASCII = str.maketrans({"●": "*", "▲": "^", "✔": "v", "·": "-", "→": ">", "…": "..."})


class ConsoleChannel:
    """Writes to `stream`: in colour where that is a terminal, in plain characters where it cannot show others."""

    limit = RateLimit(per_minute=6000, burst=200)
    for_people = True
    abreast = 1

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._one = CapacityLimiter(1)
        self._colour = stream.isatty()
        self._plain = "utf" not in (stream.encoding or "").lower()

    async def open(self) -> None:
        """Nothing to acquire."""

    async def close(self) -> None:
        """Nothing to release: the stream is not ours."""

    async def send(self, notification: Notification) -> Outcome:
        """Written and flushed is sent."""
        text = render(notification.payload, colour=self._colour)
        # In a thread, one at a time: a terminal that is paused, or a pipe nobody reads, blocks whoever writes.
        await to_thread.run_sync(
            self._write, text.translate(ASCII) if self._plain else text, abandon_on_cancel=True, limiter=self._one
        )
        return Sent()

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def render(payload: Json, *, colour: bool) -> str:
    """A heading in the colour of its severity, then the text, indented; the last line, with the id, is dim."""
    head, *rest = _lines(payload["text"])
    start, when = f"{mark(payload)} {mood(payload).upper():<8}", payload["at"][11:19]
    paint = COLOURS[mood(payload)] if colour else ""
    bold, dim, reset = (BOLD, DIM, RESET) if colour else ("", "", "")
    gap = " " * max(2, WIDTH - len(f"{start}  {heading(payload)}{when}"))
    lines = [f"{paint}{start}{reset}  {bold}{heading(payload)}{reset}{gap}{dim}{when}{reset}", f"  {head}"]
    lines += [f"  {line}" for line in rest[:-1]]
    lines += [f"  {dim}{line}{reset}" for line in rest[-1:]]
    return "\n".join(lines) + "\n\n"


def _lines(text: str) -> list[str]:
    """Wrapped to the width, continuations indented."""
    return [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, WIDTH - 2, subsequent_indent="    ", break_long_words=False) or [""]
    ]
