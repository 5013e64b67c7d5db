import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

from actors.billing.detectors.base import NEVER, Detector, Finding, Rules
from actors.billing.detectors.evidence import ago, links, moment
from actors.billing.facts import Attempt, InvoiceLink, RepeatedAttempt
from actors.billing.memory import Recent, Seen
from actors.billing.money import format_money
from actors.kernel.clock import SECOND
from actors.store.records import Severity

APART_S_MAX = 600
OLD_US = 24 * 3600 * SECOND  # what was paid longer ago is history being read, and opens nothing
KEEP_US = 2 * 3600 * SECOND  # by arrival: a delivery that Stripe repeats later than that may not be compared any more
LINK_WAIT_US = 120 * SECOND  # since basil the invoice of a charge comes in an event of its own
PER_BUYER_MAX = 16

# What SDKs make up for each request; it says nothing about what was ordered. The second form is stripe-go's.
RANDOM_KEY = re.compile(
    r"(stripe-\w+-retry-)?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}|\d{19}_[\w-]{6}",
    re.IGNORECASE,
)


class Payment(NamedTuple):
    """What is known of one successful payment, from all events that told of it."""

    id: str  # the payment intent, else the charge
    charge: str
    customer: str
    payer: str
    amount: int
    currency: str
    at: int
    invoice: str | None
    own_key: str  # the idempotency key, where the application chose it
    automatic: bool
    event: str

    def with_more(self, other: "Payment") -> "Payment":
        """Completed by what another event knew."""
        return Payment(
            self.id,
            self.charge or other.charge,
            self.customer or other.customer,
            self.payer or other.payer,
            self.amount,
            self.currency,
            min(self.at, other.at),
            self.invoice or other.invoice or (other.invoice if self.invoice is None else ""),
            self.own_key or other.own_key,
            self.automatic,
            self.event,
        )

    @property
    def buyers(self) -> list[str]:
        """Under which keys a second payment for the same would be found."""
        price = f"{self.amount} {self.currency}"
        keys = [f"{self.customer} {price}"] if self.customer else []
        if self.payer:
            keys.append(f"payer {self.payer} {price}")
        return keys


