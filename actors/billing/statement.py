"""Recurring revenue at a time and how it moved until then: the figures behind `nightdesk mrr`."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from actors.billing.ledger import DAY, Ledger
from actors.billing.record import Kind, Movement
from actors.billing.versions import Version, lasting
from actors.kernel.clock import SECOND

CHURN_SPAN = 30 * DAY
MONTHS_US = 366 * DAY  # how far back movements are told, by month; by day it is CHURN_SPAN
Flow = dict[Kind, int]


@dataclass(slots=True)
class Statement:
    """One currency of one tenant, in minor units a month. Churn is by the MRR 30 days ago; None where that was 0."""

    currency: str
    mrr: int = 0
    customers: int = 0
    subscriptions: int = 0
    estimated: int = 0  # of the subscriptions, those with a price that is tiered or of an unknown interval
    leaving: int = 0  # of the MRR, what is canceled for the end of its period
    gross_churn: float | None = None  # churn and contraction of 30 days
    net_churn: float | None = None  # the same less expansion and reactivation
    quick_ratio: float | None = None  # what came by what went in 30 days; None where nothing went
    days: dict[str, Flow] = field(default_factory=dict)  # that had movements, of the last 30
    months: dict[str, Flow] = field(default_factory=dict)  # that had movements, of the last 12; UTC

    @property
    def arr(self) -> int:
        """A year of it."""
        return self.mrr * 12

    @property
    def arpa(self) -> int | None:
        """Per customer."""
        return round(self.mrr / self.customers) if self.customers else None


def statements(ledger: Ledger, at: int) -> list[Statement]:
    """As things stood at `at` (µs, included), by currency."""
    made: dict[str, Statement] = {}
    payers: dict[str, set[str]] = defaultdict(set)
    for amount, version in standing(ledger, at):
        one = made.setdefault(version.currency, Statement(version.currency))
        one.mrr += amount
        one.subscriptions += 1
        one.estimated += version.estimated
        one.leaving += amount if version.cancel_at_period_end or version.cancel_at is not None else 0
        payers[version.currency].add(version.customer)
    for step in ledger.movements(at - MONTHS_US):
        if step.at <= at:
            one = made.setdefault(step.currency, Statement(step.currency))
            book(one.months, day_of(step.at)[:7], step)
            if step.at > at - CHURN_SPAN:
                book(one.days, day_of(step.at), step)
    for one in made.values():
        one.customers = len(payers[one.currency])
        set_rates(one)
    return [made[currency] for currency in sorted(made)]


def standing(ledger: Ledger, at: int) -> Iterator[tuple[int, Version]]:
    """What each subscription was worth at a time, if anything, with what is known of it then."""
    for id_, record in ledger.records.items():
        steps = [step for step in record.movements(id_) if step.at <= at]
        if not steps:
            continue
        amount = sum(step.amount for step in steps if step.currency == steps[-1].currency)
        versions = lasting(record.versions)
        known = bisect_right(versions, at, key=lambda version: version.at)
        if amount:
            yield amount, versions[max(0, known - 1)]


def book(flows: dict[str, Flow], period: str, step: Movement) -> None:
    """Add a step to its day or month."""
    flow = flows.setdefault(period, {})
    flow[step.kind] = flow.get(step.kind, 0) + step.amount


def set_rates(one: Statement) -> None:
    """From the movements by day."""
    total = sum_of(one.days.values())
    opening = one.mrr - sum(total.values())
    lost = -total[Kind.CHURN] - total[Kind.CONTRACTION]
    regained = total[Kind.EXPANSION] + total[Kind.REACTIVATION]
    if opening > 0:
        one.gross_churn = lost / opening
        one.net_churn = (lost - regained) / opening
    one.quick_ratio = (total[Kind.NEW] + regained) / lost if lost else None


def sum_of(flows: Iterable[Flow]) -> Counter[Kind]:
    """Of several periods."""
    total: Counter[Kind] = Counter()
    for flow in flows:
        for kind, amount in flow.items():
            total[kind] += amount
    return total


def day_of(at: int) -> str:
    """The UTC date."""
    return datetime.fromtimestamp(at // SECOND, UTC).date().isoformat()
