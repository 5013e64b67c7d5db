from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from actors.billing.detectors.base import NEVER, Detector, Finding, Over, Rules
from actors.billing.detectors.evidence import ago, cautiously, moment
from actors.billing.facts import Arrival, EndpointProbed, EventsMissed, Fact
from actors.billing.lull import LULL_THRESHOLDS, Lull
from actors.billing.probe import BRIEFLY, SAYS, Verdict
from actors.kernel.clock import SECOND
from actors.store.records import Anomaly, Severity

SILENT_S_MIN = 1800
SAME_S = 2  # what happens so close together is one cause told by several events
AGAIN_S = 12 * 3600
QUIET_S = 48 * 3600  # the next event ends it, and nothing else
HOURS_MIN = 6  # of history; before that nobody knows what to expect
LINKS = ["https://dashboard.stripe.com/webhooks", "https://status.stripe.com"]
GAP_QUIET_S = 3 * 3600  # that much longer than a round of looking for what was missed
GAP_OF_NOTE = 10, 3600  # events, seconds: less than both comes of any restart
ENDPOINT, API_KEY = "endpoint", "api_key"
COLD_FACTORS = ((48, 3.0), (7 * 24, 1.5))  # hours, and how many times more must be missing until they were seen


class WebhookSilence(Detector):
    """Nothing comes any more, at hours when much should: the endpoint is disabled or out of reach, or nobody buys.

    An event that comes late breaks the silence like any other, for it came. When a whole night passes in which little
    was to be expected, that is no silence. What Stripe says when it is asked tells one cause from the other; that it
    has disabled the endpoint, and what no webhook brought, are incidents of their own.
    """

    signal = "webhook_silence"
    version = 3
    reads: ClassVar = (Arrival, EndpointProbed, EventsMissed)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._missing = Lull(0.0)
        self._latest = 0  # second of the event learnt last
        self._taken = 0  # second of log time at which it last was not silent, since we began
        self._silent = False
        self._planned = 0  # hour of log time in which `due` was last worked out
        self._probed = 0  # second of log time at which Stripe was last heard to say
        self._verdict = ""  # this

    def observe(self, fact: Fact, now: int) -> Iterable[Finding]:
        """Whatever it is: it came."""
        if isinstance(fact, Arrival):
            return self._arrived(fact, now)
        match fact:
            case EndpointProbed():
                return self._heard(fact, now)
            case EventsMissed():
                return (self._gap(fact, now),)
        return ()

    def _arrived(self, fact: Arrival, now: int) -> Iterable[Finding]:
        if not fact.subscribed:
            return ()
        second, now_s = fact.at // SECOND, now // SECOND
        if abs(second - self._latest) > SAME_S:
            self._missing.learn(second)
            self._latest = second
        if fact.fetched or (now_s == self._taken and not self._silent):  # of a thousand in a second, one is enough
            return ()
        self._missing.take(now_s)
        self._taken = now_s
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
        yield self._silence(now)

    def _silence(self, now: int) -> Anomaly:
        lull = self._missing
        silent_s = now // SECOND - lull.missed_since
        warm = self._caution == 1
        title = f"No webhook for {ago(silent_s)}, {lull.expected:.0f} were expected"
        evidence: dict[str, Any] = {
            "observed": 0,
            "expected": round(lull.expected),
            "window_s": silent_s,
            "since": moment(lull.missed_since * SECOND),
            "links": LINKS,
            "first": "Stripe → Webhooks: is the endpoint on, do deliveries fail? If all is well, does anybody buy?",
        } | ({} if warm else {"warming_up": True})
        if self._verdict and self._probed > lull.missed_since:
            title += f": {BRIEFLY[Verdict(self._verdict)]}"
            evidence |= {"stripe": self._verdict, "first": SAYS[Verdict(self._verdict)]}
        return self.anomaly(
            "account", Severity.WARNING, now, cautiously(title, warm=warm), evidence, (), quiet_s=QUIET_S
        )

    def _heard(self, fact: EndpointProbed, now: int) -> Iterator[Finding]:
        """Stripe was asked."""
        verdict = Verdict(fact.verdict)
        self._verdict, self._probed = fact.verdict, now // SECOND
        if verdict is Verdict.DISABLED:
            title = "Stripe has disabled the webhook endpoint: it delivers nothing"
            evidence = {"observed": fact.detail, "since": moment(now), "links": LINKS, "first": SAYS[verdict]}
            yield self.anomaly(ENDPOINT, Severity.WARNING, now, title, evidence, (), quiet_s=QUIET_S)
        elif verdict is not Verdict.UNREACHABLE:
            yield Over(self.signal, ENDPOINT)
        if verdict is Verdict.NOT_ALLOWED:
            title = "What the webhook missed cannot be looked for: Stripe refuses the API key"
            evidence = {"observed": fact.detail, "since": moment(now), "first": f"Mend this: {fact.detail}"}
            yield self.anomaly(API_KEY, Severity.INFO, now, title, evidence, (), quiet_s=QUIET_S)
        elif verdict is not Verdict.UNREACHABLE:
            yield Over(self.signal, API_KEY)
        if self._silent:
            self._missing.advance(now // SECOND)
            yield self._silence(now)

    def _gap(self, fact: EventsMissed, now: int) -> Anomaly:
        """What no webhook brought was fetched."""
        span_s = (fact.last - fact.first) // SECOND
        grave = fact.missed >= GAP_OF_NOTE[0] or span_s >= GAP_OF_NOTE[1]
        evidence: dict[str, Any] = {
            "observed": fact.missed,
            "expected": 0,
            "window_s": span_s,
            "since": moment(fact.first),
            "until": moment(fact.last),
            "links": LINKS,
            "first": "They are in the log and in every figure now. If nightdesk was not down: do deliveries fail?",
        }
        if self._verdict not in ("", Verdict.WELL):
            evidence |= {"stripe": self._verdict, "first": SAYS[Verdict(self._verdict)]}
        title = f"{fact.missed} events came by no webhook, and were fetched from Stripe"
        if fact.missed == 1:
            title = "An event came by no webhook, and was fetched from Stripe"
        elif span_s >= 60:
            title = f"{fact.missed} events of {ago(span_s)} came by no webhook, and were fetched from Stripe"
        severity = Severity.WARNING if grave else Severity.INFO
        return self.anomaly("missed", severity, now, title, evidence, (), quiet_s=GAP_QUIET_S)

    def set_back(self, now: int, by: int) -> None:
        """It has been silent for as long as it has."""
        super().set_back(now, by)
        self._missing.set_back(now // SECOND, by // SECOND)
        self._planned = self._taken = 0

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
        planned = [self._planned, self.due]
        return [self._missing.save(), self._latest, self._silent, *planned, self._probed, self._verdict]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        missing, self._latest, self._silent, self._planned, self.due, self._probed, self._verdict = state
        self._missing.load(missing)
