"""The outbox: notifications that must reach people, committed together with their cause and delivered from here."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from actors.store.log import tenant_id
from actors.store.records import Delivery, NewNotification, Notification, Severity

_COLUMNS = """
    key, channel, name, kind, severity, created, not_before, payload, coalesce(incident, ''), outbox.id,
    state, attempts, error, coalesce(message, '')
"""

_WAITS_FOR_EARLIER = """EXISTS (
    SELECT 1 FROM outbox AS earlier INDEXED BY outbox_pending_by_incident
    WHERE earlier.state = 'pending' AND earlier.incident = outbox.incident AND earlier.channel = outbox.channel
        AND earlier.id < outbox.id AND earlier.attempts > 0 AND earlier.not_before > {until}
)"""


def enqueue(connection: sqlite3.Connection, notifications: Iterable[NewNotification]) -> None:
    """Add pending notifications; a key that exists changes nothing."""
    connection.executemany(
        """
        INSERT INTO outbox
            (key, channel, tenant, kind, severity, created, not_before, payload, incident, state, attempts, error)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', 0, '') ON CONFLICT (key) DO NOTHING
        """,
        [
            (
                new.key,
                new.channel,
                tenant_id(connection, new.tenant),
                new.kind,
                new.severity,
                new.created,
                new.not_before,
                orjson.dumps(new.payload).decode(),
                new.incident or None,
            )
            for new in notifications
        ],
    )


def set_back(connection: sqlite3.Connection, at: int, by: int) -> None:
    """The clock was `by` ahead and says `at`: what waits for a time by that clock waits no longer than it had to."""
    connection.execute(
        """
        UPDATE outbox SET not_before = max(:at, not_before - :by), created = min(created, max(:at, created - :by))
        WHERE state = 'pending' AND not_before > :at AND (created > :at OR attempts > 0)
        """,
        {"at": at, "by": by},
    )


def due(connection: sqlite3.Connection, channel: str, now: int, limit: int) -> list[Notification]:
    """Pending notifications of a channel whose time has come, oldest first.

    While one is being retried, the later ones of its incident wait: an end must not overtake its beginning.
    """
    rows = connection.execute(
        f"""
        SELECT {_COLUMNS} FROM outbox INDEXED BY outbox_pending_in_order
        JOIN tenants ON tenants.id = tenant LEFT JOIN messages USING (incident, channel)
        WHERE state = 'pending' AND channel = ? AND not_before <= ? AND NOT {_WAITS_FOR_EARLIER.format(until="?")}
        ORDER BY outbox.id LIMIT ?
        """,  # noqa: S608 - constants
        (channel, now, now, limit),
    )
    return [_notification(*row) for row in rows]


def _notification(*row: Any) -> Notification:
    (key, channel, tenant, kind, severity, created, not_before, payload, incident, number, state, *tried) = row
    attempts, error, first_message = tried
    return Notification(
        key=key,
        channel=channel,
        tenant=tenant,
        kind=kind,
        severity=Severity(severity),
        created=created,
        not_before=not_before,
        payload=orjson.loads(payload),
        incident=incident,
        id=number,
        state=Delivery(state),
        attempts=attempts,
        error=error,
        first_message=first_message,
    )


def next_due(connection: sqlite3.Connection, channel: str) -> int | None:
    """When the next pending notification of a channel may be tried."""
    at: int | None = connection.execute(
        f"""
        SELECT min(not_before) FROM outbox
        WHERE state = 'pending' AND channel = ? AND NOT {_WAITS_FOR_EARLIER.format(until="outbox.not_before")}
        """,  # noqa: S608 - constants
        (channel,),
    ).fetchone()[0]
    return at


def settle(
    connection: sqlite3.Connection,
    notification: int,
    state: Delivery,
    *,
    attempts: int,
    at: int,
    not_before: int,
    error: str,
    message: str,
) -> None:
    """Record the outcome of a delivery attempt. What has been delivered stays so, and a first message the first."""
    if message:
        connection.execute(
            """
            INSERT INTO messages (channel, incident, message)
            SELECT channel, incident, ? FROM outbox WHERE id = ? AND incident IS NOT NULL ON CONFLICT DO NOTHING
            """,
            (message, notification),
        )
    connection.execute(
        """
        UPDATE outbox SET state = ?, attempts = ?, settled = ?, not_before = ?, error = ?
        WHERE id = ? AND state <> 'delivered'
        """,
        (state, attempts, at, not_before, error, notification),
    )


def outcomes(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, str | None]:
    """Channel → what came of these messages: "" where it has arrived, else why not; None while nobody has tried."""
    marks = ", ".join("?" * len(keys))
    rows = connection.execute(
        f"SELECT channel, state, attempts, error FROM outbox WHERE key IN ({marks})",  # noqa: S608 - question marks
        keys,
    )
    return {
        channel: "" if state == Delivery.DELIVERED else error if attempts else None
        for channel, state, attempts, error in rows
    }


def undelivered(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Channel → how many messages are pending there, and how many failed."""
    rows = connection.execute(
        """
        SELECT channel, state, count(*) FROM outbox WHERE state = 'pending' GROUP BY channel
        UNION ALL SELECT channel, state, count(*) FROM outbox WHERE state = 'failed' GROUP BY channel
        """
    )
    found: dict[str, dict[str, int]] = {}
    for channel, state, count in rows:
        found.setdefault(channel, {})[state] = count
    return found


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Delivery → notifications."""
    return dict.fromkeys(Delivery, 0) | {
        Delivery(state): count
        for state, count in connection.execute("SELECT state, count(*) FROM outbox GROUP BY state")
    }
