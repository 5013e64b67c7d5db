from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from actors.billing.detectors.base import NEVER, Detector, Finding, Rules
from actors.billing.detectors.evidence import moment
from actors.billing.detectors.rounds import GRACE, HOUR, missed
from actors.billing.facts import Attempt
from actors.billing.ledger import DAY
from actors.billing.money import format_money
from actors.kernel.clock import SECOND
from actors.store.records import Severity

EVENING = 23 * HOUR  # of the UTC day: late enough to judge it
NIGHT = HOUR // 6  # after its end, with the last payments in
WEEK = 7
KEPT = 28  # days
KNOWN_MIN = 14  # days, for a judgement without the owner's percentage
PAYMENTS_MIN = 10  # a day, likewise
OF_LOWEST = {"low": 0.35, "normal": 0.5, "high": 0.7}
SHARE_MIN = 0.2  # of all payments, below which a currency is not the business


class RevenueDrop(Detector):
    """The payments of a day stay far under those of the week before; a day without any counts as 0.

    The day is judged at 23:00 UTC by what came in its 23 hours, and again when it is over. With the owner's
    `revenue_drop_percent`, against the mean of seven days; else only a day at half of the lowest in four weeks.
    """

    signal = "revenue_drop"
    version = 2
    reads: ClassVar = (Attempt,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._days: dict[int, dict[str, list[int]]] = {}  # UTC day → currency → amount and number of payments
        self._began: int | None = None  # the first day
        self._reported = 0

    def observe(self, fact: Attempt, now: int) -> Sequence[Finding]:
        """Add it to its day."""
        if fact.succeeded:
            day, today = fact.at // DAY, now // DAY
            self._began = day if self._began is None else min(day, self._began)
            if day >= today - KEPT:
                sums = self._days.setdefault(day, {}).setdefault(fact.currency, [0, 0])
                sums[0] += fact.amount
                sums[1] += 1
            if self.due == NEVER:
                self._schedule(now)
        return ()

    def _schedule(self, now: int) -> None:
        midnight = now // DAY * DAY
        self.due = next(at for at in (midnight + NIGHT, midnight + EVENING, midnight + DAY + NIGHT) if at > now)

    def set_back(self, now: int, by: int) -> None:
        """Days are judged at times of day."""
        del by
        if self.due != NEVER:
            self._schedule(now)

    def tick(self, now: int) -> Iterator[Finding]:
        """Judge today in the evening, yesterday after midnight."""
        if missed(self.due, now):
            self.due = now // DAY * DAY + DAY + NIGHT
            self.due = max(self.due, now + GRACE)
            return
        evening = self.due % DAY == EVENING
        day = self.due // DAY - (0 if evening else 1)
        self._schedule(now)
        for old in [known for known in self._days if known < day - KEPT]:
            del self._days[old]
        if day > self._reported:
            yield from self._judge(day, EVENING / DAY if evening else 1.0, now)

    def _judge(self, day: int, elapsed: float, now: int) -> Iterator[Finding]:
        week = range(day - WEEK, day)
        known = day - (day if self._began is None else self._began)
        if known < WEEK:
            return
        payments = {currency: sum(self._paid(one, currency)[1] for one in week) for currency in self._currencies(week)}
        dropped = []
        for currency, number in sorted(payments.items()):
            mean = sum(self._paid(one, currency)[0] for one in week) / WEEK
            if number < SHARE_MIN * sum(payments.values()):
                continue
            limit = self._limit(day, currency, mean, known, number) * elapsed
            observed = self._paid(day, currency)[0]
            if observed <= limit:
                dropped.append((observed, mean * elapsed, currency))
        if dropped:
            self._reported = day
            yield self._report(dropped, day, elapsed, known, now)

    def _limit(self, day: int, currency: str, mean: float, known: int, payments: int) -> float:
        """The revenue of a whole day at and under which it is a drop; below 0: none is."""
        percent = self.rules.revenue_drop_percent
        if percent is not None:
            return mean * (1 - percent / 100)
        if known < KNOWN_MIN or payments < PAYMENTS_MIN * WEEK:
            return -1
        lowest = min(self._paid(one, currency)[0] for one in range(day - min(known, KEPT), day))
        return min(lowest * OF_LOWEST[self.rules.sensitivity], mean / 2) if lowest else -1

    def _currencies(self, days: range) -> set[str]:
        return {currency for day in days for currency in self._days.get(day, ())}

    def _paid(self, day: int, currency: str) -> list[int]:
        return self._days.get(day, {}).get(currency, [0, 0])

    def _report(self, dropped: list[tuple[int, float, str]], day: int, elapsed: float, known: int, now: int) -> Finding:
        observed, expected, currency = min(dropped, key=lambda one: one[0] / one[1])
        sums = [f"{format_money(came, money)} of {format_money(round(usual), money)}" for came, usual, money in dropped]
        so_far = "so far today" if elapsed < 1 else "yesterday"
        fixed = self.rules.revenue_drop_percent
        early = "" if fixed is not None or known >= KEPT else f"; judged by {known} days of history"
        evidence: dict[str, Any] = {
            "observed": observed,
            "expected": round(expected),
            "currency": currency,
            "dropped_percent": round((1 - observed / expected) * 100, 1),
            "threshold_percent": fixed,
            "amounts": sums,
            "days_known": known,
            "window_s": round(DAY * elapsed) // SECOND,
            "since": moment(day * DAY),
            "links": ["https://dashboard.stripe.com/payments", "https://status.stripe.com"],
            "first": "Buy something yourself: does the checkout work? Then compare declines with other days.",
        }
        title = f"Revenue {so_far} is {', '.join(sums)} usual by then (mean of 7 days){early}"
        return self.anomaly("account", Severity.WARNING, now, title, evidence, (), quiet_s=DAY // SECOND)

    def save(self) -> Any:
        """Sums by day, and when the next is judged."""
        return [self.due, self._began, self._reported, [[day, of] for day, of in self._days.items()]]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        self.due, self._began, self._reported, days = state
        self._days = dict(days)
