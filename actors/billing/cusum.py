"""How surprising what comes is: likelihood-ratio CUSUMs over counts and over shares.

W ← max(0, W + log likelihood ratio) crosses a threshold h soonest among all rules that raise so few false alarms
(Lorden, Annals of Mathematical Statistics 42 (1971); for counts Lucas, Technometrics 27 (1985); for shares Reynolds &
Stoumbos, Journal of Quality Technology 31 (1999)). Several alternatives run side by side. Time goes in bins of five
minutes; what comes up to two hours late joins its bin and is judged there, what comes later counts nowhere. The
baseline learns only what has left the two hours, so that what goes wrong does not hide itself.
"""

from collections.abc import Iterable
from math import log, sqrt
from typing import Any, NamedTuple

from actors.billing.baseline import HOUR_S, IDLE_HOURS_MAX, SeasonalRate

BIN_S = 300
BINS_PER_HOUR = HOUR_S // BIN_S
WINDOW_BINS = 24
IDLE_BINS_MAX = IDLE_HOURS_MAX * BINS_PER_HOUR
ALARM_GAP_BINS = BINS_PER_HOUR  # an hour without any ends a surge: what comes after it is judged afresh
EVENTS_MIN = 5  # of a surge; of one that has lasted for more than an hour, one more
FAILED_MIN = 6
RATIOS = (3.0, 8.0, 25.0)  # how many times the usual rate a surge may have
ODDS = (2.5, 5.0, 10.0)  # how many times the usual odds a share may have
SURGE_THRESHOLDS = {"low": 15.0, "normal": 10.0, "high": 7.0}
"""Of the log likelihood ratio, by sensitivity: a Poisson stream gives a false alarm about every exp(h) events."""
SHARE_THRESHOLDS = {"low": 12.0, "normal": 9.0, "high": 6.5}
SHARE_SCORE_MAX = 13.0  # so that a share that is usual again does not take days to be so
SHARE_LEARNT_MIN = 50
COLD_HOURS = 72


class Surge(NamedTuple):
    """A stretch of time, in unix seconds, in which more happened than is usual."""

    score: float  # the log likelihood ratio over its threshold: from 1 on it is an alarm
    events: int
    marked: int
    expected: float
    since: int
    until: int


class Step(NamedTuple):
    """A bin in which something came: where, what was expected since the one before, and in it, and what came."""

    at: int
    gap: float
    expected: float
    events: int
    marked: int


class Cusum(NamedTuple):
    """One alternative: W, and what it was gathered from since it was last 0."""

    alarmed: bool
    events: int
    expected: float
    last: int
    marked: int
    ratio: float
    since: int
    w: float

    @classmethod
    def at_rest(cls, ratio: float) -> "Cusum":
        """Nothing speaks for the alternative."""
        return cls(alarmed=False, events=0, expected=0.0, last=0, marked=0, ratio=ratio, since=0, w=0.0)

    def idle(self, expected: float, until: int) -> "Cusum":
        """After nothing came up to bin `until`, where so many were expected."""
        w = self.w - (self.ratio - 1) * expected
        if w <= 0 or (self.alarmed and until - self.last >= ALARM_GAP_BINS):
            return Cusum.at_rest(self.ratio)
        return self._replace(w=w, expected=self.expected + expected)

    def after(self, steps: Iterable[Step], threshold: float, asked: int) -> tuple["Cusum", Surge | None]:
        """After these bins; and of the surges as they stood in those from `asked` on, the one with the highest score.

        Without a call per bin: a busy shop has 24 of them, each event asks, and each alternative answers.
        """
        alarmed, total, expected, last, total_marked, ratio, since, w = self
        gain, slope, best = log(ratio), ratio - 1, None
        for at, gap, usual, events, marked in steps:
            w -= slope * gap
            expected += gap
            if w <= 0 or (alarmed and at - last >= ALARM_GAP_BINS):
                alarmed, total, expected, total_marked, w = False, 0, 0.0, 0, 0.0
            if not total:
                since = at
            w += events * gain - slope * usual
            if w <= 0:
                alarmed, total, expected, last, total_marked, since, w = False, 0, 0.0, 0, 0, 0, 0.0
                continue
            total += events
            total_marked += marked
            expected += usual
            last = at
            alarmed = alarmed or w > threshold
            many = total >= EVENTS_MIN + (at - since >= BINS_PER_HOUR)
            if many and at >= asked and (best is None or w / threshold > best.score):
                best = Surge(w / threshold, total, total_marked, expected, since * BIN_S, (at + 1) * BIN_S)
        return Cusum(alarmed, total, expected, last, total_marked, ratio, since, w), best


