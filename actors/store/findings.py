"""What the watch has found: its place in the log, its state, incidents and scores; and the inputs it stumbled over."""

import sqlite3
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from actors.store import outbox
from actors.store.log import OF_TENANT, Log, Packed, of_tenant, read_log, tenant_id
from actors.store.records import DeadLetter, Findings, Incident, NewEntry, Severity, Snapshot, State, Watermark
from actors.store.shelf import NOT_SHELVED

CRASHES_MAX = 3
"""After so many crashes over one entry it is a dead letter."""

_INCIDENT = tuple(field.name for field in fields(Incident))  # the columns, too

_SAVE_INCIDENT = f"""
    INSERT INTO incidents ({", ".join(_INCIDENT)}) VALUES ({", ".join(f":{name}" for name in _INCIDENT)})
    ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _INCIDENT)}
    WHERE excluded.revision >= revision
"""  # noqa: S608 - column names

LOAD_INCIDENT = f"""
    SELECT {", ".join("name" if name == "tenant" else f"incidents.{name}" for name in _INCIDENT)}
    FROM incidents JOIN tenants ON tenants.id = tenant
"""  # noqa: S608 - column names


def commit_findings(connection: sqlite3.Connection, findings: Findings) -> None:
    """Cursor, incidents, notifications, scores and snapshot. Doing it twice is doing it once."""
    cursor = cursor_of(connection, "watch")
    if findings.cursor < cursor:
        raise ValueError(f"the log was read up to {cursor} already; findings up to {findings.cursor} come too late")
    _save_incidents(connection, findings.incidents)
    connection.executemany(
        "UPDATE incidents SET false_positive = 1 WHERE id = ?", [(one,) for one in findings.false_positives]
    )
    for at, by in findings.set_back:
        outbox.set_back(connection, at, by)
    outbox.enqueue(connection, findings.notifications)
    _save_scores(connection, findings.scores, findings.flagged)
    if findings.snapshot is not None:
        _save_snapshot(connection, findings.snapshot)
    _set_cursor(connection, "watch", findings.cursor)


def load_watch(connection: sqlite3.Connection) -> Watermark:
    """Where the scorer stands."""
    seq = cursor_of(connection, "snapshot")
    whole = f"SELECT name, part, version, state FROM snapshots JOIN tenants ON id = tenant WHERE {NOT_SHELVED}"  # noqa: S608 - our own words
    parts = connection.execute(whole)
    return Watermark(
        cursor_of(connection, "watch"),
        Snapshot(seq, {(tenant, part): (version, state) for tenant, part, version, state in parts}),
        tuple(incidents(connection, tenant=None, state=State.OPEN)),
        frozenset(row[0] for row in connection.execute("SELECT seq FROM dead_letters WHERE seq > ?", (seq,))),
    )


