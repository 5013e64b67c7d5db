"""The watch: a pure fold over the log. Equal logs give equal incidents, live, after a restart and in a replay."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import groupby
from typing import NamedTuple, Protocol

import orjson

from actors.billing.detectors.base import NEVER, Finding, Over
from actors.billing.detectors.evidence import ago
from actors.billing.events import normalise
from actors.billing.facts import EndpointProbed, EventsMissed, Fact, SignaturesFailed
from actors.billing.history import NEWS, PAST, Pasts
from actors.billing.shelf import Below
from actors.billing.tenant_watch import TenantWatch
from actors.kernel.clock import SECOND
from actors.store.accounts import HISTORY
from actors.store.records import (
    DAEMON,
    Anomaly,
    Incident,
    Json,
    Kind,
    LogEntry,
    NewNotification,
    Severity,
    parent_of,
)

Parts = Mapping[tuple[str, str], tuple[int, bytes]]  # (tenant, name) → version, state

MINUTE = 60 * SECOND
SET_BACK_US = 5 * MINUTE
"""While entries are at most so much out of order, log time stands still; beyond, the clock was set, and it follows."""

AT_HAND_MAX = 10_000
"""Records of subscriptions, some 8 MB."""

AWAKE_MAX = 64
"""Tenants, some 5 MB; to wake one takes half a millisecond."""

CROWD = 1_000
"""Tenants that something happened to since the last snapshot, some 30 MB: none of them can rest before the next."""

TICKED_MAX = 200
"""Tenants that one tick sees to in some 100 ms, bit by bit; the next sees to the rest."""

INCIDENTS = "incidents"
"""The parts of a snapshot that are the book's."""

GONE = (0, b"")
"""Version and state of a part that is no more."""


class Transition(Protocol):
    """One step in the life of an incident."""

    @property
    def state(self) -> str:
        """opened, updated or resolved."""

    @property
    def at(self) -> int:
        """Log time."""

    @property
    def incident(self) -> Incident:
        """As it was after the step."""


class Changes(Protocol):
    """What has come of the entries since the last drain."""

    @property
    def transitions(self) -> Sequence[Transition]:
        """In the order in which they happened."""

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Each that changed, as it is now."""

    @property
    def notifications(self) -> tuple[NewNotification, ...]:
        """For the outbox."""

    @property
    def false_positives(self) -> tuple[str, ...]:
        """Ids of incidents to mark."""

    @property
    def set_back(self) -> tuple[tuple[int, int], ...]:
        """Each time that the clock turned out to have been ahead: what it says now, and by how much."""


class Incidents(Protocol):
    """Where anomalies go: what the watch needs of the book of incidents."""

    @property
    def due(self) -> int | None:
        """The earliest log time at which `advance` could change anything."""

    def set_back(self, at: int, by: int) -> None:
        """The clock was `by` ahead and says `at`: go on from there."""

    def advance(self, at: int) -> None:
        """The log has reached this time: resolve what has been quiet, remind of what has not."""

    def observe(self, anomaly: Anomaly, seq: int) -> Incident:
        """Open or prolong the incident of this anomaly, found in entry `seq`."""

    def settle(self, tenant: str, signal: str, scope: str) -> None:
        """The cause is over: resolve now."""

    def command(self, data: Json) -> None:
        """An operator's word."""

    def drain(self) -> Changes:
        """What changed since the last drain."""

    def save(self) -> Parts:
        """The parts of its state that changed since the last save."""

    def load(self, parts: Parts, open_incidents: Sequence[Incident]) -> list[tuple[str, str]]:
        """Be as of there, whatever was before. Returns the parts that cannot be read."""

    def anew(self) -> "Incidents":
        """Another book, empty."""


class Reading(NamedTuple):
    """What one event came to: the highest score of its signals, and whether an incident took it up."""

    score: float = 0.0
    flagged: bool = False


UNREMARKABLE = Reading()


