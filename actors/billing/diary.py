"""What a tenant's days were like, in plain numbers: for the digest, which tells what happened and where it is going."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from actors.billing.facts import Arrival, Attempt, Fact
from actors.billing.ledger import DAY
from actors.billing.record import Kind, Movement

DAYS = 28
HOUR = DAY // 24
NEWS = 3 * DAY
"""Stripe delivers for so long. What happened earlier is history that was fetched, or first heard of now: no news."""

PAID, DECLINED, REFUNDED, DISPUTED, JOINED, LEFT = "paid", "declined", "refunded", "disputed", "joined", "left"
COUNTED = {"charge.dispute.created": DISPUTED, "customer.created": JOINED}
"""Events that are one of a kind by their type alone: each dispute and customer is announced by one of these."""

MEASURES = (PAID, DECLINED, REFUNDED, JOINED, LEFT)
"""What is kept by day."""


class Diary:
    """Counts since ever, and by day of event time for four weeks.

    `totals` has counts under the words above and the kinds of movements, and amounts in minor units under
    `<word>:<currency>`, of payments, refunds and movements. Whoever remembers where they stood can tell what has come
    since, and so each event belongs to one digest, however late it is told.
    """

    version = 1
    reads = frozenset((Arrival, Attempt))

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.days: dict[int, list[int]] = {}  # day since 1970 → by MEASURES
        self.changed = False

    def observe(self, fact: Fact, now: int) -> None:
        """Take in one of the facts in `reads`, by their exact types: a repeated attempt is none."""
        if isinstance(fact, Arrival):
            if (measure := COUNTED.get(fact.type)) is not None and fact.at >= now - NEWS:
                self._count(measure, fact.at, now)
        elif isinstance(fact, Attempt) and fact.at >= now - NEWS:
            self._count(PAID if fact.succeeded else DECLINED, fact.at, now)
            if fact.succeeded:
                self.totals[f"{PAID}:{fact.currency}"] += fact.amount

    def refunded(self, amount: int, currency: str, at: int, now: int) -> None:
        """So much was given back, at once; who tells it has seen to it that it is told once."""
        if at >= now - NEWS:
            self._count(REFUNDED, at, now)
            self.totals[f"{REFUNDED}:{currency}"] += amount

    def payments_an_hour(self, now: int) -> float:
        """Of yesterday, or of today so far (UTC), whichever were more."""
        today, passed = now // DAY, max(now % DAY, HOUR) / HOUR
        return max(self._paid(today - 1) / 24, self._paid(today) / passed)

    def _paid(self, day: int) -> int:
        return self.days[day][MEASURES.index(PAID)] if day in self.days else 0

    def moved(self, before: Iterable[Movement], after: Iterable[Movement], now: int) -> None:
        """A subscription's steps are others than was known."""
        for steps, sign in ((before, -1), (after, 1)):
            for step in steps:
                if step.at >= now - NEWS:
                    self.totals[step.kind.value] += sign
                    self.totals[f"{step.kind}:{step.currency}"] += sign * step.amount
                    self.changed = True
                    if step.kind is Kind.CHURN:
                        self._by_day(LEFT, step.at, now, sign)

    def learn(self, other: "Diary") -> None:
        """What the days were like, from one that has seen more of them; what it counted is no news."""
        self.days, self.changed = other.days, True

    def _count(self, measure: str, at: int, now: int) -> None:
        self.changed = True
        self.totals[measure] += 1
        if measure in MEASURES:
            self._by_day(measure, at, now, 1)

    def _by_day(self, measure: str, at: int, now: int, more: int) -> None:
        day = self.days.get(at // DAY)
        if day is None:
            day = self.days[at // DAY] = [0] * len(MEASURES)
            for old in [known for known in self.days if known < now // DAY - DAYS]:
                del self.days[old]
        day[MEASURES.index(measure)] += more

    def save(self) -> Any:
        """All of it."""
        self.changed = False
        return [self.totals, [[day, counts] for day, counts in self.days.items()]]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        totals, days = state
        self.totals = Counter(totals)
        self.days = dict(days)
