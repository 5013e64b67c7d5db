from itertools import permutations
from typing import Any

import pytest

from actors.store.records import Severity
from tests.billing.night import Night
from tests.billing.stripe_events import Event, charge, event, intent_of, invoice_of

SDK_KEYS = (
    "3f0e7b0a-58c6-4bb4-9a0c-6d0c1e7a5a11",
    "stripe-node-retry-0b6d2c4e-18a7-4c55-8f9e-3a2b1c0d9e8f",
    "1700000000123456789_aB3_x9",
)


def test_the_same_amount_twice_within_a_minute_is_a_warning_for_this_customer() -> None:
    night = Night()
    first, second = charge(0), charge(60)
    night.deliver(first, second)
    incident = night.only("duplicate_charge")
    assert (incident.severity, incident.scope) == (Severity.WARNING, "cus_1")
    assert incident.title == "Charged twice: $29.00, 60 s apart"
    charges = [one["data"]["object"]["id"] for one in (first, second)]
    assert incident.evidence["charges"] == charges
    assert incident.evidence["seconds_apart"] == 60
    assert f"https://dashboard.stripe.com/payments/{charges[1]}" in incident.evidence["links"]
    assert incident.event_ids == (first["id"], second["id"])
    assert night.readings[-1] == (1.0, True)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_order_of_delivery_does_not_matter(order: tuple[int, int]) -> None:
    pair = [charge(0), charge(600)]
    night = Night()
    night.deliver(*(pair[index] for index in order), at=700)
    assert night.only("duplicate_charge").evidence["seconds_apart"] == 600


def test_just_under_ten_minutes_are_told_to_the_second() -> None:
    night = Night()
    night.deliver(charge(0), charge(599))
    assert night.only("duplicate_charge").title == "Charged twice: $29.00, 9 min 59 s apart"


@pytest.mark.parametrize("amount", [0, -2900])
def test_where_no_money_was_taken_none_was_taken_twice(amount: int) -> None:
    night = Night()
    night.deliver(charge(0, amount=amount), charge(60, amount=amount))
    assert night.incidents("duplicate_charge") == []


@pytest.mark.parametrize(("late_s", "incidents"), [(23 * 3600, 1), (25 * 3600, 0)])
def test_what_was_paid_more_than_a_day_ago_opens_nothing(late_s: int, incidents: int) -> None:
    night = Night()
    night.deliver(charge(0), charge(60), at=late_s)
    assert len(night.incidents("duplicate_charge")) == incidents


def test_six_hundred_and_one_seconds_apart_are_two_purchases() -> None:
    night = Night()
    night.deliver(charge(0), charge(601))
    assert night.incidents() == []


@pytest.mark.parametrize("other", [{"currency": "eur"}, {"amount": 2901}, {"customer": "cus_2"}, {"failed": True}])
def test_another_currency_amount_or_customer_or_a_decline_is_none(other: dict[str, Any]) -> None:
    night = Night()
    night.deliver(charge(0), charge(60, **other))
    assert night.incidents() == []


def test_one_payment_intent_is_one_payment_however_many_charges_it_took() -> None:
    night = Night()
    night.deliver(charge(0, intent="pi_same"), charge(60, intent="pi_same"))
    assert night.incidents() == []


def test_the_same_card_without_a_customer_is_one_buyer() -> None:
    night = Night()
    night.deliver(charge(0, customer=None, fingerprint="card"), charge(5, customer=None, fingerprint="card"))
    incident = night.only("duplicate_charge")
    assert incident.scope.startswith("payer ")
    assert "card" not in incident.scope


def test_different_invoices_are_different_things() -> None:
    night = Night()
    night.deliver(charge(0, invoice="in_1"), charge(60, invoice="in_2"))
    assert night.incidents() == []


def test_one_invoice_paid_twice_is_a_duplicate() -> None:
    night = Night()
    night.deliver(charge(0, invoice="in_1"), charge(60, invoice="in_1"))
    night.only("duplicate_charge")


