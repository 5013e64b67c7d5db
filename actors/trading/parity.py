"""Whether the strategies that trade live decide what the lab decides on the same bars. Pure.

The lab is shown the bars that the log holds, day by day, laid out, resampled and advanced by its own code; live they
came one by one, through restarts. Both must come to the same signals, to the last bit.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from actors.kernel.frozen import frozen
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind
from actors.trading.journal import decode
from actors.trading.strategy_block import SHARE
from actors.trading.trader import fingerprint
from actors.trading.words import Decided, WarmedUp
from config.errors import BadInput
from strategies.bars import RAW_UNITS_PER_DOLLAR, Bars, Ints, carry_forward, timeframe_text
from strategies.base import Decisions, Strategy, StrategyError
from strategies.resample import resample
from strategies.sessions import exchange_dates
from strategies.universe import Interval, members_of

NEVER = -1


@frozen
class Difference:
    """One decision that is not the lab's; `symbol` is empty where it concerns the bar as a whole."""

    strategy: str
    bar_time: int
    symbol: str
    what: str
    live: str
    lab: str

    def __str__(self) -> str:
        at = np.datetime_as_string(np.datetime64(self.bar_time, "us"), unit="m")
        return f"{self.strategy} {at}Z {self.symbol or 'all'}: {self.what} {self.live} live, {self.lab} in the lab"


@dataclass
class Replay:
    """One strategy in the lab, and what it decided live since the last comparison."""

    name: str
    make: Callable[[], Strategy]
    timeframe: int
    membership: Sequence[Interval] | None = None
    warming_until: int = NEVER
    bar_time: int = NEVER  # of the newest bar shown to the lab
    anchored: bool = True
    """Whether it was shown all that the live one was, from its first bar on; else there is nothing to compare."""
    failed: bool = False
    """Its own code raised; live, it was not asked again either."""
    decided: list[Decided] = field(default_factory=list)
    warm: list[BarBlock] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begin(NEVER)
        self.by = fingerprint(self.strategy, self.timeframe)

    def begin_anew(self, until: int) -> None:
        """Signals begin with the bars that follow; what was decided that day by older ones is not compared."""
        self.anchored = True
        self.decided.clear()
        self._begin(until)

    def _begin(self, until: int) -> None:
        self.strategy = self.make()
        self.closes: Ints = np.zeros(len(self.strategy.shape.symbols), np.int64)
        self.warming_until, self.bar_time, self.failed = until, NEVER, False

    def show(self, base: Bars | None) -> Iterator[Difference]:
        """The next day of the market's bars, after the strategy's own past where that is new."""
        symbols = self.strategy.shape.symbols
        warm, self.warm = self.warm, []
        decided, self.decided = self.decided, []
        if warm:
            self._advance(laid_out(warm, symbols))
        own = None if base is None else self._own(base)
        before = self.bar_time
        lab = None if own is None else self._advance(own)
        if own is not None and lab is not None and self.anchored:
            ours = [one for one in decided if one.bar_time > before and one.by in ("", self.by)]
            yield from _compare(ours, {one.bar_time for one in decided}, own, lab)

    def _own(self, base: Bars) -> Bars | None:
        try:
            own = resample(base, timeframe_text(self.timeframe))
        except BadInput:  # not one bar inside a session
            return None
        return own.rows(int(np.searchsorted(own.times, self.bar_time, side="right")), len(own))

    def _advance(self, bars: Bars) -> Decisions | None:
        if self.failed or not len(bars):
            return None
        shown = self._completed(bars)
        self.bar_time, self.closes = int(shown.times[-1]), shown.close[-1].copy()
        try:
            return self.strategy.advance(shown.block(0, len(shown)))
        except StrategyError:
            self.failed = True
            return None

    def _completed(self, bars: Bars) -> Bars:
        """As one long series would show them: the last close of earlier days, whole shares, and the universe."""
        known = np.concatenate((self.closes[None], bars.close))
        close = carry_forward(known, np.concatenate((self.closes[None] > 0, bars.present)))[1:]
        members = None
        if self.membership is not None:
            members = members_of(bars.symbols, bars.dates, self.membership)
        return replace(
            bars,
            open=np.where(bars.present, bars.open, close),
            high=np.where(bars.present, bars.high, close),
            low=np.where(bars.present, bars.low, close),
            close=close,
            volume=np.rint(bars.volume / SHARE).astype(np.int64),
            volume_scale=np.ones_like(bars.volume_scale),
            members=members,
        )