class Watch:
    """All tenants. `apply` takes the entries of the log in order; what comes of them is in the incidents."""

    def __init__(self, incidents: Incidents, shelf_of: Callable[[str], Below] | None = None) -> None:
        self.muted: frozenset[str] = frozenset()  # signals that open nothing, whoever the tenant
        self._incidents = incidents
        self._shelf_of = shelf_of  # where the records of a tenant are once a snapshot is committed
        self._tenants: dict[str, TenantWatch] = {}
        self._connected: dict[str, list[str]] = {}  # by tenant, the accounts below it
        self._stirred: set[str] = set()  # tenants that something happened to since the last snapshot
        self._pasts = Pasts()
        self._now = 0  # log time
        self._due = NEVER

    @property
    def crowded(self) -> bool:
        """So many tenants are awake that a snapshot should let them rest: a platform may have thousands of accounts."""
        return len(self._stirred) > CROWD

    @property
    def due(self) -> int:
        """The earliest log time at which a tick would change anything; NEVER if none would."""
        incidents_due = self._incidents.due
        return self._due if incidents_due is None else min(self._due, incidents_due)

    def rules_of(self, tenant: str) -> Json | None:
        """The thresholds in force, as the log last told; None if it never did."""
        found = self._tenants.get(tenant)
        return found.settings if found else None

    @property
    def tenants(self) -> Mapping[str, TenantWatch]:
        """By name; to be read."""
        return self._tenants

    @property
    def configured(self) -> list[str]:
        """Tenants that ever had thresholds of their own; connected accounts have those of the tenant above."""
        return [name for name, one in self._tenants.items() if one.settings is not None and parent_of(name) == name]

    def apply(self, entry: LogEntry) -> Reading:
        """Fold one entry. One that is damaged on disk is passed by."""
        if entry.damage:
            return UNREMARKABLE
        self._reach(entry)
        match entry.kind:
            case Kind.EVENT:
                return self._event(entry)
            case Kind.SIGNATURES:
                failed = SignaturesFailed(self._now, "", entry.data["failed"])
                self._show(entry, self._tenant(entry.tenant), (failed,))
            case Kind.TICK:
                for _ in self._tick(entry.seq):
                    pass
            case Kind.CONFIG:
                self._configure(entry)
            case Kind.BACKFILL:
                self._backfill(entry)
            case Kind.COMMAND:
                self._incidents.command(entry.data)
            case Kind.ALARM:
                self._alarm(entry)
        return UNREMARKABLE

    def tick(self, entry: LogEntry) -> Iterator[None]:
        """Fold a tick in pieces of a few milliseconds: between two of them others may run, but for other entries."""
        self._reach(entry)
        yield from self._tick(entry.seq)

    def _reach(self, entry: LogEntry) -> None:
        """The log has come to this time."""
        if entry.at < self._now - SET_BACK_US:
            self._set_back(entry)
        self._now = max(self._now, entry.at)
        self._incidents.advance(self._now)

    def _set_back(self, entry: LogEntry) -> None:
        """The clock was ahead; to go on in its time would be to see and say nothing until that time has come."""
        self._now, by = entry.at, self._now - entry.at
        for tenant in self._tenants.values():
            tenant.set_back(self._now, by)
        self._due = min((tenant.due for tenant in self._tenants.values()), default=NEVER)
        self._incidents.set_back(self._now, by)
        if "clock_drift" not in self.muted:
            # What a minute's tick said last may be a minute old.
            title = f"The clock stepped back by {ago(-(-by // MINUTE) * 60)}"
            evidence = {
                "observed": by // SECOND,
                "expected": 0,
                "first": "Does the machine synchronise its clock (timedatectl)? Times since the error began are wrong.",
            }
            drift = Anomaly(DAEMON, "clock_drift", "host", Severity.WARNING, self._now, title, evidence)
            self._incidents.observe(drift, entry.seq)

    def _tenant(self, name: str, *, awake: bool = True) -> TenantWatch:
        self._stirred.add(name)
        found = self._tenants.get(name)
        if found is None:
            found = self._tenants[name] = TenantWatch(name, awake=awake)
            if self._shelf_of is not None:
                found.put_below(self._shelf_of(name))
            if (parent := parent_of(name)) != name:
                self._connected.setdefault(parent, []).append(name)
                if (above := self._tenants.get(parent)) is not None and above.settings is not None:
                    found.configure(above.settings)
        return found

    def _configure(self, entry: LogEntry) -> None:
        """Connected accounts have the thresholds of the tenant that they are below."""
        for name in (entry.tenant, *self._connected.get(entry.tenant, ())):
            tenant = self._tenant(name)
            tenant.configure(entry.data)
            self._due = min(self._due, tenant.due)
        if past := self._pasts.get(entry.tenant):
            past.watch.configure(entry.data)

    def _backfill(self, entry: LogEntry) -> None:
        """What came of asking Stripe."""
        tenant, data = self._tenant(entry.tenant), entry.data
        match data["state"]:
            case "began":
                # Who has been watched for days knows what is usual; what is older than that comes too late to teach.
                if tenant.met is None or self._now - tenant.met < NEWS:
                    self._pasts.begin(tenant.name, tenant.settings, self._now)
            case "ended":
                if (past := self._pasts.end(tenant.name)) and (knowing := past.catch_up(self._now)):
                    tenant.take_over(knowing)
                    self._due = min(self._due, tenant.due)
            case "missed":
                self._show(entry, tenant, (EventsMissed(self._now, "", data["missed"], data["first"], data["last"]),))
            case "found":
                self._show(entry, tenant, normalise(data["event"], self._now)[1:])  # nothing has arrived
            case "probed":
                self._show(entry, tenant, (EndpointProbed(self._now, "", data["verdict"], data["detail"]),))

    def _event(self, entry: LogEntry) -> Reading:
        facts = normalise(entry.data, self._now)
        if self._pasts and (past := self._pasts.get(entry.tenant)):
            if entry.data.get("backfilled") == HISTORY:
                tenant = self._tenant(entry.tenant)
                for fact in facts:
                    tenant.keep(fact, self._now)
                return self._found(past.live_through(entry.data, self._now), tenant, entry.seq)
            past.hold(entry.data, self._now)
        if (tenant := self._tenant(entry.tenant)).met is None:
            tenant.meet(self._now)
        return self._show(entry, tenant, facts)

    def _show(self, entry: LogEntry, tenant: TenantWatch, facts: Sequence[Fact]) -> Reading:
        found = tenant.observe(facts, self._now)
        self._due = min(self._due, tenant.due)
        if not found or ("backfilled" in entry.data and facts[0].at < self._now - NEWS):
            return UNREMARKABLE
        return self._found(found, tenant, entry.seq)

    def _found(self, found: Iterable[Finding], tenant: TenantWatch, seq: int) -> Reading:
        score, flagged = 0.0, False
        for finding in found:
            if isinstance(finding, float):
                score = max(score, finding)
            elif anomaly := self._report(finding, tenant, seq):
                score, flagged = max(score, anomaly.score), True
        return Reading(score, flagged) if score else UNREMARKABLE

    def _tick(self, seq: int) -> Iterator[None]:
        if self._due > self._now:
            return
        overdue = (tenant for tenant in self._tenants.values() if tenant.due <= self._now)
        for tenant in nsmallest(TICKED_MAX, overdue, key=lambda one: (one.due, one.name)):
            self._stirred.add(tenant.name)
            for finding in tenant.tick(self._now):
                if not isinstance(finding, float):
                    self._report(finding, tenant, seq)
                yield
            tenant.set_due()
            yield
        self._due = min((tenant.due for tenant in self._tenants.values()), default=NEVER)

    def _report(self, finding: Anomaly | Over, tenant: TenantWatch, seq: int) -> Anomaly | None:
        if isinstance(finding, Over):
            self._incidents.settle(tenant.name, finding.signal, finding.scope)
            return None
        if finding.signal in tenant.rules.disabled or finding.signal in self.muted:
            return None
        self._incidents.observe(finding, seq)
        return finding

    def _alarm(self, entry: LogEntry) -> None:
        data = entry.data
        if data.get("resolved"):
            self._incidents.settle(entry.tenant, data["signal"], data["scope"])
            return
        alarm = Anomaly(
            entry.tenant,
            data["signal"],
            data["scope"],
            Severity(data["severity"]),
            entry.at,
            data["title"],
            data["evidence"],
            quiet_s=data.get("quiet_s", 3600),
        )
        self._incidents.observe(alarm, entry.seq)

    def drain(self) -> Changes:
        """What became of the incidents since the last drain."""
        return self._incidents.drain()

    def snapshot(self) -> Iterator[tuple[tuple[str, str], tuple[int, bytes]]]:
        """The parts that changed since the last snapshot; together with all the earlier ones, the whole state.

        Nothing may be applied before the last part is taken.
        """
        yield (DAEMON, "watch"), (1, orjson.dumps(self._now))
        for name, tenant in self._tenants.items():
            for part, state in tenant.save():
                yield (name, part), state
        yield from self._pasts.save()
        yield from self._incidents.save().items()

    def put_down(self) -> None:
        """The last snapshot is committed: of what can be read from there again, keep only so much at hand."""
        shelves = [tenant.ledger.records for tenant in self._tenants.values()]
        if sum(shelf.at_hand for shelf in shelves) > AT_HAND_MAX:
            for shelf in shelves:
                shelf.put_down()
        awake = sorted((tenant for tenant in self._tenants.values() if tenant.detectors), key=lambda one: one.heard)
        for tenant in awake[:-AWAKE_MAX]:
            tenant.rest()
        self._stirred.clear()

    def restore(self, parts: Parts, open_incidents: Sequence[Incident]) -> list[tuple[str, str]]:
        """Be as of a snapshot, whatever was before.

        Returns the parts of another version and those that cannot be read: restore again without them, or with better.
        """
        self._now, self._tenants, self._connected, self._pasts = 0, {}, {}, Pasts()
        unread: list[tuple[str, str]] = []
        for tenant, of_tenant in groupby(parts.items(), key=lambda part: part[0][0]):
            if len(self._tenants) >= AWAKE_MAX and (tenant, "due") in parts and self._shelf_of is not None:
                self._tenant(tenant, awake=False)
            unread += [part for part, (version, state) in of_tenant if version and not self._load(part, version, state)]
            if (found := self._tenants.get(tenant)) is not None and found.detectors:
                found.set_due()
                if len(self._tenants) > AWAKE_MAX:
                    found.rest()
        self._stirred.clear()
        self._due = min((tenant.due for tenant in self._tenants.values()), default=NEVER)
        return unread + self._incidents.load(parts, open_incidents)

    def _load(self, part: tuple[str, str], version: int, state: bytes) -> bool:
        tenant, name = part
        if name == INCIDENTS:
            return True
        try:
            if part == (DAEMON, "watch"):
                self._now = int(orjson.loads(state))
                return version == 1
            part_of = self._pasts.of(tenant) if name.startswith(PAST) else self._tenant(tenant)
            return part_of.load(name.removeprefix(PAST), version, state)
        except Exception:  # noqa: BLE001 - bytes that are not what was written may fail in any way
            return False

    def anew(self) -> "Watch":
        """Another, which knows nothing."""
        return Watch(self._incidents.anew())
