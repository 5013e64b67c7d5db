from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from actors.billing.detectors.base import Detector, Finding, Rules
from actors.billing.detectors.evidence import moment
from actors.billing.facts import Arrival, SignaturesFailed
from actors.kernel.clock import SECOND, moved
from actors.store.records import Severity

SPAN_S = 3600
WRITTEN_US = 65 * SECOND  # the count of a minute is written down within seconds of its end
ROTATED_MIN = 5  # in more than one minute, and not one valid event since the first
BURST_MIN = 20


class SignatureFailures(Detector):
    """Deliveries are refused because their signature does not match.

    When nothing else comes any more, the signing secret was rotated in Stripe and not here: events are being lost
    slowly, for Stripe gives up after three days. When valid events go on coming, somebody else is knocking.
    """

    signal = "signature_failures"
    reads: ClassVar = (Arrival, SignaturesFailed)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._minutes: deque[tuple[int, int]] = deque(maxlen=SPAN_S // 60)  # when, how many; of the last hour
        self._valid_at = 0  # log time of the last valid event

    def observe(self, fact: Arrival | SignaturesFailed, now: int) -> Iterable[Finding]:
        """Count the failures of the last hour, and those since anything valid came."""
        if isinstance(fact, Arrival):
            self._valid_at = now
            return ()
        return self._judge(fact.failed, now)

    def _judge(self, failed: int, now: int) -> Iterator[Finding]:
        self._minutes.append((now, failed))
        while self._minutes[0][0] < now - SPAN_S * SECOND:
            self._minutes.popleft()
        total = sum(failed for _, failed in self._minutes)
        # An event that came in the minute of the failures may have come after them.
        unanswered = [(at, failed) for at, failed in self._minutes if at - WRITTEN_US >= self._valid_at]
        refused = sum(failed for _, failed in unanswered)
        if refused >= BURST_MIN or (refused >= ROTATED_MIN and len(unanswered) > 1):
            title = f"{refused} webhooks refused and none valid since: was the signing secret rotated?"
            first = (
                "Compare the secret in Stripe → Webhooks → Signing secret with webhook_secrets; keep the old one too."
            )
            yield self._report(refused, ROTATED_MIN, unanswered[0][0], now, title, first)
        elif total >= BURST_MIN:
            title = f"{total} webhooks with a wrong signature within an hour, among valid ones"
            first = "Is a second endpoint of yours sending here? If not, change this tenant's token: strangers know it."
            yield self._report(total, BURST_MIN, self._minutes[0][0], now, title, first)

    def _report(self, observed: int, expected: int, since: int, now: int, title: str, first: str) -> Finding:
        evidence: dict[str, Any] = {
            "observed": observed,
            "expected": expected,
            "window_s": SPAN_S,
            "since": moment(since),
            "last_valid": moment(self._valid_at) if self._valid_at else None,
            "links": ["https://dashboard.stripe.com/webhooks"],
            "first": first,
        }
        return self.anomaly("account", Severity.WARNING, now, title, evidence, ())

    def set_back(self, now: int, by: int) -> None:
        """The last hour is still the last hour."""
        self._minutes = deque(((moved(at, now, by), failed) for at, failed in self._minutes), SPAN_S // 60)
        self._valid_at = moved(self._valid_at, now, by)

    def save(self) -> Any:
        """The counts of the last hour, and when the last valid event came."""
        return [list(self._minutes), self._valid_at]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        minutes, self._valid_at = state
        self._minutes.extend((at, failed) for at, failed in minutes)
