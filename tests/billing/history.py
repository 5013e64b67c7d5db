"""Weeks of ordinary business before a story begins, so that a tenant has a usual."""

from typing import Any

from actors.kernel.clock import SECOND, chance
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, charge

DAY = 86_400


def payments(days: int, per_day: int, *, declined: float = 0.1, seed: int = 1) -> list[Event]:
    """One-off payments at random moments, each of another customer, over the days before START + days."""
    rng = chance(seed)
    moments = sorted(rng.randrange(days * DAY) for _ in range(days * per_day))
    return [
        charge(at, customer=f"cus_h{seed}_{number}", amount=1000 + number, failed=rng.random() < declined)
        for number, at in enumerate(moments)
    ]


def lived(*events: Event, **rules: Any) -> Night:
    """A night after all these, in the order in which they happened."""
    night = Night(**rules)
    night.deliver(*sorted(events, key=lambda one: one["created"]))
    return night


def since(night: Night) -> int:
    """Seconds from START to now."""
    return night.now // SECOND - START
