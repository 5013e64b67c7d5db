"""One strategy at work: what it decides on each bar, what it holds, and what it wants of the broker because of that.

A pure core. `fold` takes the entries of the desk's log in order and is all that changes it; `wishes` says what follows.
Its rules are those of the backtest (strategies/lab/plain.py), told from the side of somebody who has to wait for fills:
the differential tests hold one against the other.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from actors.kernel.clock import SECOND
from actors.kernel.frozen import frozen
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind
from actors.trading.book import LiveBook
from actors.trading.journal import decode
from actors.trading.quality import Quality, model_cost
from actors.trading.record import Record
from actors.trading.resampling import Resampler
from actors.trading.strategy_block import StrategyBlocks
from actors.trading.words import (
    Booked,
    Decided,
    Funded,
    Instruction,
    Intent,
    IntentOver,
    Passed,
    Purpose,
    Split,
    Told,
    Verdict,
    WarmedUp,
)
from strategies.bars import Block
from strategies.base import Decisions, Strategy, StrategyError
from strategies.lab.book import Exits, Position
from strategies.lab.costs import Costs
from strategies.lab.fills import touched
from strategies.lab.trades import Reason
from strategies.universe import Interval

KILL_SWITCH = Reason.KILL_SWITCH.value
NEVER = -1
PROMPT = 300 * SECOND
"""A fill so soon after its decision says something of the execution; a later one, of the night between."""

NO_EXITS = Exits()


@dataclass(frozen=True, slots=True)
class Rules:
    """How much one position is, how many there are, and when it is enough; as `lab.result.Account`."""

    fraction: float = 0.1
    max_positions: int = 10
    kill_switch_drawdown: float = 0.15


@frozen
class Wanted:
    """To be bought at the symbol's own next open, that of a bar after `bar_time`."""

    score: float
    bar_time: int


def fingerprint(strategy: Strategy, timeframe: int) -> str:
    """One hash for all that a saved state of the strategy depends on: code, parameters, symbols, length of its bars."""
    parts = (strategy, *strategy.overlays)
    depends = [[part.code_hash() for part in parts], [part.values for part in parts], strategy.shape.symbols, timeframe]
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


