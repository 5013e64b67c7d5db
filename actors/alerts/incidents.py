"""Anomalies become incidents with a life: opened once, updated, told to people with restraint, resolved once.

Pure: time is the `at` of the log entry being read, so reading the log again gives the same book.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Literal

import orjson

from actors.alerts.book_state import PART, VERSION, pack, unpack
from actors.alerts.cases import Case, Key
from actors.alerts.messages import OPENED, RESOLVED, UPDATED, open_text, payload, resolved_text
from actors.alerts.routing import Floods, Routing
from actors.kernel.clock import moved
from actors.store.records import DAEMON, Anomaly, Incident, Json, NewNotification, State

MOST_OPEN = 1000
"""Per tenant and signal; what exceeds it shares one incident under the scope OVERFLOW."""

OVERFLOW = "others"
MOST_EVENT_IDS = 50


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in the life of an incident, as replay prints it."""

    state: Literal["opened", "updated", "resolved"]
    at: int  # log time
    incident: Incident


@dataclass(frozen=True, slots=True)
class Changes:
    """What the book has to say since it was last asked."""

    transitions: tuple[Transition, ...] = ()
    incidents: tuple[Incident, ...] = ()  # each changed one, as it now is
    notifications: tuple[NewNotification, ...] = ()
    false_positives: tuple[str, ...] = ()
    set_back: tuple[tuple[int, int], ...] = ()  # each time the clock was ahead: what it says now, and by how much


@dataclass(slots=True)
class _Pending:
    transitions: list[Transition] = field(default_factory=list)
    incidents: dict[str, Incident] = field(default_factory=dict)
    notifications: list[NewNotification] = field(default_factory=list)
    false_positives: list[str] = field(default_factory=list)
    set_back: list[tuple[int, int]] = field(default_factory=list)


NOTHING = _Pending()
UNCHANGED = Changes()


