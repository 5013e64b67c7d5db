"""What the signals that count subscriptions share: each subscription once a day, against what is usual."""

from collections import deque
from typing import Any

from actors.billing.cusum import SURGE_THRESHOLDS, Surge, Surges
from actors.billing.detectors.base import Recent
from actors.billing.facts import SubscriptionState
from actors.kernel.clock import SECOND

DAY_US = 86_400 * SECOND
REMEMBERED_MAX = 2_000
EXAMPLES_MAX = 20
QUIET_S = 6 * 3600


class SubscriptionSurges:
    """The memory of one signal: what is usual, whom it has counted of late, and the newest of them as examples."""

    def __init__(self, prior_per_day: float) -> None:
        self._surges = Surges(prior_per_day=prior_per_day, prior_days=2.0)
        self._known: Recent[None] = Recent(DAY_US, REMEMBERED_MAX)
        self._examples: deque[list[Any]] = deque(maxlen=EXAMPLES_MAX)  # second, event, what the evidence links to

    @property
    def warm(self) -> bool:
        """Whether it is known what is usual."""
        return self._surges.rate.warm

    def count(self, fact: SubscriptionState, now: int, example: str, sensitivity: str) -> Surge | None:
        """One more, unless this subscription has been counted of late."""
        if fact.subscription in self._known:
            return None
        self._known.put(fact.subscription, None, now)
        second = fact.at // SECOND
        self._examples.append([second, fact.event, example])
        return self._surges.count(second, now // SECOND, SURGE_THRESHOLDS[sensitivity])

    def examples(self, surge: Surge) -> list[list[Any]]:
        """The newest of those that the surge is made of."""
        return [row for row in self._examples if surge.since <= row[0] <= surge.until]

    def save(self) -> Any:
        """What is usual, and what was counted of late."""
        return [self._surges.save(), self._known.save(), list(self._examples)]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        surges, known, examples = state
        self._surges.load(surges)
        self._known.load(known)
        self._examples.extend(examples)
