"""Who hears of an incident, and when: routes, quiet hours, and the holding back of floods."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from actors.kernel.clock import moved
from actors.store.records import Incident, Severity, parent_of

MINUTE = 60_000_000
HOUR = 60 * MINUTE

AT_ONCE = 3
"""So many openings of one signal at one tenant reach people singly; what follows is gathered."""

FIRST_HOLD, LONGEST_HOLD = 10 * MINUTE, HOUR
MANY_TENANTS = 5
WAVE = 10 * MINUTE


@dataclass(frozen=True, slots=True)
class Route:
    """A channel and what it carries. Programs match openings with ends, so only people's messages are gathered."""

    channel: str
    min_severity: Severity = Severity.INFO
    for_people: bool = True


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Local hours in which only critical messages pass; they may span midnight."""

    start: time
    end: time
    zone: ZoneInfo

    def end_of(self, at: int) -> int:
        """When a message of `at` may go out: at once, or when the quiet hours it falls into are over. µs."""
        local = datetime.fromtimestamp(at / 1e6, self.zone)
        now = local.time()
        overnight = self.start > self.end
        quiet = (now >= self.start or now < self.end) if overnight else self.start <= now < self.end
        if not quiet:
            return at
        day = local.date() + timedelta(days=1 if overnight and now >= self.start else 0)
        return int(datetime.combine(day, self.end, self.zone).astimezone(UTC).timestamp()) * 1_000_000


@dataclass(frozen=True, slots=True)
class Routing:
    """All routes; a tenant that is not in `tenants` uses every one of them. `digests`: there will be one."""

    routes: tuple[Route, ...] = ()
    tenants: Mapping[str, frozenset[str]] = field(default_factory=dict)
    quiet_hours: QuietHours | None = None
    digests: bool = False

    def of(self, incident: Incident) -> Iterator[Route]:
        """The routes an incident takes. That a channel fails is never told on that channel."""
        for route in self.routes:
            if not self.serves(route.channel, incident.tenant):
                continue
            if incident.signal == "channel_failed" and incident.scope == route.channel:
                continue
            if incident.severity.rank >= route.min_severity.rank:
                yield route

    def serves(self, channel: str, tenant: str) -> bool:
        """Whether what concerns this tenant may be told there."""
        allowed = self.tenants.get(parent_of(tenant))
        return allowed is None or channel in allowed

    def left_to_digest(self, route: Route, severity: Severity, at: int) -> bool:
        """What is told only there: to people what is info, and to all what comes in quiet hours."""
        calm = route.for_people and severity is Severity.INFO
        return self.digests and (calm or self.awake(severity, at) > at)

    def awake(self, severity: Severity, at: int) -> int:
        """When people may be disturbed by this severity, from `at` on."""
        if self.quiet_hours is None or severity is Severity.CRITICAL:
            return at
        return self.quiet_hours.end_of(at)


@dataclass(slots=True)
class Flood:
    """Openings of one signal at one tenant, none an hour after the one before."""

    last: int
    opened: int = 0
    hold: int = 0
    release: int = 0

    def admit(self, at: int) -> int:
        """Count one more; when it may go out. Later ones are gathered for 10 minutes, then 20, 40, 60."""
        self.last = at
        self.opened += 1
        if self.opened <= AT_ONCE:
            return at
        if at >= self.release:
            self.hold = min(self.hold * 2 or FIRST_HOLD, LONGEST_HOLD)
            self.release = at + self.hold
        return self.release


class Floods:
    """Holds openings back when many come at once: of one signal at one tenant, or of one signal at many tenants."""

    def __init__(self) -> None:
        self.of_tenant: dict[str, dict[str, Flood]] = {}  # tenant → signal
        self.waves: dict[str, dict[str, int]] = {}  # signal → tenant → when it last opened there

    def admit(self, tenant: str, signal: str, at: int) -> int:
        """When an incident that opens now may be told to people; `at` itself: at once."""
        floods = self.of_tenant.setdefault(tenant, {})
        flood = floods.get(signal)
        if flood is None or at >= flood.last + HOUR:
            flood = floods[signal] = Flood(at)
        return max(flood.admit(at), self._wave(tenant, signal, at))

    def forget(self, now: int) -> None:
        """Drop what can no longer hold anything back."""
        for tenant, floods in list(self.of_tenant.items()):
            lasting = {signal: flood for signal, flood in floods.items() if now < flood.last + HOUR}
            if lasting:
                self.of_tenant[tenant] = lasting
            else:
                del self.of_tenant[tenant]
        for signal, wave in list(self.waves.items()):
            if all(last <= now - WAVE for last in wave.values()):
                del self.waves[signal]

    def set_back(self, now: int, by: int) -> None:
        """The clock was `by` ahead."""
        for floods in self.of_tenant.values():
            for flood in floods.values():
                flood.last, flood.release = moved(flood.last, now, by), moved(flood.release, now, by)
        for wave in self.waves.values():
            wave.update({tenant: moved(last, now, by) for tenant, last in wave.items()})

    def _wave(self, tenant: str, signal: str, at: int) -> int:
        wave = self.waves.setdefault(signal, {})
        wave[tenant] = at
        if len(wave) < MANY_TENANTS:
            return at
        for other in [other for other, last in wave.items() if last <= at - WAVE]:
            del wave[other]
        return at if len(wave) < MANY_TENANTS else (at // MINUTE + 1) * MINUTE
