from collections.abc import Iterable
from typing import Any, ClassVar

from actors.billing.detectors.base import Detector, Finding, Rules
from actors.billing.detectors.evidence import ago, moment
from actors.billing.facts import Arrival
from actors.kernel.clock import SECOND
from actors.store.records import Severity

LAG_S_MAX = 1800
QUIET_S = 3600


class WebhookLag(Detector):
    """Events come long after they happened: we were away, or Stripe is. They are counted where they belong in time."""

    signal = "webhook_lag"
    reads: ClassVar = (Arrival,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._events = 0  # late ones, of the wave that is under way
        self._worst_s = 0
        self._since = 0
        self._last = 0  # log time

    def observe(self, fact: Arrival, now: int) -> Iterable[Finding]:
        """Compare when it came with when it happened."""
        lag_s = (now - fact.at) // SECOND
        if lag_s < LAG_S_MAX or fact.fetched:
            return ()
        if now - self._last > QUIET_S * SECOND:
            self._events, self._worst_s, self._since = 0, 0, now
        self._events += 1
        self._worst_s = max(self._worst_s, lag_s)
        self._last = now
        evidence: dict[str, Any] = {
            "observed": self._worst_s,
            "expected": LAG_S_MAX,
            "events": self._events,
            "lag_s": self._worst_s,
            "window_s": QUIET_S,
            "since": moment(self._since),
            "links": ["https://dashboard.stripe.com/webhooks", "https://status.stripe.com"],
            "first": "If nightdesk was not down, see in Stripe whether earlier deliveries failed, and why.",
        }
        title = f"{self._events} webhook{'s' * (self._events > 1)} up to {ago(self._worst_s)} late"
        return (self.anomaly("account", Severity.INFO, now, title, evidence, (fact.event,), quiet_s=QUIET_S),)

    def set_back(self, now: int, by: int) -> None:
        """The wave under way was of the other time."""
        del by
        self._last = min(self._last, now - QUIET_S * SECOND - 1)

    def save(self) -> Any:
        """Four numbers."""
        return [self._events, self._worst_s, self._since, self._last]

    def load(self, state: Any) -> None:
        """Four numbers."""
        self._events, self._worst_s, self._since, self._last = state
