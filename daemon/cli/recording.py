"""A recording through the watch: reads it line by line, and prints what becomes of each incident."""

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

MARKS = {"opened": "●", "updated": "◐", "resolved": "○"}


def replay(
    path: Path, *, config: Path | None, tenant: str | None, until: str | None, skip_bad: bool, as_json: bool
) -> None:
    """Print every change of an incident, then the summary. Raises BadInput, which `skip_bad` prints and passes over."""
    settings = load(config)
    end = moment(until)
    known = [one.name for one in settings.billing.tenants]
    if config and tenant and tenant not in known:
        raise BadInput(f"--tenant: {config} has no tenant named {tenant!r}")
    started = monotonic()
    run = Replay(
        Watch(IncidentBook(Routing())),
        lambda name: rules(settings, name),
        tenant=tenant or (known[0] if len(known) == 1 else "default"),
        alone=tenant is not None,
    )
    show = show_json if as_json else show_text
    skipped = 0
    for step in steps(run, path, end):
        if isinstance(step, BadInput):
            if not skip_bad:
                raise step
            skipped += 1
            print(f"nightdesk: {step}", file=sys.stderr)
        else:
            show(step)
    summary = {
        "events": run.events,
        "stored": run.stored,
        "duplicates": run.duplicates,
        "incidents": run.opened,
        "seconds": round(monotonic() - started, 3),
        **({"skipped": skipped} if skipped else {}),
    }
    if as_json:
        print(orjson.dumps({"summary": summary}).decode())
    else:
        print(" · ".join(f"{value} {name}" for name, value in summary.items()))


def steps(run: Replay, path: Path, until: int | None) -> Iterator[Transition | BadInput]:
    """What happens, and where it cannot be read, in order."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield from run.feed(line)
                except BadLine as error:
                    yield BadInput(f"{path}:{number}: {error}")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    yield from run.finish(until)


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
