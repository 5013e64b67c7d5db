"""How surprising what comes is: likelihood-ratio CUSUMs over counts and over shares.

W ← max(0, W + log likelihood ratio) crosses a threshold h soonest among all rules that raise so few false alarms
(Lorden, Annals of Mathematical Statistics 42 (1971); for counts Lucas, Technometrics 27 (1985); for shares Reynolds &
Stoumbos, Journal of Quality Technology 31 (1999)). Several alternatives run side by side. Time goes in bins of five
minutes; what comes up to two hours late joins its bin and is judged there, what comes later counts nowhere. The
baseline learns only what has left the two hours, so that what goes wrong does not hide itself.
"""

from collections.abc import Iterator
from math import log, sqrt
from typing import Any, NamedTuple

from actors.billing.baseline import SeasonalRate
from actors.kernel.clock import moved

HOUR_S = 3600
BIN_S = 300
BINS_PER_HOUR = HOUR_S // BIN_S
WINDOW_BINS = 24
IDLE_BINS_MAX = 8 * 7 * 24 * BINS_PER_HOUR  # after so long nearly all is forgotten; no gap is stepped through further
ALARM_GAP_BINS = BINS_PER_HOUR  # an hour without any ends a surge: what comes after it is judged afresh
EVENTS_MIN = 5
FAILED_MIN = 6
RATIOS = (3.0, 8.0, 25.0)  # how many times the usual rate a surge may have
ODDS = (2.5, 5.0, 10.0)  # how many times the usual odds a share may have
SURGE_THRESHOLDS = {"low": 15.0, "normal": 10.0, "high": 7.0}
"""Of the log likelihood ratio, by sensitivity: a Poisson stream gives a false alarm about every exp(h) events."""
SHARE_THRESHOLDS = {"low": 12.0, "normal": 9.0, "high": 6.5}
SHARE_SCORE_MAX = 13.0  # so that a share that is usual again does not take days to be so
SHARE_LEARNT_MIN = 50
COLD_HOURS = 72
LULL_THRESHOLDS = {"low": 30.0, "normal": 20.0, "high": 14.0}
"""Events that should have come, by sensitivity."""


class Surge(NamedTuple):
    """A stretch of time, in unix seconds, in which more happened than is usual."""

    score: float  # the log likelihood ratio over its threshold: from 1 on it is an alarm
    events: int
    marked: int
    expected: float
    since: int
    until: int


class Cusum:
    """One alternative: W, and what it was gathered from since it was last 0."""

    __slots__ = ("alarmed", "events", "expected", "last", "marked", "ratio", "since", "w")

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self.clear()

    def clear(self) -> None:
        """Nothing speaks for the alternative."""
        self.w = self.expected = 0.0
        self.events = self.marked = self.since = self.last = 0
        self.alarmed = False

    def drift(self, expected: float, until: int) -> None:
        """Nothing came up to bin `until`, where so many were expected."""
        self.w -= (self.ratio - 1) * expected
        self.expected += expected
        if self.w <= 0 or (self.alarmed and until - self.last > ALARM_GAP_BINS):
            self.clear()

    def take(self, at: int, events: int, marked: int, expected: float, threshold: float) -> None:
        """So many came in bin `at`, where so many were expected."""
        if not self.events:
            self.since = at
        self.w += events * log(self.ratio) - (self.ratio - 1) * expected
        self.events += events
        self.marked += marked
        self.expected += expected
        self.last = at
        self.alarmed = self.alarmed or self.w > threshold
        if self.w <= 0:
            self.clear()

    def save(self) -> list[Any]:
        """All of it."""
        return [getattr(self, name) for name in self.__slots__]

    @classmethod
    def of(cls, saved: list[Any]) -> "Cusum":
        """What `save` gave."""
        made = cls.__new__(cls)
        for name, value in zip(cls.__slots__, saved, strict=True):
            setattr(made, name, value)
        return made


