"""Subscriptions as they are and were, from events in any order: what recurs, how it moved, and what was billed."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from heapq import nsmallest
from typing import Any, NamedTuple

from actors.billing.facts import Fact, InvoiceState, SubscriptionState
from actors.billing.versions import Version, last_of, lasting, opening, version_of
from actors.kernel.clock import SECOND

VERSIONS_MAX = 64  # of one subscription, the newest
BILLS_MAX = 6  # of one subscription, the newest
RECORDS_MAX = 50_000  # of one tenant; beyond, those that were not heard of for longest are forgotten
DAY = 86_400 * SECOND
WARM = 31 * DAY
BEGAN = ""  # no subscription has this id
SETTLED = 7 * DAY  # Stripe delivers for three days; what has not been told by then will not be


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

    @property
    def paying(self) -> int:
        """How many subscriptions more recur."""
        if self.kind in (Kind.NEW, Kind.REACTIVATION):
            return 1
        return -1 if self.kind is Kind.CHURN else 0


class Bill(NamedTuple):
    """An invoice of a subscription, as last told at `at`."""

    created: int
    invoice: str
    at: int
    status: str
    reason: str
    currency: str
    service: int  # what it pays for, µs
    paid_at: int | None


class Record:
    """One subscription: its versions and bills in the order of time, and when it was last heard of."""

    __slots__ = ("bills", "heard", "versions")

    def __init__(self, heard: int, versions: list[Version], bills: list[Bill]) -> None:
        self.heard = heard  # log time
        self.versions = versions
        self.bills = bills

    @property
    def last(self) -> Version | None:
        """As it is."""
        versions = self.versions
        if len(versions) > 1 and versions[-2].at == versions[-1].at:
            return last_of([version for version in versions if version.at == versions[-1].at])
        return versions[-1] if versions else None

    @property
    def paid_at(self) -> int | None:
        """The last payment."""
        return max((bill.paid_at for bill in self.bills if bill.paid_at is not None), default=None)

    def add(self, version: Version) -> None:
        """Once, in its place."""
        if not any(one.event == version.event and one.at == version.at for one in self.versions):
            insort(self.versions, version, key=lambda one: (one.at, one.event))
            del self.versions[:-VERSIONS_MAX]

    def bill(self, told: Bill) -> None:
        """Bring an invoice up to date, or add it."""
        known = next((bill for bill in self.bills if bill.invoice == told.invoice), None)
        if known is not None:
            self.bills.remove(known)
            newer = max(known, told, key=lambda bill: (bill.at, *bill[3:7]))  # void > paid > open > draft, by luck
            paid = max(known.paid_at or 0, told.paid_at or 0) or None
            told = newer._replace(created=min(known.created, told.created), paid_at=paid)
        insort(self.bills, told)
        del self.bills[:-BILLS_MAX]

    def settle(self) -> None:
        """Nothing earlier will be told any more: keep what was worth something else than before."""
        kept: list[Version] = []
        for version in lasting(self.versions):
            if len(kept) > 1 and worth_of(kept[-1]) == worth_of(kept[-2]) == worth_of(version):
                kept.pop()
            kept.append(version)
        self.versions = kept

    def movements(self, id_: str) -> list[Movement]:
        """Its steps, oldest first. What moved to another currency churned and came back."""
        steps: list[Movement] = []
        amount, currency, before = 0, "", False

        def move(at: int, customer: str, to: int) -> None:
            nonlocal amount, before
            if to != amount:
                kind = kind_of(amount, to, before=before)
                steps.append(Movement(at, id_, customer, kind, to - amount, currency))
            amount, before = to, before or to > 0

        for number, version in enumerate(lasting(self.versions)):
            if amount and currency != version.currency:
                move(version.at, version.customer, 0)
            currency = version.currency
            if number == 0 and (found := opening(version)):
                move(found[0], version.customer, found[1])
            move(version.at, version.customer, version.amount)
        return steps


def worth_of(version: Version) -> tuple[int, str, str, str]:
    """What a settled version is remembered for."""
    return version.amount, version.currency, version.customer, version.price


def kind_of(old: int, new: int, *, before: bool) -> Kind:
    """What a change is called; `before`: it was worth something at an earlier time."""
    if not old:
        return Kind.REACTIVATION if before else Kind.NEW
    if not new:
        return Kind.CHURN
    return Kind.EXPANSION if new > old else Kind.CONTRACTION


class Ledger:
    """One tenant's subscriptions.

    Any permutation and repetition of the same events gives the same ledger: versions are kept by the second in which
    they were true, and which of several in one second came last is decided by what they say, not by arrival.
    """

    version = 1  # of the saved state, as with detectors

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.mrr: Counter[str] = Counter()  # minor units a month by currency, as of now
        self.paying: Counter[str] = Counter()  # subscriptions that recur, by currency
        self._recent: list[Movement] = []  # of the last day
        self._since = 0  # and which day that is
        self._net: Counter[str] = Counter()  # sums of that day, by currency
        self._kinds: Counter[Kind] = Counter()  # and counts
        self.began: int | None = None  # what happened earlier we know from hindsight only
        self._changed: set[str] = set()  # BEGAN stands for the above

    def apply(self, fact: Fact, now: int) -> None:
        """Take in a subscription or an invoice as it stood at `fact.at`."""
        if isinstance(fact, SubscriptionState):
            if self.began is None or fact.at < self.began:
                self.began = fact.at
                self._changed.add(BEGAN)
            self._tell(fact.subscription, self._record(fact.subscription, now), version_of(fact))
        elif isinstance(fact, InvoiceState) and fact.subscription:
            self._record(fact.subscription, now).bill(bill_of(fact))

    def _tell(self, id_: str, record: Record, version: Version) -> None:
        last = record.last
        if (
            last is not None
            and version.at > last.at
            and (version.amount, version.currency) == (last.amount, last.currency)
            and len(record.versions) < VERSIONS_MAX
        ):
            record.add(version)  # by far most say nothing of worth
            return
        before = record.movements(id_)
        record.add(version)
        after = record.movements(id_)
        if before != after:
            self._replace(before, after)

    def _record(self, id_: str, now: int) -> Record:
        record = self.records.get(id_)
        if record is None:
            if len(self.records) >= RECORDS_MAX:
                self._forget()
            record = self.records[id_] = Record(now, [], [])
        elif now - record.heard > SETTLED:
            record.settle()
        record.heard = now
        self._changed.add(id_)
        return record

    def _forget(self) -> None:
        oldest = nsmallest(RECORDS_MAX // 100, self.records.items(), key=lambda one: (one[1].heard, one[0]))
        for id_, record in oldest:
            self._replace(record.movements(id_), [])
            del self.records[id_]
            self._changed.add(id_)

    def _replace(self, before: list[Movement], after: list[Movement]) -> None:
        for steps, sign in ((before, -1), (after, 1)):
            for step in steps:
                self._count(step, sign)

    def _count(self, step: Movement, sign: int) -> None:
        self.mrr[step.currency] += sign * step.amount
        self.paying[step.currency] += sign * step.paying
        if step.at < self._since:
            return
        if sign > 0:
            insort(self._recent, step)
        else:
            del self._recent[bisect_left(self._recent, step)]
        self._net[step.currency] += sign * step.amount
        self._kinds[step.kind] += sign

    def recent(self, now: int) -> list[Movement]:
        """The movements of the last 24 hours, oldest first; to be read, not kept."""
        self._since = now - DAY
        old = 0
        while old < len(self._recent) and self._recent[old].at < self._since:
            self._net[self._recent[old].currency] -= self._recent[old].amount
            self._kinds[self._recent[old].kind] -= 1
            old += 1
        if old:
            del self._recent[:old]
        return self._recent

    def set_back(self, now: int) -> None:
        """The clock was ahead and says `now`: what it took for older than a day may not be."""
        self._since = now - DAY
        self._recent = self.movements(self._since)
        self._net, self._kinds = Counter(), Counter()
        for step in self._recent:
            self._net[step.currency] += step.amount
            self._kinds[step.kind] += 1

    def net(self, now: int) -> Mapping[str, int]:
        """What recurs more than 24 hours ago, by currency."""
        self.recent(now)
        return self._net

    def kinds(self, now: int) -> Mapping[Kind, int]:
        """How many movements of each kind there were in the last 24 hours."""
        self.recent(now)
        return self._kinds

    def step(self, id_: str, at: int, now: int) -> Movement | None:
        """How a subscription moved at a time, if that was within the last 24 hours."""
        recent = self.recent(now)
        place = bisect_left(recent, (at, id_))
        found = recent[place] if place < len(recent) else None
        return found if found and (found.at, found.subscription) == (at, id_) else None

    def warm(self, now: int) -> bool:
        """It has been kept for longer than a month: nearly every subscription has been heard of."""
        return self.began is not None and now - self.began >= WARM

    def movements(self, since: int = 0) -> list[Movement]:
        """All steps from `since` on, oldest first."""
        steps = (step for id_, record in self.records.items() for step in record.movements(id_))
        return sorted(step for step in steps if step.at >= since)

    def save(self) -> Iterator[tuple[str, Any]]:
        """Each subscription that changed since the last save; None: it was forgotten."""
        if BEGAN in self._changed:
            self._changed.remove(BEGAN)
            yield BEGAN, self.began
        for id_ in sorted(self._changed):
            record = self.records.get(id_)
            yield id_, record and [record.heard, record.versions, record.bills]
        self._changed.clear()

    def load(self, id_: str, state: Any) -> None:
        """One of what `save` gave, into a ledger that does not know it yet."""
        if id_ == BEGAN:
            self.began = state
        elif state is not None:
            heard, versions, bills = state
            record = Record(heard, [Version(*one) for one in versions], [Bill(*one) for one in bills])
            self.records[id_] = record
            # Those that the next look at the last day would drop are dropped by it.
            self._replace([], record.movements(id_))


def bill_of(fact: InvoiceState) -> Bill:
    """The short of an invoice."""
    spans = (
        line.period_end - line.period_start
        for line in fact.lines
        if line.period_start is not None and line.period_end is not None and not line.proration
    )
    paid_at = (fact.paid_at or fact.at) if fact.status == "paid" else None
    return Bill(
        fact.created, fact.invoice, fact.at, fact.status, fact.reason, fact.currency, max(spans, default=0), paid_at
    )
