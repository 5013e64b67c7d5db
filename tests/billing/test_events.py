import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.billing.events import READERS, normalise
from actors.billing.facts import (
    Arrival,
    Attempt,
    ChargeState,
    CustomerState,
    Discount,
    Fact,
    InvoiceAttempt,
    InvoiceLine,
    InvoiceLink,
    InvoiceState,
    Item,
    PaymentMethodAttached,
    SetupAttempt,
    SubscriptionState,
)
from actors.billing.projection import Projector
from actors.kernel.clock import SECOND
from tests.billing.stripe_events import START, Event, charge, event, intent_of, invoice_of, refund

NOW = (START + 100) * SECOND
AT = START * SECOND
CORPUS = Path(os.environ.get("NIGHTDESK_TEST_DATA", "/nonexistent")) / "stripe_events"


def facts(one: Event) -> tuple[Fact, ...]:
    """As the daemon reads it: projected first."""
    return normalise(Projector(bytes(32)).project(one), NOW)


def test_a_charge_is_an_attempt_and_a_state() -> None:
    one = charge(0, id_="ch_1", intent="pi_1", invoice="in_1", key="order-1")
    arrival, attempt, state = facts(one)
    payer = getattr(attempt, "payer")  # noqa: B009 - a keyed hash: only its being there is known
    assert len(payer) >= 16
    assert arrival == Arrival(AT, one["id"], "charge.succeeded")
    assert attempt == Attempt(
        AT,
        one["id"],
        key="ch_1",
        succeeded=True,
        charge="ch_1",
        payment_intent="pi_1",
        invoice="in_1",
        customer="cus_1",
        payer=payer,
        amount=2900,
        currency="usd",
        code="",
        idempotency_key="order-1",
        automatic=False,
    )
    assert state == ChargeState(AT, one["id"], "ch_1", "pi_1", "cus_1", 2900, 0, 0, "usd")


def test_all_announcements_of_an_attempt_bear_the_same_key() -> None:
    declined = charge(0, id_="ch_1", failed=True)
    keys = {fact.key for one in (declined, intent_of(declined)) for fact in facts(one) if isinstance(fact, Attempt)}
    assert keys == {"ch_1"}


@pytest.mark.parametrize(
    "link",
    [
        {"latest_charge": {"id": "ch_1", "object": "charge"}},
        {"charges": {"data": [{"id": "ch_1"}, {"id": "ch_0"}]}},
        {"last_payment_error": {"charge": "ch_1"}},
    ],
)
def test_every_shape_in_which_an_intent_names_its_charge_is_read(link: dict[str, Any]) -> None:
    one = event("payment_intent.payment_failed", {"id": "pi_1", "object": "payment_intent", "amount": 1} | link, 0)
    (_, attempt) = facts(one)
    assert isinstance(attempt, Attempt)
    assert attempt.key == "ch_1"


def test_an_attempt_without_a_charge_is_told_apart_by_its_second() -> None:
    keys = set()
    for at in (0, 0, 5):
        (_, attempt) = facts(event("payment_intent.payment_failed", {"id": "pi_1", "object": "payment_intent"}, at))
        assert isinstance(attempt, Attempt)
        keys.add(attempt.key)
    assert len(keys) == 2


@pytest.mark.parametrize(("basil", "invoice"), [(False, ""), (True, None)])
def test_a_charge_of_no_invoice_is_told_from_one_that_cannot_say(basil: bool, invoice: str | None) -> None:
    (_, attempt, _) = facts(charge(0, basil=basil))
    assert isinstance(attempt, Attempt)
    assert attempt.invoice == invoice


def old_subscription() -> dict[str, Any]:
    """2017: one plan, periods on the subscription."""
    plan = {"id": "gold", "amount": 2000, "currency": "usd", "interval": "month", "interval_count": 1}
    coupon = {"id": "x", "percent_off": 25, "duration": "forever"}
    return {
        "plan": plan,
        "quantity": 2,
        "current_period_start": START,
        "current_period_end": START + 100,
        "discount": {"coupon": coupon, "end": None},
    }


