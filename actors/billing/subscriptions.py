"""Reading a subscription in any of its shapes: one plan, items with plans or prices, periods above or on the items."""

from collections.abc import Mapping
from typing import Any

from actors.billing.facts import Discount, Item, SubscriptionState
from actors.billing.reading import ident, mapping, number, rows, text, time, whole

Json = Mapping[str, Any]
DAYS_TO_PAY, DAYS_TO_PAY_MAX = 30, 366


def read_subscription(
    subscription: Json, previous: Json, at: int, event_id: str, event_type: str
) -> SubscriptionState | None:
    """The subscription as it stood at `at`; None where it has no id."""
    subscription_id = text(subscription.get("id"))
    if not subscription_id:
        return None
    items = tuple([read_item(row) for row in item_rows(subscription)])
    ends = [item.period_end for item in items if item.period_end is not None]
    period_start = time(subscription.get("current_period_start"))
    period_end = time(subscription.get("current_period_end"))
    if period_start is None:  # since basil on the items, which may differ: the next renewal is the earliest end
        starts = [time(row.get("current_period_start")) for row in rows(subscription.get("items"))]
        period_start = max((start for start in starts if start is not None), default=None)
    started = time(subscription.get("start_date"))
    deleted = event_type == "customer.subscription.deleted"
    return SubscriptionState(
        at,
        event_id,
        subscription_id,
        ident(subscription.get("customer")),
        text(subscription.get("status")) or ("canceled" if deleted else ""),
        text(subscription.get("currency")).lower() or next((item.currency for item in items if item.currency), ""),
        items,
        tuple([read_discount(*row) for row in discount_rows(subscription)]),
        time(subscription.get("created")) if started is None else started,
        period_start,
        min(ends, default=None) if period_end is None else period_end,
        time(subscription.get("trial_end")),
        time(subscription.get("cancel_at")),
        subscription.get("cancel_at_period_end") is True,
        time(subscription.get("canceled_at")),
        bool(mapping(subscription.get("pause_collection"))),
        days_to_pay(subscription),
        previous,
        tuple([read_item(row) for row in previous_item_rows(subscription, previous)]) if previous else (),
    )


def days_to_pay(subscription: Json) -> int:
    """Stripe gives them with every subscription that is sent invoices."""
    if text(subscription.get("collection_method")) != "send_invoice":
        return 0
    days = whole(subscription.get("days_until_due"))
    return DAYS_TO_PAY if days is None else min(max(days, 0), DAYS_TO_PAY_MAX)


def item_rows(subscription: Json) -> list[Json]:
    """Its items; of a subscription from before items, its one plan."""
    found = rows(subscription.get("items"))
    if not found and isinstance(subscription.get("plan"), dict):
        return [{"plan": subscription["plan"], "quantity": subscription.get("quantity")}]
    return found


def previous_item_rows(subscription: Json, previous: Json) -> list[Json]:
    """Those before an update, if it changed them; a subscription of one item also says so of its plan and quantity."""
    if "items" in previous:
        return item_rows(previous)
    items = rows(subscription.get("items")) or [subscription]
    if len(items) != 1 or previous.keys().isdisjoint(("plan", "quantity")):
        return []
    changed = {name: previous[name] for name in ("plan", "quantity") if name in previous}
    return [{**items[0], **({"price": None} if "plan" in previous else {}), **changed}]


def read_item(row: Json) -> Item:
    """A price, or the older plan, times a quantity."""
    price, plan = mapping(row.get("price")), mapping(row.get("plan"))
    rate = price or plan
    recurring = mapping(price.get("recurring"))
    unit = number(rate.get("unit_amount_decimal"))
    for older in (rate.get("unit_amount"), plan.get("amount_decimal"), plan.get("amount")):
        unit = number(older) if unit is None else unit
    tiered = "tiered" in (price.get("billing_scheme"), plan.get("billing_scheme"))
    usage = text(recurring.get("usage_type")) or text(plan.get("usage_type"))
    return Item(
        ident(row.get("price")) or ident(row.get("plan")),
        whole(row.get("quantity")),
        None if tiered else unit,
        text(rate.get("currency")).lower(),
        text(recurring.get("interval")) or text(plan.get("interval")),
        whole(recurring.get("interval_count")) or whole(plan.get("interval_count")) or 1,
        usage == "metered",
        time(row.get("current_period_end")),
    )


def discount_rows(subscription: Json) -> list[tuple[Json, Json]]:
    """The one discount of old, or the list of today, each with its coupon; ids alone (not expanded) say nothing."""
    old = subscription.get("discount")
    found = [mapping(old)] if old else rows(subscription.get("discounts"))
    return [(row, coupon) for row in found if (coupon := coupon_of(row))]


def coupon_of(discount: Json) -> Json:
    """Where it is depends on the API version."""
    return mapping(discount.get("coupon")) or mapping(mapping(discount.get("source")).get("coupon"))


def read_discount(row: Json, coupon: Json) -> Discount:
    """What of it changes the price, and until when."""
    return Discount(
        number(coupon.get("percent_off")),
        whole(coupon.get("amount_off")),
        text(coupon.get("currency")).lower(),
        text(coupon.get("duration")),
        time(row.get("end")),
    )
