from collections.abc import Iterator, Sequence
from heapq import nsmallest
from typing import Any, ClassVar, NamedTuple

from actors.billing.detectors.base import NEVER, PAUSE, Finding, LedgerDetector, Over, Rules
from actors.billing.detectors.evidence import ago, links, moment
from actors.billing.detectors.rounds import GRACE, missed, next_round
from actors.billing.facts import SubscriptionState
from actors.billing.money import format_money
from actors.billing.record import Outlook
from actors.kernel.clock import SECOND
from actors.store.records import Severity

SPAN_S = 2 * 86_400  # back to where renewals are looked for
PATIENCE_S = 3600  # Stripe makes the invoice of a renewal within the hour
BEFORE_S = 7200  # so much ahead of its time a bill may be made
MISSING_MIN = {"low": 6, "normal": 4, "high": 3}
MISSING_SHARE = 0.8  # of those that were due since the first that is missing
CRITICAL = 20
EXAMPLES_MAX = 20


class Renewal(NamedTuple):
    """One that was due."""

    at: int
    subscription: str
    missing: bool


class RenewalsMissing(LedgerDetector):
    """Subscriptions came to the end of their period, and nothing followed: no invoice, no new period, no end.

    Renewals are not random: the ledger knows when each is due. That a few stay away happens; that nearly all do since
    some hour means that billing, or word of it, has stopped.
    """

    signal = "renewals_missing"
    reads: ClassVar = (SubscriptionState,)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._open = False

    def observe(self, fact: SubscriptionState, now: int) -> Sequence[Finding]:
        """From the first subscription on there is something to expect."""
        del fact
        if self.due == NEVER:
            self.due = next_round(self.tenant, self.signal, now)
        return ()

    def tick(self, now: int) -> Iterator[Finding]:
        """Lay what was due beside what came."""
        if missed(self.due, now):
            self.due = now + GRACE
            return
        self.due = next_round(self.tenant, self.signal, now)
        now_s, enough = now // SECOND, MISSING_MIN[self.rules.sensitivity]
        due: list[Renewal] = []
        awaited: list[int] = []  # when those are late that have not come and are not late yet
        for piece in self.ledger.records.outlooks():
            for id_, outlook in piece:
                if found := renewal(id_, outlook, now_s):
                    due.append(found)
                elif outlook.renews and not came(outlook) and outlook.period_end > now_s - PATIENCE_S:
                    awaited.append(outlook.period_end + PATIENCE_S)
            yield PAUSE
        absent, expected = longest_absence(sorted(due))
        if len(absent) < enough <= len(absent) + len(awaited):
            # If those do not come either, that is told at once.
            self.due = min(self.due, nsmallest(enough - len(absent), awaited)[-1] * SECOND)
        if len(absent) >= enough:
            self._open = True
            yield self._report(absent, expected, now)
        elif self._open:
            self._open = False
            yield Over(self.signal, "account")

    def _report(self, absent: list[Renewal], expected: int, now: int) -> Finding:
        lost: dict[str, int] = {}
        for one in absent:
            last = self.ledger.records[one.subscription].versions[-1]
            lost[last.currency] = lost.get(last.currency, 0) + last.full
        amounts = " + ".join(format_money(amount, currency) for currency, amount in sorted(lost.items()))
        subscriptions = [one.subscription for one in absent[-EXAMPLES_MAX:]]
        evidence: dict[str, Any] = {
            "observed": expected - len(absent),
            "expected": expected,
            "missing": len(absent),
            "mrr_missing": amounts,
            "subscriptions": subscriptions,
            "window_s": (now - absent[0].at) // SECOND,
            "since": moment(absent[0].at),
            "links": [*links(subscriptions[-5:]), "https://status.stripe.com"],
            "first": "Open one: has Stripe made its invoice? If so, its events do not reach us; else billing stopped.",
        }
        which = "None" if expected == len(absent) else f"Only {expected - len(absent)}"
        span = ago((now - absent[0].at) // SECOND)
        title = f"{which} of {expected} renewals due in the last {span} came ({amounts} a month)"
        severity = Severity.CRITICAL if len(absent) >= CRITICAL else Severity.WARNING
        return self.anomaly("account", severity, now, title, evidence, (), quiet_s=3 * 3600)

    def save(self) -> Any:
        """When the next look is, and whether the last found something."""
        return [self.due, self._open]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        self.due, self._open = state


def renewal(id_: str, outlook: Outlook, now_s: int) -> Renewal | None:
    """The last that this subscription had to make, and had the time to."""
    due, first, last = outlook.period_end, now_s - SPAN_S, now_s - PATIENCE_S
    if not due:
        return None
    billed = came(outlook)
    if outlook.renews and first <= due <= last and not billed:
        return Renewal(due * SECOND, id_, missing=True)
    at = outlook.billed if billed else outlook.renewed
    return Renewal(at * SECOND, id_, missing=False) if first <= at <= last else None


def came(outlook: Outlook) -> bool:
    """The bill for what comes after this period is made."""
    return outlook.billed >= outlook.period_end - BEFORE_S


def longest_absence(due: list[Renewal]) -> tuple[list[Renewal], int]:
    """The most that are missing of what was due since some time, where nearly all are; and how many were due."""
    best: tuple[list[Renewal], int] = [], 0
    absent: list[Renewal] = []
    for number, one in enumerate(reversed(due), 1):
        if one.missing:
            absent.append(one)
        start = number == len(due) or due[-number - 1].at < one.at  # what is due together is judged together
        if start and one.missing and len(absent) >= MISSING_SHARE * number:
            best = absent[::-1], number
    return best
