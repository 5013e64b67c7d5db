from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.detectors.base import Finding, LedgerDetector
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import SubscriptionState
from actors.billing.ledger import DAY
from actors.billing.money import format_money
from actors.billing.record import Movement
from actors.store.records import Severity

LOSS = {"low": 0.15, "normal": 0.10, "high": 0.05}
CRITICAL = 0.30
PAYING_MIN = 5  # subscriptions 24 hours ago, below which one customer who leaves is no trend
SHARE_MIN = 0.2  # of all paying subscriptions, below which a currency is not the business
CUSTOMERS_MAX = 10


class MrrDrop(LedgerDetector):
    """What recurs a month fell within 24 hours, whoever came and went in between counted against each other.

    The owner's `revenue_drop_percent`, when set, decides alone. Currencies are never mixed: a loss in one of them
    counts where it is a good part of the business, so that a rate of exchange is no loss.
    """

    signal = "mrr_drop"
    reads: ClassVar = (SubscriptionState,)

    def observe(self, fact: SubscriptionState, now: int) -> Iterator[Finding]:
        """Compare with a day ago."""
        currency = fact.currency
        lost = -self.ledger.net(now).get(currency, 0)
        opening = self.ledger.mrr[currency] + lost
        if lost <= 0 or opening <= 0:
            return
        fixed = self.rules.revenue_drop_percent
        threshold = LOSS[self.rules.sensitivity] if fixed is None else fixed / 100
        if fixed is None and not self.ledger.warm(now):
            threshold *= 2  # what recurred before we looked is not all known: the loss looks larger than it is
        share = lost / opening
        if share < threshold:
            yield min(1.0, share / threshold)
            return
        recent = [step for step in self.ledger.recent(now) if step.currency == currency]
        if fixed is None and not self._matters(recent, currency):
            return
        yield self._report(fact, recent, lost, opening, threshold)

    def _matters(self, recent: list[Movement], currency: str) -> bool:
        paying = self.ledger.paying
        before = paying[currency] - sum(step.paying for step in recent)
        return before >= PAYING_MIN and before >= SHARE_MIN * max(paying.total(), before)

    def _report(
        self, fact: SubscriptionState, recent: list[Movement], lost: int, opening: int, threshold: float
    ) -> Finding:
        currency, share = fact.currency, lost / opening
        by_customer: Counter[str] = Counter()
        for step in recent:
            by_customer[step.customer] -= step.amount
        (largest, most), *_ = by_customer.most_common(1)
        alone = f"; {largest} alone is {format_money(most, currency)} of it" if largest and most > lost / 2 else ""
        warm = self.ledger.warm(fact.at)
        early = "" if warm else "; not every subscription is known yet"
        customers = [customer for customer, amount in by_customer.most_common(CUSTOMERS_MAX) if amount > 0]
        before, after = format_money(opening, currency), format_money(opening - lost, currency)
        evidence: dict[str, Any] = {
            "observed": opening - lost,
            "expected": opening,
            "lost_minor": lost,
            "lost_percent": round(share * 100, 1),
            "threshold_percent": round(threshold * 100, 1),
            "currency": currency,
            "customers": customers,
            "window_s": DAY // 1_000_000,
            "since": moment(recent[0].at),
            "links": links(customers[:5]),
            "first": "Open the largest of these customers: did they leave, or did a change of prices go wrong?",
        } | ({} if warm else {"warming_up": True})
        title = f"MRR down {share:.0%} in 24 h, from {before} to {after}{alone}{early}"
        severity = Severity.CRITICAL if share >= CRITICAL else Severity.WARNING
        return self.anomaly("account", severity, fact.at, title, evidence, (fact.event,), quiet_s=DAY // 1_000_000)

    def save(self) -> Any:
        """It remembers nothing; the ledger does."""

    def load(self, state: Any) -> None:
        """It remembers nothing."""
