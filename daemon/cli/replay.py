"""`nightdesk replay`: what would the watch have said to these recorded events?"""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from actors.alerts.incidents import IncidentBook
from actors.alerts.routing import Routing
from actors.billing.reading import time
from actors.billing.replay import BadLine, Replay
from actors.billing.watch import Transition, Watch
from actors.kernel.clock import SECOND, monotonic
from config.errors import BadInput
from config.load import load
from config.settings import Settings
from daemon.cli.words import Commands

MARKS = {"opened": "●", "updated": "◐", "resolved": "○"}


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "replay",
        help="run recorded Stripe events through the watch, in memory; nothing is sent",
        description="Runs a recording through the live scorer on a virtual clock; prints what becomes of each incident.",
    )
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="JSON lines: Stripe events, bare or with received/tenant"
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="whose thresholds to use (default: the defaults)")
    parser.add_argument("--tenant", metavar="T", help="only this tenant; bare events count as this tenant's")
    parser.add_argument("--until", metavar="TIME", help="the recording covers the time up to here (unix or ISO 8601)")
    parser.add_argument("--skip-bad", action="store_true", help="go on after a line that is no event")
    parser.add_argument("--json", action="store_true", help="one object a line, and a summary as the last")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every change of an incident, then the summary."""
    settings = load(arguments.config)
    until = moment(arguments.until)
    if arguments.config and arguments.tenant and all(t.name != arguments.tenant for t in settings.billing.tenants):
        raise BadInput(f"--tenant: {arguments.config} has no tenant named {arguments.tenant!r}")
    started = monotonic()
    replay = Replay(Watch(IncidentBook(Routing())), lambda tenant: rules(settings, tenant), only=arguments.tenant)
    show = show_json if arguments.json else show_text
    skipped = 0
    for step in steps(replay, arguments.file, until):
        if isinstance(step, BadInput):
            if not arguments.skip_bad:
                raise step
            skipped += 1
            print(f"nightdesk: {step}", file=sys.stderr)
        else:
            show(step)
    summary = {
        "events": replay.events,
        "stored": replay.stored,
        "duplicates": replay.duplicates,
        "incidents": replay.opened,
        "seconds": round(monotonic() - started, 3),
        **({"skipped": skipped} if skipped else {}),
    }
    if arguments.json:
        print(orjson.dumps({"summary": summary}).decode())
    else:
        print(" · ".join(f"{value} {name}" for name, value in summary.items()))
    return 0


def steps(replay: Replay, path: Path, until: int | None) -> Iterator[Transition | BadInput]:
    """What happens, and where it cannot be read, in order."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield from replay.feed(line)
                except BadLine as error:
                    yield BadInput(f"{path}:{number}: {error}")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    yield from replay.finish(until)


def rules(settings: Settings, tenant: str) -> dict[str, Any]:
    """The thresholds of the tenant of that name; of one that is not configured, those for all."""
    billing = settings.billing
    found = next((billing.alerts_of(one) for one in billing.tenants if one.name == tenant), billing.alerts)
    return found.model_dump(mode="json")


def moment(text: str | None) -> int | None:
    """`--until` in µs."""
    if text is None:
        return None
    at = time(text)
    if at is None:
        raise BadInput(f"--until: {text!r} is neither a unix time nor ISO 8601")
    return at


def show_json(step: Transition) -> None:
    """As INTERFACES promises it."""
    incident = step.incident
    seconds = step.at / SECOND
    row = {
        "at": int(seconds) if seconds.is_integer() else seconds,
        "tenant": incident.tenant,
        "signal": incident.signal,
        "severity": incident.severity,
        "state": step.state,
        "scope": incident.scope,
        "title": incident.title,
        "evidence": incident.evidence,
        "event_ids": incident.event_ids,
    }
    print(orjson.dumps(row).decode())


def show_text(step: Transition) -> None:
    """For people: when, how bad, whose, what."""
    incident = step.incident
    at = datetime.fromtimestamp(step.at // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")
    signal = incident.signal.replace("_", " ")
    print(f"{at}  {MARKS[step.state]} {incident.severity.upper():8}  {incident.tenant} · {signal} · {step.state}")
    if step.state != "resolved":
        print(f"{'':21}  {incident.title} ({incident.scope})")
