"""What a subscription is worth a month, by the rules of Stripe's own billing analytics.

Active and past-due subscriptions count, at the monthly share of their licensed items (a twelfth of a year, 52 twelfths
of a week, 365 twelfths of a day), less coupons that last for ever. Trials, metered usage, tax and passing discounts do
not count.
"""

from fractions import Fraction
from typing import NamedTuple

from actors.billing.facts import Discount, Item, SubscriptionState

COUNTED = frozenset(("active", "past_due"))
PER_MONTH = {"month": Fraction(1), "year": Fraction(1, 12), "week": Fraction(52, 12), "day": Fraction(365, 12)}


class Monthly(NamedTuple):
    """Minor units of the subscription's currency; estimated where a price is tiered, or its interval unknown."""

    amount: int
    estimated: bool


def monthly(subscription: SubscriptionState) -> Monthly:
    """Rounded to the minor unit once, at the end."""
    if subscription.status not in COUNTED:
        return Monthly(0, estimated=False)
    total, estimated = Fraction(0), False
    shares: list[Fraction] = []
    for item in subscription.items:
        if item.metered:
            continue
        share = share_of_month(item)
        if item.unit_amount is None or share is None:
            estimated = True
            continue
        shares.append(share)
        quantity = 1 if item.quantity is None else item.quantity
        total += Fraction(item.unit_amount) * quantity * share
    for discount in subscription.discounts:
        total = discounted(total, discount, max(shares, default=Fraction(1)))
    return Monthly(round(total), estimated)


def share_of_month(item: Item) -> Fraction | None:
    """How many of its billing periods a month has."""
    per_month = PER_MONTH.get(item.interval)
    return None if per_month is None or item.interval_count < 1 else per_month / item.interval_count


def discounted(total: Fraction, discount: Discount, share: Fraction) -> Fraction:
    """Only a coupon for ever lowers what recurs; an amount off is off each invoice."""
    if discount.duration != "forever":
        return total
    if discount.percent_off is not None:
        total *= 1 - Fraction(discount.percent_off) / 100
    return max(Fraction(0), total - (discount.amount_off or 0) * share)
