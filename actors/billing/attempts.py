"""Each try to pay is counted once, however many events announce it and in whatever order they come."""

from collections import deque
from collections.abc import Iterator
from dataclasses import astuple, fields
from operator import attrgetter, itemgetter
from typing import Any

from actors.billing.detectors.base import ENTRIES_MAX, NEVER, Recent
from actors.billing.facts import Attempt, Fact, InvoiceAttempt, RepeatedAttempt
from actors.kernel.clock import SECOND, moved

KEEP_US = 2 * 3600 * SECOND
LATEST_US = 600 * SECOND
INVOICE_WAIT_US = 120 * SECOND  # so long a charge or payment intent may take to tell the same as an invoice
WAITING_MAX = 10_000
known_to_invoice = attrgetter("charge", "payment_intent", "customer", "amount", "currency", "succeeded")
values_of = attrgetter(*(field.name for field in fields(Attempt)))


class Attempts:
    """Passes facts on; a second announcement of an attempt comes out as `RepeatedAttempt`.

    An invoice's word counts only if within two minutes no charge or payment intent says the same, as is so for
    endpoints that were subscribed to invoices alone.
    """

    version = 1  # of the saved state, as with detectors

    def __init__(self) -> None:
        self.due = NEVER
        self._seen: Recent[None] = Recent(KEEP_US)
        self._latest: deque[tuple[Any, ...]] = deque(maxlen=ENTRIES_MAX)  # arrival, and what an invoice would know
        self._waiting: list[tuple[int, InvoiceAttempt]] = []

    def admit(self, fact: Fact, now: int) -> Fact:
        """The fact as the detectors should see it."""
        if isinstance(fact, Attempt):
            known = fact.key in self._seen
            self._seen.put(fact.key, None, now)
            latest = self._latest
            latest.append((now, fact.at, *known_to_invoice(fact)))
            while latest[0][0] < now - LATEST_US:
                latest.popleft()
            return RepeatedAttempt(*values_of(fact)) if known else fact
        if isinstance(fact, InvoiceAttempt) and len(self._waiting) < WAITING_MAX:
            self._waiting.append((now + INVOICE_WAIT_US, fact))
            self.due = self._waiting[0][0]
        return fact

    def tick(self, now: int) -> Iterator[Attempt]:
        """The invoices that waited and were told by nobody else: each to be admitted before the next is asked for."""
        ready = [fact for until, fact in self._waiting if until <= now]
        self._waiting = self._waiting[len(ready) :]
        self.due = self._waiting[0][0] if self._waiting else NEVER
        told = {sign: at for _, at, *about in self._latest for sign in signs(*about)}
        for fact in ready:
            key = f"{fact.invoice}#{fact.number}{'+' if fact.succeeded else '-'}"
            told_at = [told[sign] for sign in signs(*known_to_invoice(fact)) if sign in told]
            if key not in self._seen and all(abs(at - fact.at) > INVOICE_WAIT_US for at in told_at):
                yield Attempt(
                    fact.at,
                    fact.event,
                    key,
                    fact.succeeded,
                    fact.charge,
                    fact.payment_intent,
                    fact.invoice,
                    fact.customer,
                    payer="",
                    amount=fact.amount,
                    currency=fact.currency,
                    code="",
                    blocked=False,
                    idempotency_key="",
                    automatic=True,
                )

    def set_back(self, now: int, by: int) -> None:
        """As with detectors."""
        latest = [(moved(at, now, by), *rest) for at, *rest in self._latest]
        self._latest = deque(sorted(latest, key=itemgetter(0)), maxlen=ENTRIES_MAX)
        self._waiting = [(max(now, until - by), fact) for until, fact in self._waiting]
        self.due = self._waiting[0][0] if self._waiting else NEVER

    def save(self) -> Any:
        """Plain JSON."""
        return [self._seen.save(), list(self._latest), [[until, astuple(fact)] for until, fact in self._waiting]]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        seen, latest, waiting = state
        self._seen.load(seen)
        self._latest.extend(tuple(row) for row in latest)
        self._waiting = [(until, InvoiceAttempt(*row)) for until, row in waiting]
        self.due = self._waiting[0][0] if self._waiting else NEVER


def signs(charge: str, payment_intent: str, customer: str, *what: object) -> Iterator[object]:
    """By what an invoice and its payment know each other; since basil neither names the other."""
    if charge:
        yield charge
    if payment_intent:
        yield payment_intent
    if customer:
        yield customer, *what
