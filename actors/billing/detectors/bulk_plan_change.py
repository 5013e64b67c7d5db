from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

from actors.billing.detectors.base import Finding, LedgerDetector
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import SubscriptionState
from actors.billing.money import format_money
from actors.billing.record import Kind, Movement
from actors.kernel.clock import SECOND
from actors.store.records import Severity

SPAN_S = 3600
CHANGED_MIN = {"low": 8, "normal": 5, "high": 4}
ALIKE = 0.1  # of an amount: so far apart two changes are similar
LOOKED_AT_MAX = 500  # movements, of one hour
EXAMPLES_MAX = 20


class BulkPlanChange(LedgerDetector):
    """Several subscriptions changed by about the same within an hour: a migration of prices, meant or not."""

    signal = "bulk_plan_change"
    reads: ClassVar = (SubscriptionState,)

    def observe(self, fact: SubscriptionState, now: int) -> Iterator[Finding]:
        """Look for others like it in its hour."""
        kinds, least = self.ledger.kinds(now), CHANGED_MIN[self.rules.sensitivity]
        if kinds[Kind.EXPANSION] + kinds[Kind.CONTRACTION] < least:
            return
        for step in self.ledger.changes(fact.subscription, now):
            if step.kind in (Kind.EXPANSION, Kind.CONTRACTION):
                alike = fullest_hour([one for one in self._around(step, now) if similar(one, step)])
                if len(alike) >= least:
                    yield self._report(fact, alike, least)
                else:
                    yield len(alike) / least

    def _around(self, step: Movement, now: int) -> Iterator[Movement]:
        recent = self.ledger.recent(now)
        first, last = (bisect_left(recent, (step.at + side * SPAN_S * SECOND,)) for side in (-1, 1))
        return islice(recent, first, min(last, first + LOOKED_AT_MAX))

    def _report(self, fact: SubscriptionState, alike: list[Movement], least: int) -> Finding:
        amount, _ = Counter(step.amount for step in alike).most_common(1)[0]
        each = f"{'+' if amount > 0 else ''}{format_money(amount, fact.currency)}"
        subscriptions = [step.subscription for step in alike[-EXAMPLES_MAX:]]
        evidence: dict[str, Any] = {
            "observed": len(alike),
            "expected": least,
            "each_minor": amount,
            "total_minor": sum(step.amount for step in alike),
            "currency": fact.currency,
            "subscriptions": subscriptions,
            "window_s": SPAN_S,
            "since": moment(alike[0].at),
            "links": links(subscriptions[-5:]),
            "first": "If you are migrating prices, all is well. If not: Stripe → Logs shows which key does it.",
        }
        title = f"{len(alike)} subscriptions changed by about {each} a month within an hour"
        return self.anomaly("account", Severity.WARNING, fact.at, title, evidence, (fact.event,))

    def save(self) -> Any:
        """It remembers nothing; the ledger does."""

    def load(self, state: Any) -> None:
        """It remembers nothing."""


def similar(one: Movement, other: Movement) -> bool:
    """Changes of about the same amount of one currency, in one direction."""
    apart = abs(one.amount - other.amount)
    return one.kind is other.kind and one.currency == other.currency and apart <= ALIKE * abs(other.amount)


def fullest_hour(steps: list[Movement]) -> list[Movement]:
    """Of steps in the order of time, the most within an hour; of each subscription one."""
    best: dict[str, Movement] = {}
    for number, first in enumerate(steps):
        end = bisect_left(steps, (first.at + SPAN_S * SECOND + 1,), number)
        best = max(best, {one.subscription: one for one in steps[number:end]}, key=len)
    return list(best.values())
