from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.cusum import Surge
from actors.billing.detectors.base import Detector, Finding, Rules
from actors.billing.detectors.evidence import ago, links, of_surge
from actors.billing.detectors.surge import QUIET_S, SubscriptionSurges
from actors.billing.facts import SubscriptionState
from actors.kernel.clock import SECOND
from actors.store.records import Severity

NEW_US = 600 * SECOND  # a subscription told of so soon after its start is new
COLD_SCORE_MAX = 0.9


class SubscriptionSpike(Detector):
    """More people subscribe than is usual: a good day, or bots. For the digest: only a person can tell which."""

    signal = "subscription_spike"
    version = 2
    reads: ClassVar = (SubscriptionState,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._surges = SubscriptionSurges(prior_per_day=3.0)

    def observe(self, fact: SubscriptionState, now: int) -> Iterator[Finding]:
        """Count each once, when it begins."""
        if fact.started is None or not 0 <= fact.at - fact.started <= NEW_US:
            return
        surge = self._surges.count(fact, now, fact.customer, self.rules.sensitivity)
        if surge is not None:
            # Good news can wait until it is known what is usual: a business that opens has nothing but new subscribers.
            told = surge.score >= 1 and self._surges.warm
            yield self._report(surge, fact.at) if told else min(surge.score, COLD_SCORE_MAX)

    def _report(self, surge: Surge, at: int) -> Finding:
        rows = self._surges.examples(surge)
        evidence = of_surge(surge, warm=True) | {
            "links": links([row[2] for row in rows[-5:]]),
            "first": "Look at the newest customers: real names and paid invoices are a good day, patterns are bots.",
        }
        within = ago(surge.until - surge.since)
        title = f"{surge.events} new subscriptions within {within}, {surge.expected:.1f} are usual"
        events = tuple(row[1] for row in rows)
        return self.anomaly("account", Severity.INFO, at, title, evidence, events, quiet_s=QUIET_S)

    def save(self) -> Any:
        """What is usual, and who is new."""
        return self._surges.save()

    def load(self, state: Any) -> None:
        """What `save` gave."""
        self._surges.load(state)
