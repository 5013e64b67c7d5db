from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from actors.billing.detectors.base import NEVER, Finding, LedgerDetector, Over, Rules
from actors.billing.detectors.evidence import ago, links, moment
from actors.billing.detectors.rounds import GRACE, missed, next_round
from actors.billing.facts import InvoiceState, SubscriptionState
from actors.billing.ledger import DAY
from actors.billing.money import format_money
from actors.billing.record import Record
from actors.billing.versions import Version, lasting
from actors.kernel.clock import SECOND
from actors.store.records import Severity

PERIOD = {"day": DAY, "week": 7 * DAY, "month": 31 * DAY, "year": 366 * DAY}
LATENESS = 0.08  # of a period: so late a payment may be
LATENESS_MIN, LATENESS_MAX = DAY, 7 * DAY
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

    def observe(self, fact: SubscriptionState | InvoiceState, now: int) -> Iterator[Finding]:
        """Has it been paid since, or ended?"""
        if self.due == NEVER:
            self.due = next_round(self.tenant, now)
        if fact.subscription in self._told:
            since = unpaid_since(self.ledger.records[fact.subscription])
            if since != self._told[fact.subscription]:
                del self._told[fact.subscription]
                yield Over(self.signal, fact.subscription)

    def tick(self, now: int) -> Iterator[Finding]:
        """Look at each subscription."""
        if missed(self.due, now):
            self.due = now + GRACE
            return
        self.due = next_round(self.tenant, now)
        last_paid, lapsed = 0, []
        for id_, record in self.ledger.records.items():
            last, since, paid = record.last, unpaid_since(record), record.paid_at
            last_paid = max(last_paid, paid or 0)
            if last and since is not None and now >= since + patience(last) and id_ not in self._told:
                lapsed.append((id_, last, since, paid is not None))
        for id_, last, since, paid_once in sorted(lapsed, key=lambda one: one[0]):
            if paid_once or last_paid >= now - PAYMENTS_SEEN:
                self._told[id_] = since
                yield self._report(id_, last, since, now, paid=paid_once)
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


def unpaid_since(record: Record) -> int | None:
    """Since when a payment is to be expected one period on; None: none is."""
    last = record.last
    if last is None or not last.renews or last.interval not in PERIOD:
        return None
    return max(record.paid_at or record.versions[0].at, last.trial_end or 0, active_since(record.versions))


def active_since(versions: Sequence[Version]) -> int:
    """When it last became active; 0: it always was, as far as is known."""
    since = 0
    for before, after in pairwise(lasting(versions)):
        if after.status == "active" and (before.status != "active" or (before.paused and not after.paused)):
            since = after.at
    return since


def patience(version: Version) -> int:
    """How long after a payment the next may come."""
    period = PERIOD[version.interval] * version.interval_count
    return period + min(max(round(period * LATENESS), LATENESS_MIN), LATENESS_MAX)
