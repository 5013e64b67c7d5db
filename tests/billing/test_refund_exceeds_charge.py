from itertools import permutations

import pytest

from actors.store.records import Severity
from tests.billing.night import Night
from tests.billing.stripe_events import Event, charge, refund

CHARGE = "ch_000001"


def refunded(at: int, total: int, *, amount: int = 60000, currency: str = "usd") -> Event:
    """charge.refunded; its `amount_refunded` is cumulative."""
    return charge(at, id_=CHARGE, kind="charge.refunded", amount=amount, refunded=total, currency=currency)


@pytest.mark.parametrize("order", list(permutations((20000, 40000, 60000))))
def test_partial_refunds_that_come_to_the_charge_are_nothing(order: tuple[int, ...]) -> None:
    """In any order, each told twice: Stripe's totals are states, not parts."""
    night = Night()
    for at, total in enumerate(order):
        night.deliver(refunded(at, total), refunded(at, total))
    assert night.incidents() == []
    night.deliver(refunded(10, 60001))
    assert night.only("refund_exceeds_charge").evidence["refunded_minor"] == 60001


def test_one_cent_over_is_critical_and_names_the_excess() -> None:
    night = Night()
    night.deliver(refunded(0, 60001))
    incident = night.only("refund_exceeds_charge")
    assert (incident.severity, incident.scope) == (Severity.CRITICAL, CHARGE)
    assert incident.title == "$600.01 refunded on a charge of $600.00 ($0.01 too much)"
    assert incident.evidence["excess_minor"] == 1


def test_yen_are_whole() -> None:
    night = Night()
    night.deliver(refunded(0, 50000, amount=40000, currency="jpy"))
    assert night.only("refund_exceeds_charge").title == "¥50,000 refunded on a charge of ¥40,000 (¥10,000 too much)"


def test_the_same_state_told_again_is_one_anomaly_and_a_higher_one_an_update() -> None:
    night = Night()
    night.deliver(refunded(0, 60001), refunded(1, 60001), refunded(2, 70000))
    assert [step.state for step in night.steps] == ["opened", "updated"]


def test_refund_objects_are_held_against_the_charge_they_name() -> None:
    night = Night()
    night.deliver(charge(0, id_=CHARGE, amount=5000))
    night.deliver(refund(10, id_="re_1", charge_id=CHARGE, amount=3000))
    night.deliver(refund(20, id_="re_2", charge_id=CHARGE, amount=2000))
    assert night.incidents() == []
    night.deliver(refund(30, id_="re_3", charge_id=CHARGE, amount=500))
    assert night.only("refund_exceeds_charge").evidence["excess"] == "$5.00"


def test_refunds_that_come_before_their_charge_are_remembered() -> None:
    night = Night()
    night.deliver(refund(10, id_="re_1", charge_id=CHARGE, amount=6000), charge(0, id_=CHARGE, amount=5000), at=20)
    night.only("refund_exceeds_charge")


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0)])
def test_a_refund_that_failed_and_was_made_again_is_nothing(order: tuple[int, ...]) -> None:
    night = Night()
    told = [
        refund(10, id_="re_1", charge_id=CHARGE, amount=5000, status="pending"),
        refund(20, id_="re_1", charge_id=CHARGE, amount=5000, status="failed", kind="refund.failed"),
        refund(30, id_="re_2", charge_id=CHARGE, amount=5000),
    ]
    night.deliver(charge(0, id_=CHARGE, amount=5000), *(told[index] for index in order), at=40)
    assert night.incidents() == []


def test_a_charge_that_lists_its_refunds_says_the_same_as_they_do() -> None:
    """Until 2022-11-15 charge.refunded carried the refunds themselves."""
    one = refunded(0, 5000, amount=5000)
    one["data"]["object"]["refunds"] = {"data": [{"id": "re_1", "amount": 5000, "status": "succeeded"}]}
    night = Night()
    night.deliver(one, refund(1, id_="re_1", charge_id=CHARGE, amount=5000))
    assert night.incidents() == []


def test_an_authorisation_that_was_let_go_may_be_listed_as_a_refund_and_is_not_too_much() -> None:
    told = refunded(0, 60000)
    let_go = {"id": "re_1", "object": "refund", "amount": 60000, "charge": CHARGE, "status": "succeeded"}
    told["data"]["object"] |= {"amount_captured": 0, "captured": False, "refunds": {"data": [let_go]}}
    night = Night()
    night.deliver(told)
    assert night.incidents() == []
