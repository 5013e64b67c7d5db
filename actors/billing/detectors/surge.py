"""What the signals that count subscriptions share: each subscription once a day, against what is usual."""

from typing import Any

from actors.billing.cusum import SURGE_THRESHOLDS, Surge, Surges
from actors.billing.facts import SubscriptionState
from actors.billing.memory import Examples, Seen
from actors.kernel.clock import SECOND

DAY_US = 86_400 * SECOND
REMEMBERED_MAX = 2_000
EXAMPLES_MAX = 10
QUIET_S = 6 * 3600


class SubscriptionSurges:
    """The memory of one signal: what is usual, whom it has counted of late, and the newest of them as examples."""

    def __init__(self, prior_per_day: float) -> None:
        self._surges = Surges(prior_per_day=prior_per_day, prior_days=2.0)
        self._known: Seen = Seen(DAY_US, REMEMBERED_MAX)
        self._examples = Examples(EXAMPLES_MAX)  # second, event, what the evidence links to

    @property
    def warm(self) -> bool:
        """Whether it is known what is usual."""
        return self._surges.rate.warm

    def count(
        self, fact: SubscriptionState, now: int, example: str, sensitivity: str, least: float = 0.0
    ) -> Surge | None:
        """One more, unless this subscription has been counted of late; `least` as that of `Surges`."""
        if not self._known.first(fact.subscription, now):
            return None
        second = fact.at // SECOND
        self._examples.add(second, fact.event, example)
        self._surges.least = least
        return self._surges.count(second, now // SECOND, SURGE_THRESHOLDS[sensitivity])

    def examples(self, surge: Surge) -> list[list[Any]]:
        """The newest of those that the surge is made of."""
        return self._examples.within(surge.since, surge.until)

    def save(self) -> Any:
        """What is usual, and what was counted of late."""
        return [self._surges.save(), self._known.save(), self._examples.save()]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        surges, known, examples = state
        self._surges.load(surges)
        self._known.load(known)
        self._examples.load(examples)
