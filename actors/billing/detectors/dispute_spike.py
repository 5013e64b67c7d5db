from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.baseline import tail
from actors.billing.cusum import SURGE_THRESHOLDS, Surges
from actors.billing.detectors.base import DiaryDetector, Finding, Rules
from actors.billing.detectors.evidence import ago, links, moment
from actors.billing.facts import DisputeOpened, FraudWarning
from actors.billing.memory import Recent
from actors.billing.money import format_money
from actors.kernel.clock import SECOND
from actors.store.records import Severity

WINDOW_S = 86_400
DISPUTES_MIN = 3  # within a day: one is bad luck with a deadline, three are a pattern where they are rare
CHANCE = {"low": 1e-3, "normal": 1e-2, "high": 3e-2}  # of so many on a day like others
USUAL_SHARE = 0.005  # of payments, until the shop's own usual is known; card networks fine from 0.75 % on
LISTED_MAX = 20


class DisputeSpike(DiaryDetector):
    """Customers or their banks take money back. Each is told; several within a day are a warning, and so is a wave.

    A card network's early fraud warning comes before the dispute, while a refund still prevents it, so already the
    first one is a warning.
    """

    signal = "dispute_spike"
    version = 3
    reads: ClassVar = (DisputeOpened, FraudWarning)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._disputes: Recent[list[Any]] = Recent(WINDOW_S * SECOND, 1_000)
        self._surges = Surges(prior_per_day=1 / 30, prior_days=7.0)
        self._warnings: Recent[list[Any]] = Recent(WINDOW_S * SECOND, 1_000)

    def observe(self, fact: DisputeOpened | FraudWarning, now: int) -> Iterator[Finding]:
        """Count it with those of the day."""
        if isinstance(fact, FraudWarning):
            self._warnings.put(fact.warning or fact.event, [fact.at, fact.event, fact.charge, 0, ""], now)
            rows = self._within_a_day(self._warnings, now)
            title = f"{len(rows)} early fraud warning{'s' * (len(rows) > 1)} within a day"
            first = "Open the payment; if it looks like fraud, refund it now: that prevents the dispute and its fee."
            yield self._report("early_fraud", Severity.WARNING, fact.at, title, rows, 0, first)
            return
        row = [fact.at, fact.event, fact.charge, fact.amount, fact.currency]
        key, second, wave = fact.dispute or fact.event, fact.at // SECOND, None
        self._surges.least = USUAL_SHARE * self.diary.payments_an_hour(now)
        if key not in self._disputes:
            wave = self._surges.count(second, now // SECOND, SURGE_THRESHOLDS[self.rules.sensitivity])
        self._disputes.put(key, row, now)
        rows = self._within_a_day(self._disputes, now)
        usual = sum(self._surges.expected(second // 3600 - hours) for hours in range(24))
        many = len(rows) >= DISPUTES_MIN and tail(len(rows), usual) < CHANCE[self.rules.sensitivity]
        severity = Severity.WARNING if many else Severity.INFO
        title = f"{len(rows)} dispute{'s' * (len(rows) > 1)} within a day ({totals(rows)})"
        due = f" before {moment(fact.due)}" if fact.due is not None else ""
        first = f"Answer each dispute with evidence{due}."
        if severity is Severity.INFO and wave is not None and wave.score >= 1:
            severity = Severity.WARNING
            title = f"{wave.events} disputes within {ago(second - wave.since)}, {wave.expected:.1f} are usual"
            first = f"Look for what these payments have in common, then answer each with evidence{due}."
        yield self._report("account", severity, fact.at, title, rows, 1, first)

    def _within_a_day(self, recent: Recent[list[Any]], now: int) -> list[list[Any]]:
        rows = list(recent.values())
        return [row for row in rows if row[0] >= now - WINDOW_S * SECOND] or rows[-1:]  # told late, it still is one

    def _report(
        self, scope: str, severity: Severity, at: int, title: str, rows: list[list[Any]], expected: int, first: str
    ) -> Finding:
        newest = sorted(rows, key=lambda row: row[0])[-LISTED_MAX:]
        charges = [row[2] for row in newest if row[2]]
        evidence: dict[str, Any] = {
            "observed": len(rows),
            "expected": expected,
            "charges": charges,
            "window_s": WINDOW_S,
            "since": moment(newest[0][0]),
            "links": links(charges),
            "first": first,
        }
        if any(row[4] for row in newest):
            evidence["amounts"] = totals(rows)
        return self.anomaly(scope, severity, at, title, evidence, tuple(row[1] for row in newest), quiet_s=WINDOW_S)

    def save(self) -> Any:
        """Rows of the day, and what is usual."""
        return [self._disputes.save(), self._warnings.save(), self._surges.save()]

    def load(self, state: Any) -> None:
        """Rows of the day."""
        self._disputes.load(state[0])
        self._warnings.load(state[1])
        self._surges.load(state[2])


def totals(rows: list[list[Any]]) -> str:
    """What they come to, currency by currency."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row[4]] += row[3]
    return " + ".join(format_money(amount, currency) for currency, amount in sorted(sums.items()))