class DuplicateCharge(Detector):
    """Somebody paid the same amount twice within ten minutes, for the same thing as far as can be told.

    Different invoices are different things. So are requests to which the application gave idempotency keys of its
    own that differ (`order-17`, `order-18`); keys that an SDK made up prove nothing. One payment intent is one
    payment however many charges it took.
    """

    signal = "duplicate_charge"
    version = 2
    reads: ClassVar = (Attempt, RepeatedAttempt, InvoiceLink)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._payments: Recent[Payment] = Recent(KEEP_US)
        self._of_buyer: dict[str, list[str]] = {}  # their ids, newest last
        self._invoices: Recent[str] = Recent(KEEP_US)  # of payment intents and charges not yet told of
        self._waiting: list[tuple[int, str]] = []  # until when, payment
        self._reported = Seen(KEEP_US)  # pairs

    def observe(self, fact: Attempt | InvoiceLink, now: int) -> Iterable[Finding]:
        """Compare a successful payment with the others of the same buyer, amount and currency."""
        if isinstance(fact, InvoiceLink):
            self._link(fact, now)
            return ()
        if not fact.succeeded or fact.amount <= 0 or not (fact.payment_intent or fact.charge):
            return ()
        if fact.at < now - OLD_US:
            return ()
        payment = self._remember(fact, now)
        twins = self._twins(payment)
        if not twins:
            return ()
        if any(awaits_invoice(payment, twin) for twin in twins):
            self._waiting.append((now + LINK_WAIT_US, payment.id))
            self.due = self._waiting[0][0]
            return ()
        return (self._report(payment, twins, now),)

    def tick(self, now: int) -> Iterator[Finding]:
        """The payments that waited long enough for their invoices."""
        ready = [id_ for until, id_ in self._waiting if until <= now]
        self._waiting = [(until, id_) for until, id_ in self._waiting if until > now]
        self.due = self._waiting[0][0] if self._waiting else NEVER
        for id_ in ready:
            payment = self._payments.get(id_)
            if payment is not None and (twins := self._twins(payment)):
                yield self._report(payment, twins, now)

    def set_back(self, now: int, by: int) -> None:
        """Those that wait go on waiting, no longer than they had to."""
        super().set_back(now, by)
        self._waiting = [(max(now, until - by), id_) for until, id_ in self._waiting]

    def _remember(self, fact: Attempt, now: int) -> Payment:
        id_ = fact.payment_intent or fact.charge
        invoice = fact.invoice or self._invoices.get(fact.payment_intent) or self._invoices.get(fact.charge)
        payment = Payment(
            id_,
            fact.charge,
            fact.customer,
            fact.payer,
            fact.amount,
            fact.currency,
            fact.at,
            invoice or fact.invoice,
            own_key(fact.idempotency_key),
            fact.automatic,
            fact.event,
        )
        known = self._payments.get(id_)
        if known is not None:
            payment = known.with_more(payment)
        if self._payments.put(id_, payment, now):
            self._list_buyers()
        else:
            self._list(payment)
        return payment

    def _list(self, payment: Payment) -> None:
        """Under each key of its buyer, as the newest."""
        for buyer in payment.buyers:
            ids = self._of_buyer.get(buyer)
            if ids is None:
                self._of_buyer[buyer] = [payment.id]
            elif ids[-1] != payment.id:
                others = [other for other in ids if other != payment.id and other in self._payments]
                self._of_buyer[buyer] = [*others[1 - PER_BUYER_MAX :], payment.id]

    def _list_buyers(self) -> None:
        self._of_buyer = {}
        for payment in self._payments.values():
            self._list(payment)

    def _link(self, fact: InvoiceLink, now: int) -> None:
        for id_ in (fact.payment_intent, fact.charge):
            if id_:
                known = self._payments.get(id_)
                if known is None:
                    self._invoices.put(id_, fact.invoice, now)
                elif not known.invoice:
                    self._payments.replace(id_, known._replace(invoice=fact.invoice))

    def _twins(self, payment: Payment) -> list[Payment]:
        """Payments of the same, not reported together with this one yet; oldest first."""
        found: dict[str, Payment] = {}
        for buyer in payment.buyers:
            for id_ in self._of_buyer[buyer]:
                if (
                    id_ != payment.id
                    and (other := self._payments.get(id_))
                    and same_thing(payment, other)
                    and pair(payment, other) not in self._reported
                ):
                    found[id_] = other
        return sorted(found.values(), key=lambda other: (other.at, other.id)) if found else []

    def _report(self, payment: Payment, twins: list[Payment], now: int) -> Finding:
        group = sorted((*twins, payment), key=lambda one: (one.at, one.id))
        for one, other in combinations(group, 2):
            self._reported.first(pair(one, other), now)
        nearest = min(twins, key=lambda twin: abs(twin.at - payment.at))
        apart_s = abs(payment.at - nearest.at) // SECOND
        ids = [one.charge or one.id for one in group]
        price = format_money(payment.amount, payment.currency)
        scope = payment.customer or nearest.customer or f"payer {payment.payer}"
        times = "twice" if len(group) == 2 else f"{len(group)} times"
        evidence: dict[str, Any] = {
            "observed": len(group),
            "expected": 1,
            "charges": ids,
            "payment_intents": [one.id for one in group if one.id.startswith("pi_")],
            "customer": payment.customer,
            "amount_minor": payment.amount,
            "currency": payment.currency,
            "amount": price,
            "seconds_apart": apart_s,
            "window_s": APART_S_MAX,
            "since": moment(group[0].at),
            "links": links([*ids, scope]),
            "first": f"Open both payments; if one order caused both, refund {ids[-1]} and look for a double submit.",
        }
        title = f"Charged {times}: {price}, {ago(apart_s)} apart"
        return self.anomaly(
            scope, Severity.WARNING, payment.at, title, evidence, tuple(dict.fromkeys(one.event for one in group))
        )

    def save(self) -> Any:
        """What it remembers, in a fixed order."""
        return [self._payments.save(), self._invoices.save(), self._reported.save(), self._waiting]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        payments, invoices, reported, waiting = state
        self._payments.load(payments, Payment._make)
        self._list_buyers()
        self._invoices.load(invoices)
        self._reported.load(reported)
        self._waiting = [(until, id_) for until, id_ in waiting]
        self.due = self._waiting[0][0] if self._waiting else NEVER


def pair(one: Payment, other: Payment) -> str:
    """The same whichever came first."""
    return " ".join(sorted((one.id, other.id)))


def same_thing(one: Payment, other: Payment) -> bool:
    """Two payments that nothing tells apart."""
    if (one.charge and one.charge == other.charge) or abs(one.at - other.at) > APART_S_MAX * SECOND:
        return False
    if one.invoice and other.invoice and one.invoice != other.invoice:
        return False
    return not (one.own_key and other.own_key and one.own_key != other.own_key)


def awaits_invoice(one: Payment, other: Payment) -> bool:
    """An invoice that is not told of yet may tell them apart: for one of them has one, or Stripe made both."""
    if one.invoice and other.invoice:
        return False
    return bool(one.invoice or other.invoice) or (
        one.automatic and other.automatic and None in (one.invoice, other.invoice)
    )


def own_key(key: str) -> str:
    """An idempotency key of the application's own; "" for one that an SDK made up."""
    return "" if not key or RANDOM_KEY.fullmatch(key) else key
