"""The door to the backtest: one strategy with all its parameter sets, over all bars."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from strategies.bars import Bars
from strategies.base import Decisions, Strategy
from strategies.lab.apart import ApartBacktest, suits
from strategies.lab.chance import run_key
from strategies.lab.costs import DEFAULT, Costs
from strategies.lab.jump import JumpBacktest
from strategies.lab.result import Account, Result, as_columns
from strategies.lab.schedule import delisted
from strategies.lab.trades import Trades
from strategies.lab.wide import WideBacktest

Progress = Callable[[int, int], None]

_Outcome = tuple[NDArray[np.float64], Trades, int | None]  # equity, trades, when the kill switch fell

_CELLS = 131_072  # of a block: its arrays stay in the processor's cache, and calls of numpy are long enough
# Freeing a block of this size, never touched, teaches glibc to keep what is freed, up to twice as much. Else each array
# of a megabyte is given back and its pages are faulted in anew: that cost as much as the arithmetic.
_LEARNED_THRESHOLD = 31 * 2**20
_MANY = 12  # parameter sets from which on moving them all together is faster than jumping in each


def backtest(
    strategy: Strategy,
    bars: Bars,
    *,
    account: Account = Account(),  # noqa: B008 - frozen
    costs: Costs = DEFAULT,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Result]:
    """One result per parameter set of `strategy`, which must be fresh. Each set has its own cash; its symbols share it.

    `progress(done, of)` is called now and then with bar times.
    """
    run = _Run(strategy, bars, account, costs, seed, progress)
    outcomes = run.shared() if len(bars.symbols) > 1 else [outcome for (outcome,) in run.apart()]
    return [run.result(number, bars, outcome) for number, outcome in enumerate(outcomes)]


def backtest_each_symbol(
    strategy: Strategy,
    bars: Bars,
    *,
    account: Account = Account(),  # noqa: B008 - frozen
    costs: Costs = DEFAULT,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[list[Result]]:
    """As `backtest`, but every symbol has an account of its own: for each parameter set one result per symbol."""
    run = _Run(strategy, bars, account, costs, seed, progress)
    columns = [_column(bars, symbol) for symbol in range(len(bars.symbols))]
    return [
        [run.result(number, column, outcome) for column, outcome in zip(columns, outcomes, strict=True)]
        for number, outcomes in enumerate(run.apart())
    ]


@dataclass(frozen=True)
class _Run:
    """The request, and the engines that can answer it. All of them give the same bits."""

    strategy: Strategy
    bars: Bars
    account: Account
    costs: Costs
    seed: int
    progress: Progress | None

    def shared(self) -> list[_Outcome]:
        """The outcome of each set, whose symbols share its cash."""
        keys = self._keys()
        if len(keys) < _MANY or self.costs.depends_on_quantity:
            runs = [JumpBacktest(self.bars, self.account, self.costs, key) for key in keys]
            for start, decisions in self._decisions():
                for number, run in enumerate(runs):
                    run.block(start, decisions, number)
            return [_finished(run) for run in runs]
        wide = WideBacktest(self.bars, self.account, self.costs, keys)
        for start, decisions in self._decisions():
            wide.block(start, decisions)
        wide.finish()
        killed = [None if alive else int(time) for alive, time in zip(wide.alive, wide.killed_at, strict=True)]
        return list(zip(np.ascontiguousarray(wide.equity.T), wide.ledger.trades(), killed, strict=True))

    def apart(self) -> list[list[_Outcome]]:
        """The outcome of each symbol of each set, with an account for each."""
        # Scores rank the symbols of one account; here there is nothing to rank, and no need to keep them.
        blocks = [
            (start, replace(decisions, score=np.broadcast_to(0.0, decisions.score.shape)))
            for start, decisions in self._decisions()
        ]
        keys, symbols = self._keys(), range(len(self.bars.symbols))
        whole = _joined([decisions for _, decisions in blocks])
        if whole and suits(self.bars, self.costs, whole):
            curves = ApartBacktest(self.bars, self.account, self.costs, keys, whole).run()
        else:
            curves = [[None] * len(symbols)] * len(keys)
        outcomes: list[list[_Outcome]] = []
        for number, key in enumerate(keys):
            outcomes.append([])
            for symbol, curve in zip(symbols, curves[number], strict=True):
                if curve:
                    outcomes[-1].append((curve.equity, curve.trades, None))
                    continue
                run = JumpBacktest(_column(self.bars, symbol), self.account, self.costs, key)
                for start, decisions in blocks:
                    run.block(start, _lane(decisions, symbol), number)
                outcomes[-1].append(_finished(run))
        return outcomes

    def result(self, number: int, bars: Bars, outcome: _Outcome) -> Result:
        """The outcome of a parameter set as users get it."""
        strategy = self.strategy
        overlaid = {
            f"{overlay.name}.{name}": value
            for overlay in strategy.overlays
            for name, value in overlay.values[number if len(overlay.values) > 1 else 0].items()
        }
        return Result(
            strategy.name,
            strategy.values[number] | overlaid,
            bars.symbols,
            bars.times,
            self.bars.dates,
            *outcome,
            self.account,
            self.costs,
            self.seed,
            self._fingerprints[number],
            delisted(bars),
        )

    @cached_property
    def _fingerprints(self) -> list[str]:
        return [self.strategy.fingerprint(self.bars, number) for number in range(len(self.strategy.values))]

    def _keys(self) -> list[int]:
        return [run_key(self.seed, self.strategy.name, values) for values in self.strategy.values]

    def _decisions(self) -> Iterator[tuple[int, Decisions]]:
        """The strategy's decisions block by block, each with its first row."""
        length = max(_CELLS // (len(self.bars.symbols) * len(self.strategy.values)), 1)
        np.empty(_LEARNED_THRESHOLD, np.uint8)
        for start in range(0, len(self.bars), length):
            stop = min(start + length, len(self.bars))
            yield start, self.strategy.advance(self.bars.block(start, stop))
            if self.progress:
                self.progress(stop, len(self.bars))


def _finished(run: JumpBacktest) -> _Outcome:
    run.finish()
    return run.equity, as_columns(run.book.trades), run.killed_at


def _joined(blocks: Sequence[Decisions]) -> Decisions | None:
    """All blocks as one; None where there is none, or where the exits differ from block to block."""
    if not blocks:
        return None
    exits = ("stop_loss", "take_profit", "trailing_stop", "max_holding", "session_end")
    if any(not np.array_equal(getattr(block, name), getattr(blocks[0], name)) for block in blocks for name in exits):
        return None
    if len(blocks) == 1:
        return blocks[0]
    enter = np.concatenate([block.enter for block in blocks])
    leave = np.concatenate([block.leave for block in blocks])
    return replace(blocks[0], enter=enter, leave=leave, score=np.broadcast_to(0.0, enter.shape))


def _column(bars: Bars, symbol: int) -> Bars:
    """The bars of one symbol, on the time axis of all."""
    if len(bars.symbols) == 1:
        return bars
    one = slice(symbol, symbol + 1)
    grids = {name: getattr(bars, name)[:, one] for name in ("open", "high", "low", "close", "volume", "present")}
    return replace(
        bars,
        **grids,
        symbols=bars.symbols[one],
        price_scale=bars.price_scale[one],
        volume_scale=bars.volume_scale[one],
        members=None if bars.members is None else bars.members[:, one],
    )


def _lane(decisions: Decisions, symbol: int) -> Decisions:
    one = slice(symbol, symbol + 1)
    return replace(
        decisions,
        enter=decisions.enter[:, :, one],
        leave=decisions.leave[:, :, one],
        score=decisions.score[:, :, one],
    )
