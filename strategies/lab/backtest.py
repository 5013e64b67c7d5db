"""The door to the backtest: one strategy with all its parameter sets, over all bars."""

from collections.abc import Callable

import numpy as np

from strategies.bars import Bars
from strategies.base import Strategy
from strategies.lab.chance import run_key
from strategies.lab.costs import DEFAULT, Costs
from strategies.lab.jump import JumpBacktest
from strategies.lab.result import Account, Result, as_columns

Progress = Callable[[int, int], None]

_CELLS = 131_072  # of a block: its arrays stay in the processor's cache, and calls of numpy are long enough


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
    runs = [JumpBacktest(bars, account, costs, run_key(seed, strategy.name, values)) for values in strategy.values]
    length = max(_CELLS // (len(bars.symbols) * len(runs)), 1)
    for start in range(0, len(bars), length):
        decisions = strategy.advance(bars.block(start, min(start + length, len(bars))))
        for parameter_set, run in enumerate(runs):
            run.block(start, decisions, parameter_set)
        if progress:
            progress(min(start + length, len(bars)), len(bars))
    for run in runs:
        run.finish()
    return [
        Result(
            strategy.name,
            values,
            bars.symbols,
            bars.times,
            np.array(run.equity),
            as_columns(run.book.trades),
            run.killed_at,
            account,
            costs,
            seed,
            strategy.fingerprint(bars),
        )
        for values, run in zip(strategy.values, runs, strict=True)
    ]
