from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.detectors.base import Detector, Finding, Recent, Rules
from actors.billing.detectors.evidence import links, moment
from actors.billing.detectors.tally import Tally, Window
from actors.billing.facts import ChargeState, RefundState
from actors.billing.money import format_money
from actors.kernel.clock import SECOND
from actors.store.records import Severity

SPAN_S = 3600
KEEP_US = 24 * 3600 * SECOND
PARTS_MAX = 100  # refunds of one charge
EXAMPLES_MAX = 50


class RefundSpike(Detector):
    """The owner's fixed rule: so many refunds within an hour.

    Each refund is announced by events about itself and about its charge. Of one charge, so many refunds were made as
    there are refunds with ids of their own, or steps in what was refunded of it, whichever is more.
    """

    signal = "refund_spike"
    reads: ClassVar = (ChargeState, RefundState)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._refunds = Tally(SPAN_S)
        self._charges: Recent[tuple[list[str], list[int]]] = Recent(KEEP_US)  # ids of refunds, totals refunded
        self._examples: deque[list[Any]] = deque(maxlen=EXAMPLES_MAX)  # second, event, charge, amount, currency

    def observe(self, fact: ChargeState | RefundState, now: int) -> Iterator[Finding]:
        """Count it, if it tells of a refund that was not told before."""
        amount = self._newly_refunded(fact, now)
        second, now_s = fact.at // SECOND, now // SECOND
        if amount is None or not self._refunds.add(second, failed=False, now_s=now_s):
            return
        self._examples.append([second, fact.event, fact.charge or fact.payment_intent, amount, fact.currency])
        limit = self.rules.refund_spike_count
        if limit is None:
            return
        window = self._refunds.worst(second, now_s, at_least=1)
        if window is None:
            return
        if window.total < limit:
            yield window.total / limit
            return
        yield self._report(window, fact.at, limit)

    def _newly_refunded(self, fact: ChargeState | RefundState, now: int) -> int | None:
        """How much, or None where nothing new was said."""
        charge = fact.charge or fact.payment_intent
        if not charge or (isinstance(fact, ChargeState) and not fact.refunded):
            return None
        ids, totals = self._charges.get(charge) or ([], [])
        known = max(len(ids), len(totals))
        if isinstance(fact, RefundState):
            amount = fact.amount
            if fact.refund in ids or not fact.counts or known >= PARTS_MAX:
                return None
            ids = [*ids, fact.refund]
        else:
            amount = fact.refunded - max((total for total in totals if total < fact.refunded), default=0)
            if fact.refunded in totals or known >= PARTS_MAX:
                return None
            totals = [*totals, fact.refunded]
        self._charges.put(charge, (ids, totals), now)
        return amount if max(len(ids), len(totals)) > known else None

    def _report(self, window: Window, at: int, limit: int) -> Finding:
        rows = [row for row in self._examples if window.start <= row[0] <= window.end]
        sums: Counter[str] = Counter()
        for row in rows:
            sums[row[4]] += row[3]
        amounts = " + ".join(format_money(amount, currency) for currency, amount in sorted(sums.items()))
        charges = list(dict.fromkeys(row[2] for row in rows))
        evidence: dict[str, Any] = {
            "observed": window.total,
            "expected": limit,
            "amounts": amounts if len(rows) == window.total else f"{amounts} in the latest {len(rows)}",
            "charges": charges,
            "window_s": SPAN_S,
            "since": moment(window.start * SECOND),
            "links": links(charges[-5:]),
            "first": "Stripe → Logs: see which key or person makes these refunds; revoke the key if it is not yours.",
        }
        title = f"{window.total} refunds within an hour ({evidence['amounts']})"
        events = tuple(dict.fromkeys(row[1] for row in rows))
        return self.anomaly("account", Severity.WARNING, at, title, evidence, events)

    def save(self) -> Any:
        """Counts per second, what is known of each charge, and the latest refunds."""
        return [self._refunds.save(), self._charges.save(), list(self._examples)]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        refunds, charges, examples = state
        self._refunds.load(refunds)
        self._charges.load(charges)
        self._examples.extend(examples)
