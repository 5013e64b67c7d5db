from collections import deque
from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.cusum import SURGE_THRESHOLDS, Surge, Surges
from actors.billing.detectors.base import Detector, Finding, Recent, Rules
from actors.billing.detectors.evidence import ago, cautiously, links, of_surge
from actors.billing.facts import SubscriptionState
from actors.kernel.clock import SECOND
from actors.store.records import Severity

DAY_US = 86_400 * SECOND
REMEMBERED_MAX = 2_000
EXAMPLES_MAX = 20
QUIET_S = 6 * 3600


class CancellationCluster(Detector):
    """More subscribers decide to leave than is usual: a price change, an outage, a bug in the billing.

    A cancellation counts when it is decided, at once or for the end of the period. What then ends as decided long ago
    is no news.
    """

    signal = "cancellation_cluster"
    reads: ClassVar = (SubscriptionState,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._surges = Surges(prior_per_day=1.0, prior_days=2.0)
        self._known: Recent[None] = Recent(DAY_US, REMEMBERED_MAX)
        self._examples: deque[list[Any]] = deque(maxlen=EXAMPLES_MAX)  # second, event, subscription

    def observe(self, fact: SubscriptionState, now: int) -> Iterator[Finding]:
        """Count the decision once."""
        if not decided_now(fact) or fact.subscription in self._known:
            return
        self._known.put(fact.subscription, None, now)
        second = fact.at // SECOND
        self._examples.append([second, fact.event, fact.subscription])
        surge = self._surges.count(second, now // SECOND, SURGE_THRESHOLDS[self.rules.sensitivity])
        if surge is not None:
            yield surge.score if surge.score < 1 else self._report(surge, fact.at)

    def _report(self, surge: Surge, at: int) -> Finding:
        warm = self._surges.rate.warm
        rows = [row for row in self._examples if surge.since <= row[0] <= surge.until]
        evidence = of_surge(surge, warm=warm) | {
            "subscriptions": [row[2] for row in rows],
            "links": links([row[2] for row in rows[-5:]]),
            "first": "Ask the latest why; look for a price change, an e-mail or an outage shortly before the first.",
        }
        title = f"{surge.events} cancellations within {ago(surge.until - surge.since)}, {surge.expected:.1f} are usual"
        events = tuple(row[1] for row in rows)
        title = cautiously(title, warm=warm)
        return self.anomaly("account", Severity.WARNING, at, title, evidence, events, quiet_s=QUIET_S)

    def save(self) -> Any:
        """What is usual, and who has decided of late."""
        return [self._surges.save(), self._known.save(), list(self._examples)]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        surges, known, examples = state
        self._surges.load(surges)
        self._known.load(known)
        self._examples.extend(examples)


def decided_now(fact: SubscriptionState) -> bool:
    """It was cancelled by this very change, not by one of another day that now takes effect."""
    if fact.status == "canceled":
        return not fact.cancel_at_period_end and (fact.canceled_at is None or fact.canceled_at > fact.at - DAY_US)
    return fact.cancel_at_period_end and fact.previous.get("cancel_at_period_end") is False
