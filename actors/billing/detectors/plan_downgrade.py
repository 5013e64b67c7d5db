from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.detectors.base import Finding, LedgerDetector
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import SubscriptionState
from actors.billing.ledger import DAY, Kind
from actors.billing.money import format_money
from actors.kernel.clock import SECOND
from actors.store.records import Severity


class PlanDowngrade(LedgerDetector):
    """A customer stays and pays less: a smaller plan, fewer seats or a discount for ever."""

    signal = "plan_downgrade"
    reads: ClassVar = (SubscriptionState,)

    def observe(self, fact: SubscriptionState, now: int) -> Iterator[Finding]:
        """Did this make it worth less?"""
        step = self.ledger.step(fact.subscription, fact.at, now)
        last = self.ledger.records[fact.subscription].last
        if step is None or step.kind is not Kind.CONTRACTION or last is None:
            return
        after = sum(
            one.amount
            for one in self.ledger.records[fact.subscription].movements(fact.subscription)
            if one.at <= step.at
        )
        before = after - step.amount
        evidence: dict[str, Any] = {
            "observed": after,
            "expected": before,
            "currency": step.currency,
            "subscription": fact.subscription,
            "customer": fact.customer,
            "price": last.price,
            "window_s": DAY // SECOND,
            "since": moment(step.at),
            "links": links([fact.subscription, fact.customer]),
            "first": "Ask them why: who pays less today often leaves tomorrow.",
        }
        amounts = f"{format_money(before, step.currency)} to {format_money(after, step.currency)}"
        title = f"{fact.customer or 'A customer'} went from {amounts} a month"
        yield self.anomaly(fact.subscription, Severity.INFO, fact.at, title, evidence, (fact.event,))

    def save(self) -> Any:
        """It remembers nothing; the ledger does."""

    def load(self, state: Any) -> None:
        """It remembers nothing."""
