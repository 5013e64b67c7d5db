"""Logs: one JSON object a line on stderr, orjson-rendered; on request, lines for a person at a terminal.

A line is data: `ts`, `level`, `event` (a fixed word), then keys that mean the same everywhere: `actor`, `tenant`,
`signal`, `seq` (of the log entry), `incident`, `notification`, `channel`: grep follows an event to its notification.
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from actors.kernel.clock import Clock
from config.redaction import redacted_in

Fields = MutableMapping[str, Any]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
PRIORITIES = {"debug": b"<7>", "info": b"<6>", "warning": b"<4>", "error": b"<3>", "critical": b"<2>"}


class Logs:
    """The one place where lines are made. `level` may change while the daemon runs."""

    def __init__(self, level: str, style: str, clock: Clock) -> None:
        self._clock = clock
        self._journal = bool(os.environ.get("JOURNAL_STREAM"))
        self.level = level
        structlog.configure(
            processors=[
                self._above_level,
                structlog.contextvars.merge_contextvars,
                self._stamp,
                structlog.processors.format_exc_info,
                censor,
                self._json if style == "json" else _console(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(0),
            logger_factory=lambda *_: _Lines(),
            cache_logger_on_first_use=False,
        )
        # Libraries (aiohttp, asyncio) speak to the standard logging; what they say ends in the same stream.
        logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)

    @property
    def level(self) -> str:
        """The lowest level that is written."""
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        self._threshold = LEVELS[level]
        self._level = level

    def _above_level(self, _logger: object, method: str, fields: Fields) -> Fields:
        if LEVELS.get(method, 50) < self._threshold:
            raise structlog.DropEvent
        fields["level"] = "critical" if method == "exception" else method
        return fields

    def _stamp(self, _logger: object, _method: str, fields: Fields) -> Fields:
        at = datetime.fromtimestamp(self._clock.now() / 1_000_000, UTC)
        return {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": fields.pop("level"),
            **fields,
        }

    def _json(self, _logger: object, _method: str, fields: Fields) -> bytes:
        line = orjson.dumps(fields, default=str)
        # Under systemd the prefix becomes the journal's priority, so that `journalctl -p warning` works.
        return PRIORITIES[fields["level"]] + line if self._journal else line


class _Lines:
    """Writes lines to stderr. One that cannot be written (disk full, reader gone) is lost, and nothing else is."""

    def msg(self, line: bytes | str) -> None:
        data = line if isinstance(line, bytes) else line.encode(errors="replace")
        with suppress(OSError):
            sys.stderr.buffer.write(data + b"\n")
            sys.stderr.buffer.flush()

    log = debug = info = warning = error = critical = exception = fatal = failure = msg


def censor(_logger: object, _method: str, fields: Fields) -> Fields:
    """No secret reaches a log, whoever put it into a message."""
    for key, value in fields.items():
        if isinstance(value, str | list | dict):
            fields[key] = redacted_in(value)
    return fields


def _console() -> Any:
    from structlog.dev import ConsoleRenderer, plain_traceback  # noqa: PLC0415 - only a terminal needs it

    return ConsoleRenderer(
        colors=sys.stderr.isatty(), timestamp_key="ts", exception_formatter=plain_traceback, sort_keys=False
    )


class _Forward(logging.Handler):
    """Hands a record of the standard logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        level = record.levelname.lower()
        write = getattr(log, level if level in LEVELS else "info")
        write("library", logger=record.name, message=record.getMessage(), exc_info=record.exc_info or None)
