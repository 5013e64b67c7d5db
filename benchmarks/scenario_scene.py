"""Where a story of the scenario benchmark is laid: two days of a shop, and what a story can do to them."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from actors.kernel.clock import SECOND, Random
from actors.simulated import payloads
from actors.simulated.business import PLANS
from actors.simulated.commerce import Charge, Customer, Ids, Invoice, Payload, Subscription

HOUR = 3600
DAY = 24 * HOUR
END_OF_TIME = 2**33
Told = tuple[int, Payload]  # UTC µs, event


@dataclass
class Scene:
    """Two days of a shop that makes `size` payments a day; a story changes `told` from `start` (unix seconds) on."""

    rng: Random
    size: int
    start: int
    told: list[Told]
    past: list[Told]  # the weeks before
    live: list[Subscription]
    ids: Ids = field(init=False)

    def __post_init__(self) -> None:
        self.ids = Ids(self.rng)

    def stranger(self, at: int) -> Customer:
        """Somebody new, whom Stripe announces."""
        who = Customer.new(self.ids, self.rng, at)
        self.tell("customer.created", at, who, payloads.customer(who))
        return who

    def regular(self) -> Customer:
        """Somebody of old."""
        return Customer.new(self.ids, self.rng, self.start - 90 * DAY)

    def tell(self, kind: str, at: int, who: Customer, subject: Payload, **data: Any) -> None:
        """One more event."""
        one = payloads.event(self.ids.new("evt_", at), kind, at, who, deepcopy(subject), **data)
        self.told.append((at * SECOND + self.rng.randrange(SECOND), one))

    def pay(
        self, at: int, who: Customer, amount: int, decline: str | None = None, invoice: Invoice | None = None
    ) -> Charge:
        """A payment, or its failure, as charge and intent."""
        one = Charge(
            self.ids.new("ch_", at), self.ids.new("pi_", at), who, amount, "usd", at, invoice=invoice, decline=decline
        )
        charge, intent = (
            ("charge.failed", "payment_intent.payment_failed")
            if decline
            else ("charge.succeeded", "payment_intent.succeeded")
        )
        self.tell(charge, at, who, payloads.charge(one))
        self.tell(intent, at, who, payloads.payment_intent(one))
        return one

    def refund(self, at: int, amount: int | None = None, of: Charge | None = None) -> Charge:
        """Money back for a payment of the day before."""
        before = at - DAY
        one = of or Charge(
            self.ids.new("ch_", before), self.ids.new("pi_", before), self.regular(), 4_900, "usd", before
        )
        refund = payloads.refund(self.ids.new("re_", at), one, amount or one.amount, at)
        one.refunds.append(refund)
        self.tell("refund.created", at, one.customer, refund)
        self.tell("charge.refunded", at, one.customer, payloads.charge(one))
        return one

    def cancel(self, at: int, one: Subscription) -> None:
        """A subscription ends at once."""
        one.status, one.canceled_at = "canceled", at
        self.tell("customer.subscription.deleted", at, one.customer, payloads.subscription(one))

    def renew(self, at: int, decline: str | None = None) -> None:
        """A subscription of somebody else's pays for its next month."""
        one = Subscription(self.ids.new("sub_", at), self.regular(), PLANS[0], at - 60 * DAY, at)
        self.collect(at, one, "subscription_cycle", decline)

    def collect(self, at: int, one: Subscription, reason: str, decline: str | None = None) -> None:
        """Its invoice is paid, or is not."""
        bill = Invoice(self.ids.new("in_", at), one, at, reason)
        charge = self.pay(at, one.customer, one.plan.amount, decline, bill)
        if decline is None:
            bill.status = "paid"
            self.tell("invoice.paid", at, one.customer, payloads.invoice(bill, charge))
            if one.customer.modern:
                link = payloads.invoice_payment(self.ids.new("inpay_", at), bill, charge)
                self.tell("invoice_payment.paid", at, one.customer, link)

    def change(self, at: int, one: Subscription, **before: Any) -> None:
        """A subscription is told of, and what was otherwise before."""
        data = {"previous_attributes": before}
        self.tell("customer.subscription.updated", at, one.customer, payloads.subscription(one), **data)

    def renewals(self, hours: float) -> dict[str, int]:
        """Of which customers one falls into the first so many hours, and when."""
        hours_s = range(self.start, self.start + int(hours * HOUR))
        return {
            whose(one): one["created"]
            for _, one in self.told
            if one["created"] in hours_s and "current_period_end" in one["data"].get("previous_attributes", ())
        }

    def subscribe(self, at: int) -> None:
        """A new customer with a new subscription."""
        who = self.stranger(at)
        one = Subscription(self.ids.new("sub_", at), who, PLANS[0], at, at)
        self.tell("customer.subscription.created", at, who, payloads.subscription(one))

    def times(self, number: int, hours: float, *, after: float = 0.0) -> Iterable[int]:
        """So many moments within so many hours, the first `after` hours from the start."""
        begin = self.start + int(after * HOUR)
        return sorted(begin + self.rng.randrange(int(hours * HOUR)) for _ in range(number))

    def drop(self, kinds: tuple[str, ...], hours: float, keep: float = 0.0) -> None:
        """Of the events whose type begins so, only this part comes in these hours."""
        end = (self.start + int(hours * HOUR)) * SECOND
        begin = self.start * SECOND
        self.told = [
            row
            for row in self.told
            if not (begin <= row[0] < end and row[1]["type"].startswith(kinds)) or self.rng.random() < keep
        ]


def whose(event: Payload) -> str:
    """The customer that it is about."""
    subject = event["data"]["object"]
    return str(subject.get("customer") or subject["id"])


@dataclass(frozen=True)
class Case:
    """A story, the signals of which any tells it, and in which sizes it can be seen at all, and why not in others."""

    name: str
    tell: Callable[[Scene], None]
    expected: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()  # signals that are right as well, and do not count
    from_size: int = 5
    to_size: int = 500
    why: str = ""
    days: int = 1
    hour: int = 9  # of the first day, UTC, at which it begins

    def shows(self, size: int) -> bool:
        """Whether this size can show it."""
        return self.from_size <= size <= self.to_size


def incident(
    name: str,
    tell: Callable[[Scene], None],
    signals: str,
    *,
    also: str = "",
    from_size: int = 5,
    to_size: int = 500,
    why: str = "",
    days: int = 1,
    hour: int = 9,
) -> Case:
    """Something to be told."""
    return Case(name, tell, frozenset(signals.split()), frozenset(also.split()), from_size, to_size, why, days, hour)
