from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from actors.billing.cusum import LULL_THRESHOLDS, Lull
from actors.billing.detectors.base import NEVER, Detector, Finding, Over, Rules
from actors.billing.detectors.evidence import ago, cautiously, moment
from actors.billing.facts import Arrival
from actors.kernel.clock import SECOND
from actors.store.records import Severity

SILENT_S_MIN = 1800
SAME_S = 2  # what happens so close together is one cause told by several events
AGAIN_S = 12 * 3600
QUIET_S = 48 * 3600  # the next event ends it, and nothing else
HOURS_MIN = 6  # of history; before that nobody knows what to expect
COLD_FACTORS = ((48, 3.0), (7 * 24, 1.5))  # hours, and how many times more must be missing until they were seen


class WebhookSilence(Detector):
    """Nothing comes any more, at hours when much should: the endpoint is disabled or out of reach, or nobody buys.

    An event that comes late breaks the silence like any other, for it came. When a whole night passes in which little
    was to be expected, that is no silence.
    """

    signal = "webhook_silence"
    version = 2
    reads: ClassVar = (Arrival,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._missing = Lull(0.0)
        self._latest = 0  # second of the event learnt last
        self._silent = False
        self._planned = 0  # hour of log time in which `due` was last worked out

    def observe(self, fact: Arrival, now: int) -> Iterable[Finding]:
        """Whatever it is: it came."""
        second, now_s = fact.at // SECOND, now // SECOND
        if abs(second - self._latest) > SAME_S:
            self._missing.learn(second)
            self._latest = second
        self._missing.take(now_s)
        silent, self._silent = self._silent, False
        if silent or now_s // 3600 != self._planned:
            self._plan(now_s)
        return (Over(self.signal, "account"),) if silent else ()

    def tick(self, now: int) -> Iterator[Finding]:
        """Perhaps an event came since this was planned; otherwise it is silent."""
        now_s, lull = now // SECOND, self._missing
        silent_s = now_s - lull.missed_since
        lull.advance(now_s)
        if lull.score(self._limit) < 1 or silent_s < SILENT_S_MIN or lull.rate.hours < HOURS_MIN:
            self._plan(now_s)
            return
        self._silent = True
        self.due = now + AGAIN_S * SECOND
        warm = self._caution == 1
        evidence: dict[str, Any] = {
            "observed": 0,
            "expected": round(lull.expected),
            "window_s": silent_s,
            "since": moment(lull.missed_since * SECOND),
            "links": ["https://dashboard.stripe.com/webhooks", "https://status.stripe.com"],
            "first": "Stripe → Webhooks: is the endpoint on, do deliveries fail? If all is well, does anybody buy?",
        } | ({} if warm else {"warming_up": True})
        title = f"No webhook for {ago(silent_s)}, {lull.expected:.0f} were expected"
        yield self.anomaly(
            "account", Severity.WARNING, now, cautiously(title, warm=warm), evidence, (), quiet_s=QUIET_S
        )

    def set_back(self, now: int, by: int) -> None:
        """It has been silent for as long as it has."""
        super().set_back(now, by)
        self._missing.set_back(now // SECOND, by // SECOND)
        self._planned = 0

    @property
    def _limit(self) -> float:
        return LULL_THRESHOLDS[self.rules.sensitivity] * self._caution

    @property
    def _caution(self) -> float:
        return next((factor for hours, factor in COLD_FACTORS if self._missing.rate.hours < hours), 1.0)

    def _plan(self, now_s: int) -> None:
        at = self._missing.when(self._limit) if self._missing.rate.hours >= HOURS_MIN else None
        self._planned = now_s // 3600
        self.due = NEVER if at is None else max(at, self._missing.missed_since + SILENT_S_MIN, now_s + 1) * SECOND

    def save(self) -> Any:
        """The rate, and what is missing."""
        return [self._missing.save(), self._latest, self._silent, self._planned, self.due]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        missing, self._latest, self._silent, self._planned, self.due = state
        self._missing.load(missing)
