"""What is written down: the words in which the wings meet. Times are UTC microseconds, amounts minor units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from actors.kernel.frozen import frozen

DAEMON = ""
"""The tenant of what concerns the daemon itself."""

Json = Mapping[str, Any]

BELOW = "/"
"""Stands between a tenant and a connected account of it, which is a tenant of its own: `acme/acct_1`."""


def parent_of(tenant: str) -> str:
    """The configured tenant that this one is, or is below."""
    return tenant.partition(BELOW)[0]


class Kind(IntEnum):
    """Every input that a decision may depend on is in the log, under its kind. Stored: never renumber."""

    EVENT = 1  # a Stripe event, as its allowlisted projection
    TICK = 2  # a minute has passed
    CONFIG = 3  # the thresholds of one tenant, as in force from here on
    COMMAND = 4  # an operator's word: ack, snooze, false positive
    SIGNATURES = 5  # how many signatures of one tenant failed in a minute
    ALARM = 6  # something the daemon noticed about itself or its surroundings
    BACKFILL = 7  # what came of asking Stripe: where its past begins and ends, what was missed, how the endpoint is


@frozen
class NewEntry:
    """An input on its way into the log."""

    kind: Kind
    tenant: str
    at: int
    data: Json
    event_id: str = ""  # events only: with the tenant, the key of deduplication
    archive: bytes | None = None  # events only: the body to keep, before compression


@frozen
class LogEntry:
    """An input in the log. `data` of an event is its projection: `id`, `type`, `created` and allowlisted fields."""

    seq: int
    kind: Kind
    tenant: str
    at: int
    data: Json
    damage: str = ""  # what is wrong with it on disk; `data` is then empty, and every fold passes it by


@frozen
class Appended:
    """The entry is on disk, under `seq`; a duplicate changed nothing and bears the seq of the first."""

    seq: int
    duplicate: bool = False


@frozen
class Committed:
    """Entries up to `last` are on disk; carries them, in order, so that a reader that keeps up reads no log."""

    entries: tuple[LogEntry, ...]

    @property
    def last(self) -> int:
        """The seq of the newest entry."""
        return self.entries[-1].seq


class Severity(StrEnum):
    """critical costs money now or loses data; warning needs a look today; info goes to the digest."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Orders severities: info 0, warning 1, critical 2."""
        return ("info", "warning", "critical").index(self.value)


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A signal fired. `(tenant, signal, scope)` names the incident it belongs to."""

    tenant: str
    signal: str
    scope: str
    severity: Severity
    at: int  # event time
    title: str
    evidence: Json
    event_ids: tuple[str, ...] = ()
    score: float = 1.0  # 0 to 1: how sure
    quiet_s: int = 3600  # the incident resolves after this long without another


class State(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Incident:
    """Anomalies of one key, with a life. `revision` counts its changes; `notified` is when people last heard of it."""

    id: str
    tenant: str
    signal: str
    scope: str
    severity: Severity
    state: State
    opened: int
    updated: int
    title: str
    evidence: Json
    event_ids: tuple[str, ...]
    quiet_s: int
    last_seen: int  # log time of the newest anomaly: from here the quiet window runs
    revision: int = 1
    resolved: int | None = None
    acked: int | None = None
    snoozed_until: int | None = None
    false_positive: bool = False
    notified: int | None = None
    reminders: int = 0


@dataclass(frozen=True, slots=True)
class NewNotification:
    """One message to one channel. `key` makes it unique for ever and is its Idempotency-Key."""

    key: str
    channel: str
    tenant: str
    kind: str  # incident.opened | incident.updated | incident.resolved | digest | test
    severity: Severity
    created: int
    not_before: int
    payload: Json  # what INTERFACES promises to the webhook channel
    incident: str = ""


class Delivery(StrEnum):
    """Where a notification stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Notification(NewNotification):
    """A row of the outbox."""

    id: int = 0
    state: Delivery = Delivery.PENDING
    attempts: int = 0
    error: str = ""
    first_message: str = ""  # as what the service knows the first message about this incident, if it was sent


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of the watch as of `seq`: part name → (version, bytes). Parts not named keep what was saved before."""

    seq: int
    parts: Mapping[tuple[str, str], tuple[int, bytes]]  # (tenant, part)


@dataclass(frozen=True, slots=True)
class Findings:
    """What reading the log up to `cursor` has found: committed in one transaction with the cursor."""

    cursor: int
    incidents: tuple[Incident, ...] = ()  # newly opened or changed, whole
    notifications: tuple[NewNotification, ...] = ()
    scores: Mapping[int, float] = field(default_factory=dict)  # seq → anomaly score of the events that have one
    flagged: frozenset[int] = frozenset()  # seqs of events that opened or updated an incident
    false_positives: tuple[str, ...] = ()  # ids of incidents, open or resolved, to be marked so
    set_back: tuple[tuple[int, int], ...] = ()  # each time the clock was ahead: what it says now, and by how much
    snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far the scorer has committed, and the state to start from: fold the log from `snapshot.seq` to `cursor`."""

    cursor: int
    snapshot: Snapshot
    open_incidents: tuple[Incident, ...]
    skipped: frozenset[int]  # poison: every fold passes these by


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An input that crashed its reader three times."""

    id: int
    actor: str
    seq: int
    error: str
    at: int
    replayed: int | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """A stored event as `nightdesk events` shows it."""

    seq: int
    tenant: str
    id: str
    type: str
    created: int
    received: int
    anomaly_score: float
    flagged: bool


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """How the store is."""

    bytes: int
    wal_bytes: int
    last_commit_ms: float
    stored: int  # events, ever
    duplicates: int  # since start
    last_seq: int
    cursor: int
    open_incidents: int
    notifications: Mapping[str, int]  # Delivery → rows
    undelivered: Mapping[str, Mapping[str, int]]  # channel → Delivery (pending, failed) → rows
    trouble: str | None = None  # why nothing can be written
