"""Subscriptions as they are and were, from events in any order: what recurs, how it moved, and what was billed."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nsmallest

import orjson

from actors.billing.facts import Fact, InvoiceState, SubscriptionState
from actors.billing.record import VERSIONS_MAX, Kind, Movement, Record, bill_of
from actors.billing.shelf import Shelf
from actors.billing.versions import Version, version_of
from actors.kernel.clock import SECOND

RECORDS_MAX = 50_000  # of one tenant; beyond, those that were not heard of for longest are forgotten
DAY = 86_400 * SECOND
WARM = 31 * DAY
SUMS = ""  # no subscription has this id
ENDED_DAYS = 35  # for which it is known how many ended
SETTLED = 7 * DAY  # Stripe delivers for three days; what has not been told by then will not be

Journal = Callable[[Sequence[Movement], Sequence[Movement], int], None]
"""Told that the steps of a subscription are others than was known: before, after, and when in log time."""


class Ledger:
    """One tenant's subscriptions.

    Any permutation and repetition of the same events gives the same ledger: versions are kept by the second in which
    they were true, and which of several in one second came last is decided by what they say, not by arrival.
    """

    version = 2  # of the saved state, as with detectors

    def __init__(self) -> None:
        self.records = Shelf()
        self.mrr: Counter[str] = Counter()  # minor units a month by currency, as of now
        self.paying: Counter[str] = Counter()  # subscriptions that recur, by currency
        self._recent: list[Movement] = []  # of the last day
        self._since = 0  # and which day that is
        self._net: Counter[str] = Counter()  # sums of that day, by currency
        self._kinds: Counter[Kind] = Counter()  # and counts
        self._changed: Counter[str] = Counter()  # and how often each subscription moved, other than to begin
        self._ended: Counter[int] = Counter()  # subscriptions, by UTC day of their end
        self._summed = False  # anew, since the last save
        self.began: int | None = None  # what happened earlier we know from hindsight only
        self.journal: Journal = lambda _before, _after, _now: None  # set by whoever wants to hear of movements

    def apply(self, fact: Fact, now: int) -> None:
        """Take in a subscription or an invoice as it stood at `fact.at`."""
        if isinstance(fact, SubscriptionState):
            if self.began is None or fact.at < self.began:
                self.began = fact.at
            self._tell(fact.subscription, self._record(fact.subscription, now), version_of(fact), now)
        elif isinstance(fact, InvoiceState) and fact.subscription:
            self._record(fact.subscription, now).bill(bill_of(fact))

    def _tell(self, id_: str, record: Record, version: Version, now: int) -> None:
        last = record.last
        if (
            last is not None
            and version.at > last.at
            and (version.amount, version.currency) == (last.amount, last.currency)
            and len(record.versions) < VERSIONS_MAX
        ):
            record.add(version)  # by far most say nothing of worth
            return
        before = record.movements(id_) if last is not None else []
        record.add(version)
        after = record.movements(id_)
        if before != after:
            self._replace(before, after)
            self.journal(before, after, now)

    def _record(self, id_: str, now: int) -> Record:
        record = self.records.open(id_)
        if record is None:
            if len(self.records) >= RECORDS_MAX:
                self._forget()
            record = Record(now, [], [])
            self.records.add(id_, record)
        elif now - record.heard > SETTLED:
            record.settle()
        record.hear(now)
        return record

    def _forget(self) -> None:
        heard = ((outlook.heard, id_) for piece in self.records.outlooks() for id_, outlook in piece)
        for _, id_ in nsmallest(RECORDS_MAX // 100, heard):
            self._replace(self.records.remove(id_).movements(id_), [])

    def _replace(self, before: list[Movement], after: list[Movement]) -> None:
        for steps, sign in ((before, -1), (after, 1)):
            for step in steps:
                self._count(step, sign)

    def _count(self, step: Movement, sign: int) -> None:
        self.mrr[step.currency] += sign * step.amount
        self.paying[step.currency] += sign * step.paying
        if step.kind is Kind.CHURN:
            self._end(step.at // DAY, sign)
        if step.at < self._since:
            return
        if sign > 0:
            insort(self._recent, step)
        else:
            del self._recent[bisect_left(self._recent, step)]
        self._sum_up(step, sign)

    def _end(self, day: int, sign: int) -> None:
        if day not in self._ended:
            for old in [known for known in self._ended if known < day - ENDED_DAYS]:
                del self._ended[old]
        self._ended[day] += sign

    def knew(self, step: Movement) -> bool:
        """The subscription had been heard of before it moved so; of who is first heard of when he leaves, not."""
        return self.records[step.subscription].versions[0].at < step.at

    def ended(self, days: range) -> int:
        """How many subscriptions ended on these UTC days, of the last five weeks."""
        return sum(number for day, number in self._ended.items() if day in days)

    def _sum_up(self, step: Movement, sign: int) -> None:
        self._net[step.currency] += sign * step.amount
        self._kinds[step.kind] += sign
        if step.kind is not Kind.NEW:
            self._changed[step.subscription] += sign
            if not self._changed[step.subscription]:
                del self._changed[step.subscription]

    def recent(self, now: int) -> list[Movement]:
        """The movements of the last 24 hours, oldest first; to be read, not kept."""
        self._since = now - DAY
        old = 0
        while old < len(self._recent) and self._recent[old].at < self._since:
            self._sum_up(self._recent[old], -1)
            old += 1
        if old:
            del self._recent[:old]
        return self._recent

    def set_back(self, now: int) -> None:
        """The clock was ahead and says `now`: what it took for older than a day may not be."""
        self._since = now - DAY
        self._recent = self.movements(self._since)
        self._net, self._kinds, self._changed = Counter(), Counter(), Counter()
        for step in self._recent:
            self._sum_up(step, 1)
        self._summed = True

    def net(self, now: int) -> Mapping[str, int]:
        """What recurs more than 24 hours ago, by currency."""
        self.recent(now)
        return self._net

    def kinds(self, now: int) -> Mapping[Kind, int]:
        """How many movements of each kind there were in the last 24 hours."""
        self.recent(now)
        return self._kinds

    def changes(self, id_: str, now: int) -> list[Movement]:
        """How one subscription moved in the last 24 hours, other than to begin.

        All of it, not only what the last event told: what comes late may show what came before.
        """
        self.recent(now)
        if id_ not in self._changed:
            return []
        steps = self.records[id_].movements(id_)
        return [step for step in steps if step.at >= self._since and step.kind is not Kind.NEW]

    def warm(self, now: int) -> bool:
        """It has been kept for longer than a month: nearly every subscription has been heard of."""
        return self.began is not None and now - self.began >= WARM

    def movements(self, since: int = 0) -> list[Movement]:
        """All steps from `since` on, oldest first."""
        steps = (step for id_, record in self.records.items() for step in record.movements(id_))
        return sorted(step for step in steps if step.at >= since)

    def save(self) -> Iterator[tuple[str, bytes]]:
        """Each subscription that changed since the last save, and under SUMS what all of them come to, as JSON."""
        changed = list(self.records.save())
        if changed or self._summed:
            counts = self.mrr, self.paying, self._net, self._kinds, self._changed, self._ended
            sums = [self.began, len(self.records), self._since, self._recent, *counts]
            yield SUMS, orjson.dumps(sums, default=tuple, option=orjson.OPT_NON_STR_KEYS)
            yield from changed
        self._summed = False

    def load(self, id_: str, state: bytes) -> None:
        """One of what `save` gave, into a ledger that does not know it yet."""
        if id_ != SUMS:
            self.records.load(id_, state)
            return
        self.began, self.records.number, self._since, recent, *counts, ended = orjson.loads(state)
        self._recent = [Movement(*one)._replace(kind=Kind(one[3])) for one in recent]
        self.mrr, self.paying, self._net, self._kinds, self._changed = (Counter(count) for count in counts)
        self._ended = Counter({int(day): number for day, number in ended.items()})
