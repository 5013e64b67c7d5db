from collections.abc import Sequence
from math import exp, log
from typing import Any, ClassVar

from actors.billing.detectors.base import Detector, Finding, Rules
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import Attempt, ChargeState
from actors.billing.memory import Recent
from actors.billing.money import format_money
from actors.kernel.clock import SECOND
from actors.store.records import Severity

BUCKETS = 10  # per factor e: amounts are known to a tenth
CURRENCIES_MAX = 8
AMOUNTS_MIN = 50
FACTORS = {"low": 2.0, "normal": 1.0, "high": 0.5}
OF_P99, OF_MEDIAN = 5, 10
HALVE_AT = 20_000  # so that the old weigh less
LATE_US = 24 * 3600 * SECOND
REMEMBERED_MAX = 2_000


class AmountOutlier(Detector):
    """A payment or a refund is far larger than all others in its currency: a slip of the keyboard, or a theft.

    Far is five times the 99th percentile and ten times the median, of fifty at least.
    """

    signal = "amount_outlier"
    version = 2
    reads: ClassVar = (Attempt, ChargeState)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._amounts: dict[str, Amounts] = {}  # by what and currency
        self._known: Recent[int] = Recent(LATE_US, REMEMBERED_MAX)  # what was refunded of a charge

    def observe(self, fact: Attempt | ChargeState, now: int) -> Sequence[Finding]:
        """Judge it by those before it, then count it among them."""
        what, amount = "payment", fact.amount
        if isinstance(fact, ChargeState):
            known = self._known.get(fact.charge) or 0
            what, amount = "refund", fact.refunded - known
            if amount <= 0:
                return ()
            self._known.put(fact.charge, fact.refunded, now)
        elif not fact.succeeded:
            return ()
        of = f"{what} {fact.currency}"
        seen = self._amounts.get(of)
        if seen is None:
            if len(self._amounts) >= CURRENCIES_MAX:
                return ()
            seen = self._amounts[of] = Amounts()
        found: tuple[Finding, ...] = ()
        limit = seen.limit * FACTORS[self.rules.sensitivity]
        if seen.total >= AMOUNTS_MIN and amount > limit and fact.at >= now - LATE_US:
            found = (self._report(fact, what, amount, limit, seen),)
        seen.add(amount)
        return found

    def _report(self, fact: Attempt | ChargeState, what: str, amount: int, limit: float, seen: "Amounts") -> Finding:
        median = round(seen.quantile(0.5))
        evidence: dict[str, Any] = {
            "observed": amount,
            "expected": round(limit),
            "median": median,
            "currency": fact.currency,
            "customer": fact.customer,
            "window_s": None,
            "since": moment(fact.at),
            "links": links([fact.charge or fact.payment_intent, fact.customer]),
            "first": f"Open the {what} and see who made it; an amount typed wrong can still be set right today.",
        }
        usual = format_money(median, fact.currency)
        title = f"A {what} of {format_money(amount, fact.currency)}, where about {usual} is usual"
        scope = fact.charge or fact.payment_intent or fact.event
        return self.anomaly(scope, Severity.WARNING, fact.at, title, evidence, (fact.event,))

    def save(self) -> Any:
        """Histograms, and what was refunded of late."""
        return [{of: seen.save() for of, seen in self._amounts.items()}, self._known.save()]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        amounts, known = state
        self._amounts = {of: Amounts.of(saved) for of, saved in amounts.items()}
        self._known.load(known)


class Amounts:
    """A histogram over the logarithm of amounts: constant memory, any quantile to a tenth."""

    __slots__ = ("_buckets", "_judged", "limit", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.total = 0
        self.limit = 0.0  # what is beyond this is an outlier; worked out anew with every twentieth more
        self._judged = 0

    def add(self, amount: int) -> None:
        """One more."""
        bucket = int(log(max(amount, 1)) * BUCKETS)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.total += 1
        if self.total >= HALVE_AT:
            self._buckets = {at: count // 2 for at, count in self._buckets.items() if count > 1}
            self.total = self._judged = sum(self._buckets.values())
        if self.total >= self._judged * 1.05:
            self._judged = self.total
            self.limit = max(OF_P99 * self.quantile(0.99), OF_MEDIAN * self.quantile(0.5))

    def quantile(self, share: float) -> float:
        """The upper end of the bucket that holds it."""
        left = share * self.total
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return exp((bucket + 1) / BUCKETS)
        return 0.0

    def save(self) -> list[Any]:
        """Everything."""
        return [list(self._buckets.items()), self.total, self.limit, self._judged]

    @classmethod
    def of(cls, saved: list[Any]) -> "Amounts":
        """What `save` gave."""
        made = cls()
        buckets, made.total, made.limit, made._judged = saved
        made._buckets = dict(buckets)
        return made