class Surges:
    """A mixture of CUSUMs on a seasonal rate: W ← max(0, W + n·ln r - (r-1)·expected), for each ratio r.

    `limit` is the threshold h; it is widened by the dispersion, doubled until the rate is warm, and multiplied by up to
    five in the first three days, when the prior says more than what was seen. A subset of events never scores higher
    than all of them, so that the order of arrival decides nothing.
    """

    __slots__ = ("_bins", "_counted", "_settled", "_sums", "rate")

    def __init__(self, prior_per_day: float, prior_days: float = 1.0) -> None:
        self.rate = SeasonalRate(prior_per_day, prior_days)
        self._bins: dict[int, list[int]] = {}  # within the two hours: how many, and how many of them are marked
        self._settled = 0  # the first bin of the two hours
        self._counted = 0  # in that part of its hour which is settled
        self._sums = [Cusum(ratio) for ratio in RATIOS]  # up to there

    def count(self, second: int, now_s: int, limit: float, *, marked: bool = False) -> Surge | None:
        """Count one; the surge it belongs to, unless that is past. Whether it is one says its score."""
        if not self.add(second, limit, marked=marked):
            return None
        found = self.strongest(second, limit)
        return found if found is not None and found.until >= now_s - WINDOW_BINS * BIN_S else None

    def add(self, second: int, limit: float, *, marked: bool = False) -> bool:
        """Count one; False where it came too late."""
        at = second // BIN_S
        if not self._settled:
            self._settled = at - WINDOW_BINS
        if at < self._settled:
            return False
        if at - WINDOW_BINS > self._settled:
            self._settle(at - WINDOW_BINS, limit)
        held = self._bins.setdefault(at, [0, 0])
        held[0] += 1
        held[1] += marked
        return True

    def strongest(self, second: int, limit: float) -> Surge | None:
        """Of the surges that hold this second or come after it, the one with the highest score."""
        best: Surge | None = None
        steps = list(self._steps())
        for settled in self._sums:
            threshold = self._threshold(settled.ratio, limit)
            total = Cusum.of(settled.save())
            for at, gap, here in steps:
                total.drift(gap, at)
                events, marked = self._bins[at]
                total.take(at, events, marked, here, threshold)
                score = total.w / threshold
                if at >= second // BIN_S and total.events >= EVENTS_MIN and (best is None or score > best.score):
                    expected, since, until = total.expected, total.since * BIN_S, (at + 1) * BIN_S
                    best = Surge(score, total.events, total.marked, expected, since, until)
        return best

    def _threshold(self, ratio: float, limit: float) -> float:
        """Small surges over many hours meet how days differ, large ones only how hours do."""
        spread = self.rate.dispersion(daily=False)
        if ratio == RATIOS[0]:
            spread = sqrt(spread * self.rate.dispersion(daily=True))
        return limit * spread * self._caution(ratio)

    def _caution(self, ratio: float) -> float:
        """A burst is one whatever is usual; that a day is busier than others, only days can tell."""
        if self.rate.warm:
            return 1
        if self.rate.hours >= COLD_HOURS:
            return 2
        return 2.5 if ratio == RATIOS[-1] else 5

    def _steps(self) -> Iterator[tuple[int, float, float]]:
        """Each bin of the two hours: where, what was to be expected since the one before, and in it."""
        last, bins = self._settled, sorted(self._bins)
        hours = range(last // BINS_PER_HOUR, bins[-1] // BINS_PER_HOUR + 1)
        usual = {hour: self._expected(hour) for hour in hours}
        for at in bins:
            yield at, sum(usual[empty // BINS_PER_HOUR] for empty in range(last, at)), usual[at // BINS_PER_HOUR]
            last = at + 1

    def _expected(self, hour: int) -> float:
        """In each bin of this hour."""
        return self.rate.at_most(hour) / BINS_PER_HOUR

    def _settle(self, to: int, limit: float) -> None:
        """Hour by hour, score what has left the two hours, then learn it."""
        if to - self._settled > IDLE_BINS_MAX:
            self._settled, self._counted = to - IDLE_BINS_MAX, 0
            self._bins.clear()
            self._sums = [Cusum(ratio) for ratio in RATIOS]
        while self._settled < to:
            hour = self._settled // BINS_PER_HOUR
            end = min(to, (hour + 1) * BINS_PER_HOUR)
            here = self._expected(hour)
            held = [(at, self._bins.pop(at)) for at in sorted(self._bins) if at < end]
            for total in self._sums:
                threshold, last = self._threshold(total.ratio, limit), self._settled
                for at, (events, marked) in held:
                    total.drift((at - last) * here, at)
                    total.take(at, events, marked, here, threshold)
                    last = at + 1
                total.drift((end - last) * here, end)
            self._counted += sum(events for _, (events, _) in held)
            self._settled = end
            if end % BINS_PER_HOUR == 0:
                self.rate.learn(hour, self._counted)
                self._counted = 0

    def save(self) -> list[Any]:
        """The rate, the two hours, and the sums up to them."""
        bins = [[at, *held] for at, held in self._bins.items()]
        return [self.rate.save(), bins, self._settled, self._counted, [total.save() for total in self._sums]]

    def load(self, state: list[Any]) -> None:
        """What `save` gave."""
        rate, bins, self._settled, self._counted, sums = state
        self.rate.load(rate)
        self._bins = {at: held for at, *held in bins}
        self._sums = [Cusum.of(saved) for saved in sums]


class Share:
    """Of what is tried, how much fails: a Beta belief with forgetting, and its CUSUMs at 2.5, 5 and 10 times the odds.

    Immune to how much is tried. Each bin counts as a whole. The usual share is the belief's mean plus a standard
    deviation; a bin teaches at most one failure more than three times what was to be expected.
    """

    __slots__ = ("_bins", "_failed", "_settled", "_succeeded", "_sums", "learnt")

    FORGET = 0.5 ** (1 / (14 * 24 * BINS_PER_HOUR))  # per bin

    def __init__(self, prior: float, weight: float) -> None:
        self._failed = prior * weight
        self._succeeded = (1 - prior) * weight
        self._bins: dict[int, list[int]] = {}  # tried, failed
        self._settled = 0
        self._sums: list[list[float]] = [[0.0, 0, 0, 0] for _ in ODDS]  # W; tried, failed and first bin since it was 0
        self.learnt = 0  # attempts

    @property
    def warm(self) -> bool:
        """Before so many attempts the usual share is a guess, and nothing is judged by it."""
        return self.learnt >= SHARE_LEARNT_MIN

    @property
    def usual(self) -> float:
        """The upper end of what the share may be."""
        total = self._failed + self._succeeded
        mean = self._failed / total
        return min(0.5, mean + sqrt(mean * (1 - mean) / (total + 1)))

    def add(self, second: int, *, failed: bool) -> bool:
        """Count one; False where it came too late."""
        at = second // BIN_S
        if not self._settled:
            self._settled = at - WINDOW_BINS
        if at < self._settled:
            return False
        if at - WINDOW_BINS > self._settled:
            self._settle(at - WINDOW_BINS)
        held = self._bins.setdefault(at, [0, 0])
        held[0] += 1
        held[1] += failed
        return True

    def strongest(self, limit: float) -> Surge | None:
        """The highest score at the newest bin, where six failed; `marked` are those that failed."""
        if not self.warm:
            return None
        usual = self.usual
        best: Surge | None = None
        steps = sorted(self._bins.items())
        for odds, settled in zip(ODDS, self._sums, strict=True):
            total = settled
            for at, (tried, failed) in steps:
                total = summed(total, at, tried, failed, odds, usual)
            w, all_tried, all_failed, since = total
            if all_failed >= FAILED_MIN and (best is None or w / limit > best.score):
                until = (steps[-1][0] + 1) * BIN_S
                best = Surge(w / limit, int(all_tried), int(all_failed), all_tried * usual, int(since) * BIN_S, until)
        return best

    def _settle(self, to: int) -> None:
        usual = self.usual
        for at in sorted(self._bins):
            if at < to:
                tried, failed = self._bins.pop(at)
                self._sums = [
                    summed(total, at, tried, failed, odds, usual) for odds, total in zip(ODDS, self._sums, strict=True)
                ]
                self.learnt += tried
                self._failed += min(float(failed), 3 * usual * tried + 1)
                self._succeeded += tried - failed
        fade = self.FORGET ** (to - self._settled)
        self._failed = max(self._failed * fade, 0.5)
        self._succeeded = max(self._succeeded * fade, 0.5)
        self._settled = to

    def save(self) -> list[Any]:
        """The belief, the two hours, and the sums up to them."""
        bins = [[at, *held] for at, held in self._bins.items()]
        return [self._failed, self._succeeded, bins, self._settled, self._sums, self.learnt]

    def load(self, state: list[Any]) -> None:
        """What `save` gave."""
        self._failed, self._succeeded, bins, self._settled, self._sums, self.learnt = state
        self._bins = {at: held for at, *held in bins}


def summed(total: list[float], at: int, tried: int, failed: int, odds: float, usual: float) -> list[float]:
    """One step of the Bernoulli CUSUM: W, tried, failed, first bin."""
    w, all_tried, all_failed, since = total
    unusual = odds * usual / (1 - usual + odds * usual)
    w += failed * log(unusual / usual) + (tried - failed) * log((1 - unusual) / (1 - usual))
    if w <= 0:
        return [0.0, 0, 0, 0]
    return [min(w, SHARE_SCORE_MAX), all_tried + tried, all_failed + failed, since or at]


class Lull:
    """Of what usually comes, how much is missing: W ← max(0, W + (1-r)·expected + n·ln r), for one ratio r < 1.

    With r = 0 each event starts afresh, and W is what was expected since. The expectation is the lower end of what the
    rate may be.
    """

    __slots__ = ("_at", "_hours", "_w", "expected", "missed_since", "rate", "ratio", "seen")

    def __init__(self, ratio: float) -> None:
        self.rate = SeasonalRate(prior_per_day=1.0, prior_days=0.02)
        self.ratio = ratio
        self._hours: dict[int, int] = {}  # the latest two, not yet learnt
        self._at = 0  # W is as of this second
        self._w = 0.0
        self.missed_since = 0  # W was last 0 then; since then so many were seen, and expected:
        self.seen = 0
        self.expected = 0.0

    def learn(self, second: int) -> None:
        """One came at this second; it may be an hour late."""
        hour, hours = second // HOUR_S, self._hours
        if hour in hours:
            hours[hour] += 1
            return
        newest = max(hours, default=hour)
        if hour < newest - 1:
            return
        hours[hour] = 1
        for late in range(max(min(hours), hour - IDLE_BINS_MAX // BINS_PER_HOUR), hour - 1):
            self.rate.learn(late, hours.pop(late, 0))
        for late in [late for late in hours if late < hour - 1]:
            del hours[late]

    def reset(self, second: int) -> None:
        """All is well as of then."""
        self._at = self.missed_since = second
        self._w = self.expected = 0.0
        self.seen = 0

    def take(self, second: int) -> None:
        """One came."""
        if not self.ratio:
            self.reset(max(second, self._at))
            return
        self.advance(second)
        self.seen += 1
        self._w += log(self.ratio)
        if self._w <= 0:
            self.reset(self._at)

    def advance(self, second: int) -> None:
        """Nothing came up to then."""
        if not self._at:
            self.reset(second)
        if second > self._at:
            missing = self._expected(second)
            self._w += (1 - self.ratio) * missing
            self.expected += missing
            self._at = second

    def set_back(self, second: int, by_s: int) -> None:
        """The clock was `by_s` ahead and is set right: what was missed was missed as long ago as before."""
        self._at = min(self._at, second)
        self.missed_since = moved(self.missed_since, second, by_s)

    def score(self, limit: float) -> float:
        """W over the threshold, which the dispersion widens; beyond 1 too much is missing."""
        return self._w / (limit * self.rate.dispersion(daily=False))

    def bound(self, limit: float) -> None:
        """However long it lasted: it takes no longer to be over."""
        self._w = min(self._w, 1.2 * limit * self.rate.dispersion(daily=False))

    def when(self, limit: float) -> int | None:
        """The second at which the score will be 1 if nothing comes; None: not within eight weeks."""
        left = (limit * self.rate.dispersion(daily=False) - self._w) / (1 - self.ratio)
        at = self._at
        for _ in range(IDLE_BINS_MAX // BINS_PER_HOUR):
            if left <= 0:
                return at
            rate, end = self.rate.at_least(at // HOUR_S) / HOUR_S, (at // HOUR_S + 1) * HOUR_S
            if rate * (end - at) >= left:
                return at + int(left / rate) + 1
            left -= rate * (end - at)
            at = end
        return None

    def _expected(self, until: int) -> float:
        total, at = 0.0, max(self._at, until - IDLE_BINS_MAX * BIN_S)
        while at < until:
            end = min(until, (at // HOUR_S + 1) * HOUR_S)
            total += self.rate.at_least(at // HOUR_S) * (end - at) / HOUR_S
            at = end
        return total

    def save(self) -> list[Any]:
        """The rate, two hours, and the sum."""
        hours = list(self._hours.items())
        return [self.rate.save(), hours, self._at, self._w, self.missed_since, self.seen, self.expected]

    def load(self, state: list[Any]) -> None:
        """What `save` gave."""
        rate, hours, self._at, self._w, self.missed_since, self.seen, self.expected = state
        self.rate.load(rate)
        self._hours = dict(hours)
