"""What a subscription was at each time it was told of, in short, and which of several in one second came last."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from actors.billing.conventions import STRIPE, Convention
from actors.billing.facts import SubscriptionState
from actors.billing.mrr import lasting_discounts, passing_until, worth
from actors.billing.reading import flag, ident, text, time, whole

TERMINAL = frozenset(("canceled", "incomplete_expired"))
NEVER = 2**63 - 1


class Version(NamedTuple):
    """A subscription as one event told it, as far as the ledger needs it. Amounts are minor units a month."""

    at: int
    event: str
    customer: str
    status: str
    currency: str
    full: int  # what it is worth while it is active, with the coupons that last for ever
    full_before: int | None  # the same before this update, if this update changed it
    net: int  # what it is worth with all its coupons …
    net_until: int | None  # … until the first of them ends
    estimated: bool
    started: int | None
    period_start: int | None
    period_end: int | None
    trial_end: int | None
    cancel_at: int | None
    canceled_at: int | None
    cancel_at_period_end: bool
    paused: bool  # its collection is
    days_to_pay: int  # after an invoice was sent; 0: the customer is charged at once
    price: str  # of the first item, as are the next three
    quantity: int | None
    interval: str
    interval_count: int
    updated: bool  # it says what it changed
    previous: Mapping[str, Any]  # READ of that

    @property
    def amount(self) -> int:
        """What recurs, by Stripe's convention."""
        return self.full if self.status in STRIPE.counted else 0

    @property
    def renews(self) -> bool:
        """Another invoice is to be expected at the end of its period."""
        leaving = self.cancel_at_period_end or self.cancel_at is not None
        return self.status == "active" and self.full > 0 and not leaving and not self.paused

    @property
    def ended(self) -> bool:
        """For good."""
        return self.status in TERMINAL


def version_of(fact: SubscriptionState) -> Version:
    """The short of it."""
    coupons = lasting_discounts(fact.discounts)
    full = worth(fact.items, coupons)
    first = fact.items[0] if fact.items else None
    return Version(
        fact.at,
        fact.event,
        fact.customer,
        fact.status,
        fact.currency,
        full.amount,
        worth(fact.previous_items, coupons).amount if fact.previous_items else None,
        full.amount if coupons == fact.discounts else worth(fact.items, fact.discounts).amount,
        passing_until(fact.discounts, fact.period_end),
        full.estimated,
        fact.started,
        fact.period_start,
        fact.period_end,
        fact.trial_end,
        fact.cancel_at,
        fact.canceled_at,
        fact.cancel_at_period_end,
        fact.collection_paused,
        fact.days_to_pay,
        first.price if first else "",
        first.quantity if first else None,
        first.interval if first else "",
        first.interval_count if first else 1,
        bool(fact.previous),
        {name: read(fact.previous[name]) for name, read in READ.items() if name in fact.previous}
        if fact.previous
        else {},
    )


READ: Mapping[str, Callable[[Any], object]] = {
    "status": text,
    "cancel_at_period_end": flag,
    "cancel_at": time,
    "canceled_at": time,
    "trial_end": time,
    "quantity": whole,
    "plan": ident,
}
"""Attributes by which the versions of one second are put in order, and how to read their previous values."""


def value(version: Version, attribute: str) -> object:
    """One of those attributes as it is in a version."""
    return getattr(version, "price" if attribute == "plan" else attribute)


def precedes(one: Version, other: Version) -> bool:
    """What `other` changed was before as `one` has it."""
    return bool(other.previous) and all(value(one, name) == before for name, before in other.previous.items())


def last_of(rivals: list[Version]) -> Version:
    """Of versions of one second the one that was true at its end.

    Stripe's `created` has whole seconds. The end of a life comes last and its beginning (which changed nothing, so has
    no previous values) first; in between, a version whose values another names as the previous ones came before that.
    """
    if len(rivals) == 1:
        return rivals[0]

    def rank(version: Version) -> tuple[bool, bool, bool, str]:
        followed = any(precedes(version, other) for other in rivals if other is not version)
        return version.ended, version.updated, not followed, version.event

    return max(rivals, key=rank)


def lasting(versions: Sequence[Version]) -> Sequence[Version]:
    """Of versions in the order of time, those that outlived their second."""
    if all(one.at < after.at for one, after in pairwise(versions)):
        return versions
    return [last_of(list(rivals)) for _, rivals in groupby(versions, key=lambda version: version.at)]


def opening(first: Version, convention: Convention = STRIPE) -> tuple[int, int] | None:
    """Since when, and with how much, recurred what we first heard of only later; None: it did not.

    Whoever starts to watch a shop hears of its subscriptions one by one, as they renew, change or end.
    """
    before = first.previous.get("status") or ("active" if first.status == "canceled" else first.status)
    trial_end = first.trial_end or 0
    since = max(first.started or first.at, trial_end)
    amount = first.full if first.full_before is None else first.full_before
    return (since, amount) if before in convention.counted and amount and since < first.at else None


def course(version: Version, until: int, late: int | None, convention: Convention) -> list[tuple[int, int]]:
    """What recurs from this version on until the next: since when and how much, oldest first.

    More than one where a coupon runs out, or a customer is past due (since `late`) for too long.
    """
    if version.status not in convention.counted:
        return [(version.at, 0)]
    steps = [(version.at, version.full)]
    ends = NEVER if version.net_until is None else version.net_until
    if convention.passing_coupons and version.net != version.full and ends > version.at:
        steps = [(version.at, version.net)]
        if ends < until:
            steps.append((ends, version.full))
    if (
        convention.delinquent_us is not None
        and late is not None
        and (churned := late + convention.delinquent_us) < until
    ):
        steps = [step for step in steps if step[0] < churned] + [(max(churned, version.at), 0)]
    return steps
