"""Live, a strategy trades what the backtest trades: the same fills at the same times, and equity to the cent."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from actors.simulated.exchange.tape import Recorded
from actors.store.desk_records import DeskEntry, Parts
from actors.trading import trader_state
from actors.trading.trader import Trader
from strategies.bars import Bars
from strategies.base import Strategy
from strategies.lab.chance import run_key
from strategies.lab.costs import Costs
from strategies.lab.plain import plain_backtest
from strategies.lab.result import Account, as_columns
from strategies.lab.trades import Trades
from tests.strategies.lab.test_engines_agree import random_account, random_bars, random_costs, random_script
from tests.trading.nutshell import Nutshell, closed_out, leaves_dust, played, trader_of

SEEDS = st.integers(0, 2**32 - 1)
CENT = 0.005


def assert_same_trades(ours: Trades, theirs: Trades) -> None:
    for name in ("symbol", "entry_time", "exit_time", "reason"):
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist(), name
    for name in ("entry_price", "exit_price", "quantity", "fees", "slippage", "pnl"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-9, abs=1e-6), name


def compare(strategy: Strategy, bars: Bars, account: Account, costs: Costs, seed: int) -> Nutshell:
    assume(not leaves_dust(type(strategy)(bars.symbols, strategy.values[:1]), bars, account, costs, seed))
    live = played(strategy, bars, account, costs, seed)
    [lab] = plain_backtest(type(strategy)(bars.symbols, strategy.values[:1]), bars, account, costs, seed)
    run = run_key(seed, strategy.name, strategy.values[0])
    trades, equity = closed_out(live.trader, bars, costs, run)
    assert_same_trades(trades, as_columns(lab.book.trades))
    assert equity == pytest.approx(lab.equity, abs=CENT)
    assert live.trader.killed_at == lab.killed_at
    return live


@settings(max_examples=100)
@given(SEEDS)
def test_random_signals_trade_live_as_in_the_backtest(seed: int) -> None:
    """Missing bars, rejects, partial fills, stops of every kind, the end of sessions, the kill switch, full books."""
    rng = default_rng(seed)
    intraday = bool(rng.random() < 0.4)
    bars = random_bars(rng, int(rng.integers(1, 100)), int(rng.integers(1, 6)), intraday=intraday, missing=0.15)
    costs = random_costs(rng)
    compare(random_script(rng, bars, 1), bars, random_account(rng, len(bars.symbols)), costs, seed)


@settings(max_examples=40)
@given(SEEDS)
def test_a_trader_restored_from_a_snapshot_and_the_tail_is_the_one_that_went_on(seed: int) -> None:
    """Restarts between bars, each from the last snapshot; in the end nothing differs from a life without any."""
    rng = default_rng(seed)
    bars = random_bars(rng, 60, 4, intraday=bool(rng.random() < 0.4), missing=0.15)
    costs, account, strategy = random_costs(rng), random_account(rng, 4), random_script(rng, bars, 1)
    run = run_key(seed, strategy.name, strategy.values[0])
    live = Nutshell(trader_of(strategy, bars, account, costs), bars, account, costs, run)
    parts: dict[str, tuple[int, bytes]] = {}
    seen = 0
    for moment in Recorded(bars).moments():
        live.play_bar(moment)
        if rng.random() < 0.2:
            parts |= trader_state.save(live.trader)
            seen = len(live.log)
        if rng.random() < 0.2:
            live.adopt(restored(trader_of(strategy, bars, account, costs), parts, live.log[seen:]))
    unbroken = played(strategy, bars, account, costs, seed)
    assert state_of(live.trader) == state_of(unbroken.trader)
    assert state_of(restored(trader_of(strategy, bars, account, costs), {}, live.log)) == state_of(live.trader)


def restored(trader: Trader, parts: Parts, tail: Sequence[DeskEntry]) -> Trader:
    if parts:
        assert trader_state.load(trader, parts)
        assert trader_state.load_strategy(trader, parts)
    for entry in tail:
        trader.fold(entry)
    return trader


def state_of(trader: Trader) -> object:
    parts = trader_state.save(trader)
    return parts["book"], parts["strategy"], trader.record.times, trader.record.equity, trader.record.trades
