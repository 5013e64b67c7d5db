"""What goes wrong in a shop: each laid over two ordinary days of it, with its label."""

from collections.abc import Callable
from copy import deepcopy

from actors.kernel.clock import SECOND
from actors.simulated import payloads
from actors.simulated.business import DECLINES
from actors.simulated.commerce import Charge, Payload, Plan, Subscription
from benchmarks.scenario_scene import DAY, END_OF_TIME, HOUR, Scene, incident, whose


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


def renewals_stop(scene: Scene) -> None:
    """Billing renews nothing any more: no new period, no invoice, no payment."""
    gone = scene.renewals(48)
    scene.told = [(at, one) for at, one in scene.told if one["created"] < gone.get(whose(one), END_OF_TIME)]


def first_of_month(scene: Scene) -> None:
    """Four times the renewals, declined twice as often."""
    for at in scene.times(2 * scene.size, 24):
        scene.renew(at, scene.rng.choice(DECLINES) if scene.rng.random() < 0.1 else None)


def whale_leaves(scene: Scene) -> None:
    """One customer who is 30 % of what recurs."""
    dollars = [one.plan for one in scene.live if one.plan.currency == "usd"]
    rest = sum(plan.amount / (12 if plan.interval == "year" else 1) for plan in dollars)
    plan = Plan("price_large", "prod_team", round(12 * rest * 3 / 7), "usd", "year")
    joined = scene.start - 200 * DAY
    whale = Subscription(scene.ids.new("sub_", joined), scene.regular(), plan, joined, joined)
    scene.change(scene.start - 8 * HOUR, whale, metadata={})
    scene.cancel(scene.start, whale)


def dispute_wave(scene: Scene) -> None:
    """Three weeks after a card test: ten disputes in a day and a half."""
    for at in scene.times(10, 36):
        before = at - 21 * DAY
        one = Charge(scene.ids.new("ch_", before), scene.ids.new("pi_", before), scene.regular(), 100, "usd", before)
        scene.tell("charge.dispute.created", at, one.customer, payloads.dispute(scene.ids.new("dp_", at), one, at))


def paid_twice(number: Callable[[int], int], hours: float) -> Callable[[Scene], None]:
    """So many customers, by the size of the shop, pay twice."""

    def story(scene: Scene) -> None:
        for at in scene.times(number(scene.size), hours):
            who = scene.regular()
            scene.pay(at, who, 2_900)
            scene.pay(at + 40, who, 2_900)

    return story


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


LOSS = "cancellation_cluster mrr_drop churn_spike"
ABSENCE = "renewals_missing revenue_drop signup_drop silent_lapse webhook_lag"

INCIDENTS = (
    incident("card test, 120 an hour", card_test_fast, "card_testing", also="decline_spike"),
    incident("card test by SetupIntents", card_test_by_setup, "card_testing"),
    incident("card test, 8 an hour", card_test_slow, "card_testing decline_spike", days=2),
    incident("gateway outage, 30 min", outage(0.5), "decline_spike", from_size=500, why="fewer than six payers try"),
    incident("gateway outage, 6 h", outage(6), "decline_spike", from_size=50, why="one payment in six hours"),
    incident(
        "first of the month, 2x declines",
        first_of_month,
        "decline_spike",
        from_size=5_000,
        why="1.8 times the usual share",
        days=2,
    ),
    incident("refunds, 20 an hour from 02:00", refunds(60, 3), "refund_spike", also="revenue_drop", hour=2),
    incident("refunds, 12 in 6 h", refunds(12, 6), "refund_spike", to_size=50, why="ten are usual in those hours"),
    incident("refunds, a loop of parts", refund_loop, "refund_spike"),
    incident("price bug, 5 % cancel", price_bug, "cancellation_cluster", also=LOSS, from_size=50, why="none cancels"),
    incident("a third leaves in a day", exodus, LOSS, days=2),
    incident("a third of MRR leaves at once", whale_leaves, "mrr_drop"),
    incident(
        "renewals stop", renewals_stop, "renewals_missing", also=ABSENCE, from_size=500, why="too few are due", days=2
    ),
    incident("endpoint silent", endpoint_down, "webhook_silence", also=ABSENCE, from_size=50, why="too little", days=2),
    incident("no sign-ups", no_signups, "signup_drop", also=ABSENCE, from_size=500, why="too few are usual", days=2),
    incident("sign-up bots, 60 in 1 h", bots, "subscription_spike"),
    incident("dispute wave, 10 in 36 h", dispute_wave, "dispute_spike", days=2),
    incident("double clicks, 5", paid_twice(lambda _: 5, 6), "duplicate_charge"),
    incident(
        "3 % charged twice", paid_twice(lambda size: 3 * size // 100, 12), "duplicate_charge", from_size=50, why="none"
    ),
    incident("refund of $19,000", huge_refund, "amount_outlier", from_size=500, why="50 refunds are not known"),
)
