"""The door to the backtest: one strategy with all its parameter sets, over all bars."""

from collections.abc import Callable

import numpy as np

from strategies.bars import Bars
from strategies.base import Strategy
from strategies.lab.costs import DEFAULT, Costs
from strategies.lab.plain import plain_backtest
from strategies.lab.result import Account, Result, as_columns

Progress = Callable[[int, int], None]


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
    runs = plain_backtest(strategy, bars, account, costs, seed, progress)
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
