from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.cusum import SURGE_THRESHOLDS, Surge, Surges
from actors.billing.detectors.base import Detector, Finding, Rules
from actors.billing.detectors.evidence import ago, cautiously, links, of_surge, quiet_after
from actors.billing.facts import Attempt, CustomerState, SetupAttempt
from actors.billing.memory import Examples, Recent, Seen
from actors.kernel.clock import SECOND
from actors.store.records import Severity

DAY_US = 86_400 * SECOND
REMEMBERED_MAX = 2_000
DECLINED_MIN = 8
DECLINED_MIN_COLD = 15  # while it is not known how many cards are usual
DECLINED_SHARE = 0.5  # honest crowds are declined one time in ten
CARDS_OF_ONE = 10  # a person tries a handful of cards; from the tenth on one customer is many
EXAMPLES_MAX = 12


class CardTesting(Detector):
    """A script tries stolen cards: suddenly many cards that were not seen that day, and most of them are declined.

    Storing a card (SetupIntent) is a try like a payment. What Stripe's own billing tries is none. A rush of buyers is
    declined as seldom as ever, and a gateway that fails brings no new cards: neither is this.
    """

    signal = "card_testing"
    version = 2
    reads: ClassVar = (Attempt, SetupAttempt, CustomerState)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._surges = Surges(prior_per_day=10.0)  # cards, those declined marked
        self._cards = Seen(DAY_US, REMEMBERED_MAX)
        self._customers = Seen(DAY_US, REMEMBERED_MAX)
        self._more: Recent[int] = Recent(DAY_US, REMEMBERED_MAX)  # how many cards, of customers with several
        self._newcomers = Seen(DAY_US, REMEMBERED_MAX)
        self._examples = Examples(EXAMPLES_MAX)  # declines: second, event, customer, code, new

    def observe(self, fact: Attempt | SetupAttempt | CustomerState, now: int) -> Iterator[Finding]:
        """Count cards, not tries."""
        if isinstance(fact, CustomerState):
            if fact.created >= fact.at - DAY_US:
                self._newcomers.first(fact.customer, now)
            return
        if not self._another_card(fact, now):
            return
        second, limit = fact.at // SECOND, SURGE_THRESHOLDS[self.rules.sensitivity]
        if fact.succeeded:
            self._surges.add(second, limit)
            return
        surge = self._surges.count(second, now // SECOND, limit, marked=True)
        new = not fact.customer or fact.customer in self._newcomers
        self._examples.add(second, fact.event, fact.customer, fact.code, new)
        if surge is None:
            return
        enough = DECLINED_MIN if self._surges.rate.warm else DECLINED_MIN_COLD
        nearest = min(surge.score, surge.marked / enough, surge.marked / surge.events / DECLINED_SHARE)
        yield nearest if nearest < 1 else self._report(surge, fact)

    def _another_card(self, fact: Attempt | SetupAttempt, now: int) -> bool:
        if isinstance(fact, Attempt) and self._by_billing(fact):
            return False
        card = fact.payer or fact.customer or fact.event
        if not self._cards.first(card, now):
            return False
        if not fact.customer or self._customers.first(fact.customer, now):
            return True
        cards = (self._more.get(fact.customer) or 1) + 1
        self._more.put(fact.customer, cards, now)
        return cards >= CARDS_OF_ONE

    def _by_billing(self, fact: Attempt) -> bool:
        """Since basil a charge does not say so; then it is one that nobody asked for, of a customer of yesterday."""
        if fact.invoice is not None:
            return bool(fact.invoice)
        return fact.automatic and fact.customer != "" and fact.customer not in self._newcomers

    def _report(self, surge: Surge, fact: Attempt | SetupAttempt) -> Finding:
        warm = self._surges.rate.warm
        rows = self._examples.within(surge.since, surge.until)
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
        title, quiet_s = cautiously(title, warm=warm), quiet_after(surge)
        return self.anomaly("account", Severity.CRITICAL, fact.at, title, evidence, events, quiet_s)

    def save(self) -> Any:
        """What is usual, and the cards and newcomers of a day."""
        memories = [one.save() for one in (self._cards, self._customers, self._more, self._newcomers)]
        return [self._surges.save(), memories, self._examples.save()]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        surges, (cards, customers, more, newcomers), examples = state
        self._surges.load(surges)
        self._cards.load(cards)
        self._customers.load(customers)
        self._more.load(more)
        self._newcomers.load(newcomers)
        self._examples.load(examples)
