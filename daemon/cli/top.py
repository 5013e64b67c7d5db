"""`nightdesk top`: what goes on, on one screen, again and again."""

import argparse
import sys
import threading
from itertools import count
from typing import Any

from config.errors import BadInput
from daemon.cli.client import connect
from daemon.cli.tables import clock_time, emit, show

EVERY_S = 1.0
CLEAR = "\x1b[H\x1b[2J"
NEWEST = 10


def top(arguments: argparse.Namespace) -> int:
    """Until Ctrl-C, or as often as told; with --json once, or one object a time."""
    client = connect(arguments)
    if arguments.times is not None and arguments.times < 1:
        raise BadInput("--times: must be 1 or more")
    times = range(arguments.times) if arguments.times else range(1) if arguments.json else count()
    pause, before = threading.Event(), None
    try:
        for number in times:
            if number:
                pause.wait(EVERY_S)
            now = client.get("/top")
            if arguments.json:
                emit(now)
            else:
                _screen(now, before)
            before = now
    except KeyboardInterrupt:
        pass
    return 0


def _screen(now: dict[str, Any], before: dict[str, Any] | None) -> None:
    status = now["status"]
    print(CLEAR if sys.stdout.isatty() else "", end="")
    print(
        f"nightdesk {status['version']}  up {status['uptime_s']:.0f} s  {_per_second(now, before):.0f} events/s  "
        f"lag {status['events']['lag']}  restarts {status['actors']['restarts']}  "
        f"notifications {status['notifications']['pending']} pending, {status['notifications']['failed']} failed\n"
    )
    columns = ("name", "state", "restarts", "depth", "high_water", "received", "busy_s")
    show([name.replace("_", " ") for name in columns], ([row[name] for name in columns] for row in now["actors"]), "")
    print()
    shown = (
        (row["name"], "failing" if row["failing"] else "ok", row["pending"], row["failed"]) for row in now["channels"]
    )
    show(("channel", "state", "pending", "failed"), shown, "no channels")
    print()
    show(
        ("id", "severity", "tenant", "signal", "opened", "title"),
        (
            (row["id"], row["severity"], row["tenant"] or "-", row["signal"], clock_time(row["opened"]), row["title"])
            for row in now["incidents"][-NEWEST:]
        ),
        "no open incidents",
    )


def _per_second(now: dict[str, Any], before: dict[str, Any] | None) -> float:
    if before is None:
        return 0.0
    stored = now["status"]["events"]["stored"] - before["status"]["events"]["stored"]
    return float(stored / max(0.001, now["status"]["uptime_s"] - before["status"]["uptime_s"]))
