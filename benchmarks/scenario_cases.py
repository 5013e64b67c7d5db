"""What goes wrong in a shop, and what only looks as if: each laid over two ordinary days of it, with its label."""

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


def card_test_fast(scene: Scene) -> None:
    """120 cards an hour, two hours long, one in ten works."""
    for at in scene.times(240, 2):
        code = scene.rng.choice(("incorrect_cvc", "generic_decline", "incorrect_number"))
        scene.pay(at, scene.stranger(at), 100, code if scene.rng.random() < 0.9 else None)


def card_test_slow(scene: Scene) -> None:
    """Eight cards an hour for a day."""
    for at in scene.times(192, 24):
        scene.pay(at, scene.stranger(at), 100, "generic_decline" if scene.rng.random() < 0.9 else None)


def card_test_by_setup(scene: Scene) -> None:
    """As fast, but the cards are stored, not charged."""
    for at in scene.times(240, 2):
        who = scene.stranger(at)
        setup = {"id": scene.ids.new("seti_", at), "object": "setup_intent", "customer": who.id}
        error = {
            "code": "card_declined",
            "decline_code": "generic_decline",
            "payment_method": {"card": payloads.card(who)},
        }
        scene.tell("setup_intent.setup_failed", at, who, setup | {"last_setup_error": error})


def outage(hours: float) -> Callable[[Scene], None]:
    """The gateway declines everybody."""

    def story(scene: Scene) -> None:
        begin, end = scene.start * SECOND, (scene.start + int(hours * HOUR)) * SECOND
        lost = ("invoice.paid", "invoice.payment_succeeded", "invoice_payment.")
        scene.told = [
            (at, failed(one) if begin <= at < end else one)
            for at, one in scene.told
            if not (begin <= at < end and one["type"].startswith(lost))
        ]

    return story


def failed(event: Payload) -> Payload:
    """If it tells of a payment: the same, declined."""
    if event["type"] not in ("charge.succeeded", "payment_intent.succeeded"):
        return event
    one = deepcopy(event)
    subject = one["data"]["object"]
    one["type"] = (
        one["type"].replace("intent.succeeded", "intent.payment_failed").replace("charge.succeeded", "charge.failed")
    )
    if subject["object"] == "charge":
        subject |= {"status": "failed", "paid": False, "outcome": payloads.outcome("processing_error")}
    else:
        subject |= {"status": "requires_payment_method", "last_payment_error": {"code": "processing_error"}}
    return one


def refunds(number: int, hours: float) -> Callable[[Scene], None]:
    """So many in so many hours."""

    def story(scene: Scene) -> None:
        for at in scene.times(number, hours):
            scene.refund(at)

    return story


def refund_loop(scene: Scene) -> None:
    """A script gives three payments back in small parts, one a minute."""
    charges = [scene.refund(scene.start, 10) for _ in range(3)]
    for minute in range(1, 60):
        scene.refund(scene.start + 60 * minute, 10, of=charges[minute % 3])


