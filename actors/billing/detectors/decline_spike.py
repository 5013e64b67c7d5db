from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.detectors.base import Detector, Finding, Recent, Rules
from actors.billing.detectors.evidence import links, moment
from actors.billing.detectors.tally import Tally, Window
from actors.billing.facts import Attempt
from actors.kernel.clock import SECOND
from actors.store.records import Severity

CUSTOMER_SPAN_S = 600
ACCOUNT_SPAN_S = 3600
DECLINES_MAX = 64  # remembered of one customer, or as many as the rule needs
CUSTOMERS_MAX = 5_000
EXAMPLES_MAX = 20


class DeclineSpike(Detector):
    """The owner's fixed rules: too many declines of one customer, or too large a share of all attempts in an hour.

    Both are exact to the second of event time. A late event joins its proper place; a window that ended longer ago
    than its own length opens nothing any more.
    """

    signal = "decline_spike"
    reads: ClassVar = (Attempt,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._attempts = Tally(ACCOUNT_SPAN_S)
        self._customers: Recent[list[list[Any]]] = Recent(2 * CUSTOMER_SPAN_S * SECOND, CUSTOMERS_MAX)
        self._examples: deque[list[Any]] = deque(maxlen=EXAMPLES_MAX)  # newest declines: second, event, customer, code

    def observe(self, fact: Attempt, now: int) -> Iterator[Finding]:
        """Count the attempt, then hold both rules against the windows it belongs to."""
        if not fact.succeeded:
            yield from self._of_customer(fact, now)
        yield from self._of_account(fact, now)

    def _of_customer(self, fact: Attempt, now: int) -> Iterator[Finding]:
        customer = fact.customer or (fact.payer and f"payer {fact.payer}")
        second, now_s = fact.at // SECOND, now // SECOND
        if not customer or second < now_s - 2 * CUSTOMER_SPAN_S:
            return
        declines = [row for row in self._customers.get(customer) or () if row[0] >= now_s - 2 * CUSTOMER_SPAN_S]
        insort(declines, [second, fact.event])
        limit = self.rules.customer_decline_count
        del declines[: -max(DECLINES_MAX, limit or 0)]
        self._customers.put(customer, declines, now)
        if limit is None:
            return
        worst = fullest(declines, second, now_s)
        if len(worst) < limit:
            yield len(worst) / limit
            return
        evidence: dict[str, Any] = {
            "observed": len(worst),
            "expected": limit,
            "failed": len(worst),
            "customer": customer,
            "code": fact.code,
            "window_s": CUSTOMER_SPAN_S,
            "since": moment(worst[0][0] * SECOND),
            "links": links([customer, fact.charge or fact.payment_intent]),
            "first": "Open the customer: one card retried is a person in need of help, many cards are a tester.",
        }
        title = f"{len(worst)} declines of one customer within ten minutes"
        events = tuple(row[1] for row in worst[-EXAMPLES_MAX:])
        yield self.anomaly(customer, Severity.INFO, fact.at, title, evidence, events)

    def _of_account(self, fact: Attempt, now: int) -> Iterator[Finding]:
        second, now_s = fact.at // SECOND, now // SECOND
        if not self._attempts.add(second, failed=not fact.succeeded, now_s=now_s):
            return
        if not fact.succeeded:
            self._examples.append([second, fact.event, fact.customer, fact.code])
        limit, enough = self.rules.failure_rate, self.rules.failure_min_attempts
        if limit is None:
            return
        # A success only ever lowers the rate, unless it is the one that makes the attempts enough to judge by.
        worst = self._attempts.worst(second, now_s, at_least=enough, exactly=fact.succeeded)
        if worst is None:
            return
        if worst.rate < limit:
            yield worst.rate / limit
            return
        yield self._spike(worst, fact, limit)

    def _spike(self, window: Window, fact: Attempt, limit: float) -> Finding:
        examples = [row for row in self._examples if window.start <= row[0] <= window.end]
        codes = Counter(row[3] or "no reason given" for row in examples)
        customers = {row[2] for row in examples if row[2]}
        evidence: dict[str, Any] = {
            "observed": round(window.rate, 4),
            "expected": limit,
            "failed": window.failed,
            "attempts": window.total,
            "latest_codes": dict(codes.most_common(5)),
            "latest_customers": len(customers),
            "window_s": ACCOUNT_SPAN_S,
            "since": moment(window.start * SECOND),
            "links": links([fact.charge or fact.payment_intent]),
            "first": "Look at the reasons: one bank or code points to the network, many new cards to card testing.",
        }
        title = f"{window.failed} of {window.total} payments declined within an hour ({window.rate:.0%})"
        events = tuple(dict.fromkeys((*(row[1] for row in examples), fact.event)))
        return self.anomaly("account", Severity.WARNING, fact.at, title, evidence, events)

    def save(self) -> Any:
        """Windows as counts per second."""
        return [self._attempts.save(), self._customers.save(), list(self._examples)]

    def load(self, state: Any) -> None:
        """Counts per second as windows."""
        attempts, customers, examples = state
        self._attempts.load(attempts)
        self._customers.load(customers)
        self._examples = deque(examples, maxlen=EXAMPLES_MAX)


def fullest(declines: list[list[Any]], second: int, now_s: int) -> list[list[Any]]:
    """Of the windows that hold `second` and are not wholly past, the one with the most declines."""
    seconds = [row[0] for row in declines]
    best: list[list[Any]] = []
    for end in range(bisect_left(seconds, second), bisect_right(seconds, second + CUSTOMER_SPAN_S)):
        window = declines[bisect_left(seconds, seconds[end] - CUSTOMER_SPAN_S) : end + 1]
        if seconds[end] >= now_s - CUSTOMER_SPAN_S and len(window) > len(best):
            best = window
    return best
