"""Anomalies and routes as the tests need them."""

from actors.alerts.incidents import Changes, IncidentBook
from actors.alerts.routing import QuietHours, Route, Routing
from actors.store.records import Anomaly, Json, NewNotification, Notification, Severity

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = 1_700_000_000 * SECOND  # 2023-11-14 22:13:20 UTC

PROGRAM = Route("ops", for_people=False)
PEOPLE = Route("slack")
LOUD_ONLY = Route("pager", min_severity=Severity.CRITICAL)


def book(*routes: Route, quiet_hours: QuietHours | None = None) -> IncidentBook:
    return IncidentBook(Routing(routes or (PROGRAM,), quiet_hours=quiet_hours))


def anomaly(
    scope: str = "cus_1",
    *,
    tenant: str = "acme",
    signal: str = "duplicate_charge",
    severity: Severity = Severity.WARNING,
    at: int = START,
    title: str = "charged twice: $29.00 within 60 s",
    count: int = 1,
    quiet_s: int = 3600,
    score: float = 1.0,
) -> Anomaly:
    return Anomaly(
        tenant=tenant,
        signal=signal,
        scope=scope,
        severity=severity,
        at=at,
        title=title,
        evidence={"count": count, "customer": scope},
        event_ids=(f"evt_{scope}_{count}",),
        score=score,
        quiet_s=quiet_s,
    )


class Story:
    """Feeds a book and keeps everything it ever said."""

    def __init__(self, book: IncidentBook) -> None:
        self.book = book
        self.seq = 0
        self.said: list[Changes] = []

    def at(self, at: int, *anomalies: Anomaly) -> Changes:
        """Log time reaches `at` and these are seen; what came of it."""
        self.book.advance(at)
        for each in anomalies:
            self.seq += 1
            self.book.observe(each, self.seq)
        return self.heard()

    def heard(self) -> Changes:
        changes = self.book.drain()
        self.said.append(changes)
        return changes


def message(
    key: str,
    *,
    channel: str = "ops",
    kind: str = "incident.opened",
    incident: str = "",
    signal: str = "duplicate_charge",
    tenant: str = "acme",
    severity: Severity = Severity.WARNING,
    created: int = START,
    not_before: int = 0,
    text: str = "",
) -> NewNotification:
    payload: Json = {
        "id": incident,
        "kind": kind,
        "tenant": tenant,
        "signal": signal,
        "severity": severity.value,
        "scope": f"cus_{key}",
        "title": f"title of {key}",
        "text": text or f"title of {key}\n{incident}",
        "evidence": {},
        "at": "2023-11-14T22:13:20.000Z",
    }
    return NewNotification(key, channel, tenant, kind, severity, created, not_before, payload, incident or f"inc_{key}")


def notification(
    key: str = "inc_1.1.opened.ops", *, kind: str = "incident.opened", text: str = "", first_message: str = ""
) -> Notification:
    """A row of the outbox about the incident inc_1."""
    new = message(key, incident="inc_1", kind=kind, text=text)
    return Notification(**{name: getattr(new, name) for name in new.__slots__}, id=1, first_message=first_message)
