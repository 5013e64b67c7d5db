"""An open incident and what the book remembers beside its row."""

from dataclasses import dataclass, field, replace

from actors.alerts.routing import HOUR, Routing
from actors.kernel.clock import moved
from actors.store.records import Incident

Key = tuple[str, str, str]
"""Tenant, signal, scope."""

LONGEST_INTERVAL = 24 * HOUR

CALM = 0.25
"""A reminder is not worth sending when less than this share of the quiet window is left."""


@dataclass(slots=True)
class Case:
    """Its times are log time, µs, except `since`."""

    incident: Incident
    since: int  # event time of the earliest anomaly
    anomalies: int = 1
    score: float = 1.0  # of the surest anomaly
    worse: bool = False  # something is new since people last heard
    told: dict[str, int] = field(default_factory=dict)  # channel → from when on its last message may go out
    deadline: int | None = None  # its place in the book's heap

    @classmethod
    def of_stored(cls, incident: Incident, routing: Routing) -> "Case":
        """As well as it can be known from the row alone."""
        told = {} if incident.notified is None else {route.channel: incident.notified for route in routing.of(incident)}
        return cls(incident, since=incident.opened, told=told)

    def set_back(self, at: int, by: int) -> None:
        """The clock was `by` ahead and says `at`."""
        old = self.incident
        self.incident = replace(
            old,
            opened=moved(old.opened, at, by),
            updated=moved(old.updated, at, by),
            last_seen=moved(old.last_seen, at, by),
            acked=old.acked and moved(old.acked, at, by),
            snoozed_until=old.snoozed_until and moved(old.snoozed_until, at, by),
            notified=old.notified and moved(old.notified, at, by),
        )
        self.told = {channel: moved(when, at, by) for channel, when in self.told.items()}
        self.deadline = None

    @property
    def key(self) -> Key:
        """What there is at most one open incident of."""
        return (self.incident.tenant, self.incident.signal, self.incident.scope)

    @property
    def quiet_at(self) -> int:
        """When it resolves, if nothing more comes."""
        return self.incident.last_seen + self.incident.quiet_s * 1_000_000

    @property
    def remind_at(self) -> int | None:
        """When people hear of its worsening: 1, 2, 4 … 24 h after they last heard, or when the snooze ends.

        None also when it has been calm for most of its quiet window by then: they will hear that it is over.
        """
        incident = self.incident
        if not self.worse or incident.acked is not None or incident.notified is None:
            return None
        interval = min(HOUR << min(incident.reminders, 5), LONGEST_INTERVAL)
        at = max(incident.notified + interval, incident.snoozed_until or 0)
        return at if at <= self.quiet_at - CALM * incident.quiet_s * 1_000_000 else None

    @property
    def next_due(self) -> int:
        """When the book must look at it again."""
        remind_at = self.remind_at
        return self.quiet_at if remind_at is None else min(self.quiet_at, remind_at)