def new_subscription() -> dict[str, Any]:
    """Since 2025-03-31.basil: prices, periods on the items, a list of discounts."""
    price = {
        "id": "gold",
        "currency": "usd",
        "product": "prod_1",
        "unit_amount": None,
        "unit_amount_decimal": "2000",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
    }
    item = {
        "id": "si_1",
        "price": price,
        "quantity": 2,
        "current_period_start": START,
        "current_period_end": START + 100,
    }
    coupon = {"id": "x", "percent_off": 25.0, "duration": "forever"}
    return {"currency": "usd", "items": {"data": [item]}, "discounts": [{"source": {"coupon": coupon}}]}


@pytest.mark.parametrize("shape", [old_subscription(), new_subscription()])
def test_old_and_new_subscriptions_say_the_same(shape: dict[str, Any]) -> None:
    subject = {"id": "sub_1", "object": "subscription", "customer": {"id": "cus_1"}, "status": "active", **shape}
    one = event("customer.subscription.updated", subject, 0)
    one["data"]["previous_attributes"] = {"status": "trialing"}
    (_, state) = facts(one)
    assert isinstance(state, SubscriptionState)
    (item,) = state.items
    assert (item.price, item.quantity, item.unit_amount, item.interval) == ("gold", 2, 2000.0, "month")
    assert (state.customer, state.status, state.currency) == ("cus_1", "active", "usd")
    assert (state.period_start, state.period_end) == (AT, AT + 100 * SECOND)
    assert state.discounts == (Discount(25.0, None, "", "forever", None),)
    assert state.previous == {"status": "trialing"}


def test_a_tiered_price_has_no_amount_of_its_own() -> None:
    price = {"id": "p", "unit_amount": 100, "billing_scheme": "tiered", "recurring": {"interval": "year"}}
    subject = {"id": "sub_1", "items": {"data": [{"id": "si_1", "price": price}]}}
    (_, state) = facts(event("customer.subscription.created", subject, 0))
    assert isinstance(state, SubscriptionState)
    assert state.items == (Item("p", None, None, "", "year", 1, metered=False, period_end=None),)


@pytest.mark.parametrize(
    "shape",
    [
        {"subscription": "sub_1", "lines": {"data": [{"amount": 5, "price": {"id": "p"}, "proration": True}]}},
        {
            "parent": {"subscription_details": {"subscription": "sub_1"}},
            "lines": {
                "data": [
                    {
                        "amount": 5,
                        "pricing": {"price_details": {"price": "p"}},
                        "parent": {"subscription_item_details": {"proration": True}},
                    }
                ]
            },
        },
    ],
)
def test_old_and_new_invoices_say_the_same(shape: dict[str, Any]) -> None:
    (_, state) = facts(event("invoice.updated", {"id": "in_1", "object": "invoice", "status": "open", **shape}, 0))
    assert isinstance(state, InvoiceState)
    assert state.subscription == "sub_1"
    assert state.lines == (InvoiceLine(5, proration=True, period_start=None, period_end=None),)


def test_a_paid_invoice_is_an_attempt_unless_nothing_was_paid_through_stripe() -> None:
    paid = invoice_of(charge(0), "invoice.paid")
    assert [type(fact) for fact in facts(paid)] == [Arrival, InvoiceState, InvoiceAttempt]
    for change in ({"paid_out_of_band": True}, {"amount_paid": 0}):
        paid["data"]["object"] |= change
        assert [type(fact) for fact in facts(paid)] == [Arrival, InvoiceState]


