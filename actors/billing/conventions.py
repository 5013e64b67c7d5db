"""Whose definition of recurring revenue is meant: they agree on most and differ in what is written here.

Sources: docs.stripe.com/billing/subscriptions/analytics (Stripe), help.chartmogul.com on past-due and paused
subscriptions, discounts and movements, each at its default (ChartMogul), help.baremetrics.com on monthly recurring
revenue (Baremetrics). docs/mrr.md has the table.
"""

from dataclasses import dataclass
from typing import Final

from actors.kernel.clock import SECOND

DAY: Final = 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Convention:
    """One definition, by its name in the configuration."""

    name: str
    counted: frozenset[str]  # the states in which a subscription recurs
    passing_coupons: bool = False  # lower it while they last, not only those that last for ever
    delinquent_us: int | None = None  # past due for longer, it has churned
    by_customer: bool = False  # what moves is a customer, not each subscription


STRIPE: Final = Convention("stripe", frozenset(("active", "past_due")))
CHARTMOGUL: Final = Convention(
    "chartmogul", frozenset(("active", "past_due", "unpaid", "paused")), passing_coupons=True, by_customer=True
)
BAREMETRICS: Final = Convention(
    "baremetrics", frozenset(("active", "past_due")), passing_coupons=True, delinquent_us=30 * DAY
)
CONVENTIONS: Final = {one.name: one for one in (STRIPE, CHARTMOGUL, BAREMETRICS)}