class Surges:
    """A mixture of CUSUMs on a seasonal rate: W ← max(0, W + n·ln r - (r-1)·expected), for each ratio r.

    `limit` is the threshold h; it is widened by the dispersion, doubled until the rate is warm, and multiplied by up to
    five in the first three days, when the prior says more than what was seen. A subset of events never scores higher
    than all of them, so that the order of arrival decides nothing.
    """

    __slots__ = ("_bins", "_counted", "_settled", "_sums", "least", "rate")

    def __init__(self, prior_per_day: float, prior_days: float = 1.0) -> None:
        self.rate = SeasonalRate(prior_per_day, prior_days)
        self.least = 0.0  # an hour, of what is usual for a business of this size: until the rate is warm it counts
        self._bins: dict[int, list[int]] = {}  # within the two hours: how many, and how many of them are marked
        self._settled = 0  # the first bin of the two hours
        self._counted = 0  # in that part of its hour which is settled
        self._sums = [Cusum.at_rest(ratio) for ratio in RATIOS]  # up to there

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
        steps, asked = self._steps(), second // BIN_S
        for settled in self._sums:
            _, found = settled.after(steps, self._threshold(settled.ratio, limit), asked)
            if found is not None and (best is None or found.score > best.score):
                best = found
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

    def _steps(self) -> list[Step]:
        """Those of the two hours."""
        first, bins = self._settled, sorted(self._bins.items())
        hours = range(first // BINS_PER_HOUR, bins[-1][0] // BINS_PER_HOUR + 1)
        usual = [each for hour in hours for each in [self._in_a_bin(hour)] * BINS_PER_HOUR][first % BINS_PER_HOUR :]
        steps, gap = [], 0
        for at, (events, marked) in bins:
            here = at - first
            steps.append(Step(at, sum(usual[gap:here]), usual[here], events, marked))
            gap = here + 1
        return steps

    def expected(self, hour: int) -> float:
        """In this hour, at most."""
        usual = self.rate.at_most(hour)
        return usual if self.rate.warm else max(usual, self.least)

    def _in_a_bin(self, hour: int) -> float:
        return self.expected(hour) / BINS_PER_HOUR

    def _settle(self, to: int, limit: float) -> None:
        """Hour by hour, score what has left the two hours, then learn it."""
        if to - self._settled > IDLE_BINS_MAX:
            self._settled, self._counted = to - IDLE_BINS_MAX, 0
            self._bins.clear()
            self._sums = [Cusum.at_rest(ratio) for ratio in RATIOS]
        while self._settled < to:
            hour = self._settled // BINS_PER_HOUR
            end = min(to, (hour + 1) * BINS_PER_HOUR)
            here = self._in_a_bin(hour)
            held = [(at, self._bins.pop(at)) for at in sorted(self._bins) if at < end]
            steps, last = [], self._settled
            for at, (events, marked) in held:
                steps.append(Step(at, (at - last) * here, here, events, marked))
                last = at + 1
            if steps:
                found = (total.after(steps, self._threshold(total.ratio, limit), end) for total in self._sums)
                self._sums = [total for total, _ in found]
            self._sums = [total.idle((end - last) * here, end) for total in self._sums]
            self._counted += sum(events for _, (events, _) in held)
            self._settled = end
            if end % BINS_PER_HOUR == 0:
                self.rate.learn(hour, self._counted)
                self._counted = 0

    def save(self) -> list[Any]:
        """The rate, the two hours, and the sums up to them."""
        bins = [[at, *held] for at, held in self._bins.items()]
        return [self.rate.save(), bins, self._settled, self._counted, self._sums]

    def load(self, state: list[Any]) -> None:
        """What `save` gave."""
        rate, bins, self._settled, self._counted, sums = state
        self.rate.load(rate)
        self._bins = {at: held for at, *held in bins}
        self._sums = [Cusum(*saved) for saved in sums]


class Suspicion(NamedTuple):
    """One alternative: W, and what was tried since it was last 0; bins are those of the first try and last failure."""

    w: float
    tried: int
    failed: int
    since: int
    last: int
    alarmed: bool

    @classmethod
    def none(cls) -> "Suspicion":
        """Nothing speaks for the alternative."""
        return cls(0.0, 0, 0, 0, 0, alarmed=False)

    def after(self, steps: Iterable[tuple[int, list[int]]], odds: float, usual: float, limit: float) -> "Suspicion":
        """After these bins, each with what was tried and failed in it."""
        w, all_tried, all_failed, since, last, alarmed = self
        unusual = odds * usual / (1 - usual + odds * usual)
        loss, gain = log(unusual / usual), log((1 - unusual) / (1 - usual))
        for at, (tried, failed) in steps:
            if alarmed and at - last >= ALARM_GAP_BINS:
                w, all_tried, all_failed, since, alarmed = 0.0, 0, 0, 0, False
            w += failed * loss + (tried - failed) * gain
            if w <= 0:
                w, all_tried, all_failed, since, alarmed = 0.0, 0, 0, 0, False
                continue
            w = min(w, SHARE_SCORE_MAX)
            all_tried += tried
            all_failed += failed
            since = since or at
            last = at if failed else last
            alarmed = alarmed or (w > limit and all_failed >= FAILED_MIN)
        return Suspicion(w, all_tried, all_failed, since, last, alarmed)


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
        self._sums = [Suspicion.none()] * len(ODDS)
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

    def add(self, second: int, limit: float, *, failed: bool) -> bool:
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
        held[1] += failed
        return True

    def strongest(self, limit: float) -> Surge | None:
        """The highest score at the newest bin, where six failed; `marked` are those that failed."""
        if not self.warm:
            return None
        usual = self.usual
        best: Surge | None = None
        steps = sorted(self._bins.items())
        until = (steps[-1][0] + 1) * BIN_S
        for odds, settled in zip(ODDS, self._sums, strict=True):
            now = settled.after(steps, odds, usual, limit)
            if now.failed >= FAILED_MIN and (best is None or now.w / limit > best.score):
                best = Surge(now.w / limit, now.tried, now.failed, now.tried * usual, now.since * BIN_S, until)
        return best

    def _settle(self, to: int, limit: float) -> None:
        usual = self.usual
        for at in sorted(self._bins):
            if at < to:
                tried, failed = self._bins.pop(at)
                step = [(at, [tried, failed])]
                self._sums = [one.after(step, odds, usual, limit) for odds, one in zip(ODDS, self._sums, strict=True)]
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
        self._failed, self._succeeded, bins, self._settled, sums, self.learnt = state
        self._bins = {at: held for at, *held in bins}
        self._sums = [Suspicion(*saved) for saved in sums]
