from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.baseline import tail
from actors.billing.detectors.base import Finding, Heard, PatientDetector, Rules
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import SubscriptionState
from actors.billing.ledger import DAY, Ledger
from actors.billing.money import format_money
from actors.billing.record import Kind, Movement
from actors.billing.versions import lasting
from actors.kernel.clock import SECOND
from actors.store.records import Severity

CHANCE = {"low": 1e-7, "normal": 1e-5, "high": 1e-4}  # of so many in an ordinary day
CHURNED_MIN = 5
SHARE_MIN = 0.02
CHURNED_MIN_COLD, SHARE_MIN_COLD = 10, 0.1  # while the ledger is younger than a month, and knows not all it should
ORDINARY = 0.002  # of the subscriptions a day (6 % a month), where the ledger knows no better
USUAL_DAYS = 28
EXAMPLES_MAX = 20


class ChurnSpike(PatientDetector):
    """Many subscriptions ended within 24 hours, of those that were paid for at their start.

    The owner's `churn_rate_daily`, when set, decides alone. Else more must have ended than chance explains at the rate
    of the last four weeks, not counting those whose end was announced: a cohort of old lapses on the same day. Nor does
    the end of one count whose customer has begun another.
    """

    signal = "churn_spike"
    version = 4
    reads: ClassVar = (SubscriptionState,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._usual_day = 0
        self._usual = 0.0  # subscriptions churned a day, as known on that day

    def compare(self, fact: SubscriptionState | Heard, now: int) -> Iterator[Finding]:
        """Count when another one has ended."""
        ledger = self.ledger
        churned = ledger.kinds(now)[Kind.CHURN]
        if not churned:
            return
        if not isinstance(fact, Heard) and not any(
            step.kind is Kind.CHURN for step in ledger.changes(fact.subscription, now)
        ):
            return
        base = paid_at_start(ledger, churned, now)
        rate = self.rules.churn_rate_daily
        if rate is not None:
            if churned / base < rate:
                yield churned / (base * rate)
                return
            yield self._report(fact, gone(ledger, now), base, rate * base)
            return
        least = max(CHURNED_MIN, SHARE_MIN * base)
        if churned < least:
            yield churned / least
            return
        begun = {step.customer for step in ledger.recent(now) if step.kind is Kind.NEW}
        sudden = [one for one in gone(ledger, now) if one.customer not in begun and not announced(ledger, one)]
        if not ledger.warm(now):
            # Of those who stay most are not heard of yet; nor may then count who is heard of because he leaves.
            sudden = [one for one in sudden if ledger.knew(one)]
            base = ledger.paying.total() + len(sudden)
            least = max(CHURNED_MIN_COLD, SHARE_MIN_COLD * base)
        usual = max(self._usually(now), ORDINARY * base)
        if len(sudden) >= least and tail(len(sudden), usual) < CHANCE[self.rules.sensitivity]:
            yield self._report(fact, sudden, base, usual)

    def _usually(self, now: int) -> float:
        if now // DAY != self._usual_day:
            today = now // DAY
            ended = self.ledger.ended(range(today - USUAL_DAYS - 1, today - 1))
            known = (now - (self.ledger.began or now)) // DAY - 1
            self._usual_day, self._usual = now // DAY, ended / min(max(known, 1), USUAL_DAYS)
        return self._usual

    def _report(self, fact: SubscriptionState | Heard, ended: list[Movement], base: int, usual: float) -> Finding:
        lost: dict[str, int] = {}
        for step in ended:
            lost[step.currency] = lost.get(step.currency, 0) - step.amount
        amounts = " + ".join(format_money(amount, currency) for currency, amount in sorted(lost.items()))
        warm = self.ledger.warm(fact.at)
        subscriptions = [step.subscription for step in ended[-EXAMPLES_MAX:]]
        evidence: dict[str, Any] = {
            "observed": len(ended),
            "expected": round(usual, 1),
            "active": base,
            "percent": round(len(ended) / base * 100, 1),
            "mrr_lost": amounts,
            "subscriptions": subscriptions,
            "window_s": DAY // SECOND,
            "since": moment(ended[0].at) if ended else moment(fact.at),
            "links": links(subscriptions[-5:]),
            "first": "Open a few of these: who ended them, customers, failed payments or a script? What do they share?",
        } | ({} if warm else {"warming_up": True})
        early = "" if warm else "; not every subscription is known yet"
        title = f"{len(ended)} of {base} subscriptions ended within 24 h ({amounts} a month){early}"
        return self.anomaly("account", Severity.WARNING, fact.at, title, evidence, (fact.event,), quiet_s=DAY // SECOND)

    def save(self) -> Any:
        """What is usual, and what waits."""
        return [self._usual_day, self._usual, super().save()]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        self._usual_day, self._usual, waiting = state
        super().load(waiting)


def paid_at_start(ledger: Ledger, churned: int, now: int) -> int:
    """How many subscriptions were paid for 24 hours ago; where we look for less than a day, all that ever were."""
    kinds, paying = ledger.kinds(now), ledger.paying.total()
    if ledger.began is not None and ledger.began > now - DAY:
        return paying + churned
    return max(churned, paying + churned - kinds[Kind.NEW] - kinds[Kind.REACTIVATION])


def gone(ledger: Ledger, now: int) -> list[Movement]:
    """The ends of the last 24 hours."""
    return [step for step in ledger.recent(now) if step.kind is Kind.CHURN]


def announced(ledger: Ledger, end: Movement) -> bool:
    """Its end had been known before it came; of one that was never heard of before, the end itself says since when."""
    versions = lasting(ledger.records[end.subscription].versions)
    before = [one for one in versions if one.at < end.at]
    if before and (before[-1].cancel_at_period_end or before[-1].cancel_at is not None):
        return True
    last = next((one for one in versions if one.at == end.at), None)
    return last is not None and last.canceled_at is not None and last.canceled_at < end.at - DAY
