from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from actors.billing.detectors.base import Finding, Heard, PatientDetector
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import SubscriptionState
from actors.billing.ledger import DAY
from actors.billing.money import format_money
from actors.billing.record import Kind, Movement
from actors.store.records import Severity

LOSS = {"low": 0.15, "normal": 0.10, "high": 0.05}
CRITICAL = 0.30
PAYING_MIN = 5  # subscriptions 24 hours ago, below which one customer who leaves is no trend
SHARE_MIN = 0.2  # of all paying subscriptions, below which a currency is not the business
CUSTOMERS_MAX = 10


class Drop(NamedTuple):
    """What recurs in one currency, and how much of it went within 24 hours; minor units a month."""

    share: float
    lost: int
    opening: int
    currency: str
    by_customer: Counter[str]  # what each took away
    since: int

    @property
    def span(self) -> str:
        """From what to what."""
        before, after = (format_money(amount, self.currency) for amount in (self.opening, self.opening - self.lost))
        return f"from {before} to {after}"


class MrrDrop(PatientDetector):
    """What recurs a month fell within 24 hours, whoever came and went in between counted against each other.

    The owner's `revenue_drop_percent`, when set, decides alone. Currencies are never mixed: each has its own before and
    after, and a loss in one of them counts where it is a good part of the business. A rate of exchange is no loss, nor
    is a customer who goes on in another currency.
    """

    signal = "mrr_drop"
    version = 3
    reads: ClassVar = (SubscriptionState,)

    def compare(self, fact: SubscriptionState | Heard, now: int) -> Iterator[Finding]:
        """Compare with a day ago."""
        lost = -self.ledger.net(now).get(fact.currency, 0)
        opening = self.ledger.mrr[fact.currency] + lost
        if lost <= 0 or opening <= 0:
            return
        fixed = self.rules.revenue_drop_percent
        threshold = LOSS[self.rules.sensitivity] if fixed is None else fixed / 100
        if fixed is None and not self.ledger.warm(now):
            threshold *= 2  # what recurred before we looked is not all known: the loss looks larger than it is
        if lost < threshold * opening:
            yield min(1.0, lost / (threshold * opening))
            return
        drops = [drop for currency in self.ledger.net(now) if (drop := self._drop(currency, now, threshold))]
        if any(drop.currency == fact.currency for drop in drops):
            yield self._report(fact, sorted(drops, reverse=True), threshold)

    def _drop(self, currency: str, now: int, threshold: float) -> Drop | None:
        adaptive = self.rules.revenue_drop_percent is None
        recent = [step for step in self.ledger.recent(now) if step.currency == currency]
        if adaptive and not self.ledger.warm(now):
            recent = [step for step in recent if step.kind is not Kind.CHURN or self.ledger.knew(step)]
        elsewhere: Counter[str] = Counter()
        for step in self.ledger.recent(now):
            if step.currency != currency:
                elsewhere[step.customer] += step.amount
        by_customer: Counter[str] = Counter()
        for step in recent:
            by_customer[step.customer] -= step.amount
        for customer in [known for known in by_customer if known and elsewhere[known] > 0]:
            del by_customer[customer]
        lost, opening = by_customer.total(), self.ledger.mrr[currency] - sum(step.amount for step in recent)
        if lost <= 0 or lost < threshold * opening or (adaptive and not self._matters(recent, currency)):
            return None
        return Drop(lost / opening, lost, opening, currency, by_customer, recent[0].at)

    def _matters(self, recent: list[Movement], currency: str) -> bool:
        paying = self.ledger.paying
        before = paying[currency] - sum(step.paying for step in recent)
        return before >= PAYING_MIN and before >= SHARE_MIN * max(paying.total(), before)

    def _report(self, fact: SubscriptionState | Heard, drops: list[Drop], threshold: float) -> Finding:
        worst, *others = drops
        (largest, most), *_ = worst.by_customer.most_common(1)
        named = largest and most > worst.lost / 2
        alone = f"; {largest} alone is {format_money(most, worst.currency)} of it" if named else ""
        warm = self.ledger.warm(fact.at)
        early = "" if warm else "; not every subscription is known yet"
        customers = [customer for customer, amount in worst.by_customer.most_common(CUSTOMERS_MAX) if amount > 0]
        spans = "".join(f", and {drop.share:.0%} {drop.span}" for drop in others)
        evidence: dict[str, Any] = {
            "observed": worst.opening - worst.lost,
            "expected": worst.opening,
            "lost_minor": worst.lost,
            "lost_percent": round(worst.share * 100, 1),
            "threshold_percent": round(threshold * 100, 1),
            "currency": worst.currency,
            "lost_by_currency": {drop.currency: drop.lost for drop in drops},
            "customers": customers,
            "window_s": DAY // 1_000_000,
            "since": moment(worst.since),
            "links": links(customers[:5]),
            "first": "Open the largest of these customers: did they leave, or did a change of prices go wrong?",
        } | ({} if warm else {"warming_up": True})
        title = f"MRR down {worst.share:.0%} in 24 h, {worst.span}{spans}{alone}{early}"
        severity = Severity.CRITICAL if worst.share >= CRITICAL else Severity.WARNING
        return self.anomaly("account", severity, fact.at, title, evidence, (fact.event,), quiet_s=DAY // 1_000_000)
