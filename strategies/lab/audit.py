"""Does a strategy see the future, and how much past does it need? Both are judged on its signals, away from any money.

What is said of a bar must not change when later bars are cut off or false, nor with how many bars are shown at once:
one at a time, as it is live, in one block, or after a restart; bar by bar and symbol by symbol.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from config.errors import BadInput
from strategies.bars import Bars, Bools, Floats
from strategies.base import Strategy, StrategyError

Make = Callable[[], Strategy]
"""A fresh strategy on the bars' symbols."""

ALONE_MAX = 4_000
"""Bar times that are shown one at a time; those before come in one block."""
SAMPLE_ROWS = 1_500
SAMPLE_CELLS = 60_000
"""Bar times times symbols of a sample: a second or two."""
PROBES = 8
SCORE_TOLERANCE = 1e-9
"""Relative. A score orders entries; its last bits may depend on how a user's own sum was grouped."""


Check = Literal["repeated", "truncated", "poisoned", "in one block", "restarted"]
ACCUSATION: dict[Check, str] = {
    "repeated": "{} is another one each time",
    "truncated": "looks ahead: {} changes when the bars after it are cut off",
    "poisoned": "looks ahead: {} changes with the bars after it",
    "in one block": "{} is another one when the same bars are shown one at a time",
    "restarted": "{} is another one after a restart",
}


@dataclass(frozen=True, slots=True)
class Leak:
    """The first signal that changes with what a strategy cannot know."""

    check: Check
    signal: str
    symbol: str
    time: int
    """Bar start, microseconds UTC."""

    def __str__(self) -> str:
        at = np.datetime_as_string(np.datetime64(self.time, "us"), unit="s")
        return ACCUSATION[self.check].format(f"{self.signal} of {self.symbol} at {at}Z")


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How many bars a strategy needs before its signals no longer depend on where they began."""

    declared: int
    """Until every indicator is defined."""
    settled: int | None
    """The own bar from which on signals agreed for good, wherever they began; None: they never did."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Signals of a whole run, (time, sets, symbols)."""

    enter: Bools
    leave: Bools
    score: Floats

    def rows(self, stop: int) -> "Seen":
        """The first `stop` of them."""
        return Seen(self.enter[:stop], self.leave[:stop], self.score[:stop])

    def differences(self, other: "Seen") -> Iterator[tuple[str, Bools]]:
        """By signal, where this run disagrees with another of as many bars."""
        yield "enter", self.enter != other.enter
        yield "leave", self.leave != other.leave
        yield "score", ~np.isclose(self.score, other.score, rtol=SCORE_TOLERANCE, atol=0, equal_nan=True)


def look_ahead(make: Make, bars: Bars) -> list[Leak]:
    """The first leak for each way of hiding the future; an empty list for a strategy that never looks.

    Raises StrategyError for a strategy that cannot be run at all, or not one bar at a time.
    """
    # Live comes first: a strategy that keeps what it saw in a global place has seen nothing yet.
    live = _live(make, bars)
    whole = run(make(), bars, [(0, len(bars))])
    leaks: dict[Check, Leak] = {}
    for check, one, other in _comparisons(make, bars, live, whole):
        for signal, differs in one.differences(other):
            if differs.any() and check not in leaks:
                row, _, symbol = (int(place[0]) for place in np.nonzero(differs))
                leaks[check] = Leak(check, signal, bars.symbols[symbol], int(bars.times[row]))
    return list(leaks.values())


