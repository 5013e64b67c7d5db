"""Subscriptions as they are and were, from events in any order: what recurs, and how it moved."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from actors.billing.facts import SubscriptionState
from actors.billing.mrr import monthly
from actors.billing.reading import flag, ident, text, time, whole

TERMINAL = frozenset(("canceled", "incomplete_expired"))
VERSIONS_MAX = 64  # of one subscription, the newest


class Kind(StrEnum):
    """How the recurring revenue of one subscription moved."""

    NEW = "new"
    EXPANSION = "expansion"
    CONTRACTION = "contraction"
    CHURN = "churn"
    REACTIVATION = "reactivation"


class Movement(NamedTuple):
    """One step of recurring revenue: `amount` minor units a month, negative where it fell."""

    at: int
    subscription: str
    customer: str
    kind: Kind
    amount: int
    currency: str


class Version(NamedTuple):
    """A subscription as one event told it, and what it is worth a month."""

    state: SubscriptionState
    amount: int

    @property
    def event(self) -> str:
        """Which event told it."""
        return self.state.event


class Ledger:
    """One tenant's subscriptions.

    Any permutation and repetition of the same events gives the same ledger: versions are kept by the second in which
    they were true, and which of several in one second came last is decided by what they say, not by arrival.
    """

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, list[Version]]] = {}  # subscription → time → what was told of that second

    def apply(self, fact: SubscriptionState) -> None:
        """Take in a subscription as it stood at `fact.at`."""
        told = self._versions.setdefault(fact.subscription, {})
        rivals = told.setdefault(fact.at, [])
        if all(rival.event != fact.event for rival in rivals):
            rivals.append(Version(fact, monthly(fact).amount))
        if len(told) > VERSIONS_MAX:
            del told[min(told)]

    def subscription(self, id_: str, at: int | None = None) -> SubscriptionState | None:
        """As it is, or as it was at a time (µs, included)."""
        last = self._last(id_, at)
        return last and last.state

    def mrr(self, at: int | None = None) -> dict[str, int]:
        """Minor units a month by currency, now or at a time."""
        sums: Counter[str] = Counter()
        for id_ in self._versions:
            last = self._last(id_, at)
            if last and last.amount:
                sums[last.state.currency] += last.amount
        return dict(sums)

    def movements(self, since: int = 0) -> list[Movement]:
        """All steps from `since` on, oldest first. What moved to another currency churned and came back."""
        steps = [step for id_ in self._versions for step in self._steps(id_) if step.at >= since]
        return sorted(steps)

    def _last(self, id_: str, until: int | None) -> Version | None:
        told = self._versions.get(id_, {})
        newest = max((at for at in told if until is None or at <= until), default=None)
        return None if newest is None else last_of(told[newest])

    def _steps(self, id_: str) -> Iterator[Movement]:
        amount, currency, before = 0, "", False
        for _, rivals in sorted(self._versions[id_].items()):
            version = last_of(rivals)
            state = version.state
            if amount and currency != state.currency:
                yield Movement(state.at, id_, state.customer, Kind.CHURN, -amount, currency)
                amount = 0
            step = version.amount - amount
            if step:
                kind = kind_of(amount, version.amount, before=before)
                yield Movement(state.at, id_, state.customer, kind, step, state.currency)
            amount, currency, before = version.amount, state.currency, before or version.amount > 0


def kind_of(old: int, new: int, *, before: bool) -> Kind:
    """What a change is called; `before`: it was worth something at an earlier time."""
    if not old:
        return Kind.REACTIVATION if before else Kind.NEW
    if not new:
        return Kind.CHURN
    return Kind.EXPANSION if new > old else Kind.CONTRACTION


def last_of(rivals: list[Version]) -> Version:
    """Of versions of one second the one that was true at its end.

    Stripe's `created` has whole seconds. The end of a life comes last and its beginning (which changed nothing, so has
    no previous values) first; in between, a version whose values another names as the previous ones came before that.
    """

    def rank(version: Version) -> tuple[bool, bool, bool, str]:
        followed = any(precedes(version, other) for other in rivals if other is not version)
        return version.state.status in TERMINAL, bool(version.state.previous), not followed, version.event

    return max(rivals, key=rank)


def precedes(one: Version, other: Version) -> bool:
    """What `other` changed was before as `one` has it."""
    mine, previous = comparable(one.state), other.state.previous
    told = {name: READ[name](previous[name]) for name in mine.keys() & previous.keys()}
    return bool(told) and all(mine[name] == value for name, value in told.items())


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


def comparable(state: SubscriptionState) -> dict[str, object]:
    """Those attributes as they are in a version."""
    first = state.items[0] if state.items else None
    return {
        "status": state.status,
        "cancel_at_period_end": state.cancel_at_period_end,
        "cancel_at": state.cancel_at,
        "canceled_at": state.canceled_at,
        "trial_end": state.trial_end,
        "quantity": first and first.quantity,
        "plan": first and first.price,
    }
