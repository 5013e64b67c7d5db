"""Each try to pay is counted once, however many events announce it and in whatever order they come."""

from collections.abc import Iterator
from dataclasses import astuple, fields
from operator import attrgetter
from typing import Any

from actors.billing.detectors.base import NEVER, Recent
from actors.billing.facts import Attempt, Fact, InvoiceAttempt, RepeatedAttempt
from actors.kernel.clock import SECOND

KEEP_US = 3 * 3600 * SECOND
INVOICE_WAIT_US = 120 * SECOND  # so long a charge or payment intent may take to tell the same as an invoice
WAITING_MAX = 10_000
values_of = attrgetter(*(field.name for field in fields(Attempt)))


class Attempts:
    """Passes facts on; a second announcement of an attempt comes out as `RepeatedAttempt`.

    An invoice's word counts only if within two minutes no charge or payment intent says the same, as is so for
    endpoints that were subscribed to invoices alone.
    """

    version = 1  # of the saved state, as with detectors

    def __init__(self) -> None:
        self.due = NEVER
        self._seen: Recent[int] = Recent(KEEP_US)  # attempts, and by what an invoice would know of them
        self._waiting: list[tuple[int, InvoiceAttempt]] = []

    def admit(self, fact: Fact, now: int) -> Fact:
        """The fact as the detectors should see it."""
        if isinstance(fact, Attempt):
            known = self._seen.get(fact.key) is not None
            self._seen.put(fact.key, fact.at, now)
            if fact.payment_intent:
                self._seen.put(fact.payment_intent, fact.at, now)
            if fact.customer:
                self._seen.put(told_by_invoice(fact), fact.at, now)
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
        for fact in ready:
            key = f"{fact.invoice}#{fact.number}{'+' if fact.succeeded else '-'}"
            if self._seen.get(key) is None and not self._told(fact):
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

    def _told(self, fact: InvoiceAttempt) -> bool:
        """A charge or payment intent within two minutes of it, by the ids it has or by customer and amount."""
        return any(
            (at := self._seen.get(key)) is not None and abs(at - fact.at) <= INVOICE_WAIT_US
            for key in (fact.charge, fact.payment_intent, told_by_invoice(fact))
            if key
        )

    def save(self) -> Any:
        """Plain JSON."""
        return [self._seen.save(), [[until, astuple(fact)] for until, fact in self._waiting]]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        seen, waiting = state
        self._seen.load(seen)
        self._waiting = [(until, InvoiceAttempt(*row)) for until, row in waiting]
        self.due = self._waiting[0][0] if self._waiting else NEVER


def told_by_invoice(fact: Attempt | InvoiceAttempt) -> str:
    """What an invoice and its payment have in common where neither names the other."""
    return f"{fact.customer} {fact.amount} {fact.currency} {fact.succeeded}"
