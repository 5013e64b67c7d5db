"""The life of a small SaaS, from a seed: what happens there, and the events Stripe would tell of it."""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count
from math import pi, sin
from typing import Any

from actors.kernel.clock import SECOND, Random
from actors.simulated import payloads
from actors.simulated.commerce import Charge, Customer, Ids, Invoice, Payload, Plan, Subscription

PLANS = (
    Plan("price_starter", "prod_starter", 1_900, "usd", "month"),
    Plan("price_team", "prod_team", 4_900, "usd", "month"),
    Plan("price_team_eur", "prod_team", 4_500, "eur", "month"),
    Plan("price_team_jpy", "prod_team", 7_200, "jpy", "month"),
    Plan("price_year", "prod_team", 49_000, "usd", "year"),
)
DECLINES = ("insufficient_funds", "do_not_honor", "generic_decline", "expired_card")
DAY_S = 86_400
RETRY_S = DAY_S
RETRIES_MAX = 3

INCIDENTS = (
    "charged_twice",
    "card_keeps_failing",
    "refund_too_large",
    "fraud_warnings",
    "refund_spree",
    "card_testing",
    "chargebacks",
    "cancellation_wave",
)
"""What can go wrong on demand; see the methods of these names."""


class Business:
    """Customers come, pay, ask for their money back and leave; `events` yields (UTC µs, event) in the order of time.

    The same random numbers, start (unix seconds) and settings give the same events. `busy` multiplies how much happens:
    at 1, a dozen sign-ups, twenty one-off payments and some thirty renewals an hour at noon, less at night.
    """

    def __init__(
        self, rng: Random, start: int, *, customers: int = 400, busy: float = 1.0, incident_every_s: float | None = None
    ) -> None:
        self._rng = rng
        self._ids = Ids(rng)
        self._now = start  # unix seconds, as Stripe counts
        self._moment = float(start)
        self._busy = busy
        self._agenda: list[tuple[float, int, Payload | Callable[[], None]]] = []
        self._order = count()
        self._customers: list[Customer] = []
        self._subscriptions: list[Subscription] = []
        self._charges: list[Charge] = []
        for _ in range(customers):
            self._settle_in()
        for rate, act in (
            (12, self.sign_up),
            (20, self.sell),
            (2, self.refund),
            (1.5, self.cancel),
            (0.1, self.chargeback),
        ):
            self._repeat(rate, act)
        if incident_every_s is not None:
            self._plan_incidents(incident_every_s)

    def events(self) -> Iterator[tuple[int, Payload]]:
        """What Stripe tells, without end."""
        while self._agenda:
            at, _, what = heappop(self._agenda)
            self._moment = at
            self._now = int(at)
            if callable(what):
                what()
            else:
                yield int(at * SECOND), what

    def cause(self, incident: str) -> None:
        """Let one of INCIDENTS begin now. Raises ValueError for another name."""
        if incident not in INCIDENTS:
            raise ValueError(f"{incident}: no such incident; there are {', '.join(INCIDENTS)}")
        getattr(self, incident)()

    # --- everyday ----------------------------------------------------------------------------------------------------

    def sign_up(self) -> None:
        """A stranger becomes a customer with a subscription."""
        who = self._new_customer(self._now)
        self._tell("customer.created", who, payloads.customer(who))
        one = Subscription(self._id("sub_"), who, self._rng.choice(PLANS), self._now, self._now)
        self._subscriptions.append(one)
        self._tell("customer.subscription.created", who, payloads.subscription(one))
        self._bill(one, "subscription_create")

    def sell(self) -> None:
        """Somebody buys once."""
        who, amount = self._somebody(), self._rng.choice((900, 1_500, 2_900, 9_900))
        decline = self._rng.choice(DECLINES) if self._rng.random() < 0.04 else None
        self._charge(who, amount, "usd", decline=decline)

    def refund(self) -> None:
        """Somebody gets money back, all of it or half."""
        candidates = [one for one in self._charges[-200:] if one.decline is None and not one.refunds]
        if candidates:
            one = self._rng.choice(candidates)
            self._refund(one, self._rng.choice((one.amount, one.amount // 2)))

    def cancel(self) -> None:
        """A subscriber leaves, at once or at the end of the period."""
        live = [one for one in self._subscriptions if one.status == "active" and not one.cancel_at_period_end]
        if live:
            self._cancel(self._rng.choice(live), at_once=self._rng.random() < 0.5)

    def chargeback(self) -> None:
        """A cardholder disputes a charge."""
        paid = [one for one in self._charges if one.decline is None]
        if paid:
            self._dispute(self._rng.choice(paid))

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def charged_twice(self) -> None:
        """A double click, and no idempotency key to catch it."""
        who, amount = self._somebody(), self._rng.choice((2_900, 4_900))
        self._charge(who, amount, "usd")
        self._charge(who, amount, "usd", after_s=self._rng.randint(20, 90))

    def card_keeps_failing(self) -> None:
        """One customer tries a dead card again and again."""
        who = self._somebody()
        for attempt in range(7):
            self._charge(who, 4_900, "usd", decline="do_not_honor", after_s=attempt * self._rng.randint(30, 70))

    def refund_too_large(self) -> None:
        """A slip in support: more goes back than ever came in."""
        one = self._charge(self._somebody(), 4_900, "usd")
        self._later(240, lambda: self._refund(one, 4_900))
        self._later(300, lambda: self._refund(one, 1_500))

    def fraud_warnings(self) -> None:
        """Issuers warn of three stolen cards within half an hour."""
        for n in range(3):
            one = self._charge(self._new_customer(self._now), 9_900, "usd")
            self._later(300 + 500 * n, lambda one=one: self._warn(one))  # type: ignore[misc]

    def refund_spree(self) -> None:
        """Fourteen refunds in twenty minutes."""
        for n in range(14):
            one = self._charge(self._somebody(), 900 + 10 * n, "usd")
            self._later(120 + 80 * n, lambda one=one: self._refund(one, one.amount))  # type: ignore[misc]

    def card_testing(self) -> None:
        """A script tries sixty stolen cards with small amounts in half an hour; few work."""
        for n in range(60):
            decline = None if self._rng.random() < 0.1 else self._rng.choice(("incorrect_cvc", "incorrect_number"))
            self._charge(self._new_customer(self._now), 100 + n, "usd", decline=decline, after_s=30 * n)

    def chargebacks(self) -> None:
        """Six disputes in an hour."""
        for n in range(6):
            one = self._charge(self._somebody(), 9_900, "usd")
            self._later(600 * (n + 1), lambda one=one: self._dispute(one))  # type: ignore[misc]

    def cancellation_wave(self) -> None:
        """A tenth of the subscribers leave within an hour."""
        live = [one for one in self._subscriptions if one.status == "active"]
        for one in self._rng.sample(live, len(live) // 10):
            self._later(self._rng.randint(0, 3_600), lambda one=one: self._cancel(one, at_once=True))  # type: ignore[misc]

    def _plan_incidents(self, every_s: float) -> None:
        def next_one() -> None:
            self.cause(INCIDENTS[next(turn) % len(INCIDENTS)])
            self._later(every_s * self._rng.uniform(0.8, 1.2), next_one)

        turn = count()
        self._later(every_s / 4, next_one)

    # --- how it is told ----------------------------------------------------------------------------------------------

    def _settle_in(self) -> None:
        """A customer of old, somewhere in the middle of a period."""
        joined = self._now - self._rng.randint(DAY_S, 300 * DAY_S)
        who, plan = self._new_customer(joined), self._rng.choice(PLANS)
        periods = (self._now - joined) // plan.period_s
        one = Subscription(self._ids.new("sub_", joined), who, plan, joined, joined + periods * plan.period_s)
        self._subscriptions.append(one)
        self._at(one.period_end, lambda: self._renew(one))

    def _new_customer(self, created: int) -> Customer:
        who = Customer.new(self._ids, self._rng, created)
        self._customers.append(who)
        return who

    def _somebody(self) -> Customer:
        """Who has not paid for a while: what an honest customer does is never twice the same."""
        candidates = (self._rng.choice(self._customers) for _ in range(100))
        return next((who for who in candidates if who.last_charged < self._now - 1_800), None) or self._new_customer(
            self._now
        )

    def _renew(self, one: Subscription) -> None:
        if one.status == "canceled":
            return
        if one.cancel_at_period_end:
            self._cancel(one, at_once=True)
            return
        before = {"current_period_end": one.period_end, "current_period_start": one.period_start}
        one.period_start = one.period_end
        self._tell(
            "customer.subscription.updated", one.customer, payloads.subscription(one), previous_attributes=before
        )
        self._bill(one, "subscription_cycle")

    def _bill(self, one: Subscription, reason: str) -> None:
        bill = Invoice(self._id("in_"), one, self._now, reason)
        one.latest_invoice = bill.id
        self._tell("invoice.created", one.customer, payloads.invoice(bill))
        bill.status = "open"
        self._tell("invoice.finalized", one.customer, payloads.invoice(bill))
        self._collect(bill)
        self._at(one.period_end, lambda: self._renew(one))

    def _collect(self, bill: Invoice) -> None:
        one = bill.subscription
        if one.status == "canceled":
            return
        bill.attempts += 1
        decline = self._rng.choice(DECLINES) if self._rng.random() < 0.05 else None
        charge = self._charge(one.customer, one.plan.amount, one.plan.currency, decline=decline, invoice=bill)
        if decline is None:
            bill.status = "paid"
            self._tell("invoice.paid", one.customer, payloads.invoice(bill, charge))
            self._tell("invoice.payment_succeeded", one.customer, payloads.invoice(bill, charge))
            if one.customer.modern:
                link = payloads.invoice_payment(self._id("inpay_"), bill, charge)
                self._tell("invoice_payment.paid", one.customer, link)
            self._turn(one, "active")
        elif bill.attempts <= RETRIES_MAX:
            self._tell("invoice.payment_failed", one.customer, payloads.invoice(bill, charge))
            self._turn(one, "past_due")
            self._later(RETRY_S, lambda: self._collect(bill))
        else:
            self._cancel(one, at_once=True)

    def _turn(self, one: Subscription, status: str) -> None:
        if one.status != status:
            before = {"status": one.status}
            one.status = status
            self._tell(
                "customer.subscription.updated", one.customer, payloads.subscription(one), previous_attributes=before
            )

    def _charge(
        self,
        who: Customer,
        amount: int,
        currency: str,
        *,
        decline: str | None = None,
        invoice: Invoice | None = None,
        after_s: int = 0,
    ) -> Charge:
        created = who.last_charged = self._now + after_s
        one = Charge(self._id("ch_"), self._id("pi_"), who, amount, currency, created, invoice, decline)
        self._charges = [*self._charges[-500:], one]
        kinds = (
            ("charge.failed", "payment_intent.payment_failed")
            if decline
            else ("charge.succeeded", "payment_intent.succeeded")
        )
        for kind, subject in zip(kinds, (payloads.charge(one), payloads.payment_intent(one)), strict=True):
            self._tell(kind, who, subject, after_s=after_s)
        return one

    def _refund(self, one: Charge, amount: int) -> None:
        before = {"amount_refunded": one.refunded, "refunded": one.refunded >= one.amount}
        refund = payloads.refund(self._id("re_"), one, amount, self._now)
        one.refunds.append(refund)
        self._tell("refund.created", one.customer, refund)
        self._tell("charge.refunded", one.customer, payloads.charge(one), previous_attributes=before)

    def _dispute(self, one: Charge) -> None:
        self._tell("charge.dispute.created", one.customer, payloads.dispute(self._id("dp_"), one, self._now))

    def _warn(self, one: Charge) -> None:
        warning = payloads.early_fraud_warning(self._id("issfr_"), one, self._now)
        self._tell("radar.early_fraud_warning.created", one.customer, warning)

    def _cancel(self, one: Subscription, *, at_once: bool) -> None:
        if one.status == "canceled":
            return
        one.canceled_at = self._now
        if at_once:
            one.status = "canceled"
            self._tell("customer.subscription.deleted", one.customer, payloads.subscription(one))
        else:
            one.cancel_at_period_end = True
            before = {"cancel_at": None, "cancel_at_period_end": False, "canceled_at": None}
            self._tell(
                "customer.subscription.updated", one.customer, payloads.subscription(one), previous_attributes=before
            )

    def _tell(self, kind: str, who: Customer, subject: Payload, *, after_s: int = 0, **data: Any) -> None:
        created = self._now + after_s
        self._at(created + self._rng.random(), payloads.event(self._id("evt_"), kind, created, who, subject, **data))

    # --- time --------------------------------------------------------------------------------------------------------

    def _id(self, prefix: str) -> str:
        return self._ids.new(prefix, self._now)

    def _at(self, at: float, what: Payload | Callable[[], None]) -> None:
        heappush(self._agenda, (max(at, self._moment), next(self._order), what))

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._at(self._now + seconds, act)

    def _repeat(self, per_hour: float, act: Callable[[], None]) -> None:
        """At random moments, `per_hour` at noon (UTC) and a fifth of that at midnight."""

        def again() -> None:
            day = 0.6 - 0.4 * sin(2 * pi * (self._now % DAY_S) / DAY_S + pi / 2)
            if self._rng.random() < day:
                act()
            self._later(self._rng.expovariate(per_hour * self._busy / 3_600), again)

        self._later(self._rng.expovariate(per_hour * self._busy / 3_600), again)
