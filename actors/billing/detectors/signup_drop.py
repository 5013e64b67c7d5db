from collections.abc import Iterator
from typing import Any, ClassVar

from actors.billing.detectors.base import NEVER, Detector, Finding, Over, Rules
from actors.billing.detectors.evidence import ago, moment
from actors.billing.facts import CustomerState, SubscriptionState
from actors.billing.lull import LULL_THRESHOLDS, Lull
from actors.billing.memory import Seen
from actors.kernel.clock import SECOND
from actors.store.records import Severity

NEW_US = 600 * SECOND
REMEMBERED_US = 86_400 * SECOND
REMEMBERED_MAX = 2_000
DROP = 0.25  # of the usual rate: half as many may be a quiet week, a quarter is a broken form
AGAIN_S = 12 * 3600
QUIET_S = 48 * 3600
OVER = 0.5  # of the threshold


class SignupDrop(Detector):
    """Hardly anybody signs up any more, at hours when some should. Nothing is judged before two weeks were seen.

    A sign-up is a new customer; where Stripe is not asked to tell of customers, a customer's first subscription.
    """

    signal = "signup_drop"
    version = 2
    reads: ClassVar = (CustomerState, SubscriptionState)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._missing = Lull(DROP)
        self._known: Seen = Seen(REMEMBERED_US, REMEMBERED_MAX)
        self._low = False
        self._planned = 0  # hour of log time in which `due` was last worked out

    def observe(self, fact: CustomerState | SubscriptionState, now: int) -> Iterator[Finding]:
        """Count each newcomer once."""
        began = fact.created if isinstance(fact, CustomerState) else fact.started
        if began is None or not 0 <= fact.at - began <= NEW_US or not self._known.first(fact.customer, now):
            return
        self._missing.learn(fact.at // SECOND)
        self._missing.take(fact.at // SECOND)
        limit = LULL_THRESHOLDS[self.rules.sensitivity]
        if self._low and self._missing.score(limit) < OVER:
            self._low = False
            yield Over(self.signal, "account")
        if not self._low and now // SECOND // 3600 != self._planned:
            self._plan(now // SECOND, limit)

    def tick(self, now: int) -> Iterator[Finding]:
        """Too many are missing, or some came since this was planned."""
        now_s, lull, limit = now // SECOND, self._missing, LULL_THRESHOLDS[self.rules.sensitivity]
        lull.advance(now_s)
        if lull.score(limit) < 1 or not lull.rate.warm:
            self._plan(now_s, limit)
            return
        lull.bound(limit)
        self._low = True
        self.due = now + AGAIN_S * SECOND
        evidence: dict[str, Any] = {
            "observed": lull.seen,
            "expected": round(lull.expected),
            "window_s": now_s - lull.missed_since,
            "since": moment(lull.missed_since * SECOND),
            "links": ["https://dashboard.stripe.com/customers"],
            "first": "Sign up yourself, with a new address: does the form, the e-mail, the payment page work?",
        }
        within = ago(now_s - lull.missed_since)
        title = f"{lull.seen or 'No'} sign-ups within {within}, {lull.expected:.0f} were expected"
        yield self.anomaly("account", Severity.WARNING, now, title, evidence, (), quiet_s=QUIET_S)

    def _plan(self, now_s: int, limit: float) -> None:
        at = self._missing.when(limit) if self._missing.rate.warm else None
        self._planned = now_s // 3600
        self.due = NEVER if at is None else max(at, now_s + 1) * SECOND

    def save(self) -> Any:
        """The rate, what is missing, and who is new."""
        return [self._missing.save(), self._known.save(), self._low, self._planned, self.due]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        missing, known, self._low, self._planned, self.due = state
        self._missing.load(missing)
        self._known.load(known)
