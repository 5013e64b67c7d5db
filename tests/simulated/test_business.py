"""The simulated business: the same life from the same seed, in events such as Stripe's."""

from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Any

import orjson
import pytest

from actors.billing.events import normalise
from actors.billing.projection import Projector
from actors.kernel.clock import SECOND, chance
from actors.simulated.business import INCIDENTS, Business
from actors.simulated.commerce import LEGACY, MODERN
from tests.billing.night import Night
from tests.billing.stripe_events import START

HOUR = 3600


def life(seed: int = 1, **settings: Any) -> Business:
    return Business(chance(seed), START, **settings)


def until(business: Business, seconds: int) -> Iterator[dict[str, Any]]:
    return (event for _, event in takewhile(lambda one: one[0] < (START + seconds) * SECOND, business.events()))


def test_the_same_seed_is_the_same_life_and_another_is_another() -> None:
    first, again, other = (list(islice(life(seed).events(), 300)) for seed in (1, 1, 2))
    assert first == again != other


def test_events_come_in_the_order_of_time_about_when_they_happened() -> None:
    told = list(islice(life(incident_every_s=900).events(), 2_000))
    assert [at for at, _ in told] == sorted(at for at, _ in told)
    assert all(abs(at - event["created"] * SECOND) < 2 * SECOND for at, event in told)


def test_ids_are_stripes_and_of_one_event_each() -> None:
    events = list(until(life(), 6 * HOUR))
    ids = [event["id"] for event in events]
    assert len(set(ids)) == len(ids) > 100
    assert all(one.startswith("evt_1") and len(one) == 28 for one in ids)


def test_both_shapes_are_told_and_sizes_are_stripes() -> None:
    events = list(until(life(), 6 * HOUR))
    assert {event["api_version"] for event in events} == {LEGACY, MODERN}
    sizes = sorted(len(orjson.dumps(event, option=orjson.OPT_INDENT_2)) for event in events)
    assert sizes[0] > 600
    assert 1_500 < sizes[len(sizes) // 2] < 4_000
    assert sizes[-1] < 6_000


def test_every_kind_of_event_that_moves_money_or_subscriptions_is_told_and_understood() -> None:
    kinds = set()
    for event in until(life(incident_every_s=1_200), 24 * HOUR):
        kinds.add(event["type"])
        facts = normalise(Projector(b"k").project(event), event["created"] * SECOND)
        if event["type"].startswith(("charge.", "payment_intent.", "radar.", "refund.")):
            assert facts, event["type"]
    assert kinds >= {
        "customer.created",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "invoice.created",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice_payment.paid",
        "charge.succeeded",
        "charge.failed",
        "charge.refunded",
        "charge.dispute.created",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "refund.created",
        "radar.early_fraud_warning.created",
    }


def opened(business: Business, hours: int) -> set[str]:
    """The signals that the watch saw in it."""
    night = Night(customer_decline_count=5)
    for event in until(business, hours * HOUR):
        night.deliver(event)
    return {step.incident.signal for step in night.steps if step.state == "opened"}


@pytest.mark.parametrize(
    ("incident", "signal"),
    [
        ("charged_twice", "duplicate_charge"),
        ("card_keeps_failing", "decline_spike"),
        ("refund_too_large", "refund_exceeds_charge"),
        ("fraud_warnings", "dispute_spike"),
        ("chargebacks", "dispute_spike"),
    ],
)
def test_what_goes_wrong_is_noticed(incident: str, signal: str) -> None:
    business = life()
    business.cause(incident)
    assert signal in opened(business, 2)


def test_where_nothing_goes_wrong_nobody_is_woken() -> None:
    for seed in range(5):
        assert opened(life(seed), 12) <= {"dispute_spike"}  # there is a chargeback now and then


@pytest.mark.parametrize("incident", INCIDENTS)
def test_every_incident_can_be_caused(incident: str) -> None:
    business, calm = (life(customers=60, busy=1e-6) for _ in "ab")
    business.cause(incident)
    assert len(list(until(business, 2 * HOUR))) >= len(list(until(calm, 2 * HOUR))) + 4


def test_an_incident_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="earthquake: no such incident; there are charged_twice, "):
        life().cause("earthquake")
