from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.cusum import SHARE_THRESHOLDS, Share, Surge
from actors.billing.detectors.base import Detector, Finding, Rules
from actors.billing.detectors.evidence import ago, links, moment
from actors.billing.detectors.tally import Tally, Window
from actors.billing.facts import Attempt
from actors.billing.memory import Examples, Recent, Seen
from actors.kernel.clock import SECOND
from actors.store.records import Severity

CUSTOMER_SPAN_S = 600
ACCOUNT_SPAN_S = 3600
DECLINES_MAX = 64  # remembered of one customer, or as many as the rule needs
CUSTOMERS_MAX = 5_000
EXAMPLES_MAX = 12
DECLINER_US = 24 * 3600 * SECOND
DECLINERS_MAX = 2_000
IN_TIME_US = 1800 * SECOND  # half of an outage's events tell nothing of its share: those in time judge it


class DeclineSpike(Detector):
    """Too many declines of one customer; too large a share of all payments, by the owner's rule or by what is usual.

    The fixed rules are exact to the second of event time. A late event joins its proper place; a window that ended
    longer ago than its own length opens nothing any more. What is usual counts each payer's declines once a day: who
    tries one dead card nine times is one decline.
    """

    signal = "decline_spike"
    version = 4
    reads: ClassVar = (Attempt,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._attempts = Tally(ACCOUNT_SPAN_S)
        self._customers: Recent[list[list[Any]]] = Recent(2 * CUSTOMER_SPAN_S * SECOND, CUSTOMERS_MAX)
        self._share = Share(prior=0.1, weight=40)
        self._decliners = Seen(DECLINER_US, DECLINERS_MAX)
        self._examples = Examples(EXAMPLES_MAX)  # newest declines: second, event, customer, code

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
        counts = self._attempts.add(second, failed=not fact.succeeded, now_s=now_s)
        if counts and not fact.succeeded:
            self._examples.add(second, fact.event, fact.customer, fact.code)
        limit, enough = self.rules.failure_rate, self.rules.failure_min_attempts
        by_rule, unusual = 0.0, self._unusual(fact, now)
        # A success only ever lowers the rate, unless it is the one that makes the attempts enough to judge by.
        if counts and limit is not None:
            worst = self._attempts.worst(second, now_s, at_least=enough, exactly=fact.succeeded)
            by_rule = worst.rate / limit if worst is not None else 0.0
            if worst is not None and by_rule >= 1:
                yield self._by_rule(worst, fact, limit)
                return
        if unusual is not None and unusual.score >= 1:
            yield self._by_baseline(unusual, fact)
        elif by_rule or unusual is not None:
            yield max(by_rule, unusual.score if unusual is not None else 0.0)

    def _unusual(self, fact: Attempt, now: int) -> Surge | None:
        """The share of declines as it stands; judged with each payer's first decline that comes in time."""
        payer = fact.customer or fact.payer
        if not fact.succeeded and payer and not self._decliners.first(payer, now):
            return None
        limit = SHARE_THRESHOLDS[self.rules.sensitivity]
        in_time = self._share.add(fact.at // SECOND, limit, failed=not fact.succeeded) and now - fact.at < IN_TIME_US
        return self._share.strongest(limit) if in_time and not fact.succeeded else None

    def _by_baseline(self, surge: Surge, fact: Attempt) -> Finding:
        usual = self._share.usual
        title = f"{surge.marked} of {surge.events} payments declined within {ago(surge.until - surge.since)}"
        title = f"{title}, {usual:.0%} is usual"
        measured: dict[str, Any] = {
            "observed": round(surge.marked / surge.events, 4),
            "expected": round(usual, 4),
            "window_s": surge.until - surge.since,
            "since": moment(surge.since * SECOND),
        }
        return self._spike((surge.since, surge.until), (surge.marked, surge.events), fact, title, measured)

    def _by_rule(self, window: Window, fact: Attempt, limit: float) -> Finding:
        title = f"{window.failed} of {window.total} payments declined within an hour ({window.rate:.0%})"
        measured: dict[str, Any] = {
            "observed": round(window.rate, 4),
            "expected": limit,
            "window_s": ACCOUNT_SPAN_S,
            "since": moment(window.start * SECOND),
        }
        return self._spike((window.start, window.end), (window.failed, window.total), fact, title, measured)

    def _spike(
        self, span: tuple[int, int], counts: tuple[int, int], fact: Attempt, title: str, measured: dict[str, Any]
    ) -> Finding:
        examples = self._examples.within(*span)
        codes = Counter(row[3] or "no reason given" for row in examples)
        customers = {row[2] for row in examples if row[2]}
        evidence = measured | {
            "failed": counts[0],
            "attempts": counts[1],
            "latest_codes": dict(codes.most_common(5)),
            "latest_customers": len(customers),
            "links": links([fact.charge or fact.payment_intent]),
            "first": "Look at the reasons: one bank or code points to the network, many new cards to card testing.",
        }
        events = tuple(dict.fromkeys((*(row[1] for row in examples), fact.event)))
        return self.anomaly("account", Severity.WARNING, fact.at, title, evidence, events)

    def save(self) -> Any:
        """Windows as counts per second."""
        usual = [self._share.save(), self._decliners.save()]
        return [self._attempts.save(), self._customers.save(), self._examples.save(), *usual]

    def load(self, state: Any) -> None:
        """Counts per second as windows."""
        attempts, customers, examples, share, decliners = state
        self._share.load(share)
        self._decliners.load(decliners)
        self._attempts.load(attempts)
        self._customers.load(customers)
        self._examples.load(examples)


def fullest(declines: list[list[Any]], second: int, now_s: int) -> list[list[Any]]:
    """Of the windows that hold `second` and are not wholly past, the one with the most declines."""
    seconds = [row[0] for row in declines]
    best: list[list[Any]] = []
    for end in range(bisect_left(seconds, second), bisect_right(seconds, second + CUSTOMER_SPAN_S)):
        window = declines[bisect_left(seconds, seconds[end] - CUSTOMER_SPAN_S) : end + 1]
        if seconds[end] >= now_s - CUSTOMER_SPAN_S and len(window) > len(best):
            best = window
    return best
