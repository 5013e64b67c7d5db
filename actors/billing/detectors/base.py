"""What a detector is: a rule over facts with a bounded memory, and nothing else (no clock, no I/O, no logging)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

from actors.billing.diary import Diary
from actors.billing.facts import Fact, SubscriptionState
from actors.billing.ledger import Ledger
from actors.kernel.clock import SECOND
from actors.store.records import Anomaly, Severity

NEVER = 2**63 - 1


class Over(NamedTuple):
    """The cause of this incident is gone: it is resolved at once, without a quiet window."""

    signal: str
    scope: str


Finding = Anomaly | Over | float
"""A float opens nothing: it says how near to firing (0 to 1) the rule is, which is the score of the event."""


PAUSE = 0.0
"""Between two pieces of a long look: others may run."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The owner's thresholds for one tenant; None: the rule is off. As in the configuration, `billing.alerts`."""

    revenue_drop_percent: float | None = None
    refund_spike_count: int | None = None
    churn_rate_daily: float | None = None
    customer_decline_count: int | None = 5
    failure_rate: float | None = None
    failure_min_attempts: int = 10
    sensitivity: str = "normal"
    disabled: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Rules":
        """From a CONFIG entry of the log; what it does not name has its default."""
        known = {field.name: settings[field.name] for field in fields(cls) if field.name in settings}
        return cls(**{**known, "disabled": tuple(known.get("disabled", ()))})


class Detector(ABC):
    """One signal of one tenant. Equal facts in equal order give equal findings; `now` is the time of the log.

    The work per fact does not grow with history and every memory has a limit.
    """

    signal: ClassVar[str]
    version: ClassVar[int] = 1
    """Of the saved state: raise it when `load` can no longer read what an older `save` wrote; the log is read again."""
    reads: ClassVar[tuple[type[Fact], ...]]
    """The facts it is shown, by their exact types."""

    def __init__(self, tenant: str, rules: Rules) -> None:
        self.tenant = tenant
        self.rules = rules  # replaced when the configuration changes; what was seen so far stays
        self.due = NEVER  # the earliest log time at which `tick` has something to do

    @abstractmethod
    def observe(self, fact: Any, now: int) -> Iterable[Finding]:
        """Take in one of the facts in `reads`; while a rule holds, every further fact of it yields again."""

    def tick(self, now: int) -> Iterator[Finding]:
        """The log has reached `now`, which is at or after `due`. Who looks for long yields PAUSE now and then."""
        del now
        return iter(())

    @abstractmethod
    def save(self) -> Any:
        """The whole state, in what orjson can write, and tuples of any kind. It is written at once: no need to copy."""

    @abstractmethod
    def load(self, state: Any) -> None:
        """The state that `save` of the same version gave, `due` included."""

    def set_back(self, now: int, by: int) -> None:
        """The clock was `by` ahead and says `now`: what was to come moves with it, and nothing was in the future."""
        if self.due != NEVER:
            self.due = max(now, self.due - by)

    def anomaly(
        self,
        scope: str,
        severity: Severity,
        at: int,
        title: str,
        evidence: Mapping[str, Any],
        event_ids: tuple[str, ...],
        quiet_s: int = 3600,
    ) -> Anomaly:
        """An anomaly of this signal. Evidence: observed, expected, window_s, since, ids, links, first."""
        return Anomaly(self.tenant, self.signal, scope, severity, at, title, evidence, event_ids, quiet_s=quiet_s)


class LedgerDetector(Detector):
    """One that also looks at the tenant's ledger, which has taken in whatever the detector is shown."""

    ledger: Ledger
    """Set by whoever makes the detector, and only read by it."""


class Heard(NamedTuple):
    """What is kept of a subscription's event."""

    at: int
    event: str
    subscription: str
    currency: str


class PatientDetector(LedgerDetector):
    """One that compares the ledger with a day ago; what comes late is compared when it has all come.

    After an absence things are told in any order: who left may be heard of before those who stay. At first contact
    nobody is known yet: for an hour, who leaves just now waits too if he is a stranger, or what waits came in disorder.
    """

    LATE: ClassVar = 1800 * SECOND
    WAIT: ClassVar = 120 * SECOND
    WAIT_MAX: ClassVar = 3600 * SECOND

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._late: dict[str, Heard] = {}  # the newest by currency
        self._since = 0  # log time
        self._met = 0  # log time of the first
        self._newest = 0  # event time, of all so far
        self._mixed = False  # what waits did not come in order

    def observe(self, fact: SubscriptionState, now: int) -> Iterable[Finding]:
        """Compare at once, or when nothing has come late for two minutes, or for an hour."""
        self._met = self._met or now
        earlier, self._newest = fact.at < self._newest, max(fact.at, self._newest)
        late = fact.at < now - self.LATE
        if not late and (now > self._met + self.WAIT_MAX or not self._too_early(fact, now)):
            return self.compare(fact, now)
        self._mixed |= earlier
        if not self._late:
            self._since = now
        self._late[fact.currency] = Heard(fact.at, fact.event, fact.subscription, fact.currency)
        self.due = min(now + self.WAIT, self._since + self.WAIT_MAX if late else self.due)
        return ()

    def _too_early(self, fact: SubscriptionState, now: int) -> bool:
        return self._mixed or not all(map(self.ledger.knew, self.ledger.changes(fact.subscription, now)))

    @abstractmethod
    def compare(self, fact: SubscriptionState | Heard, now: int) -> Iterable[Finding]:
        """What has become of the last day, by this event and all before."""

    def tick(self, now: int) -> Iterator[Finding]:
        """Compare after what came late."""
        late, self._late, self._mixed, self.due = self._late, {}, False, NEVER
        for heard in late.values():
            yield from self.compare(heard, now)

    def save(self) -> Any:
        """What came late and waits, and how it all began."""
        return [self.due, self._since, list(self._late.values()), self._met, self._newest, self._mixed]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        self.due, self._since, late, self._met, self._newest, self._mixed = state
        self._late = {heard.currency: heard for heard in (Heard(*one) for one in late)}


class DiaryDetector(Detector):
    """One that also looks at what the tenant's days are like, to know how large the business is."""

    diary: Diary
    """Set by whoever makes the detector. Who finds out what counts once may write it there."""