def test_keys_of_the_application_that_differ_name_two_orders() -> None:
    night = Night()
    night.deliver(charge(0, key="order-17"), charge(60, key="order-18"))
    assert night.incidents() == []


@pytest.mark.parametrize(("one", "other"), [(SDK_KEYS[0], SDK_KEYS[1]), (SDK_KEYS[2], "order-18"), ("order-17", None)])
def test_keys_made_up_by_a_library_prove_nothing(one: str, other: str | None) -> None:
    night = Night()
    night.deliver(charge(0, key=one), charge(60, key=other))
    night.only("duplicate_charge")


@pytest.mark.parametrize("linked", [True, False])
def test_many_events_about_one_payment_are_one_payment(linked: bool) -> None:
    paid = charge(0, invoice="in_1")
    kinds = ("invoice.paid", "invoice.payment_succeeded")
    told = [paid, intent_of(paid), *(invoice_of(paid, kind, linked=linked) for kind in kinds)]
    for order in permutations(told):
        night = Night()
        night.deliver(*order)
        night.pass_minutes(10)
        assert night.incidents() == []


def test_a_payer_learnt_from_the_second_event_of_a_payment_is_compared() -> None:
    """The payment intent tells of no card; its charge, which comes later, does."""
    night = Night()
    first, second = (charge(at, customer=None, fingerprint="card") for at in (0, 20))
    night.deliver(first, intent_of(second), second)
    assert night.only("duplicate_charge").evidence["observed"] == 2


def linked(paid: Event, number: int, at: int) -> Event:
    """Which invoice it paid, as is told since basil."""
    subject = {
        "id": f"inpay_{number}",
        "object": "invoice_payment",
        "invoice": f"in_{number}",
        "payment": {"type": "payment_intent", "payment_intent": paid["data"]["object"]["payment_intent"]},
    }
    return event("invoice_payment.paid", subject, at)


def test_a_second_seat_waits_for_its_invoice_when_the_first_had_one() -> None:
    first, second = charge(0, basil=True), charge(120, basil=True)
    night = Night()
    night.deliver(first, linked(first, 1, 2), second, linked(second, 2, 122))
    night.pass_minutes(5)
    assert night.incidents() == []


def test_renewals_since_basil_wait_for_the_invoices_that_tell_them_apart() -> None:
    """Two subscriptions of one customer renew in the same minute; the charges no longer name their invoices."""
    renewals = [charge(at, basil=True, request={"id": None, "idempotency_key": None}) for at in (0, 3)]
    links = [linked(renewal, number, 10) for number, renewal in enumerate(renewals)]
    night = Night()
    night.deliver(*renewals, *links)
    night.pass_minutes(5)
    assert night.incidents() == []
    unlinked = Night()
    unlinked.deliver(*renewals)
    assert unlinked.incidents() == []
    unlinked.pass_minutes(5)
    unlinked.only("duplicate_charge")


def test_three_charges_are_one_incident_that_names_all_three() -> None:
    night = Night()
    night.deliver(charge(0), charge(30), charge(60))
    incident = night.only("duplicate_charge")
    assert len(incident.evidence["charges"]) == 3
    assert incident.title.startswith("Charged 3 times")


def test_three_automatic_charges_that_waited_for_their_invoices_are_told_of_once() -> None:
    night = Night()
    night.deliver(*(charge(at, basil=True, request={"id": None, "idempotency_key": None}) for at in (0, 30, 60)))
    night.pass_minutes(10)
    assert [step.state for step in night.steps] == ["opened"]
    assert night.only("duplicate_charge").title.startswith("Charged 3 times")


def test_telling_of_the_same_pair_again_is_nothing_new() -> None:
    night = Night()
    first, second = charge(0), charge(30)
    night.deliver(first, second, intent_of(first), intent_of(second))
    assert [step.state for step in night.steps] == ["opened"]
