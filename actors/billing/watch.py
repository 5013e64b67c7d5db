"""The watch: a pure fold over the log. Equal logs give equal incidents, live, after a restart and in a replay."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol
from zlib import compress, decompress

import orjson

from actors.billing.detectors.base import NEVER, Over
from actors.billing.detectors.evidence import ago
from actors.billing.events import normalise
from actors.billing.facts import Fact, SignaturesFailed
from actors.billing.ledger import Ledger
from actors.billing.tenant_watch import TenantWatch
from actors.kernel.clock import SECOND
from actors.store.records import DAEMON, Anomaly, Incident, Json, Kind, LogEntry, NewNotification, Severity

Parts = Mapping[tuple[str, str], tuple[int, bytes]]  # (tenant, name) → version, state

MINUTE = 60 * SECOND
SET_BACK_US = 5 * MINUTE
"""While entries are at most so much out of order, log time stands still; beyond, the clock was set, and it follows."""

INCIDENTS = "incidents"
"""The parts of a snapshot that are the book's."""

GONE = (0, b"")
"""Version and state of a part that is no more."""

DEFLATED = 400, 20_000
"""Bytes of JSON between which a part of a snapshot is deflated."""


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


def packed(state: bytes) -> bytes:
    """A part as it is stored. What a busy tenant remembers stays as it is: to deflate it would hold up everything."""
    return compress(state) if DEFLATED[0] < len(state) < DEFLATED[1] else state


def unpacked(state: bytes) -> bytes:
    """What `packed` was given. JSON never begins with the first byte of a zlib stream."""
    return decompress(state) if state[:1] == b"x" else state


class Watch:
    """All tenants. `apply` takes the entries of the log in order; what comes of them is in the incidents."""

    def __init__(self, incidents: Incidents) -> None:
        self.muted: frozenset[str] = frozenset()  # signals that open nothing, whoever the tenant
        self._incidents = incidents
        self._tenants: dict[str, TenantWatch] = {}
        self._now = 0  # log time
        self._due = NEVER

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
    def ledgers(self) -> Mapping[str, Ledger]:
        """By tenant; to be read."""
        return {name: tenant.ledger for name, tenant in self._tenants.items()}

    def apply(self, entry: LogEntry) -> Reading:
        """Fold one entry. One that is damaged on disk is passed by."""
        if entry.damage:
            return UNREMARKABLE
        if entry.at < self._now - SET_BACK_US:
            self._set_back(entry)
        self._now = max(self._now, entry.at)
        self._incidents.advance(self._now)
        match entry.kind:
            case Kind.EVENT:
                return self._show(entry, normalise(entry.data, self._now))
            case Kind.SIGNATURES:
                self._show(entry, (SignaturesFailed(self._now, "", entry.data["failed"]),))
            case Kind.TICK:
                self._tick(entry.seq)
            case Kind.CONFIG:
                self._tenant(entry.tenant).configure(entry.data)
            case Kind.COMMAND:
                self._incidents.command(entry.data)
            case Kind.ALARM:
                self._alarm(entry)
        return UNREMARKABLE

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

    def _tenant(self, name: str) -> TenantWatch:
        found = self._tenants.get(name)
        if found is None:
            found = self._tenants[name] = TenantWatch(name)
        return found

    def _show(self, entry: LogEntry, facts: Iterable[Fact]) -> Reading:
        tenant = self._tenant(entry.tenant)
        score, flagged = 0.0, False
        for fact in facts:
            for finding in tenant.observe(fact, self._now):
                if isinstance(finding, float):
                    score = max(score, finding)
                elif anomaly := self._report(finding, tenant, entry.seq):
                    score, flagged = max(score, anomaly.score), True
        self._due = min(self._due, tenant.due)
        return Reading(score, flagged) if score else UNREMARKABLE

    def _tick(self, seq: int) -> None:
        if self._due > self._now:
            return
        for tenant in self._tenants.values():
            if tenant.due <= self._now:
                for finding in tenant.tick(self._now):
                    if not isinstance(finding, float):
                        self._report(finding, tenant, seq)
                tenant.set_due()
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
            for part, version, state in tenant.save():
                yield (name, part), (version, packed(orjson.dumps(state, default=tuple)))
        yield from self._incidents.save().items()

    def restore(self, parts: Parts, open_incidents: Sequence[Incident]) -> list[tuple[str, str]]:
        """Be as of a snapshot, whatever was before.

        Returns the parts of another version and those that cannot be read: restore again without them, or with better.
        """
        self._now, self._tenants = 0, {}
        unread = [part for part, (version, state) in parts.items() if version and not self._load(part, version, state)]
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
            return self._tenant(tenant).load(name, version, unpacked(state))
        except Exception:  # noqa: BLE001 - bytes that are not what was written may fail in any way
            return False

    def anew(self) -> "Watch":
        """Another, which knows nothing."""
        return Watch(self._incidents.anew())
