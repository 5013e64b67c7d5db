"""Events as Stripe writes them, short of what nobody reads: enough for a story, in the shapes of several years."""

from itertools import count
from typing import Any

START = 1_780_000_000  # unix seconds, a Thursday in May 2026

Event = dict[str, Any]
_numbers = count(1)


def event(kind: str, subject: dict[str, Any], at: int, **envelope: Any) -> Event:
    """An envelope around the object; `at` in seconds after START."""
    return {
        "id": f"evt_{next(_numbers):06}",
        "object": "event",
        "api_version": "2024-06-20",
        "created": START + at,
        "livemode": True,
        "request": {"id": "req_1", "idempotency_key": None},
        "type": kind,
        "data": {"object": subject},
    } | envelope


def charge(
    at: int,
    *,
    id_: str = "",
    failed: bool = False,
    customer: str | None = "cus_1",
    amount: int = 2900,
    currency: str = "usd",
    intent: str | None = "",
    fingerprint: str = "",
    key: str | None = None,
    kind: str = "",
    basil: bool = False,
    invoice: str | None = None,
    refunded: int = 0,
    **envelope: Any,
) -> Event:
    """charge.succeeded or charge.failed; with `basil` the charge no longer says which invoice it pays."""
    number = next(_numbers)
    subject = {
        "id": id_ or f"ch_{number:06}",
        "object": "charge",
        "amount": amount,
        "amount_refunded": refunded,
        "created": START + at,
        "currency": currency,
        "customer": customer,
        "failure_code": "card_declined" if failed else None,
        "outcome": {"type": "issuer_declined", "reason": "insufficient_funds"} if failed else {"type": "authorized"},
        "paid": not failed,
        "payment_intent": f"pi_{number:06}" if intent == "" else intent,
        "payment_method_details": {"card": {"fingerprint": fingerprint or f"fp{number}"}, "type": "card"},
        "status": "failed" if failed else "succeeded",
    }
    if not basil:
        subject["invoice"] = invoice
    request = {"request": {"id": "req_1", "idempotency_key": key}}
    return event(kind or ("charge.failed" if failed else "charge.succeeded"), subject, at, **(request | envelope))


def intent_of(charge_event: Event, *, kind: str = "", charge_known: bool = True) -> Event:
    """The payment intent's own event about the same attempt."""
    subject = charge_event["data"]["object"]
    failed = subject["status"] == "failed"
    return event(
        kind or ("payment_intent.payment_failed" if failed else "payment_intent.succeeded"),
        {
            "id": subject["payment_intent"],
            "object": "payment_intent",
            "amount": subject["amount"],
            "currency": subject["currency"],
            "customer": subject["customer"],
            "latest_charge": subject["id"] if charge_known else None,
            "last_payment_error": {"code": "card_declined", "decline_code": "do_not_honor"} if failed else None,
            "status": "requires_payment_method" if failed else "succeeded",
        },
        charge_event["created"] - START,
        request=charge_event["request"],
    )


def invoice_of(charge_event: Event, kind: str, *, linked: bool = True, id_: str = "in_1") -> Event:
    """An invoice's event about the same attempt; not linked: the shape since basil."""
    subject = charge_event["data"]["object"]
    failed = subject["status"] == "failed"
    links = {"charge": subject["id"], "payment_intent": subject["payment_intent"]} if linked else {}
    return event(
        kind,
        {
            "id": id_,
            "object": "invoice",
            "amount_due": subject["amount"],
            "amount_paid": 0 if failed else subject["amount"],
            "attempt_count": 1,
            "currency": subject["currency"],
            "customer": subject["customer"],
            "status": "open" if failed else "paid",
            "subscription": id_.replace("in_", "sub_"),
            **links,
        },
        charge_event["created"] - START,
        request=None,
    )


def refund(at: int, *, id_: str, charge_id: str, amount: int, status: str = "succeeded", kind: str = "") -> Event:
    """refund.created, refund.updated …"""
    subject = {"id": id_, "object": "refund", "amount": amount, "charge": charge_id, "currency": "usd"}
    return event(kind or "refund.created", subject | {"status": status}, at)
