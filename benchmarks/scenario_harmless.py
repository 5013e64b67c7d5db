"""What only looks as if something went wrong."""

from collections.abc import Callable
from dataclasses import replace

from actors.kernel.clock import SECOND
from actors.simulated import payloads
from actors.simulated.business import PLANS
from actors.simulated.commerce import Charge, Subscription
from benchmarks.scenario_scene import DAY, END_OF_TIME, HOUR, Case, Scene, whose


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
    """Four times the renewals, declined as often as ever."""
    for at in scene.times(2 * scene.size, 24):
        scene.renew(at, "insufficient_funds" if scene.rng.random() < 0.05 else None)


def end_of_month(scene: Scene) -> None:
    """Accounts are empty: of a few more renewals than usual, one in eight is declined."""
    for at in scene.times(scene.size // 5, 20):
        scene.renew(at, "insufficient_funds" if scene.rng.random() < 0.125 else None)


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


def good_day(scene: Scene) -> None:
    """Somebody wrote about us: four times the sign-ups in twelve hours, all of them real."""
    for at in scene.times(2 * scene.size // 3, 12):
        scene.subscribe(at)


def new_prices(scene: Scene) -> None:
    """One subscriber in ten is moved to a new price, as was announced."""
    moved = scene.rng.sample(scene.live, len(scene.live) // 10)
    for at, one in zip(scene.times(len(moved), 4), moved, strict=True):
        one.plan = replace(one.plan, id=f"{one.plan.id}_2", amount=one.plan.amount + one.plan.amount // 10)
        scene.change(at, one, items={})


def recovered(scene: Scene) -> None:
    """One subscriber in twenty is past due and pays some hours later."""
    late = scene.rng.sample(scene.live, len(scene.live) // 20)
    for at, one in zip(scene.times(len(late), 12), late, strict=True):
        for after, status in ((0, "past_due"), (5 * HOUR, "active")):
            before, one.status = one.status, status
            scene.change(at + after, one, status=before)


def other_currency(scene: Scene) -> None:
    """One subscriber in ten goes on in another currency: another subscription, and the end of the old one."""
    moving = scene.rng.sample([one for one in scene.live if one.plan is PLANS[1]], len(scene.live) // 40)
    for at, one in zip(scene.times(len(moving), 10), moving, strict=True):
        new = Subscription(scene.ids.new("sub_", at), one.customer, PLANS[2], at, at)
        scene.tell("customer.subscription.created", at, one.customer, payloads.subscription(new))
        scene.cancel(at + 20, one)


def bought_again(scene: Scene) -> None:
    """Two seats, one after the other, each with its invoice; a card that works at the second try."""
    for number, at in enumerate(scene.times(12, 12)):
        who = scene.regular()
        for seat in range(2):
            when = at + 120 * seat
            one = Subscription(scene.ids.new("sub_", when), who, PLANS[0], when, when)
            declined = "do_not_honor" if number % 2 and not seat else None
            scene.collect(when, one, "subscription_create", declined)


def bills_late(scene: Scene) -> None:
    """Billing is 40 minutes behind for half a day."""
    late = scene.renewals(12)
    scene.told = [
        (at + 2400 * SECOND, one | {"created": one["created"] + 2400})
        if one["created"] >= late.get(whose(one), END_OF_TIME)
        else (at, one)
        for at, one in scene.told
    ]


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


def harmless(name: str, tell: Callable[[Scene], None], also: str = "") -> Case:
    """Nothing to be warned of."""
    return Case(name, tell, also=frozenset(also.split()))


HARMLESS = (
    harmless("an ordinary day", lambda _: None),
    harmless("launch day", launch),
    harmless("nine cards of one customer", nine_cards),
    harmless("first of the month", first_of_month),
    harmless("end of the month, empty accounts", end_of_month),
    harmless("four refunds to say sorry", founder_refunds),
    harmless("refund failed and made again", refund_reissued),
    harmless("yearly cohort lapses", cohort_lapses),
    harmless("good day, 4x sign-ups", good_day),
    harmless("new prices, as announced", new_prices, also="bulk_plan_change"),
    harmless("past due and recovered", recovered),
    harmless("on in another currency", other_currency),
    harmless("two seats, second tries", bought_again),
    harmless("renewals 40 min late", bills_late),
    harmless("holiday", holiday),
    harmless("Black Friday, 6x", black_friday),
    harmless("disputes move on", dispute_noise),
    harmless("redelivery, 3 days late", redelivery),
)
