"""What is remembered of one subscription: what it was and when, how that moved what recurs, and its bills."""

from bisect import insort
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from struct import Struct
from typing import NamedTuple
from zlib import compress, decompress

import orjson

from actors.billing.conventions import STRIPE, Convention
from actors.billing.facts import InvoiceState
from actors.billing.versions import NEVER, Version, course, last_of, lasting, opening
from actors.kernel.clock import SECOND

VERSIONS_MAX = 64  # of one subscription, the newest
BILLS_MAX = 4  # of one subscription, the newest


DAY = 86_400 * SECOND
PERIOD = {"day": DAY, "week": 7 * DAY, "month": 31 * DAY, "year": 366 * DAY}
LATENESS = 0.08  # of a period: so late a payment may be
LATENESS_MIN, LATENESS_MAX = DAY, 7 * DAY
HEAD = Struct("<7I")  # of a packed record: its outlook
SECONDS_MAX = 2**32 - 1


class Kind(StrEnum):
    """How the recurring revenue of one subscription moved."""

    NEW = "new"
    EXPANSION = "expansion"
    CONTRACTION = "contraction"
    CHURN = "churn"
    REACTIVATION = "reactivation"

    __hash__ = str.__hash__  # an enumeration's own is a call in Python, several for every subscription told of


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


class Outlook(NamedTuple):
    """What is expected of a subscription, and when. Times are UTC seconds; 0: never, or not known."""

    heard: int  # log time
    renewed: int  # when its period began, but for the first
    period_end: int
    renews: int  # 1: at the end of the period another invoice is due
    billed: int  # when its newest invoice was made
    paid: int
    lapses: int  # from then on it is active and unpaid for

    @classmethod
    def of(cls, state: bytes) -> "Outlook":
        """The head of a packed record."""
        return cls._make(HEAD.unpack_from(state))


class Record:
    """One subscription: its versions and bills in the order of time, and when it was last heard of."""

    __slots__ = ("_outlook", "bills", "heard", "versions")

    def __init__(self, heard: int, versions: list[Version], bills: list[Bill]) -> None:
        self.heard = heard  # log time
        self.versions = versions
        self.bills = bills
        self._outlook: Outlook | None = None  # asked for every hour, of every record in use

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

    def hear(self, now: int) -> None:
        """It is told of at this log time, and about to change."""
        self.heard = now
        self._outlook = None

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

    @property
    def outlook(self) -> Outlook:
        """As things stand."""
        if self._outlook is None:
            self._outlook = self._look_out()
        return self._outlook

    def _look_out(self) -> Outlook:
        last, since = self.last, self.unpaid_since
        times = (
            self.heard,
            last.period_start if last and last.period_start != last.started else None,
            last.period_end if last else None,
            SECOND * bool(last and last.renews and last.period_end is not None),
            max((bill.created for bill in self.bills), default=0),
            self.paid_at,
            since + patience(last) if last and since is not None else None,
        )
        return Outlook._make(min(max(0, time or 0) // SECOND, SECONDS_MAX) for time in times)

    @property
    def unpaid_since(self) -> int | None:
        """Since when a payment is to be expected one period on; None: none is."""
        last = self.last
        if last is None or not last.renews or last.interval not in PERIOD:
            return None
        return max(self.paid_at or self.versions[0].at, last.trial_end or 0, active_since(self.versions))

    def pack(self) -> bytes:
        """Its outlook, and all of it as deflated JSON; `unpack` makes it again."""
        state = orjson.dumps([self.heard, self.versions, self.bills], default=tuple)
        return HEAD.pack(*self.outlook) + compress(state)

    @classmethod
    def unpack(cls, state: bytes) -> "Record":
        """What `pack` gave."""
        heard, versions, bills = orjson.loads(decompress(memoryview(state)[HEAD.size :]))
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


def active_since(versions: Sequence[Version]) -> int:
    """When it last became active; 0: it always was, as far as is known."""
    since = 0
    for before, after in pairwise(lasting(versions)):
        if after.status == "active" and (before.status != "active" or (before.paused and not after.paused)):
            since = after.at
    return since


def patience(version: Version) -> int:
    """How long after a payment the next may come, µs."""
    period = PERIOD[version.interval] * version.interval_count
    return period + min(max(round(period * LATENESS), LATENESS_MIN), LATENESS_MAX) + version.days_to_pay * DAY


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
