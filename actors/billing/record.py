"""What is remembered of one subscription: what it was and when, how that moved what recurs, and its bills."""

from bisect import insort
from enum import StrEnum
from typing import NamedTuple

import orjson

from actors.billing.conventions import STRIPE, Convention
from actors.billing.facts import InvoiceState
from actors.billing.versions import NEVER, Version, course, last_of, lasting, opening

VERSIONS_MAX = 64  # of one subscription, the newest
BILLS_MAX = 4  # of one subscription, the newest


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
        versions = self.versions
        if not versions or version.at > versions[-1].at:
            versions.append(version)
            del versions[:-VERSIONS_MAX]
        elif not any(one.event == version.event and one.at == version.at for one in self.versions):
            insort(self.versions, version, key=lambda one: (one.at, one.event))
            del self.versions[:-VERSIONS_MAX]

    def bill(self, told: Bill) -> None:
        """Bring an invoice up to date, or add it."""
        known: Bill | None = None
        for bill in self.bills:
            if bill.invoice == told.invoice:
                known = bill
        if known is not None:
            self.bills.remove(known)
            newer = max(known, told, key=lambda bill: (bill.at, *bill[3:7]))  # void > paid > open > draft, by luck
            paid = max(known.paid_at or 0, told.paid_at or 0) or None
            told = newer._replace(created=min(known.created, told.created), paid_at=paid)
        insort(self.bills, told)
        del self.bills[:-BILLS_MAX]

    def pack(self) -> bytes:
        """All of it as JSON; `unpack` makes it again."""
        state = orjson.dumps([self.heard, self.versions, self.bills], default=tuple)
        return memoryview(state).tobytes()  # what orjson returns holds four times its length

    @classmethod
    def unpack(cls, state: bytes) -> "Record":
        """What `pack` gave."""
        heard, versions, bills = orjson.loads(state)
        return cls(heard, [Version(*one) for one in versions], [Bill(*one) for one in bills])

    def settle(self) -> None:
        """Nothing earlier will be told any more: keep what was worth something else than before."""
        kept: list[Version] = []
        for version in lasting(self.versions):
            if len(kept) > 1 and worth_of(kept[-1]) == worth_of(kept[-2]) == worth_of(version):
                kept.pop()
            kept.append(version)
        self.versions = kept

    def movements(self, id_: str, convention: Convention = STRIPE) -> list[Movement]:
        """Its steps, oldest first. What moved to another currency churned and came back."""
        steps: list[Movement] = []
        amount, currency, before, late = 0, "", False, None
        versions = lasting(self.versions)

        def move(at: int, customer: str, to: int) -> None:
            nonlocal amount, before
            if to != amount:
                kind = kind_of(amount, to, before=before)
                steps.append(Movement(at, id_, customer, kind, to - amount, currency))
            amount, before = to, before or to > 0

        for number, version in enumerate(versions):
            if amount and currency != version.currency:
                move(version.at, version.customer, 0)
            currency = version.currency
            if number == 0 and (found := opening(version, convention)):
                move(found[0], version.customer, found[1])
            if convention is STRIPE:
                move(version.at, version.customer, version.amount)
                continue
            late = (version.at if late is None else late) if version.status == "past_due" else None
            until = versions[number + 1].at if number + 1 < len(versions) else NEVER
            for at, to in course(version, until, late, convention):
                move(at, version.customer, to)
        return steps


def worth_of(version: Version) -> tuple[int, int, int | None, str, str, str, str]:
    """What a settled version is remembered for."""
    worth = version.full, version.net, version.net_until
    return *worth, version.status, version.currency, version.customer, version.price


def kind_of(old: int, new: int, *, before: bool) -> Kind:
    """What a change is called; `before`: it was worth something at an earlier time."""
    if not old:
        return Kind.REACTIVATION if before else Kind.NEW
    if not new:
        return Kind.CHURN
    return Kind.EXPANSION if new > old else Kind.CONTRACTION


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
