from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.detectors.base import Finding, LedgerDetector, Recent, Rules
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import InvoiceState
from actors.billing.ledger import DAY
from actors.billing.money import format_money
from actors.store.records import Severity

NEWS = 7 * DAY  # what was billed longer ago is none
KEEP = 400 * DAY
CUSTOMERS_MAX = 2_000


class CurrencyMismatch(LedgerDetector):
    """A subscription, or a customer without one, is invoiced in another currency than before: a price was mixed up."""

    signal = "currency_mismatch"
    reads: ClassVar = (InvoiceState,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._customers: Recent[tuple[int, str]] = Recent(KEEP, CUSTOMERS_MAX)  # their last invoice by hand

    def observe(self, fact: InvoiceState, now: int) -> Iterator[Finding]:
        """Compare with what was billed before."""
        if not fact.currency or fact.status == "void":
            return
        usual = self._usual(fact)
        if not fact.subscription and fact.customer:
            known = self._customers.get(fact.customer)
            if known is None or known[0] <= fact.created:
                self._customers.put(fact.customer, (fact.created, fact.currency), now)
        if usual in ("", fact.currency) or fact.created < now - NEWS:
            return
        amount = format_money(fact.total, fact.currency)
        evidence: dict[str, Any] = {
            "observed": fact.currency,
            "expected": usual,
            "amount": amount,
            "invoice": fact.invoice,
            "subscription": fact.subscription,
            "customer": fact.customer,
            "window_s": None,
            "since": moment(fact.created),
            "links": links([fact.invoice, fact.customer]),
            "first": "Open the invoice: which price is in the other currency, and does the customer know?",
        }
        title = f"Invoiced {amount} after {usual.upper()} until now"
        scope = fact.subscription or fact.customer
        yield self.anomaly(scope, Severity.WARNING, fact.created, title, evidence, (fact.event,))

    def _usual(self, fact: InvoiceState) -> str:
        """The currency of the bill before this one; "": there is none."""
        if fact.subscription:
            bills = self.ledger.records[fact.subscription].bills
            before = [bill for bill in bills if bill.created < fact.created and bill.status != "void"]
            return before[-1].currency if before else ""
        created, currency = self._customers.get(fact.customer) or (fact.created, "")
        return currency if created < fact.created else ""

    def save(self) -> Any:
        """The last invoice of each customer without a subscription."""
        return self._customers.save()

    def load(self, state: Any) -> None:
        """What `save` gave."""
        self._customers.load(state, tuple)
