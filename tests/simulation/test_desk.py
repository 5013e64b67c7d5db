"""The live desk trades what the backtest trades, to the cent, whenever and however often the process dies."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from strategies.bars import Bars
from strategies.base import Strategy
from strategies.lab.backtest import backtest
from strategies.lab.chance import run_key
from strategies.lab.costs import Costs
from strategies.lab.result import Account
from strategies.registry import NAMES, load
from tests.simulation.desk_world import DeskWorld, Setup
from tests.simulation.loop import seeds
from tests.strategies.lab.test_engines_agree import (
    near_default,
    random_account,
    random_bars,
    random_costs,
    random_script,
)
from tests.trading.nutshell import closed_out, leaves_dust, trader_of
from tests.trading.test_semantics import CENT, assert_same_trades

SEEDS_IN_CI = 10


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: here processes are killed, not power supplies."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def compare(
    strategy: Strategy, bars: Bars, account: Account, costs: Costs, seed: int, folder: Path, *, lives: int
) -> DeskWorld:
    if leaves_dust(type(strategy)(bars.symbols, strategy.values[:1]), bars, account, costs, seed):
        pytest.skip("the backtest holds a rest that no broker knows")
    run = run_key(seed, strategy.name, strategy.values[0])
    setup = Setup(bars, account, costs, run, lambda: trader_of(strategy, bars, account, costs, strategy.name))
    world = DeskWorld(setup, seed, folder, lives=lives)
    try:
        trader = world.live_through()
        fresh = type(strategy)(bars.symbols, strategy.values[:1])
        [lab] = backtest(fresh, bars, account=account, costs=costs, seed=seed)
        trades, equity = closed_out(trader, bars, costs, run)
        assert_same_trades(trades, lab.trades)
        assert equity == pytest.approx(lab.equity.tolist(), abs=CENT)
        assert trader.killed_at == lab.killed_at
        held = {holding.symbol: holding.quantity for holding in world.exchange.holdings()}
        assert {symbol: position.quantity for symbol, position in trader.book.held} == pytest.approx(held)
        assert trader.book.book.cash == pytest.approx(world.exchange.cash, abs=CENT)
        assert not [alarm for alarm in world.alarms if alarm.signal == "broker_mismatch" and alarm.title]
        assert world.crashes == []
    except BaseException as error:
        for crash in world.crashes:
            error.add_note(f"an actor died of {crash!r}")
        error.add_note(f"{world.deaths} deaths; replay this seed with: make simulate SEED={seed}")
        raise
    return world


@pytest.mark.parametrize("seed", seeds(SEEDS_IN_CI))
def test_random_signals_trade_as_in_the_backtest_through_every_kill(seed: int, folder: Path) -> None:
    """Missing bars, rejects, partial fills, stops of every kind, sessions that end, kill switches, full books."""
    rng = default_rng(seed)
    bars = random_bars(rng, 60, int(rng.integers(2, 6)), intraday=True, missing=0.15)
    strategy, account, costs = random_script(rng, bars, 1), random_account(rng, len(bars.symbols)), random_costs(rng)
    world = compare(strategy, bars, account, costs, seed, folder, lives=8)
    assert world.deaths


@pytest.mark.parametrize("seed", seeds(SEEDS_IN_CI))
def test_random_signals_on_days_trade_as_in_the_backtest(seed: int, folder: Path) -> None:
    rng = default_rng(seed + 1_000_003)
    bars = random_bars(rng, 60, int(rng.integers(2, 6)), intraday=False, missing=0.15)
    strategy, account, costs = random_script(rng, bars, 1), random_account(rng, len(bars.symbols)), random_costs(rng)
    compare(strategy, bars, account, costs, seed, folder, lives=1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", seeds(1))
def test_each_of_the_ten_trades_as_in_the_backtest_through_every_kill(name: str, seed: int, folder: Path) -> None:
    """Random parameters near the usual ones, eight symbols; the bars are a quarter of an hour long for all of them."""
    rng = default_rng([seed, NAMES.index(name)])
    kind = load(name)
    bars = random_bars(rng, 300, 8, intraday=True, missing=0.05)
    calendar = folder / "calendar.csv"
    dates = np.datetime_as_string(np.unique(bars.dates))
    calendar.write_text("symbol,date,timing\n" + "".join(f"S{n},{date},bmo\n" for n in range(8) for date in dates))
    parameters = near_default(rng, kind, str(calendar)) | ({"gap": 0.01} if "gap" in kind.parameters else {})
    strategy = kind(bars.symbols, [parameters])
    account = Account(capital=10_000, fraction=0.35, max_positions=3, kill_switch_drawdown=0.15)
    world = compare(strategy, bars, account, random_costs(rng), seed, folder, lives=8)
    assert world.exchange.executed or seed
