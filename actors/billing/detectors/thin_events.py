from collections.abc import Iterable
from typing import Any, ClassVar

from actors.billing.detectors.base import Detector, Finding
from actors.billing.facts import ThinEvent
from actors.store.records import Severity

DAY_S = 86_400


class ThinEvents(Detector):
    """The endpoint sends v2 "thin" events: they name an object and say nothing of it, so there is nothing to watch."""

    signal = "thin_events"
    reads: ClassVar = (ThinEvent,)

    def observe(self, fact: ThinEvent, now: int) -> Iterable[Finding]:
        """Complain, in one incident for as long as they come."""
        evidence = {
            "observed": "thin payload",
            "expected": "snapshot payload",
            "type": fact.type,
            "window_s": DAY_S,
            "links": ["https://dashboard.stripe.com/workbench/webhooks"],
            "first": "In Stripe → Workbench → Event destinations, add a destination with payload style Snapshot.",
        }
        title = "Thin events carry no data: choose the snapshot payload"
        return (self.anomaly("account", Severity.WARNING, now, title, evidence, (fact.event,), quiet_s=DAY_S),)

    def save(self) -> Any:
        """It remembers nothing."""

    def load(self, state: Any) -> None:
        """It remembers nothing."""
