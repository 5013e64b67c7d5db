"""Recurring revenue at a time and how it moved until then: the figures behind `nightdesk mrr`."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction

from actors.billing.conventions import STRIPE, Convention
from actors.billing.ledger import DAY, Ledger
from actors.billing.money import decimals
from actors.billing.record import Kind, Movement, kind_of
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
    subscriptions: int = 0
    estimated: int = 0  # subscriptions with a price that is tiered or of an unknown interval, worth more than is known
    leaving: int = 0  # of the MRR, what is canceled for the end of its period
    payers: set[str] = field(default_factory=set)  # the customers with a subscription that recurs
    gross_churn: float | None = None  # churn and contraction of 30 days
    net_churn: float | None = None  # the same less expansion and reactivation
    quick_ratio: float | None = None  # what came by what went in 30 days; None where nothing went
    days: dict[str, Flow] = field(default_factory=dict)  # that had movements, of the last 30
    months: dict[str, Flow] = field(default_factory=dict)  # that had movements, of the last 12; UTC

    @property
    def customers(self) -> int:
        """How many pay."""
        return len(self.payers)

    @property
    def arr(self) -> int:
        """A year of it."""
        return self.mrr * 12

    @property
    def arpa(self) -> int | None:
        """Per customer."""
        return round(self.mrr / self.customers) if self.payers else None


def statements(ledger: Ledger, at: int, convention: Convention = STRIPE) -> list[Statement]:
    """As things stood at `at` (µs, included), by currency."""
    made: dict[str, Statement] = {}
    steps: list[Movement] = []
    for id_, record in ledger.records.items():
        its = [step for step in record.movements(id_, convention) if step.at <= at]
        steps += its
        versions = lasting(record.versions)
        known = bisect_right(versions, at, key=lambda version: version.at)
        if its and (amount := sum(step.amount for step in its if step.currency == its[-1].currency)):
            stand(made, amount, its[-1].currency, versions[max(0, known - 1)])
        elif known and (version := versions[known - 1]).estimated and version.status in convention.counted:
            made.setdefault(version.currency, Statement(version.currency)).estimated += 1
    for step in sorted(of_customers(steps) if convention.by_customer else steps):
        if step.at >= at - MONTHS_US:
            one = made.setdefault(step.currency, Statement(step.currency))
            book(one.months, day_of(step.at)[:7], step)
            if step.at > at - CHURN_SPAN:
                book(one.days, day_of(step.at), step)
    for one in made.values():
        set_rates(one)
    return [made[currency] for currency in sorted(made)]


def stand(made: dict[str, Statement], amount: int, currency: str, version: Version) -> None:
    """Count a subscription that recurs, as it was known then."""
    one = made.setdefault(currency, Statement(currency))
    one.mrr += amount
    one.subscriptions += 1
    one.estimated += version.estimated
    one.leaving += amount if version.cancel_at_period_end or version.cancel_at is not None else 0
    one.payers.add(version.customer)


def of_customers(steps: Sequence[Movement]) -> Iterator[Movement]:
    """The same steps by what they are to a customer: a second subscription expands, the end of the last is churn."""
    by_customer: dict[tuple[str, str], list[Movement]] = defaultdict(list)
    for step in steps:
        # Of a subscription without a customer nothing else is known.
        by_customer[step.customer or step.subscription, step.currency].append(step)
    for its in by_customer.values():
        total, before = 0, False
        for step in sorted(its):
            yield step._replace(kind=kind_of(total, total + step.amount, before=before))
            total, before = total + step.amount, True


def converted(made: Sequence[Statement], currency: str, rates: Mapping[str, float]) -> tuple[Statement, list[str]]:
    """All of them as one in another currency, and the currencies that have no rate and are left out of it.

    `rates`: what one unit of a currency is worth in units of `currency`. Each figure is rounded once.
    """
    whole, missing = Statement(currency), []
    mrr, leaving = Fraction(0), Fraction(0)
    days: dict[str, dict[Kind, Fraction]] = {}
    months: dict[str, dict[Kind, Fraction]] = {}
    for one in made:
        rate = Fraction(1) if one.currency == currency else Fraction(str(rates.get(one.currency, 0)))
        if not rate:
            missing.append(one.currency)
            continue
        factor = rate * Fraction(10) ** (decimals(currency) - decimals(one.currency))
        mrr, leaving = mrr + one.mrr * factor, leaving + one.leaving * factor
        whole.subscriptions += one.subscriptions
        whole.estimated += one.estimated
        whole.payers |= one.payers
        for flows, total in ((one.days, days), (one.months, months)):
            for period, flow in flows.items():
                sums = total.setdefault(period, {})
                for kind, amount in flow.items():
                    sums[kind] = sums.get(kind, Fraction(0)) + amount * factor
    whole.mrr, whole.leaving = round(mrr), round(leaving)
    whole.days = {day: {kind: round(sum_) for kind, sum_ in days[day].items()} for day in sorted(days)}
    whole.months = {month: {kind: round(sum_) for kind, sum_ in months[month].items()} for month in sorted(months)}
    set_rates(whole)
    return whole, missing


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
