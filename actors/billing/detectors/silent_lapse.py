from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from actors.billing.detectors.base import NEVER, PAUSE, Finding, LedgerDetector, Over, Rules
from actors.billing.detectors.evidence import ago, links, moment
from actors.billing.detectors.rounds import GRACE, missed, next_round
from actors.billing.facts import InvoiceState, SubscriptionState
from actors.billing.ledger import DAY
from actors.billing.money import format_money
from actors.billing.record import patience
from actors.billing.versions import Version
from actors.kernel.clock import SECOND
from actors.store.records import Severity

QUIET_S = 7 * DAY // SECOND
PAYMENTS_SEEN = 35 * DAY  # since one was told at all; an endpoint may not be sent invoices


class SilentLapse(LedgerDetector):
    """A subscription is active, yet its last payment is longer ago than its period: it is used and not paid for.

    Told once for each payment that stayed away, and settled when one comes. Nothing is expected of a trial, a pause, a
    subscription that costs nothing or one that is about to end.
    """

    signal = "silent_lapse"
    reads: ClassVar = (SubscriptionState, InvoiceState)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._told: dict[str, int] = {}  # subscription → the payment after which it lapsed

    def observe(self, fact: SubscriptionState | InvoiceState, now: int) -> Sequence[Finding]:
        """Has it been paid since, or ended?"""
        if self.due == NEVER:
            self.due = next_round(self.tenant, self.signal, now)
        told = self._told.get(fact.subscription)
        if told is None or told == self.ledger.records[fact.subscription].unpaid_since:
            return ()
        del self._told[fact.subscription]
        return (Over(self.signal, fact.subscription),)

    def tick(self, now: int) -> Iterator[Finding]:
        """Look at each subscription."""
        if missed(self.due, now):
            self.due = now + GRACE
            return
        self.due = next_round(self.tenant, self.signal, now)
        last_paid, lapsed = 0, []
        for piece in self.ledger.records.outlooks():
            last_paid = max(last_paid, *(outlook.paid for _, outlook in piece))
            lapsed += [id_ for id_, outlook in piece if 0 < outlook.lapses * SECOND <= now and id_ not in self._told]
            yield PAUSE
        for id_ in sorted(lapsed):
            record = self.ledger.records[id_]
            last, since, paid = record.last, record.unpaid_since, record.paid_at is not None
            if last and since is not None and (paid or last_paid * SECOND >= now - PAYMENTS_SEEN):
                self._told[id_] = since
                yield self._report(id_, last, since, now, paid=paid)
        self._told = {id_: since for id_, since in self._told.items() if id_ in self.ledger.records}

    def _report(self, id_: str, last: Version, since: int, now: int, *, paid: bool) -> Finding:
        worth = f"{format_money(last.full, last.currency)} a month"
        days = ago((now - since) // SECOND)
        evidence: dict[str, Any] = {
            "observed": (now - since) // SECOND,
            "expected": patience(last) // SECOND,
            "subscription": id_,
            "customer": last.customer,
            "interval": f"{last.interval_count} {last.interval}",
            "last_paid": moment(since) if paid else None,
            "mrr_minor": last.full,
            "currency": last.currency,
            "window_s": patience(last) // SECOND,
            "since": moment(since),
            "links": links([id_, last.customer]),
            "first": "Open the subscription: is its latest invoice open, void or missing? Then collect it, or end it.",
        }
        title = f"Active subscription last paid {days} ago" if paid else f"Active subscription, unpaid for {days}"
        return self.anomaly(id_, Severity.WARNING, now, f"{title} ({worth})", evidence, (last.event,), quiet_s=QUIET_S)

    def save(self) -> Any:
        """When the next look is, and what was told."""
        return [self.due, self._told]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        self.due, self._told = state
