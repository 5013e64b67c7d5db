from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.cusum import Surge
from actors.billing.detectors.base import DiaryDetector, Finding, Rules
from actors.billing.detectors.evidence import ago, cautiously, links, of_surge
from actors.billing.detectors.surge import DAY_US, QUIET_S, SubscriptionSurges
from actors.billing.facts import SubscriptionState
from actors.billing.memory import Recent
from actors.store.records import Severity

BEGUN_MAX = 2_000
USUAL_SHARE = 0.05  # of payments: until the shop's own usual is known


class CancellationCluster(DiaryDetector):
    """More subscribers decide to leave than is usual: a price change, an outage, a bug in the billing.

    A cancellation counts when it is decided, at once or for the end of the period. What then ends as decided long ago
    is no news, nor is the end of a subscription whose customer has begun another one that day.
    """

    signal = "cancellation_cluster"
    version = 2
    reads: ClassVar = (SubscriptionState,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._surges = SubscriptionSurges(prior_per_day=1.0)
        self._begun: Recent[str] = Recent(DAY_US, BEGUN_MAX)  # customer → the subscription

    def observe(self, fact: SubscriptionState, now: int) -> Iterator[Finding]:
        """Count the decision once."""
        if fact.started is not None and fact.started > fact.at - DAY_US and fact.status in ("active", "trialing"):
            self._begun.put(fact.customer, fact.subscription, now)
        if not decided_now(fact) or self._begun.get(fact.customer) not in (None, fact.subscription):
            return
        least = USUAL_SHARE * self.diary.payments_an_hour(now)
        surge = self._surges.count(fact, now, fact.subscription, self.rules.sensitivity, least)
        if surge is not None:
            yield surge.score if surge.score < 1 else self._report(surge, fact.at)

    def _report(self, surge: Surge, at: int) -> Finding:
        warm = self._surges.warm
        rows = self._surges.examples(surge)
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
        """What is usual, who has decided of late, and who has begun."""
        return [*self._surges.save(), self._begun.save()]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        self._surges.load(state[:3])
        for begun in state[3:]:  # what is older has none
            self._begun.load(begun)


def decided_now(fact: SubscriptionState) -> bool:
    """It was cancelled by this very change, not by one of another day that now takes effect."""
    if fact.status == "canceled":
        return not fact.cancel_at_period_end and (fact.canceled_at is None or fact.canceled_at > fact.at - DAY_US)
    return fact.cancel_at_period_end and fact.previous.get("cancel_at_period_end") is False
