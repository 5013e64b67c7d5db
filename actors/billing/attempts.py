"""Each try to pay is counted once, however many events announce it and in whatever order they come."""

from collections.abc import Iterator
from dataclasses import astuple, fields
from operator import attrgetter
from typing import Any

from actors.billing.detectors.base import NEVER, Recent
from actors.billing.facts import Attempt, Fact, InvoiceAttempt, RepeatedAttempt
from actors.kernel.clock import SECOND

KEEP_US = 2 * 3600 * SECOND
TOLD_US = 600 * SECOND
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
        self._seen: Recent[None] = Recent(KEEP_US)
        self._told: Recent[int] = Recent(TOLD_US)  # when, by all that an invoice would know of an attempt
        self._waiting: list[tuple[int, InvoiceAttempt]] = []

    def admit(self, fact: Fact, now: int) -> Fact:
        """The fact as the detectors should see it."""
        if isinstance(fact, Attempt):
            known = fact.key in self._seen
            self._seen.put(fact.key, None, now)
            for sign in signs(fact):
                self._told.put(sign, fact.at, now)
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
            if key not in self._seen and not self._is_told(fact):
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

    def _is_told(self, fact: InvoiceAttempt) -> bool:
        """By a charge or payment intent, within two minutes of it."""
        return any(
            (at := self._told.get(sign)) is not None and abs(at - fact.at) <= INVOICE_WAIT_US for sign in signs(fact)
        )

    def save(self) -> Any:
        """Plain JSON."""
        return [self._seen.save(), self._told.save(), [[until, astuple(fact)] for until, fact in self._waiting]]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        seen, told, waiting = state
        self._seen.load(seen)
        self._told.load(told)
        self._waiting = [(until, InvoiceAttempt(*row)) for until, row in waiting]
        self.due = self._waiting[0][0] if self._waiting else NEVER


def signs(fact: Attempt | InvoiceAttempt) -> Iterator[str]:
    """By what an invoice and its payment know each other; since basil neither names the other."""
    if fact.charge:
        yield fact.charge
    if fact.payment_intent:
        yield fact.payment_intent
    if fact.customer:
        yield f"{fact.customer} {fact.amount} {fact.currency} {fact.succeeded}"
