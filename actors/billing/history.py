"""A tenant's past, as Stripe tells it to whoever asks: lived through on a clock of its own, before it is the present.

Detectors judge by what is usual, and learn that hour by hour, in the order of time. So a month that is fetched in a
minute is shown to detectors of its own, each event at the time at which it happened, with all the ticks in between.
When the past has reached the present they take over, knowing what they would know had they watched all along.
"""

from collections.abc import Iterator

from actors.billing.detectors.base import Finding
from actors.billing.events import normalise
from actors.billing.reading import time
from actors.billing.tenant_watch import TenantWatch, packed, unpacked
from actors.kernel.clock import SECOND
from actors.store.records import Json

MINUTE = 60 * SECOND
NEWS = 86_400 * SECOND
"""What happened longer ago is no incident any more when it is fetched: it only teaches."""

HELD_MAX = 3_000
"""Events that come by webhook meanwhile, and are then shown once more. Of more than that one has learnt by oneself."""

OF_WEBHOOKS = frozenset(("webhook_silence", "webhook_lag"))
"""These speak of deliveries, and of the past nothing was delivered."""

PAST = "past:"
"""Begins the names of its parts of a snapshot."""


class Past:
    """One tenant's: `watch` stands at `now`, its own time, and is to be shown what came by webhook meanwhile."""

    version = 1  # of the saved state, as with detectors

    def __init__(self, tenant: str, began: int = 0) -> None:
        self.watch = TenantWatch(tenant)
        self._began = began  # log time
        self.saved: set[str] = set()  # the names of its parts in the snapshot
        self._now = 0
        self._held: list[tuple[int, Json]] = []  # when each came, and what it is

    def live_through(self, event: Json, now: int) -> list[Finding]:
        """Show it an event, at the time at which that happened; what of it is news `now`."""
        at = time(event.get("created")) or now
        found = self._show(event, min(at, now))
        return [one for one in found if not is_of_webhooks(one)] if at >= now - NEWS else []

    def hold(self, event: Json, now: int) -> None:
        """It came by webhook, and was seen to already."""
        if len(self._held) < HELD_MAX:
            self._held.append((now, event))

    def catch_up(self, now: int) -> TenantWatch | None:
        """The past has come to the present; None if that took so long that the present was learnt meanwhile."""
        if now - self._began >= NEWS or len(self._held) >= HELD_MAX:
            return None
        for at, event in self._held:
            self._show(event, at)
        return self.watch

    def _show(self, event: Json, at: int) -> list[Finding]:
        """What the ticks on the way find has passed by itself, or will be found again."""
        self._now = now = max(self._now, at)
        while (due := self.watch.due) <= now:
            for _ in self.watch.tick(-(-due // MINUTE) * MINUTE):
                pass
            self.watch.set_due()
        told = {key: value for key, value in event.items() if key != "backfilled"}
        return self.watch.observe(normalise(told, now), now)

    def save(self) -> Iterator[tuple[str, tuple[int, bytes]]]:
        """As a tenant's watch does; "" is the name of what is not the watch's."""
        yield "", (self.version, packed([self._began, self._now, self._held]))
        yield from self.watch.save()

    def load(self, name: str, version: int, state: bytes) -> bool:
        """As a tenant's watch does."""
        self.saved.add(name)
        if name:
            read = self.watch.load(name, version, state)
            self.watch.set_due()
            return read
        self._began, self._now, held = unpacked(state)
        self._held = [(at, event) for at, event in held]
        return version == self.version


def is_of_webhooks(finding: Finding) -> bool:
    """Whether it says how deliveries are."""
    return not isinstance(finding, float) and finding.signal in OF_WEBHOOKS


class Pasts:
    """Of all tenants whose past is being fetched: few, for a short time."""

    def __init__(self) -> None:
        self._of: dict[str, Past] = {}
        self._gone: list[tuple[str, str]] = []  # parts that are no more

    def __bool__(self) -> bool:
        return bool(self._of)

    def get(self, tenant: str) -> Past | None:
        """Where there is one."""
        return self._of.get(tenant)

    def begin(self, tenant: str, settings: Json | None, now: int) -> None:
        """It will now be told from its beginning."""
        self.end(tenant)
        past = self._of[tenant] = Past(tenant, now)
        if settings is not None:
            past.watch.configure(settings)

    def end(self, tenant: str) -> Past | None:
        """It has been told, or is not to be told any more."""
        past = self._of.pop(tenant, None)
        if past is not None:
            self._gone += [(tenant, PAST + name) for name in sorted(past.saved)]
        return past

    def of(self, tenant: str) -> Past:
        """The one that parts of a snapshot are loaded into."""
        return self._of.setdefault(tenant, Past(tenant))

    def save(self) -> Iterator[tuple[tuple[str, str], tuple[int, bytes]]]:
        """Tenant and name, version and state of each part that changed; version 0 of those that are no more."""
        yield from ((part, (0, b"")) for part in self._gone)
        self._gone.clear()
        for tenant, past in self._of.items():
            for name, state in past.save():
                past.saved.add(name)
                yield (tenant, PAST + name), state
