"""Projection and redaction keep what decisions need and nothing that belongs to a person."""

import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.billing.projection import ARCHIVED, PROJECTED, Projector

PROJECTOR = Projector(b"k" * 32)
GENEROUS = Projector(b"k" * 32, ARCHIVED)
PERSONAL = (
    "name email phone address line1 line2 city postal_code country state_line last4 exp_month exp_year brand iban "
    "number cvc description metadata receipt_email receipt_url customer_email customer_name customer_phone "
    "customer_address shipping billing_details ip ip_address client_ip hosted_invoice_url invoice_pdf client_secret "
    "message seller_message comment statement_descriptor individual_name account_holder_name routing_number "
    "customer_details custom_fields evidence owner individual dob ssn_last_4 business_profile "
    "tax_ids value verified_name nickname"
).split()


def charge(**changes: Any) -> dict[str, Any]:
    subject = {
        "id": "ch_1",
        "object": "charge",
        "amount": 1900,
        "currency": "usd",
        "customer": "cus_1",
        "payment_method_details": {"type": "card", "card": {"fingerprint": "Xt5EWLLDS7FJjR1c", "last4": "4242"}},
    }
    return event(subject | changes)


def event(subject: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "object": "event",
        "type": "charge.succeeded",
        "created": 1_790_000_000,
        "data": {"object": subject},
    } | changes


def kept(whole: dict[str, Any]) -> Any:
    return PROJECTOR.project(whole)["data"]["object"]


def test_what_decisions_read_stays_where_it_was() -> None:
    subject = kept(charge(outcome={"type": "blocked", "reason": "highest_risk_level", "seller_message": "Blocked."}))
    assert subject["amount"] == 1900
    assert subject["outcome"] == {"type": "blocked", "reason": "highest_risk_level"}


def test_two_cards_are_told_apart_and_one_is_recognised_without_saying_which() -> None:
    other = {"type": "card", "card": {"fingerprint": "another"}}
    assert kept(charge())["payer"] == kept(charge(amount=5))["payer"]
    assert kept(charge())["payer"] != kept(charge(payment_method_details=other))["payer"]
    assert b"Xt5EWLLDS7FJjR1c" not in orjson.dumps(PROJECTOR.project(charge()))


def test_two_installations_know_a_card_under_different_hashes() -> None:
    theirs = Projector(b"another key of thirty-two bytes!").project(charge())["data"]["object"]
    assert theirs["payer"] != kept(charge())["payer"]


def test_the_payer_of_a_failed_payment_intent_is_found() -> None:
    error = {"code": "card_declined", "payment_method": {"id": "pm_1", "card": {"fingerprint": "Xt5EWLLDS7FJjR1c"}}}
    assert kept(event({"id": "pi_1", "last_payment_error": error}))["payer"] == kept(charge())["payer"]


def test_an_id_that_is_an_address_is_kept_as_a_hash_that_still_groups() -> None:
    """Owners of old accounts chose the ids of their customers."""
    first, again = kept(charge(customer="jane@example.com")), kept(charge(customer="jane@example.com"))
    assert first["customer"] == again["customer"] != kept(charge(customer="joe@example.com"))["customer"]
    assert "jane" not in first["customer"]


def test_a_null_is_kept_where_it_says_what_was_before() -> None:
    whole = event({"id": "sub_1", "canceled_at": 5})
    whole["data"]["previous_attributes"] = {"canceled_at": None, "items": {"data": [{"current_period_end": None}]}}
    assert PROJECTOR.project(whole)["data"]["previous_attributes"] == whole["data"]["previous_attributes"]


def test_a_charge_without_invoice_differs_from_one_of_the_years_when_charges_no_longer_say() -> None:
    assert kept(charge(invoice=None))["invoice"] is None
    assert "invoice" not in kept(charge())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (1_790_000_000, 1_790_000_000),
        (1_790_000_000.7, 1_790_000_000),
        ("1790000000", 1_790_000_000),
        ("2026-09-21T13:33:20.000Z", 1_789_997_600),
        ("2026-09-21T13:33:20", 1_789_997_600),
    ],
)
def test_created_is_unix_seconds_however_it_was_written(written: object, read: int) -> None:
    assert PROJECTOR.project(event({}, created=written))["created"] == read


@pytest.mark.parametrize("written", [None, True, "soon", "٣" * 5000, -1, 1 << 60, 1e300, float("nan"), [1], {"a": 1}])
def test_a_created_that_makes_no_sense_is_left_out(written: object) -> None:
    assert "created" not in PROJECTOR.project(event({}, created=written))


def test_an_event_nested_deeper_than_any_of_stripes_is_cut_off() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"data": deep, "object": "x"}
    assert PROJECTOR.project(deep)["object"] == "x"


POISON = "Marjorie-Blenkinsop"
TREES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 63), 1 << 63),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(sorted(ARCHIVED)) | st.text(max_size=6), inner, max_size=6),
    ),
    max_leaves=20,
)


def poisoned(tree: Any) -> Any:
    """Every object of the tree knows a person, under every name Stripe has for that."""
    match tree:
        case dict():
            return {key: poisoned(value) for key, value in tree.items()} | {
                key: {"id": POISON, "data": [{"status": POISON}]} if key in {"metadata", "shipping"} else POISON
                for key in PERSONAL
            }
        case list():
            return [poisoned(entry) for entry in tree]
    return tree


def test_no_allowed_key_is_a_personal_one() -> None:
    assert not set(PERSONAL) & ARCHIVED


@given(TREES)
def test_nothing_personal_survives(tree: Any) -> None:
    whole = poisoned({"id": "evt_1", "data": {"object": tree, "previous_attributes": tree}, "items": tree})
    assert POISON.encode() not in orjson.dumps(PROJECTOR.project(whole))
    assert POISON.encode() not in orjson.dumps(GENEROUS.project(whole))


@given(TREES)
def test_what_is_kept_generously_projects_to_what_the_event_projects_to(tree: Any) -> None:
    whole = event({"id": "ch_1", "payment_method_details": tree}, items=tree)
    assert PROJECTOR.project(GENEROUS.project(whole)) == PROJECTOR.project(whole)


def test_the_generous_allowlist_has_all_of_the_narrow_one() -> None:
    assert PROJECTED < ARCHIVED


CORPUS = Path(os.environ.get("NIGHTDESK_TEST_DATA", "."), "stripe_events")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="NIGHTDESK_TEST_DATA names no folder with recorded events")
def test_recorded_events_of_all_years_keep_their_identity_and_lose_their_people() -> None:
    paths = sorted(CORPUS.glob("*.json"))
    assert len(paths) > 200
    for path in paths:
        whole = json.loads(path.read_bytes())
        if not isinstance(whole, dict) or "type" not in whole:
            continue
        projection = PROJECTOR.project(poisoned(whole))
        assert projection["type"] == whole["type"], path.name
        assert ("id" in projection) == (whole.get("id") is not None), path.name
        assert isinstance(projection.get("created", 0), int), path.name
        assert POISON.encode() not in orjson.dumps([projection, GENEROUS.project(poisoned(whole))]), path.name
        assert PROJECTOR.project(GENEROUS.project(whole)) == PROJECTOR.project(whole), path.name
