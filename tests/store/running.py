"""A running store, and what tests write into it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from actors.kernel.mailbox import Drained, reject
from actors.store.records import (
    Findings,
    Incident,
    Kind,
    NewEntry,
    NewNotification,
    Severity,
    State,
)
from actors.store.store import SqliteStore

BALLAST = 1 << 16
NOON = 1_790_000_000_000_000


@asynccontextmanager
async def running(data_dir: Path, *, queue: int = 4096, **options: Any) -> AsyncIterator[SqliteStore]:
    """The store as the supervisor runs it: started, run, drained and stopped."""
    store = SqliteStore(data_dir, **{"ballast_bytes": BALLAST} | options)
    store.name, store.mailbox = "store", reject(queue)

    async def live() -> None:
        with suppress(Drained):
            await store.run()

    try:
        await store.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live)
            yield store
            store.mailbox.close("the test is over", drain=True)
    finally:
        await store.stop()


def event(event_id: str, tenant: str = "acme", at: int = NOON, body: bytes | None = None, **data: Any) -> NewEntry:
    projection = {"id": event_id, "type": "charge.succeeded", "created": at // 1_000_000} | data
    return NewEntry(Kind.EVENT, tenant, at, projection, event_id, body)


def tick(at: int = NOON) -> NewEntry:
    return NewEntry(Kind.TICK, "", at, {})


def incident(incident_id: str = "inc_1", *, opened: int = NOON, revision: int = 1, **changes: Any) -> Incident:
    fields: dict[str, Any] = {
        "tenant": "acme",
        "signal": "refund_spike",
        "scope": "account",
        "severity": Severity.CRITICAL,
        "state": State.OPEN,
        "updated": opened,
        "title": "Refunds",
        "evidence": {"observed": 14},
        "event_ids": ("evt_1",),
        "quiet_s": 3600,
        "last_seen": opened,
    }
    return Incident(id=incident_id, opened=opened, revision=revision, **fields | changes)


def notification(key: str, incident_id: str = "", *, not_before: int = NOON, channel: str = "ops") -> NewNotification:
    return NewNotification(
        key=key,
        channel=channel,
        tenant="acme",
        kind="incident.opened",
        severity=Severity.CRITICAL,
        created=NOON,
        not_before=not_before,
        payload={"id": incident_id, "kind": "incident.opened"},
        incident=incident_id,
    )


def found(cursor: int, **findings: Any) -> Findings:
    return Findings(cursor, **findings)
