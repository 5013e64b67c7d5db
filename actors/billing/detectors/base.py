"""What a detector is: a rule over facts with a bounded memory, and nothing else (no clock, no I/O, no logging)."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from actors.billing.facts import Fact
from actors.billing.ledger import Ledger
from actors.store.records import Anomaly, Severity

NEVER = 2**63 - 1
ENTRIES_MAX = 20_000  # of one keyed memory of one tenant


class Over(NamedTuple):
    """The cause of this incident is gone: it is resolved at once, without a quiet window."""

    signal: str
    scope: str


Finding = Anomaly | Over | float
"""A float opens nothing: it says how near to firing (0 to 1) the rule is, which is the score of the event."""


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
    def observe(self, fact: Any, now: int) -> Iterator[Finding]:
        """Take in one of the facts in `reads`; while a rule holds, every further fact of it yields again."""

    def tick(self, now: int) -> Iterator[Finding]:
        """The log has reached `now`, which is at or after `due`."""
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


V = TypeVar("V")


class Recent(Generic[V]):
    """Values by key; those not put for `keep_us` of log time, or beyond the limit, are forgotten, oldest first."""

    __slots__ = ("_due", "_keep_us", "_limit", "_newest", "_rows")

    def __init__(self, keep_us: int, limit: int = ENTRIES_MAX) -> None:
        self._keep_us = keep_us
        self._limit = limit
        # In the order of their last put. A plain dict would walk over all that was deleted to find its first key.
        self._rows: OrderedDict[str, tuple[int, V]] = OrderedDict()
        self._due = 0  # before this time nothing is forgotten for its age
        self._newest = 0  # when the last was put

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def get(self, key: str) -> V | None:
        """The value, if it is remembered."""
        row = self._rows.get(key)
        return None if row is None else row[1]

    def put(self, key: str, value: V, now: int) -> None:
        """Remember it from `now` on."""
        held = self._rows
        if now < self._newest:  # the clock was set back
            self._due = 0
            for other, (at, kept) in held.items():
                held[other] = (min(at, now), kept)
        self._newest = now
        held[key] = (now, value)
        held.move_to_end(key)
        while len(held) > self._limit:
            held.popitem(last=False)
        if now > self._due:
            self._forget(now)

    def _forget(self, now: int) -> None:
        held = self._rows
        while next(iter(held.values()))[0] < now - self._keep_us:
            held.popitem(last=False)
        self._due = next(iter(held.values()))[0] + self._keep_us

    def values(self) -> Iterator[V]:
        """Those remembered, the longest untouched first."""
        return (value for _, value in self._rows.values())

    def save(self) -> list[tuple[str, tuple[int, V]]]:
        """Key, time and value, in order."""
        return list(self._rows.items())

    def load(self, saved: list[tuple[str, tuple[int, Any]]], make: Callable[[Any], V] = lambda value: value) -> None:
        """What `save` gave, each value as `make` makes it of JSON."""
        self._rows = OrderedDict((key, (at, make(value))) for key, (at, value) in saved)
        self._due = 0
        self._newest = saved[-1][1][0] if saved else 0
