"""What must add up, adds up, whatever the bars, the signals and the costs."""

import copy
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.random import default_rng

from strategies.bars import Bars
from strategies.lab.backtest import backtest
from strategies.lab.chance import run_key
from strategies.lab.costs import DEFAULT
from strategies.lab.plain import PlainBacktest
from strategies.lab.result import Result
from tests.strategies.lab.test_engines_agree import (
    SEEDS,
    random_account,
    random_bars,
    random_costs,
    random_script,
    some_bars,
)


def random_run(seed: int) -> tuple[Bars, list[Result]]:
    rng = default_rng(seed)
    bars = some_bars(rng)
    strategy = random_script(rng, bars, sets=2)
    account = random_account(rng, len(bars.symbols))
    return bars, backtest(strategy, bars, account=account, costs=random_costs(rng), seed=seed)


@settings(max_examples=100)
@given(SEEDS)
def test_the_trades_add_up_to_the_change_of_equity(seed: int) -> None:
    _, results = random_run(seed)
    for result in results:
        assert result.trades.pnl.sum() == pytest.approx(result.final_equity - result.initial_capital, abs=1e-9 * 10_000)


@settings(max_examples=100)
@given(SEEDS)
def test_every_fill_is_within_a_bar_of_its_symbol(seed: int) -> None:
    """Entries and exits carry the time of a bar the symbol has, in order, and a position is never entered twice."""
    bars, results = random_run(seed)
    for trades in (result.trades for result in results):
        entry, exit_ = (np.searchsorted(bars.times, times) for times in (trades.entry_time, trades.exit_time))
        assert bars.present[entry, trades.symbol].all()
        assert bars.present[exit_, trades.symbol].all()
        assert (entry <= exit_).all()
        assert (trades.quantity > 0).all()
        for symbol in np.unique(trades.symbol):
            mine = np.argsort(entry[trades.symbol == symbol])
            first, last = entry[trades.symbol == symbol][mine], exit_[trades.symbol == symbol][mine]
            assert (first[1:] > last[:-1]).all()


@settings(max_examples=50)
@given(SEEDS)
def test_equity_is_what_was_earned_and_what_is_held(seed: int) -> None:
    """At every close: the capital, the P&L of closed trades, and open positions from their price of entry."""
    rng = default_rng(seed)
    bars = random_bars(rng, 60, 4, intraday=False, missing=0.0)
    account = random_account(rng, 4)
    costs = replace(random_costs(rng), commission_bps=0.0, commission_min=0.0, participation=np.inf)
    (result,) = backtest(random_script(rng, bars, 1), bars, account=account, costs=costs, seed=seed)
    trades, close = result.trades, bars.close / bars.price_scale
    for row in range(len(bars) - 1):
        closed = trades.exit_time <= bars.times[row]
        held = (trades.entry_time <= bars.times[row]) & ~closed
        paper = trades.quantity[held] * (close[row, trades.symbol[held]] - trades.entry_price[held])
        expected = account.capital + trades.pnl[closed].sum() + paper.sum()
        assert result.equity[row] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=30)
@given(SEEDS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_run(seed: int) -> None:
    rng = default_rng(seed)
    bars = random_bars(rng, 200, 5, intraday=False, missing=0.1)
    strategy = random_script(rng, bars, 1)
    runs = [
        backtest(type(strategy)(bars.symbols), bars, costs=DEFAULT, seed=number)[0] for number in (seed, seed, ~seed)
    ]
    contents = [[column.tobytes() for column in astuple(run.trades)] + [run.equity.tobytes()] for run in runs]
    assert contents[0] == contents[1]
    if len(runs[0].trades) > 40:  # few trades may meet no chance at all
        assert contents[0] != contents[2]


@settings(max_examples=100)
@given(SEEDS)
def test_exposure_counts_the_closes_at_which_the_book_holds_something(seed: int) -> None:
    rng = default_rng(seed)
    bars = some_bars(rng)
    strategy, account = random_script(rng, bars, sets=1), random_account(rng, len(bars.symbols))
    costs = random_costs(rng)
    (result,) = backtest(copy.deepcopy(strategy), bars, account=account, costs=costs, seed=seed)
    plain = PlainBacktest(bars, account, costs, run_key(seed, strategy.name, strategy.values[0]))
    held = []
    for t in range(len(bars)):
        plain.bar(t, strategy.advance(bars.block(t, t + 1)), 0)
        held.append(bool(plain.book.positions))
    held[-1] = False  # what is open is closed
    assert result.metrics().exposure == np.mean(held)