class IncidentBook:
    """At most one open incident per (tenant, signal, scope).

    An incident resolves when no anomaly of its key came for its quiet window of log time. People hear of it when it
    opens, when its severity rises, at most every 1, 2, 4 … 24 h while it worsens, and when it is over.
    """

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._now = 0
        self._cases: dict[Key, Case] = {}
        self._keys: dict[str, Key] = {}  # incident id → key
        self._open: Counter[tuple[str, str]] = Counter()  # (tenant, signal)
        self._deadlines: list[tuple[int, Key]] = []
        self._floods = Floods()
        self._pending = _Pending()
        self._dirty: set[str] = set()  # tenants whose part of the snapshot is stale

    def reroute(self, routing: Routing) -> None:
        """From now on, tell people along other routes."""
        self._routing = routing

    @property
    def open_incidents(self) -> list[Incident]:
        """As they are, in order of opening."""
        return [case.incident for case in self._cases.values()]

    @property
    def due(self) -> int | None:
        """The earliest log time at which `advance` may change anything; None: not before something happens."""
        return self._deadlines[0][0] if self._deadlines else None

    # what happens

    def advance(self, at: int) -> None:
        """Log time has reached `at`: resolve what has been quiet, remind of what got worse."""
        self._now = max(self._now, at)
        while self._deadlines and self._deadlines[0][0] <= self._now:
            due, key = heappop(self._deadlines)
            case = self._cases.get(key)
            if case is None or case.deadline != due:
                continue
            case.deadline = None
            # A deadline may have moved on since it was set; the story is told in the order of the true ones.
            if case.next_due == due:
                if case.quiet_at == due:
                    self._resolve(case, due)
                else:
                    self._remind(case, due)
            self._schedule(case)

    def set_back(self, at: int, by: int) -> None:
        """The clock was `by` ahead and says `at`: what lies in the future moves with it, and windows run on."""
        self._now = at
        self._deadlines.clear()
        for case in self._cases.values():
            case.set_back(at, by)
            self._note(case)
            self._schedule(case)
        self._floods.set_back(at, by)
        self._pending.notifications = [
            replace(one, created=moved(one.created, at, by), not_before=moved(one.not_before, at, by))
            for one in self._pending.notifications
        ]
        self._pending.set_back.append((at, by))

    def observe(self, anomaly: Anomaly, seq: int) -> Incident:
        """A signal fired while the entry `seq` was read: open its incident or bring it up to date."""
        # Through JSON, so that it compares the same before and after a restart.
        evidence = orjson.loads(orjson.dumps(anomaly.evidence))
        key = (anomaly.tenant, anomaly.signal, anomaly.scope)
        if key not in self._cases and self._open[key[:2]] >= MOST_OPEN:
            anomaly = replace(anomaly, scope=OVERFLOW)
            key = (anomaly.tenant, anomaly.signal, OVERFLOW)
        case = self._cases.get(key)
        if case is None:
            case = self._opening(anomaly, evidence, seq)
        else:
            self._update(case, anomaly, evidence)
        self._schedule(case)
        return case.incident

    def settle(self, tenant: str, signal: str, scope: str) -> None:
        """The cause is known to be over: resolve now, without waiting for the quiet window."""
        if case := self._cases.get((tenant, signal, scope)):
            self._resolve(case, self._now)

    def command(self, data: Json) -> None:
        """An operator's word about one incident. About one that is over, only `false_positive` still means anything."""
        incident_id, command = str(data["incident"]), data["command"]
        key = self._keys.get(incident_id)
        if command == "false_positive":
            self._pending.false_positives.append(incident_id)
        if key is None:
            return
        case = self._cases[key]
        if command == "ack" and case.incident.acked is None:
            self._revise(case, replace(case.incident, acked=self._now))
        elif command == "snooze":
            self._revise(case, replace(case.incident, snoozed_until=int(data["until"])))
        elif command == "false_positive":
            case.incident = replace(case.incident, false_positive=True)
            self._resolve(case, self._now)
        self._schedule(case)

    def drain(self) -> Changes:
        """What changed since the last call, to be committed together with the cursor."""
        if self._pending == NOTHING:
            return UNCHANGED
        pending, self._pending = self._pending, _Pending()
        return Changes(
            tuple(pending.transitions),
            tuple(pending.incidents.values()),
            tuple(pending.notifications),
            tuple(pending.false_positives),
            tuple(pending.set_back),
        )

    # what is kept across a restart

    def save(self) -> dict[tuple[str, str], tuple[int, bytes]]:
        """The parts of the snapshot, (tenant, "incidents") → (version, bytes), that changed since the last call."""
        dirty, self._dirty = self._dirty | {DAEMON}, set()
        cases: dict[str, list[Case]] = {tenant: [] for tenant in dirty}
        for (tenant, _, _), case in self._cases.items():
            if tenant in dirty:
                cases[tenant].append(case)
        self._floods.forget(self._now)
        return {
            (tenant, PART): (VERSION, pack(cases[tenant], self._floods, tenant, self._now)) for tenant in sorted(dirty)
        }

    def anew(self) -> "IncidentBook":
        """Another book with the same routes, empty."""
        return IncidentBook(self._routing)

    def load(
        self, parts: Mapping[tuple[str, str], tuple[int, bytes]], open_incidents: Sequence[Incident] = ()
    ) -> list[tuple[str, str]]:
        """Be as of a snapshot. Returns the parts of another version and those that cannot be read.

        Of their tenants, the open incidents as stored are kept.
        """
        for memory in (self._cases, self._keys, self._open, self._deadlines):
            memory.clear()
        self._now, self._floods, self._pending = 0, Floods(), _Pending()
        cases: list[Case] = []
        foreign: set[str] = set()
        for (tenant, part), (version, data) in parts.items():
            if part != PART:
                continue
            try:
                if version != VERSION:
                    raise ValueError(f"version {version}")  # noqa: TRY301 - one more way to be unreadable
                restored, now = unpack(data, self._floods, tenant)
            except Exception:  # noqa: BLE001 - bytes that are not what was written may fail in any way
                foreign.add(tenant)
                continue
            cases += restored
            self._now = max(self._now, now)
        self._dirty |= foreign
        cases += [Case.of_stored(incident, self._routing) for incident in open_incidents if incident.tenant in foreign]
        for case in sorted(cases, key=lambda case: (case.incident.opened, case.incident.id)):
            self._adopt(case)
            self._schedule(case)
        return [(tenant, PART) for tenant in sorted(foreign)]

    # the life of an incident

    def _opening(self, anomaly: Anomaly, evidence: Json, seq: int) -> Case:
        incident = Incident(
            id=_incident_id(anomaly, seq),
            tenant=anomaly.tenant,
            signal=anomaly.signal,
            scope=anomaly.scope,
            severity=anomaly.severity,
            state=State.OPEN,
            opened=self._now,
            updated=self._now,
            title=anomaly.title,
            evidence=evidence,
            event_ids=anomaly.event_ids[-MOST_EVENT_IDS:],
            quiet_s=anomaly.quiet_s,
            last_seen=self._now,
        )
        case = Case(incident, since=min(anomaly.at, self._now), score=anomaly.score)
        self._adopt(case)
        self._note(case)
        self._tell(case, OPENED, self._now, gather=True)
        self._pending.transitions.append(Transition("opened", self._now, case.incident))
        return case

    def _update(self, case: Case, anomaly: Anomaly, evidence: Json) -> None:
        before = case.incident
        severity = max(before.severity, anomaly.severity, key=lambda severity: severity.rank)
        news = (severity, anomaly.title, evidence) != (before.severity, before.title, before.evidence)
        case.anomalies += 1
        case.since = min(case.since, anomaly.at)
        case.score = max(case.score, anomaly.score)
        case.incident = replace(
            before,
            severity=severity,
            title=anomaly.title,
            evidence=evidence,
            event_ids=_newest(before.event_ids, anomaly.event_ids),
            quiet_s=max(before.quiet_s, anomaly.quiet_s),
            last_seen=self._now,
            revision=before.revision + news,
            updated=self._now if news else before.updated,
        )
        self._note(case)
        if news:
            case.worse = True
            if severity is not before.severity:
                self._tell(case, UPDATED, self._now, urgent=True)
            self._pending.transitions.append(Transition("updated", self._now, case.incident))

    def _remind(self, case: Case, at: int) -> None:
        self._revise(case, replace(case.incident, reminders=case.incident.reminders + 1))
        self._tell(case, UPDATED, at)

    def _resolve(self, case: Case, at: int) -> None:
        self._revise(case, replace(case.incident, state=State.RESOLVED, resolved=at))
        self._tell(case, RESOLVED, at)
        self._pending.transitions.append(Transition("resolved", at, case.incident))
        key = case.key
        del self._cases[key], self._keys[case.incident.id]
        self._open[key[:2]] -= 1
        if not self._open[key[:2]]:
            del self._open[key[:2]]

    def _adopt(self, case: Case) -> None:
        self._cases[case.key] = case
        self._keys[case.incident.id] = case.key
        self._open[case.key[:2]] += 1

    def _revise(self, case: Case, changed: Incident) -> None:
        case.incident = replace(changed, revision=changed.revision + 1, updated=self._now)
        self._note(case)

    def _note(self, case: Case) -> None:
        self._pending.incidents[case.incident.id] = case.incident
        self._dirty.add(case.incident.tenant)

    def _schedule(self, case: Case) -> None:
        """One live deadline per case; a superseded one is recognised by not being the case's own."""
        if case.incident.state is State.OPEN and (case.deadline is None or case.next_due < case.deadline):
            case.deadline = case.next_due
            heappush(self._deadlines, (case.deadline, case.key))

    # who is told

    def _tell(self, case: Case, kind: str, at: int, *, urgent: bool = False, gather: bool = False) -> None:
        """`urgent` passes a snooze; `gather` lets people's messages wait when openings come in floods."""
        incident = case.incident
        text = (
            resolved_text(incident, since=case.since, anomalies=case.anomalies)
            if kind == RESOLVED
            else open_text(incident, at, since=case.since, anomalies=case.anomalies, score=case.score)
        )
        routes = [route for route in self._routing.of(incident) if kind != RESOLVED or route.channel in case.told]
        earliest = at if urgent else max(at, incident.snoozed_until or 0)
        for_people = self._floods.admit(incident.tenant, incident.signal, at) if gather else at
        for route in routes:
            channel, before = route.channel, case.told.get(route.channel)
            wanted = max(earliest, for_people if route.for_people else at)
            not_before = self._routing.awake(incident.severity, wanted)
            if kind == RESOLVED:
                not_before = max(not_before, case.told[channel])
            elif before is None and self._routing.left_to_digest(route, incident.severity, wanted):
                continue  # who hears of it first by the digest hears of its end there, too
            # What goes out before all that was said so far is the first that is heard.
            first = before is None or not_before < before
            new = _notification(incident, OPENED if first else kind, channel, at, not_before, text)
            case.told[channel] = not_before
            self._pending.notifications.append(new)
        if routes:
            case.incident = replace(incident, notified=at)
        case.worse = False
        self._note(case)


def _notification(incident: Incident, kind: str, channel: str, at: int, not_before: int, text: str) -> NewNotification:
    return NewNotification(
        key=f"{incident.id}.{incident.revision}.{kind.removeprefix('incident.')}.{channel}",
        channel=channel,
        tenant=incident.tenant,
        kind=kind,
        severity=incident.severity,
        created=at,
        not_before=not_before,
        payload=payload(incident, kind, at, text),
        incident=incident.id,
    )


def _incident_id(anomaly: Anomaly, seq: int) -> str:
    """48 bits of the key and of the entry that opened it: the same again when the log is read again."""
    named = "\0".join((anomaly.tenant, anomaly.signal, anomaly.scope, str(seq)))
    return f"inc_{hashlib.blake2b(named.encode(), digest_size=6).hexdigest()}"


def _newest(known: Iterable[str], added: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *added)))[-MOST_EVENT_IDS:]
