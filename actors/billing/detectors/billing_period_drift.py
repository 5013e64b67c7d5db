from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, ClassVar

from actors.billing.conventions import STRIPE
from actors.billing.detectors.base import Finding, LedgerDetector
from actors.billing.detectors.evidence import ago, links, moment
from actors.billing.facts import InvoiceState
from actors.billing.ledger import DAY
from actors.billing.record import PERIOD, Bill, Record
from actors.billing.versions import lasting
from actors.kernel.clock import SECOND
from actors.store.records import Severity

CYCLE = frozenset(("", "subscription", "subscription_create", "subscription_cycle"))
NEWS = 7 * DAY  # what was billed longer ago is none
EARLY = 0.5  # of a period
LATE = 1.35  # periods, and a day
QUIET_S = DAY // SECOND


class BillingPeriodDrift(LedgerDetector):
    """A subscription is billed twice in one period, or long after its period: its renewals have lost their rhythm.

    Only the bills of its periods count, not those for a change or by hand. How long a period is, the earlier bill says
    (what it pays for), else the plan; where neither is known, two bills within a day are too many.
    """

    signal = "billing_period_drift"
    reads: ClassVar = (InvoiceState,)

    def observe(self, fact: InvoiceState, now: int) -> Iterable[Finding]:
        """Compare with the bill before it, and where it comes late also with the one after."""
        record = self.ledger.records.get(fact.subscription)
        if record is None or fact.reason not in CYCLE or len(record.bills) < 2:
            return ()
        return self._compare_all(fact, record, now)

    def _compare_all(self, fact: InvoiceState, record: Record, now: int) -> Iterator[Finding]:
        bills = [bill for bill in record.bills if bill.reason in CYCLE and bill.status not in ("void", "uncollectible")]
        for before, after in pairwise(bills):
            if fact.invoice in (before.invoice, after.invoice) and after.created > now - NEWS:
                yield from self._compare(fact, record, before, after)

    def _compare(self, fact: InvoiceState, record: Record, before: Bill, after: Bill) -> Iterator[Finding]:
        gap = after.created - before.created
        period = period_of(record, before)
        if gap < EARLY * period if period else gap <= DAY:
            title = f"Billed twice within {ago(gap // SECOND)}"
            first = "Open both invoices: void one and refund it if it was paid; see what made the second."
        elif period and gap > LATE * period + DAY and was_due(record, before, after):
            title = f"Billed again only after {ago(gap // SECOND)}"
            first = "Open the subscription: was its billing date moved, or was an invoice left out?"
        else:
            return
        usual = f" on a plan of {ago(period // SECOND)}" if period else ""
        evidence: dict[str, Any] = {
            "observed": gap // SECOND,
            "expected": period // SECOND or None,
            "subscription": fact.subscription,
            "customer": fact.customer,
            "invoices": [before.invoice, after.invoice],
            "window_s": period // SECOND or DAY // SECOND,
            "since": moment(before.created),
            "links": links([before.invoice, after.invoice]),
            "first": first,
        }
        yield self.anomaly(
            fact.subscription,
            Severity.WARNING,
            after.created,
            title + usual,
            evidence,
            (fact.event,),
            quiet_s=QUIET_S,
        )

    def save(self) -> Any:
        """It remembers nothing; the ledger does."""

    def load(self, state: Any) -> None:
        """It remembers nothing."""


def period_of(record: Record, bill: Bill) -> int:
    """How long until the next bill, µs; 0: not known."""
    last = record.last
    plan = PERIOD.get(last.interval, 0) * last.interval_count if last else 0
    return bill.service or plan


def was_due(record: Record, before: Bill, after: Bill) -> bool:
    """It was active, and to be collected, all the time between two bills."""
    between = [version for version in lasting(record.versions) if before.created < version.at < after.created]
    return all(version.status in STRIPE.counted and not version.paused for version in between)