def test_other_objects_are_read() -> None:
    payment = {"type": "payment_intent", "payment_intent": "pi_1"}
    told: dict[str, tuple[dict[str, Any], type[Fact]]] = {
        "invoice_payment.paid": ({"invoice": "in_1", "payment": payment}, InvoiceLink),
        "setup_intent.setup_failed": ({"last_setup_error": {"decline_code": "incorrect_cvc"}}, SetupAttempt),
        "payment_method.attached": ({"customer": "cus_1", "card": {"fingerprint": "f"}}, PaymentMethodAttached),
        "customer.deleted": ({"created": START}, CustomerState),
    }
    for kind, (subject, expected) in told.items():
        (_, fact) = facts(event(kind, {"id": "x_1"} | subject, 0))
        assert type(fact) is expected


@pytest.mark.parametrize(
    ("created", "at"),
    [
        (START, AT),
        (str(START), AT),
        ("2026-05-28T20:26:40Z", AT),
        (None, NOW),
        ("soon", NOW),
        (START * 1000, NOW),
        (START + 200, AT + 200 * SECOND),
        (START + 500, NOW),
    ],
)
def test_an_unreadable_or_impossible_time_is_the_time_of_arrival(created: object, at: int) -> None:
    (arrival,) = normalise({"id": "evt_1", "type": "x", "created": created}, NOW)
    assert arrival.at == at


@pytest.mark.parametrize(
    ("request_", "automatic", "key"),
    [
        (None, True, ""),
        ("req_1", False, ""),
        ({"id": None}, True, ""),
        ({"id": "r", "idempotency_key": "k"}, False, "k"),
    ],
)
def test_who_asked_is_read_from_every_shape_of_request(request_: object, automatic: bool, key: str) -> None:
    (_, attempt, _) = facts(charge(0) | {"request": request_})
    assert isinstance(attempt, Attempt)
    assert (attempt.automatic, attempt.idempotency_key) == (automatic, key)


def test_a_type_nobody_knows_is_an_arrival_and_no_more() -> None:
    (arrival,) = facts(event("treasury.surprise", {"id": "x"}, 0))
    assert isinstance(arrival, Arrival)


EXAMPLES = [
    charge(0, invoice="in_1"),
    charge(0, failed=True, basil=True),
    intent_of(charge(0, failed=True)),
    invoice_of(charge(0), "invoice.paid"),
    refund(0, id_="re_1", charge_id="ch_1", amount=1),
    event("customer.subscription.updated", {"id": "sub_1", **old_subscription()}, 0),
    event("customer.subscription.updated", {"id": "sub_1", **new_subscription()}, 0),
]
numbers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats())  # the JSON reader gives no longer integers
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5), st.just("2026-01-01"))
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


def paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a tree of JSON."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from paths(child, (*path, key))


@given(st.data())
@settings(max_examples=300)
def test_whatever_stands_in_the_place_of_any_value_nothing_raises(data: st.DataObject) -> None:
    one = json.loads(json.dumps(data.draw(st.sampled_from(EXAMPLES))))
    for _ in range(data.draw(st.integers(1, 3))):
        *into, last = data.draw(st.sampled_from(list(paths(one))))
        place: Any = one
        for key in into:
            place = place[key]
        place[last] = data.draw(anything)
    one["type"] = data.draw(st.sampled_from(sorted(READERS)))
    for read in (one, Projector(bytes(32)).project(one)):
        found = normalise(read, NOW)
        assert isinstance(found[0], Arrival)
        assert all(0 <= fact.at <= NOW + 300 * SECOND for fact in found)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="NIGHTDESK_TEST_DATA does not point to the corpus")
def test_every_payload_of_the_corpus_is_understood_or_known_to_mean_nothing() -> None:
    understood = 0
    for path in sorted(CORPUS.glob("*__*.json")):
        one = json.loads(path.read_bytes())
        found = facts(one)
        assert isinstance(found[0], Arrival), path.name
        assert (len(found) > 1) == (one["type"] in READERS), path.name
        understood += len(found) > 1
        if one["type"].startswith("customer.subscription."):
            (state,) = found[1:]
            assert isinstance(state, SubscriptionState), path.name
            assert state.items, path.name
            assert state.customer, path.name
            assert state.period_end, path.name
    assert understood > 60