def cursor_of(connection: sqlite3.Connection, name: str) -> int:
    """The seq a reader of the log has come to; 0 before the first."""
    row = connection.execute("SELECT seq FROM cursors WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def _set_cursor(connection: sqlite3.Connection, name: str, seq: int) -> None:
    connection.execute(
        "INSERT INTO cursors (name, seq) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq", (name, seq)
    )


def _save_incidents(connection: sqlite3.Connection, changed: tuple[Incident, ...]) -> None:
    connection.executemany(_SAVE_INCIDENT, [_row(connection, one) for one in changed])


def _row(connection: sqlite3.Connection, incident: Incident) -> dict[str, Any]:
    return {name: getattr(incident, name) for name in _INCIDENT} | {
        "tenant": tenant_id(connection, incident.tenant),
        "evidence": orjson.dumps(incident.evidence).decode(),
        "event_ids": orjson.dumps(incident.event_ids).decode(),
    }


def _save_scores(connection: sqlite3.Connection, scores: Mapping[int, float], flagged: frozenset[int]) -> None:
    connection.executemany(
        """
        INSERT INTO scores (seq, score, flagged) VALUES (?, ?, ?)
        ON CONFLICT (seq) DO UPDATE SET score = max(score, excluded.score), flagged = max(flagged, excluded.flagged)
        """,
        [(seq, scores.get(seq, 0.0), seq in flagged) for seq in scores.keys() | flagged],
    )


def _save_snapshot(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    connection.executemany(
        """
        INSERT INTO snapshots (tenant, part, version, seq, state) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (tenant, part) DO UPDATE SET version = excluded.version, seq = excluded.seq, state = excluded.state
        """,
        [
            (tenant_id(connection, tenant), part, version, snapshot.seq, state)
            for (tenant, part), (version, state) in snapshot.parts.items()
        ],
    )
    _set_cursor(connection, "snapshot", snapshot.seq)


def incidents(
    connection: sqlite3.Connection, *, tenant: str | None, state: str | None = None, limit: int = -1
) -> list[Incident]:
    """The newest `limit` of them (-1: all), oldest first."""
    rows = connection.execute(
        f"""
        {LOAD_INCIDENT} WHERE {OF_TENANT} AND (? IS NULL OR state = ?)
        ORDER BY opened DESC, incidents.id DESC LIMIT ?
        """,
        (*of_tenant(tenant), state, state, limit),
    )
    return [incident_of(row) for row in rows][::-1]


def incident(connection: sqlite3.Connection, incident_id: str, *, tenant: str | None) -> Incident | None:
    """By its id, if it is this tenant's."""
    row = connection.execute(
        f"{LOAD_INCIDENT} WHERE incidents.id = ? AND {OF_TENANT}", (incident_id, *of_tenant(tenant))
    ).fetchone()
    return incident_of(row) if row else None


def incident_of(row: tuple[Any, ...]) -> Incident:
    """A row of `LOAD_INCIDENT`."""
    columns = dict(zip(_INCIDENT, row, strict=True))
    return Incident(
        **columns
        | {
            "severity": Severity(columns["severity"]),
            "state": State(columns["state"]),
            "evidence": orjson.loads(columns["evidence"]),
            "event_ids": tuple(orjson.loads(columns["event_ids"])),
            "false_positive": bool(columns["false_positive"]),
        }
    )


def count_crash(connection: sqlite3.Connection, actor: str, seq: int, error: str, at: int) -> int:
    """One more crash over this entry; the third moves it to the dead letters. Returns the count."""
    count: int = connection.execute(
        """
        INSERT INTO crashes (actor, seq, count, error, at) VALUES (?, ?, 1, ?, ?)
        ON CONFLICT (actor, seq) DO UPDATE SET count = count + 1, error = excluded.error, at = excluded.at
        RETURNING count
        """,
        (actor, seq, error, at),
    ).fetchone()[0]
    if count >= CRASHES_MAX:
        bury(connection, actor, seq, error, at)
    return count


def bury(connection: sqlite3.Connection, actor: str, seq: int, error: str, at: int) -> None:
    """Make an entry a dead letter; once."""
    connection.execute(
        "INSERT INTO dead_letters (actor, seq, error, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (actor, seq, error, at),
    )


def dead_letters(connection: sqlite3.Connection) -> list[DeadLetter]:
    """Oldest first."""
    rows = connection.execute("SELECT id, actor, seq, error, at, replayed FROM dead_letters ORDER BY id")
    return [DeadLetter(*row) for row in rows]


def revive(connection: sqlite3.Connection, log: Log, dead_letter: int, at: int) -> bool:
    """Append the entry to the log anew, so that it is read once more; False if no such dead letter waits for it."""
    row = connection.execute(
        "SELECT seq FROM dead_letters WHERE id = ? AND replayed IS NULL", (dead_letter,)
    ).fetchone()
    entries = read_log(connection, row[0] - 1, 1) if row else []
    if not entries or entries[0].seq != row[0] or entries[0].damage:
        return False
    old = entries[0]
    anew = NewEntry(old.kind, old.tenant, at, old.data, event_id=str(old.data.get("id", "")))
    log.append(connection, [Packed(anew, again=True)])
    connection.execute("UPDATE dead_letters SET replayed = ? WHERE id = ?", (at, dead_letter))
    return True
