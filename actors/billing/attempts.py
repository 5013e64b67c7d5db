"""Each try to pay is counted once, however many events announce it and in whatever order they come."""

from collections import deque
from collections.abc import Iterator
from dataclasses import astuple
from operator import attrgetter, itemgetter
from typing import Any

from actors.billing.detectors.base import NEVER
from actors.billing.facts import Attempt, Fact, InvoiceAttempt, RepeatedAttempt
from actors.billing.memory import ENTRIES_MAX, Seen
from actors.kernel.clock import SECOND, moved

KEEP_US = 2 * 3600 * SECOND
LATEST_US = 600 * SECOND
INVOICE_WAIT_US = 120 * SECOND  # so long a charge or payment intent may take to tell the same as an invoice
WAITING_MAX = 10_000
known_to_invoice = attrgetter("charge", "payment_intent", "customer", "amount", "currency", "succeeded")
Row = tuple[Any, ...]


class Attempts:
    """Says as what a fact is to be read: a second announcement of an attempt is a `RepeatedAttempt`.

    An invoice's word counts only if within two minutes no charge or payment intent says the same, as is so for
    endpoints that were subscribed to invoices alone.
    """

    version = 2  # of the saved state, as with detectors

    def __init__(self) -> None:
        self.due = NEVER
        self._seen = Seen(KEEP_US)
        self._latest: deque[Row] = deque()  # arrival, when, and what an invoice would know
        self._told: dict[object, list[int]] = {}  # when, by sign
        self._waiting: list[tuple[int, InvoiceAttempt]] = []

    def admit(self, fact: Attempt | InvoiceAttempt, now: int) -> type[Fact]:
        """The kind of fact as which the detectors should see it."""
        if isinstance(fact, Attempt):
            first = self._seen.first(fact.key, now)
            self._tell((now, fact.at, *known_to_invoice(fact)))
            while self._latest[0][0] < now - LATEST_US or len(self._latest) > ENTRIES_MAX:
                self._forget()
            return Attempt if first else RepeatedAttempt
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append((now + INVOICE_WAIT_US, fact))
            self.due = self._waiting[0][0]
        return InvoiceAttempt

    def _tell(self, row: Row) -> None:
        self._latest.append(row)
        for sign in signs(row[2:]):
            told = self._told.get(sign)
            if told is None:
                self._told[sign] = [row[1]]
            else:
                told.append(row[1])

    def _forget(self) -> None:
        for sign in signs(self._latest.popleft()[2:]):
            told = self._told[sign]
            del told[0]  # as told in order, it is the first
            if not told:
                del self._told[sign]

    def tick(self, now: int) -> Iterator[Attempt]:
        """The invoices that waited and were told by nobody else: each to be admitted before the next is asked for."""
        ready = [fact for until, fact in self._waiting if until <= now]
        self._waiting = self._waiting[len(ready) :]
        self.due = self._waiting[0][0] if self._waiting else NEVER
        # Before the first is yielded, for it is told then, and nobody's word about the next.
        alone = [fact for fact in ready if not self._told_of(fact)]
        for fact in alone:
            key = f"{fact.invoice}#{fact.number}{'+' if fact.succeeded else '-'}"
            if key not in self._seen:
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
                    idempotency_key="",
                    automatic=True,
                )

    def _told_of(self, fact: InvoiceAttempt) -> bool:
        """By a charge or payment intent, at about that time."""
        told = (at for sign in signs(known_to_invoice(fact)) for at in self._told.get(sign, ()))
        return any(abs(at - fact.at) <= INVOICE_WAIT_US for at in told)

    def set_back(self, now: int, by: int) -> None:
        """As with detectors."""
        latest = [(moved(at, now, by), *rest) for at, *rest in self._latest]
        self._latest, self._told = deque(), {}
        for row in sorted(latest, key=itemgetter(0)):
            self._tell(row)
        self._waiting = [(max(now, until - by), fact) for until, fact in self._waiting]
        self.due = self._waiting[0][0] if self._waiting else NEVER

    def save(self) -> Any:
        """Plain JSON."""
        return [self._seen.save(), list(self._latest), [[until, astuple(fact)] for until, fact in self._waiting]]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        seen, latest, waiting = state
        self._seen.load(seen)
        for row in latest:
            self._tell(tuple(row))
        self._waiting = [(until, InvoiceAttempt(*row)) for until, row in waiting]
        self.due = self._waiting[0][0] if self._waiting else NEVER


def signs(known: Row) -> list[object]:
    """By what an invoice and its payment know each other; since basil neither names the other."""
    charge, payment_intent, customer, *_ = known
    found: list[object] = [known[2:]] if customer else []
    if charge:
        found.append(charge)
    if payment_intent:
        found.append(payment_intent)
    return found
