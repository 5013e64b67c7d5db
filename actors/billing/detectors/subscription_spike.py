from collections import deque
from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.cusum import SURGE_THRESHOLDS, Surge, Surges
from actors.billing.detectors.base import Detector, Finding, Recent, Rules
from actors.billing.detectors.evidence import ago, links, of_surge
from actors.billing.facts import SubscriptionState
from actors.kernel.clock import SECOND
from actors.store.records import Severity

NEW_US = 600 * SECOND  # a subscription told of so soon after its start is new
REMEMBERED_US = 86_400 * SECOND
REMEMBERED_MAX = 2_000
EXAMPLES_MAX = 20
QUIET_S = 6 * 3600
COLD_SCORE_MAX = 0.9


class SubscriptionSpike(Detector):
    """More people subscribe than is usual: a good day, or bots. For the digest: only a person can tell which."""

    signal = "subscription_spike"
    reads: ClassVar = (SubscriptionState,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._surges = Surges(prior_per_day=3.0, prior_days=2.0)
        self._known: Recent[None] = Recent(REMEMBERED_US, REMEMBERED_MAX)
        self._examples: deque[list[Any]] = deque(maxlen=EXAMPLES_MAX)  # second, event, customer

    def observe(self, fact: SubscriptionState, now: int) -> Iterator[Finding]:
        """Count each once, when it begins."""
        if fact.started is None or not 0 <= fact.at - fact.started <= NEW_US or fact.subscription in self._known:
            return
        self._known.put(fact.subscription, None, now)
        second = fact.at // SECOND
        self._examples.append([second, fact.event, fact.customer])
        surge = self._surges.count(second, now // SECOND, SURGE_THRESHOLDS[self.rules.sensitivity])
        if surge is not None:
            # Good news can wait until it is known what is usual: a business that opens has nothing but new subscribers.
            told = surge.score >= 1 and self._surges.rate.warm
            yield self._report(surge, fact.at) if told else min(surge.score, COLD_SCORE_MAX)

    def _report(self, surge: Surge, at: int) -> Finding:
        rows = [row for row in self._examples if surge.since <= row[0] <= surge.until]
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
        return [self._surges.save(), self._known.save(), list(self._examples)]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        surges, known, examples = state
        self._surges.load(surges)
        self._known.load(known)
        self._examples.extend(examples)
