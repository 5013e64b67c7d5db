from collections.abc import Sequence
from typing import Any, ClassVar

from actors.billing.detectors.base import Finding, LedgerDetector
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import SubscriptionState
from actors.billing.ledger import DAY
from actors.billing.money import format_money
from actors.billing.record import Kind, Movement
from actors.kernel.clock import SECOND
from actors.store.records import Severity


class PlanDowngrade(LedgerDetector):
    """A customer stays and pays less: a smaller plan, fewer seats or a discount for ever."""

    signal = "plan_downgrade"
    reads: ClassVar = (SubscriptionState,)

    def observe(self, fact: SubscriptionState, now: int) -> Sequence[Finding]:
        """Has it come to be worth less today?"""
        if not self.ledger.kinds(now)[Kind.CONTRACTION]:
            return ()
        steps = self.ledger.changes(fact.subscription, now)
        return [self._report(fact, step) for step in steps if step.kind is Kind.CONTRACTION]

    def _report(self, fact: SubscriptionState, step: Movement) -> Finding:
        record = self.ledger.records[fact.subscription]
        after = sum(one.amount for one in record.movements(fact.subscription) if one.at <= step.at)
        before = after - step.amount
        evidence: dict[str, Any] = {
            "observed": after,
            "expected": before,
            "currency": step.currency,
            "subscription": fact.subscription,
            "customer": fact.customer,
            "window_s": DAY // SECOND,
            "since": moment(step.at),
            "links": links([fact.subscription, fact.customer]),
            "first": "Ask them why: who pays less today often leaves tomorrow.",
        }
        amounts = f"{format_money(before, step.currency)} to {format_money(after, step.currency)}"
        title = f"{fact.customer or 'A customer'} went from {amounts} a month"
        return self.anomaly(fact.subscription, Severity.INFO, step.at, title, evidence, (fact.event,))

    def save(self) -> Any:
        """It remembers nothing; the ledger does."""

    def load(self, state: Any) -> None:
        """It remembers nothing."""
