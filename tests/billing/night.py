"""One tenant's night: events go through projection, watch and incident book, time passes with them."""

from typing import Any

from actors.alerts.incidents import IncidentBook, Transition
from actors.alerts.routing import Routing
from actors.billing.projection import Projector
from actors.billing.watch import Reading, Watch
from actors.kernel.clock import SECOND
from actors.store.records import DAEMON, Incident, Kind, LogEntry
from tests.billing.stripe_events import START, Event

MINUTE = 60 * SECOND


class Night:
    """Rules given here are in force from the start; all that happens is in `log`, so that it can be read again."""

    def __init__(self, **rules: Any) -> None:
        self.watch = Watch(IncidentBook(Routing()))
        self.log: list[LogEntry] = []
        self.steps: list[Transition] = []
        self.now = START * SECOND
        self.readings: list[Reading] = []
        if rules:
            self.configure(**rules)

    def append(self, kind: Kind, tenant: str, data: Any) -> Reading:
        self.log.append(LogEntry(len(self.log) + 1, kind, tenant, self.now, data))
        reading = self.watch.apply(self.log[-1])
        self.steps += self.watch.drain().transitions  # type: ignore[arg-type] # the book's own
        return reading

    def configure(self, tenant: str = "acme", **rules: Any) -> None:
        self.append(Kind.CONFIG, tenant, rules)

    def deliver(self, *events: Event, at: int | None = None, tenant: str = "acme") -> None:
        """Each arrives when it happens, or all at `at` seconds after START; the clock never goes back."""
        for one in events:
            arrival = START + at if at is not None else one["created"]
            self.pass_until(arrival * SECOND)
            self.readings.append(self.append(Kind.EVENT, tenant, Projector(bytes(32)).project(one)))

    def pass_until(self, at: int) -> None:
        """A tick at each full minute on the way."""
        while (minute := (self.now // MINUTE + 1) * MINUTE) <= at:
            self.now = minute
            self.append(Kind.TICK, DAEMON, {})
        self.now = max(self.now, at)

    def pass_minutes(self, minutes: int) -> None:
        self.pass_until(self.now + minutes * MINUTE)

    def incidents(self, signal: str | None = None) -> list[Incident]:
        """Each as it is now, in the order in which they opened."""
        found = {step.incident.id: step.incident for step in self.steps}
        return [one for one in found.values() if signal in (None, one.signal)]

    def only(self, signal: str) -> Incident:
        """The one incident of this signal, and the only one of this night."""
        (incident,) = self.incidents()
        assert incident.signal == signal
        return incident