class Trader:
    """The strategy object, its book, and what it has decided and not yet got."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Strategy],
        rules: Rules,
        *,
        base: int,
        timeframe: int,
        costs: Costs = Costs(),  # noqa: B008 - frozen
        membership: Sequence[Interval] | None = None,
        triggers_inside: bool = False,
    ) -> None:
        """`base` is the length of the market's bars, `timeframe` that of the strategy's, in microseconds.

        With `triggers_inside` the broker keeps stops and targets; else they are judged here, on the base bars.
        """
        self.name = name
        self.rules = rules
        self.triggers_inside = triggers_inside
        self.costs = costs
        self.make = make
        self.strategy = make()
        self.by = fingerprint(self.strategy, timeframe)
        self.timeframe = timeframe
        self.symbols = self.strategy.shape.symbols
        self.blocks = StrategyBlocks(self.symbols, self.timeframe, membership)
        self.base = base
        self.resampler = Resampler(base, self.timeframe)
        self.book = LiveBook(self.symbols, costs)
        self.record = Record(self.timeframe)
        self.quality = Quality()
        self.wanted: dict[str, Wanted] = {}
        self.missed: dict[str, Wanted] = {}
        """What the newest bar found still wanted: its open is over."""
        self.exits = NO_EXITS
        """Of the newest decisions: what a position that is opened now is protected by."""
        self.flat_by_session = False
        self.base_time = NEVER
        """Start of the newest base bars."""
        self.bar_time = NEVER
        """Start of the newest own bars."""
        self.flat_from = NEVER
        """When the last bar of the session of `bar_time` begins: what ends with its session leaves then."""
        self.warming_until = NEVER
        self.killed_at: int | None = None
        self.halted_by = ""
        self.flatten = ""
        """Why everything is to leave; empty: it is not."""
        self.failure = ""
        """What the strategy's own code did: it is not asked again until it is another, or has been warmed up anew."""
        self.unsaid: list[Decided] = []
        """Decisions that are not in the log yet."""
        self.untold_kill = False

    # --- folding -----------------------------------------------------------------------------------------------------

    def fold(self, entry: DeskEntry) -> None:  # noqa: C901, PLR0912 - one case a word
        """Take in one entry of the log. Raises BookError for a fill that cannot be."""
        if entry.kind == DeskKind.BLOCK:
            assert isinstance(entry.data, BarBlock)  # noqa: S101 - the store sees to it
            self._block(entry.data, entry.at)
            return
        if self.ignores(entry):
            return
        match decode(entry):
            case Intent() as intent:
                self.book.launch(intent)
                if intent.purpose is Purpose.ENTER:
                    self.wanted.pop(intent.symbol, None)
            case Passed() as passed:
                for waiting in (self.wanted, self.missed):
                    if passed.symbol in waiting and waiting[passed.symbol].bar_time == passed.bar_time:
                        del waiting[passed.symbol]
            case Decided() as decided:
                self.unsaid = [one for one in self.unsaid if one.bar_time > decided.bar_time]
            case Verdict() as verdict:
                self.book.judged(verdict)
            case Booked() as booked:
                self._booked(booked)
            case IntentOver() as over:
                self.book.land(over, self.base_time)
            case Told() as told:
                self._told(told)
            case Funded() as funded:
                self.book.fund(funded.capital)
            case Split() as split:
                self.book.split(split)
            case WarmedUp() as warmed if self.name in warmed.strategies:
                self._begin_anew(warmed.until)

    def ignores(self, entry: DeskEntry) -> bool:
        """Whether it is another strategy's word: what it says need not even be read."""
        return isinstance(entry.data, dict) and entry.data.get("strategy", self.name) not in {self.name, ""}

    def _begin_anew(self, until: int) -> None:
        """The bars that follow, up to there, are the past: of the strategy's own length, and nothing is decided."""
        self.strategy = self.make()
        self.blocks.forget()
        self.warming_until, self.bar_time = until, NEVER
        self.failure = ""

    def take_over(self, twin: "Trader") -> None:
        """Have the signals of a trader that saw the same bars; the book, and what was decided, stay."""
        self.strategy, self.blocks, self.resampler = twin.strategy, twin.blocks, twin.resampler
        self.exits, self.flat_by_session, self.failure = twin.exits, twin.flat_by_session, twin.failure

    def _block(self, bars: BarBlock, at: int) -> None:
        if bars.timeframe == self.timeframe and bars.time < self.warming_until:
            if bars.time > self.bar_time:
                self.bar_time = bars.time
                self._advance(self.blocks.block(bars))
            return
        if bars.time <= self.base_time or bars.timeframe != self.base:
            return
        self.base_time = bars.time
        if not self.triggers_inside:
            self._judge_levels(bars)
        for own in self.resampler.fold(bars):
            if own.symbols and own.time > self.bar_time:
                self._bar(own, at)

    def _judge_levels(self, bars: BarBlock) -> None:
        """Stops and targets, on the bars of the market. Of the bar in which a position was opened only the close."""
        for _, position, row in self._held_with_a_bar(bars):
            if position.leaving is not None:
                continue
            open_, high, low, close = (column[row] / 10_000 for column in (bars.open, bars.high, bars.low, bars.close))
            if bars.time < position.entry_time:
                if bars.time + bars.timeframe <= position.entry_time:
                    continue
                open_ = high = low = close
            if hit := touched(open_, high, low, position.stop, position.trailing, position.target):
                position.order_exit(hit[1])

    def _bar(self, bars: BarBlock, at: int) -> None:
        """A bar of the strategy's own is complete: order exits, then entries of what is not held."""
        self.bar_time = bars.time
        block = self.blocks.block(bars)
        decisions = self._advance(block)
        held, leaves = self._order_exits(bars, decisions)
        self._leave_the_universe(block)
        missed = {symbol: self.wanted.pop(symbol) for symbol in self.wanted.keys() & _rows(bars.symbols).keys()}
        self.missed = missed if at < bars.time + self.timeframe + PROMPT else {}  # else nobody was there at its open
        entries = () if decisions is None else self._entries(decisions)
        held_now = self._held_with_a_bar(bars)
        equity = self.book.mark({position.symbol: bars.close[row] / 10_000 for _, position, row in held_now})
        if self.book.book.capital:
            self.record.mark(bars.time, equity)
        self._check_kill_switch()
        if self.killed_at is None and not self.halted_by:
            busy = self.book.busy()
            self.wanted |= {symbol: Wanted(score, bars.time) for symbol, score in entries if symbol not in busy}
        if (close := int(block.session_close[0])) >= 0:
            self.flat_from = close - self.timeframe
        if self.flat_by_session and bars.time >= self.flat_from:
            self.wanted.clear()
        cash, killed = self.book.book.cash, self.killed_at is not None
        self.unsaid.append(Decided(self.name, bars.time, entries, held, leaves, equity, cash, killed, at, self.by))

    def _advance(self, block: Block) -> Decisions | None:
        if self.failure:
            return None
        try:
            decisions = self.strategy.advance(block)
        except StrategyError as error:
            self.failure = str(error)
            return None
        self.exits, self.flat_by_session = Exits.wanted(decisions, 0), decisions.session_end
        return decisions

    def _order_exits(self, bars: BarBlock, decisions: Decisions | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is held and has a bar, and what of it the signals say to sell."""
        held, leaves = [], []
        for symbol, position, row in self._held_with_a_bar(bars):
            held.append(symbol)
            if decisions is not None and position.symbol < len(self.symbols) and decisions.leave[0, 0, position.symbol]:
                position.order_exit(Reason.SIGNAL)
                leaves.append(symbol)
            position.complete_bar(bars.high[row] / 10_000)
        return tuple(held), tuple(leaves)

    def _held_with_a_bar(self, bars: BarBlock) -> list[tuple[str, Position, int]]:
        """Each with its row in the bars."""
        if not self.book.book.positions:
            return []
        rows = _rows(bars.symbols)
        return [(symbol, held, rows[symbol]) for symbol, held in self.book.held if symbol in rows]

    def _leave_the_universe(self, block: Block) -> None:
        """Who does not belong to it tomorrow is sold at the next open: live, nobody trades at a last close."""
        if self.book.book.positions and block.last_of_session[0]:
            members = self.blocks.members(block.dates[0] + np.timedelta64(1, "D"))
            for _, position in self.book.held:
                if position.symbol >= len(members) or not members[position.symbol]:
                    position.order_exit(Reason.END_OF_DATA)

    def _entries(self, decisions: Decisions) -> tuple[tuple[str, float], ...]:
        places = np.flatnonzero(decisions.enter[0, 0])
        scores = decisions.score[0, 0, places].tolist()
        return tuple(zip([self.symbols[place] for place in places.tolist()], scores, strict=True))

    def _check_kill_switch(self) -> None:
        book = self.book.book
        if self.killed_at is None and book.capital and book.drawdown() >= self.rules.kill_switch_drawdown:
            self.killed_at, self.untold_kill = self.bar_time, True
            self.wanted.clear()
            self._all_leave(Reason.KILL_SWITCH)

    def _all_leave(self, reason: Reason) -> None:
        for _, position in self.book.held:
            position.order_exit(reason)

    def _booked(self, booked: Booked) -> None:
        flight = self.book.flights.get(booked.intent)
        if flight is not None and flight.mid is not None and booked.time < flight.at + PROMPT:
            model = model_cost(self.costs, booked.symbol, flight.mid)
            self.quality.filled(booked.side, booked.price, flight.mid, model)
        self.book.booked(booked, self.exits)
        self.record.add(self.book.take_trades())
        if self.flatten or self.killed_at is not None:
            self._all_leave(Reason.KILL_SWITCH)

    def _told(self, told: Told) -> None:
        if told.instruction is Instruction.RESUME:
            if self.killed_at is not None or self.halted_by == KILL_SWITCH:
                self.book.book.peak = self.book.book.equity
            self.killed_at, self.halted_by, self.flatten = None, "", ""
            return
        if self.halted_by != KILL_SWITCH:
            self.halted_by = told.by
        self.wanted.clear()
        if told.strategy == self.name and told.by == KILL_SWITCH:
            self.untold_kill = False
        if told.instruction is Instruction.FLATTEN:
            self.flatten = KILL_SWITCH if told.by == KILL_SWITCH else Instruction.FLATTEN.value
            self._all_leave(Reason.KILL_SWITCH)

    def leaving_because(self, position: Position) -> str:
        """The reason as the world is to read it."""
        if position.leaving is Reason.KILL_SWITCH and self.flatten:
            return self.flatten
        return (position.leaving or Reason.SESSION_END).value

    @property
    def may_enter(self) -> bool:
        """Whether anything may be bought at all."""
        stopped = self.killed_at is not None or self.halted_by or self.flatten or self.failure
        return bool(self.book.book.capital) and not stopped


@lru_cache(maxsize=4)  # ten strategies see the same block, and mostly the symbols of the one before
def _rows(symbols: tuple[str, ...]) -> dict[str, int]:
    return {symbol: row for row, symbol in enumerate(symbols)}
