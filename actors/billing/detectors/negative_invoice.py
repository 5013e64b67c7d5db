from collections.abc import Sequence
from typing import Any, ClassVar

from actors.billing.detectors.base import Detector, Finding
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import InvoiceState
from actors.billing.ledger import DAY
from actors.billing.money import format_money
from actors.store.records import Severity

NEWS = 7 * DAY  # what came to be longer ago is none


class NegativeInvoice(Detector):
    """An invoice came to less than nothing: a credit was applied twice, or a price is wrong.

    What Stripe credits for the rest of a period when a plan changes is in order, and only noted.
    """

    signal = "negative_invoice"
    reads: ClassVar = (InvoiceState,)

    def observe(self, fact: InvoiceState, now: int) -> Sequence[Finding]:
        """Look at its total."""
        if fact.total >= 0 or fact.status == "void" or fact.at < now - NEWS:
            return ()
        credits_ = [line for line in fact.lines if line.amount < 0]
        prorated = bool(credits_) and all(line.proration for line in credits_)
        evidence: dict[str, Any] = {
            "observed": fact.total,
            "expected": 0,
            "currency": fact.currency,
            "invoice": fact.invoice,
            "customer": fact.customer,
            "subscription": fact.subscription,
            "window_s": None,
            "since": moment(fact.created),
            "links": links([fact.invoice, fact.customer]),
            "first": "Open the invoice and see which line is negative, and who put it there.",
        }
        total = format_money(fact.total, fact.currency)
        title = f"Invoice of {total} for the rest of a period" if prorated else f"Invoice of {total}"
        severity = Severity.INFO if prorated else Severity.WARNING
        return (self.anomaly(fact.customer or fact.invoice, severity, fact.at, title, evidence, (fact.event,)),)

    def save(self) -> Any:
        """It remembers nothing."""

    def load(self, state: Any) -> None:
        """It remembers nothing."""
