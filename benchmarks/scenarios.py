"""How soon the watch tells what goes wrong, how often it cries wolf: python -m benchmarks.scenarios [--tune].

Five ordinary weeks of a simulated shop; then a day or two over which one story at a time is laid (of
scenario_incidents.py and scenario_harmless.py). Events have both payload shapes, all are some seconds and 2 % up to an
hour late, so in disorder, and 1 % come twice. They go through projection, watch and incident book as in a replay; each
story starts from the watch as the weeks left it. An incident is seen when one of its signals opens. All other warnings
and criticals are false. Seeds for tuning (--tune) and for reporting never meet. Beside it, on the same streams, two
rules people use: five an hour (declines: five and 30 %), and an hour beyond three standard deviations; of each signal
one alert in six hours.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp, lgamma, log
from statistics import fmean, median, pstdev
from time import process_time
from typing import Any

from actors.alerts.incidents import IncidentBook
from actors.alerts.routing import Routing
from actors.billing.events import normalise
from actors.billing.facts import Attempt, CustomerState, DisputeOpened, Fact, RefundState, SubscriptionState
from actors.billing.projection import Projector
from actors.billing.ticker import MINUTE
from actors.billing.watch import Watch
from actors.kernel.clock import SECOND, chance
from actors.simulated.business import Business
from actors.store.records import DAEMON, Kind, LogEntry, Severity
from benchmarks.machine import machine, percentile
from benchmarks.scenario_harmless import HARMLESS
from benchmarks.scenario_incidents import INCIDENTS
from benchmarks.scenario_scene import DAY, HOUR, Case, Scene, Told

SIZES = (5, 50, 500)  # payments a day
BEGIN = 1_780_012_800  # a Friday, 00:00 UTC
WEEKS = 5
STORY = BEGIN + WEEKS * 7 * DAY
END = STORY + 2 * DAY
SUBSCRIBERS = 3  # for each payment a day: a tenth of the payments are renewals
PAYMENTS_A_DAY = 460  # of a Business that is busy at 1, renewals not counted
REPORT_SEED, TUNE_SEED = 3_000, 2_000
Alert = tuple[int, str, str]  # second, signal, severity


class Ours:
    """The watch on a virtual clock, as `nightdesk replay` runs it."""

    def __init__(self) -> None:
        self.watch = Watch(IncidentBook(Routing()))
        self.now = 0
        self.seq = 0
        self.projector = Projector(bytes(32))
        self.told: dict[str, set[bool]] = {}  # incidents: as an info, as worse

    def feed(self, at: int, event: dict[str, Any]) -> Iterator[Alert]:
        """One delivery, and the time up to it."""
        yield from self.pass_until(at)
        yield from self._apply(Kind.EVENT, "shop", self.projector.project(event))

    def pass_until(self, at: int) -> Iterator[Alert]:
        """Ticks where something is due."""
        while (due := self.watch.due) <= at:
            tick = max(-(-due // MINUTE), self.now // MINUTE + 1) * MINUTE
            if tick > at:
                break
            self.now = tick
            yield from self._apply(Kind.TICK, DAEMON, {})
        self.now = max(self.now, at)

    def _apply(self, kind: Kind, tenant: str, data: Any) -> Iterator[Alert]:
        self.seq += 1
        self.watch.apply(LogEntry(self.seq, kind, tenant, self.now, data))
        for step in self.watch.drain().transitions:
            one = step.incident
            loud = one.severity is not Severity.INFO
            if loud not in self.told.setdefault(one.id, set()):
                self.told[one.id].add(loud)
                yield step.at // SECOND, one.signal, one.severity.name.lower()

    def copy(self) -> "Ours":
        """Another that goes on from here."""
        other = Ours()
        other.now, other.seq, other.told = self.now, self.seq, {one: set(said) for one, said in self.told.items()}
        other.watch.restore(self.parts, ())
        return other

    def freeze(self) -> None:
        """Keep what it has learnt, for copies."""
        self.parts = dict(self.watch.snapshot())


@dataclass
class Simple:
    """Counts per hour of arrival, and a rule over them: what a cron job with a query does."""

    fixed: bool
    seen: set[str] = field(default_factory=set)
    hours: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    quiet_until: Counter[str] = field(default_factory=Counter)
    spread: dict[tuple[str, int], float] = field(default_factory=dict)

    def feed(self, at: int, event: dict[str, Any]) -> Iterator[Alert]:
        """One delivery."""
        for fact in normalise(event, at):
            found = kind_of(fact)
            if found is None or f"{found[0]} {found[1]}" in self.seen:
                continue
            self.seen.add(f"{found[0]} {found[1]}")
            signal, hour = found[0], at // SECOND // 3600
            counts = self.hours[signal]
            counts[hour] += 1
            if signal != "attempt" and self.quiet_until[signal] <= hour and self._fires(signal, counts, hour):
                self.quiet_until[signal] = hour + 6
                yield at // SECOND, signal, "warning"

    def _fires(self, signal: str, counts: Counter[int], hour: int) -> bool:
        if self.fixed:
            tried = self.hours["attempt"][hour]
            return counts[hour] >= 5 and (signal != "decline_spike" or counts[hour] > 0.3 * tried)
        if (signal, hour) not in self.spread:
            past = [counts.get(earlier, 0) for earlier in range(max(hour - 28 * 24, BEGIN // 3600), hour)]
            self.spread[signal, hour] = fmean(past) + 3 * pstdev(past) if len(past) >= 168 else float("inf")
        return counts[hour] > max(1, self.spread[signal, hour])

    def copy(self) -> "Simple":
        """Another that goes on from here."""
        hours = defaultdict(Counter, {signal: Counter(counts) for signal, counts in self.hours.items()})
        return Simple(self.fixed, set(self.seen), hours, Counter(self.quiet_until), dict(self.spread))


def kind_of(fact: Fact) -> tuple[str, str] | None:
    """What the simple rules count, and by which id."""
    match fact:
        case Attempt():
            return "attempt" if fact.succeeded else "decline_spike", fact.key
        case RefundState():
            return "refund_spike", fact.refund
        case DisputeOpened():
            return "dispute_spike", fact.dispute
        case SubscriptionState(status="canceled"):
            return "cancellation_cluster", fact.subscription
        case CustomerState() if fact.created >= fact.at - 60 * SECOND:
            return "subscription_spike", fact.customer
    return None


def shop(size: int, seed: int) -> tuple[list[Told], list[Told], list[Any]]:
    """The weeks before, the two days, and who is subscribed at their end."""
    business = Business(chance(seed), BEGIN, customers=SUBSCRIBERS * size, busy=0.9 * size / PAYMENTS_A_DAY)
    past: list[Told] = []
    days: list[Told] = []
    for at, event in business.events():
        if at >= END * SECOND:
            break
        (past if at < STORY * SECOND else days).append((at, event))
    live = [one for one in business._subscriptions if one.status == "active" and one.created < STORY]  # noqa: SLF001 - who is there
    return past, days, live


def deliveries(told: Sequence[Told], seed: int) -> list[Told]:
    """As the network has it: late, in disorder, and some twice; of which the store takes each once."""
    rng = chance(seed)
    sent = (*told, *(row for row in told if rng.random() < 0.01))
    late = [
        (at + int(SECOND * (rng.expovariate(1 / 3) if rng.random() > 0.02 else rng.uniform(60, 3600))), event)
        for at, event in sent
    ]
    first = {event["id"]: (at, event) for at, event in sorted(late, key=lambda row: row[0], reverse=True)}
    return sorted(first.values(), key=lambda row: row[0])


@dataclass
class Score:
    """Of one rule on one case and size."""

    runs: int = 0
    seen: int = 0
    delays_s: list[float] = field(default_factory=list)
    events: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case, alerts: Sequence[Alert], begin: int, told: Sequence[Told]) -> None:
        """One run."""
        self.runs += 1
        hits = [at for at, signal, _ in alerts if signal in case.expected and at >= begin]
        right = case.expected | case.also
        self.wrong.update({signal for _, signal, severity in alerts if severity != "info" and signal not in right})
        if hits:
            self.seen += 1
            self.delays_s.append(min(hits) - begin)
            self.events.append(sum(begin * SECOND <= at <= min(hits) * SECOND for at, _ in told))


RULES = ("nightdesk", "five an hour", "hourly z > 3")


@dataclass
class Board:
    """All scores."""

    cases: dict[tuple[str, int, str], Score] = field(default_factory=lambda: defaultdict(Score))
    false: dict[tuple[int, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    weeks: Counter[int] = field(default_factory=Counter)


def run(board: Board, size: int, seed: int, only: str) -> None:
    """One shop."""
    past, days, live = shop(size, seed)
    rules: dict[str, Any] = dict(zip(RULES, (Ours(), Simple(fixed=True), Simple(fixed=False)), strict=True))
    board.weeks[size] += WEEKS
    for at, event in deliveries(past, seed):
        for name, rule in rules.items():
            board.false[size, name].update(signal for _, signal, severity in rule.feed(at, event) if severity != "info")
    rules["nightdesk"].freeze()
    for number, case in enumerate(INCIDENTS + HARMLESS):
        if only not in case.name:
            continue
        begin = STORY + case.hour * HOUR if case.expected else STORY
        scene = Scene(chance(seed * 100 + number), size, begin, list(days), past, [copy_of(one) for one in live])
        case.tell(scene)
        end = (STORY + case.days * DAY) * SECOND
        story = [row for row in deliveries(scene.told, seed * 100 + number) if row[0] < end]
        for name, rule in rules.items():
            fork = rule.copy()
            alerts = [alert for at, event in story for alert in fork.feed(at, event)]
            if isinstance(fork, Ours):
                alerts += fork.pass_until(end)
            board.cases[case.name, size, name].add(case, alerts, begin, scene.told)


def copy_of(one: Any) -> Any:
    """A subscription that a story may change."""
    return type(one)(*(getattr(one, name) for name in one.__slots__))


def report(board: Board) -> Iterator[str]:
    """Markdown."""
    yield "In brackets: within what the true rate is with 95 % confidence."
    yield ""
    yield "| false alerts a tenant-week | " + " | ".join(f"{size} a day" for size in SIZES) + " |"
    yield "|---|" + "---|" * len(SIZES)
    for name in RULES:
        cells = []
        for size in SIZES:
            counted = board.false[size, name]
            which = f": {', '.join(sorted(counted))}" if counted and name == RULES[0] else ""
            weeks = max(1, board.weeks[size])
            rates = " to ".join(f"{bound / weeks:.2f}" for bound in interval(counted.total()))
            cells.append(f"{counted.total() / weeks:.2f} ({rates}; {counted.total()} in {weeks} weeks{which})")
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""
    yield "| incident | size | recall | delay, median and p95 | in events | precision | five an hour | z > 3 |"
    yield "|---|---|---|---|---|---|---|---|"
    for case in INCIDENTS:
        for size in SIZES:
            ours, *others = (board.cases[case.name, size, name] for name in RULES)
            if not ours.runs:
                continue
            recall = f"{ours.seen} of {ours.runs}" + ("" if case.shows(size) else f": {case.why}")
            delay = (
                f"{median(ours.delays_s) / 60:.0f}, {percentile(ours.delays_s, 0.95) / 60:.0f} min" if ours.seen else ""
            )
            events = f"{median(ours.events):.0f}" if ours.seen else ""
            told = ours.seen + ours.wrong.total()
            precision = f"{ours.seen / told:.0%}" if told else ""
            rest = " | ".join(f"{score.seen / score.runs:.0%}" for score in others)
            yield f"| {case.name} | {size} | {recall} | {delay} | {events} | {precision} | {rest} |"
    yield ""
    yield "| harmless: runs with a warning or worse | " + " | ".join(f"{size} a day" for size in SIZES) + " |"
    yield "|---|" + "---|" * len(SIZES)
    for case in HARMLESS:
        cells = []
        for size in SIZES:
            ours, *others = (board.cases[case.name, size, name] for name in RULES)
            which = f" ({', '.join(sorted(ours.wrong))})" if ours.wrong else ""
            cells.append(" / ".join(f"{score.wrong.total()}" for score in (ours, *others)) + f" of {ours.runs}{which}")
        yield f"| {case.name} | " + " | ".join(cells) + " |"
    yield ""
    shown = [score for (name, size, rule), score in board.cases.items() if rule == RULES[0] and shows(name, size)]
    seen, runs = sum(score.seen for score in shown), sum(score.runs for score in shown)
    yield f"Of what can be seen: {seen} of {runs} ({seen / max(1, runs):.1%}). Where none of n was missed, the true"
    yield "rate of misses is under 3/n with 95 % confidence (19 % of 16 runs, 75 % of 4)."


def interval(count: int) -> tuple[float, float]:
    """Between which means a Poisson count of so many is likely, 95 % (Garwood, Biometrika 28 (1936))."""

    def at_most(seen: int, mean: float) -> float:
        return sum(exp(-mean + k * log(mean) - lgamma(k + 1)) for k in range(seen + 1))

    def where(seen: int, chance_of: float) -> float:
        low, high = 1e-9, 10.0 + 3 * count
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if at_most(seen, middle) > chance_of else (low, middle)
        return low

    return where(count - 1, 0.975) if count else 0.0, where(count, 0.025)


def shows(name: str, size: int) -> bool:
    """Whether it is an incident that this size can show."""
    return any(case.name == name and case.shows(size) for case in INCIDENTS)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="shops of 500 a day; four times as many of the others")
    parser.add_argument("--tune", action="store_true", help="the seeds to tune on")
    parser.add_argument("--only", default="", help="stories whose name has this in it")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    given = parser.parse_args()
    started, board = process_time(), Board()
    for size in given.sizes:
        for number in range(given.seeds if size == max(SIZES) else 4 * given.seeds):
            run(board, size, (TUNE_SEED if given.tune else REPORT_SEED) + number, given.only)
    print("\n".join(report(board)))
    print(f"\n{machine()}; {process_time() - started:.0f} s of CPU")


if __name__ == "__main__":
    main()