def price_bug(scene: Scene) -> None:
    """A price change goes wrong: one subscriber in twenty leaves within two hours."""
    leaving = scene.rng.sample(scene.live, len(scene.live) // 20)
    for at, one in zip(scene.times(len(leaving), 2), leaving, strict=True):
        scene.cancel(at, one)


def exodus(scene: Scene) -> None:
    """A third of the subscribers leaves within a day."""
    leaving = scene.rng.sample(scene.live, len(scene.live) // 3)
    for at, one in zip(scene.times(len(leaving), 20), leaving, strict=True):
        scene.cancel(at, one)


def endpoint_down(scene: Scene) -> None:
    """Nothing comes any more."""
    scene.drop(("",), 48)


def no_signups(scene: Scene) -> None:
    """The sign-up form is broken; everything else goes on."""
    newcomers = {
        one["data"]["object"]["id"]
        for at, one in scene.told
        if one["type"] == "customer.created" and at >= scene.start * SECOND
    }
    subjects = [(row, row[1]["data"]["object"]) for row in scene.told]
    scene.told = [row for row, one in subjects if newcomers.isdisjoint((one["id"], one.get("customer")))]


def bots(scene: Scene) -> None:
    """Sixty sign-ups in an hour."""
    for at in scene.times(60, 1):
        scene.subscribe(at)


def dispute_wave(scene: Scene) -> None:
    """Three weeks after a card test: ten disputes in a day and a half."""
    for at in scene.times(10, 36):
        before = at - 21 * DAY
        one = Charge(scene.ids.new("ch_", before), scene.ids.new("pi_", before), scene.regular(), 100, "usd", before)
        scene.tell("charge.dispute.created", at, one.customer, payloads.dispute(scene.ids.new("dp_", at), one, at))


def double_clicks(scene: Scene) -> None:
    """Five customers pay twice."""
    for at in scene.times(5, 6):
        who = scene.regular()
        scene.pay(at, who, 2_900)
        scene.pay(at + 40, who, 2_900)


def huge_refund(scene: Scene) -> None:
    """Somebody types two zeros too many."""
    big = Charge(
        scene.ids.new("ch_", scene.start),
        scene.ids.new("pi_", scene.start),
        scene.regular(),
        1_900_000,
        "usd",
        scene.start - DAY,
    )
    scene.refund(scene.start + HOUR, of=big)


def launch(scene: Scene) -> None:
    """Six times the sign-ups and sales for half a day, declined as seldom as ever."""
    for at in scene.times(3 * scene.size, 12):
        who = scene.stranger(at)
        scene.pay(at, who, 2_900, "insufficient_funds" if scene.rng.random() < 0.06 else None)


def nine_cards(scene: Scene) -> None:
    """One customer tries nine cards, then a tenth works."""
    who = scene.regular()
    for number in range(10):
        who.fingerprint = scene.ids.new("", scene.start + number)
        scene.pay(scene.start + 150 * number, who, 2_900, "do_not_honor" if number < 9 else None)


def first_of_month(scene: Scene) -> None:
    """Four times the renewals, declined twice as often."""
    for at in scene.times(2 * scene.size, 24):
        who = scene.regular()
        one = Subscription(scene.ids.new("sub_", at), who, PLANS[0], at - 60 * DAY, at)
        bill = Invoice(scene.ids.new("in_", at), one, at, "subscription_cycle")
        scene.pay(at, who, 1_900, "insufficient_funds" if scene.rng.random() < 0.1 else None, bill)


def founder_refunds(scene: Scene) -> None:
    """Four refunds in a quarter of an hour, to say sorry."""
    for at in scene.times(4, 0.25):
        scene.refund(at)


def refund_reissued(scene: Scene) -> None:
    """A refund fails and is made again."""
    one = scene.refund(scene.start)
    scene.tell("refund.failed", scene.start + HOUR, one.customer, one.refunds[0] | {"status": "failed"})
    one.refunds.clear()
    scene.refund(scene.start + 2 * HOUR, of=one)


def cohort_lapses(scene: Scene) -> None:
    """One in forty, who cancelled months ago, reach the end of what they paid for."""
    for at in scene.times(len(scene.live) // 40, 3):
        who = scene.regular()
        one = Subscription(scene.ids.new("sub_", at), who, PLANS[4], at - 365 * DAY, at - 365 * DAY)
        one.status, one.cancel_at_period_end, one.canceled_at = "canceled", True, at - 40 * DAY
        subject = payloads.subscription(one) | {"ended_at": at}
        scene.tell("customer.subscription.deleted", at, who, subject)


def holiday(scene: Scene) -> None:
    """Christmas: a third of the buyers, no fewer renewals."""
    buyers = ("customer.created", "customer.subscription.created", "refund", "charge.refunded")
    scene.drop(buyers, 24, keep=0.33)


def black_friday(scene: Scene) -> None:
    """Six times the sales by customers of old."""
    for at in scene.times(6 * scene.size, 24):
        scene.pay(at, scene.regular(), 2_900, "insufficient_funds" if scene.rng.random() < 0.05 else None)


def dispute_noise(scene: Scene) -> None:
    """Old disputes move on: updated, funds withdrawn, closed."""
    for at in scene.times(12, 12):
        one = Charge(scene.ids.new("ch_", at), scene.ids.new("pi_", at), scene.regular(), 4_900, "usd", at - 30 * DAY)
        dispute = payloads.dispute(scene.ids.new("dp_", at), one, at - 20 * DAY)
        kind = scene.rng.choice(("updated", "funds_withdrawn", "closed"))
        scene.tell(f"charge.dispute.{kind}", at, one.customer, dispute | {"status": "lost"})


def redelivery(scene: Scene) -> None:
    """What Stripe could not deliver on one day comes three days later, within half an hour."""
    begin = (scene.start - 3 * DAY) * SECOND
    missed = [one for at, one in scene.past if begin <= at < begin + DAY * SECOND]
    for index, one in enumerate(missed):
        again = one | {"id": f"{one['id']}r"}  # it had not come before
        scene.told.append((scene.start * SECOND + index * 1800 * SECOND // len(missed), again))


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
) -> Case:
    """Something to be told."""
    return Case(name, tell, frozenset(signals.split()), frozenset(also.split()), from_size, to_size, why, days)


LOSS = "cancellation_cluster mrr_drop churn_spike"
ABSENCE = "renewals_missing revenue_drop signup_drop silent_lapse webhook_lag"

INCIDENTS = (
    incident("card test, 120 an hour", card_test_fast, "card_testing", also="decline_spike"),
    incident("card test by SetupIntents", card_test_by_setup, "card_testing"),
    incident("card test, 8 an hour", card_test_slow, "card_testing decline_spike", days=2),
    incident("gateway outage, 30 min", outage(0.5), "decline_spike", from_size=500, why="fewer than six payers try"),
    incident("gateway outage, 6 h", outage(6), "decline_spike", from_size=50, why="one payment in six hours"),
    incident("refunds, 20 an hour", refunds(60, 3), "refund_spike", also="revenue_drop"),
    incident("refunds, 12 in 6 h", refunds(12, 6), "refund_spike", to_size=50, why="ten are usual in those hours"),
    incident("refunds, a loop of parts", refund_loop, "refund_spike"),
    incident("price bug, 5 % cancel", price_bug, "cancellation_cluster", also=LOSS, from_size=50, why="none cancels"),
    incident("a third leaves in a day", exodus, LOSS, days=2),
    incident("endpoint silent", endpoint_down, "webhook_silence", also=ABSENCE, from_size=50, why="too little", days=2),
    incident("no sign-ups", no_signups, "signup_drop", also=ABSENCE, from_size=500, why="too few are usual", days=2),
    incident("sign-up bots, 60 in 1 h", bots, "subscription_spike"),
    incident("dispute wave, 10 in 36 h", dispute_wave, "dispute_spike", days=2),
    incident("double clicks, 5", double_clicks, "duplicate_charge"),
    incident("refund of $19,000", huge_refund, "amount_outlier", from_size=500, why="50 refunds are not known"),
)

HARMLESS = tuple(
    Case(name, tell)
    for name, tell in (
        ("an ordinary day", lambda _: None),
        ("launch day", launch),
        ("nine cards of one customer", nine_cards),
        ("first of the month, 2x declines", first_of_month),
        ("four refunds to say sorry", founder_refunds),
        ("refund failed and made again", refund_reissued),
        ("yearly cohort lapses", cohort_lapses),
        ("holiday", holiday),
        ("Black Friday, 6x", black_friday),
        ("disputes move on", dispute_noise),
        ("redelivery, 3 days late", redelivery),
    )
)
