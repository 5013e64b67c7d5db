"""What a subscription is worth a month: the monthly share of its licensed items, less its coupons.

A year counts a twelfth, a week 52 twelfths, a day 365 twelfths. Metered usage and tax do not count. Which coupons do,
and which subscriptions at all, is for a convention to say (conventions.py).
"""

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from actors.billing.facts import Discount, Item
from actors.billing.reading import DIGITS

PER_MONTH = {"month": Fraction(1), "year": Fraction(1, 12), "week": Fraction(52, 12), "day": Fraction(365, 12)}


class Monthly(NamedTuple):
    """Minor units of the subscription's currency; estimated where a price is tiered, or its interval unknown."""

    amount: int
    estimated: bool


class Rate(NamedTuple):
    """What of an item decides its worth. `unit_amount` in minor units; None: tiered."""

    unit_amount: float | None
    quantity: int | None
    interval: str
    interval_count: int


def worth(items: tuple[Item, ...], discounts: tuple[Discount, ...]) -> Monthly:
    """Of a subscription with these items and coupons, while it is active."""
    rates = [
        Rate(item.unit_amount, item.quantity, item.interval, item.interval_count) for item in items if not item.metered
    ]
    return monthly(tuple(rates), discounts)


def lasting_discounts(discounts: tuple[Discount, ...]) -> tuple[Discount, ...]:
    """Those that are for ever."""
    return tuple([discount for discount in discounts if discount.duration == "forever"])


def passing_until(discounts: tuple[Discount, ...], period_end: int | None) -> int | None:
    """When the first of the others ends: one for a single invoice with the period that it is for; None: unknown."""
    ends = [
        period_end if discount.end is None and discount.duration == "once" else discount.end
        for discount in discounts
        if discount.duration != "forever"
    ]
    return min((end for end in ends if end is not None), default=None)


@lru_cache(maxsize=4096)  # a shop has few prices, and fractions are slow
def monthly(rates: tuple[Rate, ...], discounts: tuple[Discount, ...]) -> Monthly:
    """Rounded to the minor unit once, at the end."""
    total, estimated = Fraction(0), False
    shares: list[Fraction] = []
    for rate in rates:
        share = share_of_month(rate)
        if rate.unit_amount is None or share is None:
            estimated = True
            continue
        shares.append(share)
        total += Fraction(rate.unit_amount) * (1 if rate.quantity is None else rate.quantity) * share
    for discount in discounts:
        total = discounted(total, discount, max(shares, default=Fraction(1)))
    if abs(total) >= 10**DIGITS:
        return Monthly(0, estimated=True)
    return Monthly(round(total), estimated)


def share_of_month(rate: Rate) -> Fraction | None:
    """How many of its billing periods a month has."""
    per_month = PER_MONTH.get(rate.interval)
    return None if per_month is None or rate.interval_count < 1 else per_month / rate.interval_count


def discounted(total: Fraction, discount: Discount, share: Fraction) -> Fraction:
    """A share off, or an amount off each invoice."""
    if discount.percent_off is not None:
        total *= 1 - Fraction(discount.percent_off) / 100
    return max(Fraction(0), total - (discount.amount_off or 0) * share)