def sample(bars: Bars, warmup: int) -> Bars:
    """The latest bars, all symbols of them, as many as are looked at in a second or two beyond the warm-up."""
    rows = max(min(SAMPLE_ROWS, SAMPLE_CELLS // len(bars.symbols)), PROBES)
    return bars.rows(max(len(bars) - warmup - rows, 0), len(bars))


def _comparisons(make: Make, bars: Bars, live: Seen, whole: Seen) -> Iterator[tuple[Check, Seen, Seen]]:
    length = len(bars)
    yield "repeated", whole, run(make(), bars, [(0, length)])
    cuts = np.unique(np.linspace(max(length - ALONE_MAX, 1), length, PROBES + 1).astype(int)[1:-1]).tolist()
    # Right behind the first bar that is another one live, the cut tells whether the bars after it are to blame.
    suspects = [int(differs.any(axis=(1, 2)).argmax()) + 1 for _, differs in whole.differences(live) if differs.any()]
    for cut in suspects + cuts:
        yield "truncated", whole.rows(cut), run(make(), bars.rows(0, cut), [(0, cut)])
    for cut in cuts:
        with suppress(StrategyError):  # what cannot be run on wild bars is not proved to see them
            seen = run(make(), poisoned(bars, cut), [(0, length)])
            yield "poisoned", whole.rows(cut), seen.rows(cut)
    yield "in one block", live, whole
    yield "restarted", live, _restarted(make, bars, cuts)


def warm_up(make: Make, bars: Bars) -> WarmUp:
    """Begin at different bars and see from which own bar of a symbol on the signals are those of the longest run.

    Raises BadInput when there are too few bars to tell.
    """
    declared = make().warmup
    if len(bars) < 4 * declared:
        raise BadInput(f"{make().name}: the warm-up analysis needs {4 * declared} bars; there are {len(bars)}")
    longest = run(make(), bars, [(0, len(bars))])
    settled = 1
    for anchor in np.linspace(len(bars) // 16, len(bars) // 4, PROBES).astype(int).tolist():
        later = bars.rows(anchor, len(bars))
        seen = run(make(), later, [(0, len(later))])
        reference = Seen(longest.enter[anchor:], longest.leave[anchor:], longest.score[anchor:])
        differs = np.logical_or.reduce([where for _, where in reference.differences(seen)]).any(axis=1)
        own_bar = later.present.cumsum(axis=0)
        settled = max(settled, int(own_bar[differs].max(initial=0)) + 1)
        if differs[-len(later) // 4 :].any():
            return WarmUp(declared, None)
    return WarmUp(declared, settled)


def run(strategy: Strategy, bars: Bars, blocks: Iterable[tuple[int, int]]) -> Seen:
    """All signals of a strategy that is shown the blocks one after the other."""
    decided = [strategy.advance(bars.block(start, stop)) for start, stop in blocks]
    return Seen(
        np.concatenate([block.enter for block in decided]),
        np.concatenate([block.leave for block in decided]),
        np.concatenate([block.score for block in decided]),
    )


def _live(make: Make, bars: Bars) -> Seen:
    try:
        return run(make(), bars, _live_blocks(len(bars)))
    except StrategyError as error:
        run(make(), bars, [(0, len(bars))])  # an ordinary mistake fails here too, and says so
        raise StrategyError(f"{error} (in a block of one bar)") from error


def _live_blocks(length: int) -> list[tuple[int, int]]:
    alone = max(length - ALONE_MAX, 0)
    return list(pairwise(sorted({0, *range(alone, length + 1)})))


def _restarted(make: Make, bars: Bars, cuts: list[int]) -> Seen:
    """A new process at every cut, which knows only what the one before it saved."""
    parts, state = [], None
    for start, stop in pairwise([0, *cuts, len(bars)]):
        strategy = make()
        if state is not None:
            strategy.restore(state)
        parts.append(run(strategy, bars, [(start, stop)]))
        state = strategy.state()
    enter, leave, score = zip(*((part.enter, part.leave, part.score) for part in parts), strict=True)
    return Seen(np.concatenate(enter), np.concatenate(leave), np.concatenate(score))


def poisoned(bars: Bars, start: int) -> Bars:
    """The same bars with a wild future from row `start` on: other prices by orders of magnitude, other bars missing."""
    rng = np.random.default_rng(start)
    shape = (len(bars) - start, len(bars.symbols))
    wild = (bars.close[:start].max(initial=1) * np.exp(rng.normal(0, 3, (4, *shape)))).astype(np.int64) + 1
    prices = np.sort(wild, axis=0)  # low, two between, high
    future = {
        "open": prices[1],
        "high": prices[3],
        "low": prices[0],
        "close": prices[2],
        "volume": rng.integers(0, 10 * int(bars.volume.max()) + 1, shape),
        "present": rng.random(shape) < 0.8,
    }
    columns: dict[str, Any] = {
        name: np.concatenate((getattr(bars, name)[:start], rows)) for name, rows in future.items()
    }
    return replace(bars, **columns)
