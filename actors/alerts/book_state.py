"""The book on disk: one part of the snapshot per tenant."""

from collections.abc import Iterable
from typing import Any

import orjson

from actors.alerts.cases import Case
from actors.alerts.routing import Flood, Floods
from actors.store.records import DAEMON, Incident, Severity, State

PART = "incidents"
VERSION = 1


def pack(cases: Iterable[Case], floods: Floods, tenant: str, now: int) -> bytes:
    """What the book knows of one tenant; with the daemon's own part goes what concerns all tenants."""
    state: dict[str, Any] = {
        "cases": [_case(case) for case in cases],
        "floods": floods.of_tenant.get(tenant, {}),
    }
    if tenant == DAEMON:
        state |= {"waves": floods.waves, "now": now}
    return orjson.dumps(state)


def unpack(data: bytes, floods: Floods, tenant: str) -> tuple[list[Case], int]:
    """The inverse: fills `floods`, returns the cases and the log time of the snapshot (0: not of this part)."""
    state = orjson.loads(data)
    floods.of_tenant[tenant] = {signal: Flood(**flood) for signal, flood in state["floods"].items()}
    floods.waves.update(state.get("waves", {}))
    return [_restored(case) for case in state["cases"]], state.get("now", 0)


def _case(case: Case) -> dict[str, Any]:
    return {
        "incident": case.incident,
        "since": case.since,
        "anomalies": case.anomalies,
        "score": case.score,
        "worse": case.worse,
        "told": case.told,
    }


def _restored(state: dict[str, Any]) -> Case:
    row = state.pop("incident")
    row |= {
        "severity": Severity(row["severity"]),
        "state": State(row["state"]),
        "event_ids": tuple(row["event_ids"]),
    }
    return Case(Incident(**row), **state)