class Night:
    """All strategies: give it the log's entries in their order, and `finish` when a day's are complete."""

    def __init__(self, replays: Sequence[Replay], base: int) -> None:
        """`base` is the length of the market's bars in microseconds."""
        self.replays = replays
        self._base = base
        self._day: list[BarBlock] = []
        self._date: np.datetime64 | None = None

    def fold(self, entry: DeskEntry) -> Iterator[list[Difference]]:
        """What comes to light with this entry: when another day begins, the differences of each strategy.

        Between two strategies the caller may let others run.
        """
        if entry.damage:
            return
        if entry.kind == DeskKind.BLOCK:
            assert isinstance(entry.data, BarBlock)  # noqa: S101 - the store sees to it
            yield from self._block(entry.data)
            return
        match decode(entry):
            case Decided() as decided:
                for replay in self.replays:
                    if replay.name == decided.strategy:
                        replay.decided.append(decided)
            case WarmedUp() as warmed:
                for replay in self.replays:
                    if replay.name in warmed.strategies:
                        replay.begin_anew(warmed.until)

    def _block(self, block: BarBlock) -> Iterator[list[Difference]]:
        warmed = False
        for replay in self.replays:
            if block.timeframe == replay.timeframe and block.time < replay.warming_until:
                replay.warm.append(block)
                warmed = True
        if warmed or block.timeframe != self._base or not block.symbols:
            return
        date = exchange_dates(np.array([block.time], np.int64), self._base)[0]
        if date != self._date:
            yield from self.finish()
            self._date = date
        if not self._day or block.time > self._day[-1].time:
            self._day.append(block)

    def finish(self) -> Iterator[list[Difference]]:
        """The day is over."""
        day, self._day = self._day, []
        bars: dict[tuple[str, ...], Bars] = {}  # one universe is laid out once
        for replay in self.replays:
            symbols = replay.strategy.shape.symbols
            if day and symbols not in bars:
                bars[symbols] = laid_out(day, symbols)
            yield list(replay.show(bars.get(symbols)))


def laid_out(blocks: Sequence[BarBlock], symbols: Sequence[str]) -> Bars:
    """Blocks of one length on one time axis; volume in the log's units."""
    shape = (len(blocks), len(symbols))
    columns = {symbol: column for column, symbol in enumerate(symbols)}
    present = np.zeros(shape, np.bool_)
    grids = {name: np.zeros(shape, np.int64) for name in ("open", "high", "low", "close", "volume")}
    seen: tuple[str, ...] = ()
    known, places = np.zeros(0, np.intp), np.zeros(0, np.intp)
    for row, block in enumerate(blocks):
        if block.symbols != seen:  # mostly they are those of the block before
            seen = block.symbols
            found = [(n, columns[symbol]) for n, symbol in enumerate(seen) if symbol in columns]
            known, places = np.array(found, np.intp).reshape(-1, 2).T
        present[row, places] = True
        for name, grid in grids.items():
            grid[row, places] = np.frombuffer(getattr(block, name), np.int64)[known]
    return Bars(
        tuple(symbols),
        np.array([block.time for block in blocks], np.int64),
        grids["open"],
        grids["high"],
        grids["low"],
        grids["close"],
        grids["volume"],
        present,
        price_scale=np.full(len(symbols), RAW_UNITS_PER_DOLLAR),
        volume_scale=np.full(len(symbols), SHARE),
        timeframe=blocks[0].timeframe,
        feed=blocks[0].feed,
    )


def _compare(decided: Sequence[Decided], seen: Collection[int], bars: Bars, lab: Decisions) -> Iterator[Difference]:
    """A bar after the last decision may still be open live: nobody knows yet that its last minute had no bar.

    `seen` are the times of bars on which anything was decided, also by other code or, while it was away, by nobody.
    """
    if not decided:
        return
    rows = {int(time): row for row, time in enumerate(bars.times.tolist())}
    said = {one.bar_time: one for one in decided}
    name, first, last = decided[0].strategy, min(said), max(said)
    for time in sorted(said.keys() | {time for time in rows if first < time < last}):
        if time not in rows:
            yield Difference(name, time, "", "a bar", "was seen", "there is none")
        elif time not in seen:
            yield Difference(name, time, "", "a bar", "nothing was decided on", "there is one")
        elif time in said:
            yield from _compare_bar(said[time], bars.symbols, lab, rows[time])


def _compare_bar(live: Decided, symbols: Sequence[str], lab: Decisions, row: int) -> Iterator[Difference]:
    entered = dict(live.enter)
    expected = {symbols[n]: float(lab.score[row, 0, n]) for n in np.flatnonzero(lab.enter[row, 0]).tolist()}
    for symbol in sorted(entered.keys() | expected.keys()):
        ours, theirs = entered.get(symbol), expected.get(symbol)
        if ours != theirs:
            yield Difference(live.strategy, live.bar_time, symbol, "entry:", _scored(ours), _scored(theirs))
    for symbol in live.held:
        if symbol in symbols:
            ours, theirs = symbol in live.leave, bool(lab.leave[row, 0, symbols.index(symbol)])
            if ours != theirs:
                said = [("none", "ordered")[is_ordered] for is_ordered in (ours, theirs)]
                yield Difference(live.strategy, live.bar_time, symbol, "exit:", *said)


def _scored(score: float | None) -> str:
    return "none" if score is None else f"score {score}"
