from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

from actors.billing.detectors.base import Finding, LedgerDetector, Rules
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import InvoiceState
from actors.billing.ledger import DAY
from actors.billing.memory import Recent
from actors.store.records import Severity

NEWS = 7 * DAY  # what was billed longer ago is none
KEEP = 400 * DAY
CUSTOMERS_MAX = 2_000


class Billed(NamedTuple):
    """What of an invoice is compared."""

    created: int
    currency: str
    invoice: str


class CurrencyMismatch(LedgerDetector):
    """A subscription, or a customer without one, is invoiced in another currency than before: a price was mixed up."""

    signal = "currency_mismatch"
    version = 2
    reads: ClassVar = (InvoiceState,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._customers: Recent[Billed] = Recent(KEEP, CUSTOMERS_MAX)  # their last invoice by hand

    def observe(self, fact: InvoiceState, now: int) -> Iterator[Finding]:
        """Compare with what was billed before it, and where it comes late also with what was billed after."""
        if not fact.currency or fact.status == "void":
            return
        told = Billed(fact.created, fact.currency, fact.invoice)
        bills = self._of_subscription(fact) if fact.subscription else self._by_hand(fact, told, now)
        for before, after in pairwise(bills):
            news = fact.invoice in (before.invoice, after.invoice) and after.created >= now - NEWS
            if news and before.currency != after.currency:
                yield self._report(fact, before, after)

    def _of_subscription(self, fact: InvoiceState) -> list[Billed]:
        bills = self.ledger.records[fact.subscription].bills
        if all(bill.currency == fact.currency for bill in bills):  # as is nearly always so
            return []
        return [Billed(bill.created, bill.currency, bill.invoice) for bill in bills if bill.status != "void"]

    def _by_hand(self, fact: InvoiceState, told: Billed, now: int) -> list[Billed]:
        known = self._customers.get(fact.customer)
        both = sorted({told, known} if known else {told})
        self._customers.put(fact.customer, both[-1], now)
        return both

    def _report(self, fact: InvoiceState, before: Billed, after: Billed) -> Finding:
        evidence: dict[str, Any] = {
            "observed": after.currency,
            "expected": before.currency,
            "invoice": after.invoice,
            "subscription": fact.subscription,
            "customer": fact.customer,
            "window_s": None,
            "since": moment(after.created),
            "links": links([after.invoice, fact.customer]),
            "first": "Open the invoice: which price is in the other currency, and does the customer know?",
        }
        title = f"Invoiced in {after.currency.upper()} after {before.currency.upper()} until now"
        scope = fact.subscription or fact.customer
        return self.anomaly(scope, Severity.WARNING, after.created, title, evidence, (fact.event,))

    def save(self) -> Any:
        """The last invoice of each customer without a subscription."""
        return self._customers.save()

    def load(self, state: Any) -> None:
        """What `save` gave."""
        self._customers.load(state, lambda row: Billed(*row))
