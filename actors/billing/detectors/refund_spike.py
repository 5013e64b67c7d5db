from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from actors.billing.cusum import SURGE_THRESHOLDS, Surge, Surges
from actors.billing.detectors.base import DiaryDetector, Finding, Rules
from actors.billing.detectors.evidence import ago, cautiously, links, moment, of_surge, quiet_after
from actors.billing.detectors.tally import Tally, Window
from actors.billing.facts import ChargeState, RefundState
from actors.billing.memory import Examples, Recent
from actors.billing.money import format_money
from actors.kernel.clock import SECOND
from actors.store.records import Anomaly, Severity

SPAN_S = 3600
USUAL_SHARE = 0.05  # of payments: until the shop's own usual is known
KEEP_US = 24 * 3600 * SECOND
CRITICAL_SCORE = 1.5  # well beyond the threshold: a script, a thief, or a mistake that repeats itself
PARTS_MAX = 100  # refunds of one charge
EXAMPLES_MAX = 20


class RefundSpike(DiaryDetector):
    """More refunds than is usual for this shop, or so many within an hour as the owner's fixed rule says.

    Each refund is announced by events about itself and about its charge. Of one charge, so many refunds were made as
    there are refunds with ids of their own, or steps in what was refunded of it, whichever is more.
    """

    signal = "refund_spike"
    version = 4
    reads: ClassVar = (ChargeState, RefundState)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._refunds = Tally(SPAN_S)
        self._surges = Surges(prior_per_day=2.0, prior_days=2.0)
        self._charges: Recent[tuple[list[str], list[int], int, int]] = Recent(KEEP_US)
        # by charge: ids of refunds, totals refunded, sum of the refunds, and how much of it was told
        self._examples = Examples(EXAMPLES_MAX)  # second, event, charge, amount, currency

    def observe(self, fact: ChargeState | RefundState, now: int) -> Iterator[Finding]:
        """Count it, if it tells of a refund that was not told before."""
        amount = self._newly_refunded(fact, now)
        if amount is None:
            return
        self.diary.refunded(amount, fact.currency, fact.at, now)
        second, now_s = fact.at // SECOND, now // SECOND
        self._examples.add(second, fact.event, fact.charge or fact.payment_intent, amount, fact.currency)
        self._surges.least = USUAL_SHARE * self.diary.payments_an_hour(now)
        surge = self._surges.count(second, now_s, SURGE_THRESHOLDS[self.rules.sensitivity])
        counts, limit = self._refunds.add(second, failed=False, now_s=now_s), self.rules.refund_spike_count
        window = self._refunds.worst(second, now_s, at_least=1) if counts and limit is not None else None
        by_rule = window.total / limit if window is not None and limit is not None else 0.0
        if window is not None and by_rule >= 1:
            yield self._by_rule(window, fact.at)
        elif surge is not None and surge.score >= 1:
            yield self._by_baseline(surge, fact.at)
        else:
            yield max(by_rule, surge.score if surge else 0.0)

    def _newly_refunded(self, fact: ChargeState | RefundState, now: int) -> int | None:
        """How much, or None where nothing new was said."""
        charge = fact.charge or fact.payment_intent
        if not charge or (isinstance(fact, ChargeState) and not fact.refunded):
            return None
        ids, totals, refunds, told = self._charges.get(charge) or ([], [], 0, 0)
        known = max(len(ids), len(totals))
        if known >= PARTS_MAX:
            return None
        if isinstance(fact, RefundState):
            if fact.refund in ids or not fact.counts:
                return None
            ids, refunds = [*ids, fact.refund], refunds + fact.amount
        else:
            if fact.refunded in totals:
                return None
            totals = [*totals, fact.refunded]
        amount = None
        if max(len(ids), len(totals)) > known:
            # The total may have come before its parts: each amount is what is known of the charge beyond what was told.
            amount = max(refunds, *totals, told) - told
            told += amount
        self._charges.put(charge, (ids, totals, refunds, told), now)
        return amount

    def _by_rule(self, window: Window, at: int) -> Finding:
        measured = {
            "observed": window.total,
            "expected": self.rules.refund_spike_count,
            "window_s": SPAN_S,
            "since": moment(window.start * SECOND),
        }
        return self._report(
            window.start, window.end, at, Severity.WARNING, f"{window.total} refunds within an hour", measured
        )

    def _by_baseline(self, surge: Surge, at: int) -> Finding:
        warm = self._surges.rate.warm
        title = f"{surge.events} refunds within {ago(surge.until - surge.since)}, {surge.expected:.1f} are usual"
        severity = Severity.CRITICAL if surge.score >= CRITICAL_SCORE else Severity.WARNING
        measured, title = of_surge(surge, warm=warm), cautiously(title, warm=warm)
        return replace(
            self._report(surge.since, surge.until, at, severity, title, measured), quiet_s=quiet_after(surge)
        )

    def _report(
        self, start: int, end: int, at: int, severity: Severity, title: str, measured: dict[str, Any]
    ) -> Anomaly:
        rows = self._examples.within(start, end)
        sums: Counter[str] = Counter()
        for row in rows:
            sums[row[4]] += row[3]
        amounts = " + ".join(format_money(amount, currency) for currency, amount in sorted(sums.items()))
        charges = list(dict.fromkeys(row[2] for row in rows))
        evidence = measured | {
            "amounts": amounts if len(rows) == measured["observed"] else f"{amounts} in the latest {len(rows)}",
            "charges": charges,
            "links": links(charges[-5:]),
            "first": "Stripe → Logs: see which key or person makes these refunds; revoke the key if it is not yours.",
        }
        events = tuple(dict.fromkeys(row[1] for row in rows))
        return self.anomaly("account", severity, at, f"{title} ({evidence['amounts']})", evidence, events)

    def save(self) -> Any:
        """Counts per second, what is known of each charge, the latest refunds, and what is usual."""
        return [self._refunds.save(), self._charges.save(), self._examples.save(), self._surges.save()]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        refunds, charges, examples, surges = state
        self._surges.load(surges)
        self._refunds.load(refunds)
        self._charges.load(charges)
        self._examples.load(examples)
