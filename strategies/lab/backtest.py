"""The door to the backtest: one strategy with all its parameter sets, over all bars."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from strategies.bars import Bars
from strategies.base import Decisions, Strategy
from strategies.lab.chance import run_key
from strategies.lab.costs import DEFAULT, Costs
from strategies.lab.jump import JumpBacktest
from strategies.lab.result import Account, Result, as_columns
from strategies.lab.trades import Trades
from strategies.lab.wide import WideBacktest

Progress = Callable[[int, int], None]

_Outcome = tuple[NDArray[np.float64], Trades, int | None]  # equity, trades, when the kill switch fell

_CELLS = 131_072  # of a block: its arrays stay in the processor's cache, and calls of numpy are long enough
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
    keys = [run_key(seed, strategy.name, values) for values in strategy.values]
    if len(keys) < _MANY or costs.depends_on_quantity:
        outcomes = _one_by_one(strategy, bars, account, costs, keys, progress)
    else:
        outcomes = _all_at_once(strategy, bars, account, costs, keys, progress)
    fingerprint = strategy.fingerprint(bars)
    return [
        Result(strategy.name, values, bars.symbols, bars.times, *outcome, account, costs, seed, fingerprint)
        for values, outcome in zip(strategy.values, outcomes, strict=True)
    ]


def _one_by_one(
    strategy: Strategy, bars: Bars, account: Account, costs: Costs, keys: list[int], progress: Progress | None
) -> list[_Outcome]:
    runs = [JumpBacktest(bars, account, costs, key) for key in keys]
    for start, decisions in _decisions(strategy, bars, progress):
        for number, run in enumerate(runs):
            run.block(start, decisions, number)
    for run in runs:
        run.finish()
    return [(run.equity, as_columns(run.book.trades), run.killed_at) for run in runs]


def _all_at_once(
    strategy: Strategy, bars: Bars, account: Account, costs: Costs, keys: list[int], progress: Progress | None
) -> list[_Outcome]:
    run = WideBacktest(bars, account, costs, keys)
    for start, decisions in _decisions(strategy, bars, progress):
        run.block(start, decisions)
    run.finish()
    killed = [int(time) if fell else None for time, fell in zip(run.killed_at, ~run.alive, strict=True)]
    return list(zip(run.equity.T, run.ledger.trades(), killed, strict=True))


def _decisions(strategy: Strategy, bars: Bars, progress: Progress | None) -> Iterator[tuple[int, Decisions]]:
    """The strategy's decisions block by block, each with its first row."""
    length = max(_CELLS // (len(bars.symbols) * len(strategy.values)), 1)
    for start in range(0, len(bars), length):
        stop = min(start + length, len(bars))
        yield start, strategy.advance(bars.block(start, stop))
        if progress:
            progress(stop, len(bars))
