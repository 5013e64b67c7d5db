from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.cusum import SURGE_THRESHOLDS, Surge, Surges
from actors.billing.detectors.base import Detector, Finding, Recent, Rules
from actors.billing.detectors.evidence import ago, cautiously, links, of_surge
from actors.billing.facts import Attempt, CustomerState, SetupAttempt
from actors.kernel.clock import SECOND
from actors.store.records import Severity

DAY_US = 86_400 * SECOND
REMEMBERED_MAX = 2_000
DECLINED_MIN = 8
DECLINED_MIN_COLD = 15  # while it is not known how many cards are usual
DECLINED_SHARE = 0.5  # honest crowds are declined one time in ten
CARDS_OF_ONE = 10  # a person tries a handful of cards; from the tenth on one customer is many
EXAMPLES_MAX = 20


class CardTesting(Detector):
    """A script tries stolen cards: suddenly many cards that were not seen that day, and most of them are declined.

    Storing a card (SetupIntent) is a try like a payment. What Stripe's own billing tries is none. A rush of buyers is
    declined as seldom as ever, and a gateway that fails brings no new cards: neither is this.
    """

    signal = "card_testing"
    reads: ClassVar = (Attempt, SetupAttempt, CustomerState)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._surges = Surges(prior_per_day=10.0)  # cards, those declined marked
        self._cards: Recent[None] = Recent(DAY_US, REMEMBERED_MAX)
        self._customers: Recent[int] = Recent(DAY_US, REMEMBERED_MAX)  # how many cards of each were tried
        self._newcomers: Recent[None] = Recent(DAY_US, REMEMBERED_MAX)
        self._examples: deque[list[Any]] = deque(maxlen=EXAMPLES_MAX)  # declines: second, event, customer, code, new

    def observe(self, fact: Attempt | SetupAttempt | CustomerState, now: int) -> Iterator[Finding]:
        """Count cards, not tries."""
        if isinstance(fact, CustomerState):
            if fact.created >= fact.at - DAY_US:
                self._newcomers.put(fact.customer, None, now)
            return
        if not self._another_card(fact, now):
            return
        second, limit = fact.at // SECOND, SURGE_THRESHOLDS[self.rules.sensitivity]
        if fact.succeeded:
            self._surges.add(second, limit)
            return
        surge = self._surges.count(second, now // SECOND, limit, marked=True)
        new = not fact.customer or fact.customer in self._newcomers
        self._examples.append([second, fact.event, fact.customer, fact.code, new])
        if surge is None:
            return
        enough = DECLINED_MIN if self._surges.rate.warm else DECLINED_MIN_COLD
        nearest = min(surge.score, surge.marked / enough, surge.marked / surge.events / DECLINED_SHARE)
        yield nearest if nearest < 1 else self._report(surge, fact)

    def _another_card(self, fact: Attempt | SetupAttempt, now: int) -> bool:
        if isinstance(fact, Attempt) and (fact.automatic or fact.invoice):
            return False
        card = fact.payer or fact.customer or fact.event
        known = card in self._cards
        self._cards.put(card, None, now)
        if known or not fact.customer:
            return not known
        cards = (self._customers.get(fact.customer) or 0) + 1
        self._customers.put(fact.customer, cards, now)
        return cards == 1 or cards >= CARDS_OF_ONE

    def _report(self, surge: Surge, fact: Attempt | SetupAttempt) -> Finding:
        warm = self._surges.rate.warm
        rows = [row for row in self._examples if surge.since <= row[0] <= surge.until]
        evidence = of_surge(surge, warm=warm) | {
            "declined": surge.marked,
            "latest_codes": dict(Counter(row[3] or "no reason given" for row in rows).most_common(5)),
            "latest_new_customers": sum(row[4] for row in rows),
            "links": links(list(dict.fromkeys(row[2] for row in rows if row[2]))[-5:]),
            "first": "Stripe → Radar: block by rule or add a CAPTCHA before payment; then refund what went through.",
        }
        title = (
            f"Card testing: {surge.marked} of {surge.events} new cards declined within {ago(surge.until - surge.since)}"
        )
        events = tuple(row[1] for row in rows)
        return self.anomaly("account", Severity.CRITICAL, fact.at, cautiously(title, warm=warm), evidence, events)

    def save(self) -> Any:
        """What is usual, and the cards and newcomers of a day."""
        memories = [self._cards.save(), self._customers.save(), self._newcomers.save()]
        return [self._surges.save(), memories, list(self._examples)]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        surges, (cards, customers, newcomers), examples = state
        self._surges.load(surges)
        self._cards.load(cards)
        self._customers.load(customers)
        self._newcomers.load(newcomers)
        self._examples.extend(examples)
