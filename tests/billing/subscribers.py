"""Subscribers and their invoices, for stories about what recurs."""

from typing import Any

from tests.billing.stripe_events import START, Event, event

DAY = 86_400
MONTH = 30 * DAY


def subscribed(
    at: int,
    number: int,
    *,
    kind: str = "created",
    amount: int = 3000,
    status: str = "active",
    interval: str = "month",
    currency: str = "usd",
    **changes: Any,
) -> Event:
    """A subscription of its own customer, as it stood `at` seconds after START."""
    price = {
        "id": f"price_{amount}",
        "unit_amount": amount,
        "currency": currency,
        "recurring": {"interval": interval, "interval_count": 1},
    }
    subject = {
        "id": f"sub_{number}",
        "object": "subscription",
        "customer": f"cus_{number}",
        "status": status,
        "currency": currency,
        "items": {"data": [{"id": f"si_{number}", "quantity": 1, "price": price}]},
    }
    return event(f"customer.subscription.{kind}", subject | changes, at)


def ended(at: int, number: int, *, amount: int = 3000, **changes: Any) -> Event:
    """It is gone."""
    return subscribed(at, number, kind="deleted", amount=amount, status="canceled", **changes)


def invoiced(
    at: int,
    number: int,
    *,
    id_: str = "",
    kind: str = "paid",
    amount: int = 3000,
    currency: str = "usd",
    reason: str = "subscription_cycle",
    created: int | None = None,
    **changes: Any,
) -> Event:
    """An invoice of that subscription: made, or paid."""
    subject = {
        "id": id_ or f"in_{number}_{at}",
        "object": "invoice",
        "customer": f"cus_{number}",
        "subscription": f"sub_{number}",
        "created": START + (at if created is None else created),
        "currency": currency,
        "billing_reason": reason,
        "status": "draft" if kind == "created" else "paid",
        "total": amount,
        "amount_due": amount,
        "amount_paid": 0 if kind == "created" else amount,
    }
    return event(f"invoice.{kind}", subject | changes, at)
