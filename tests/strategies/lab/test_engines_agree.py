"""The fast engines give what the plain one gives: every trade, every equity, to the bit, on bars nobody chose."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.random import Generator, default_rng

from strategies.bars import Bars
from strategies.base import Strategy, Value
from strategies.lab import backtest as door
from strategies.lab.costs import Costs
from strategies.lab.plain import plain_backtest
from strategies.lab.result import Account, Result, as_columns
from strategies.registry import NAMES, load
from tests.strategies.lab.scripted import DAY, FIRST, MINUTE, Scripted

SEEDS = st.integers(0, 2**32 - 1)


def random_bars(rng: Generator, length: int, symbols: int, *, intraday: bool, missing: float) -> Bars:
    """Random walks on a coarse grid of prices, so that ties are common; some bars are missing, some gaps are wide."""
    if intraday:
        opening = FIRST + DAY * 9 // 16 + 60 * MINUTE  # 14:30 UTC
        times = np.array([opening + day * DAY + k * 15 * MINUTE for day in range(length // 20 + 2) for k in range(26)])
        times = np.delete(times, rng.choice(len(times), len(times) // 20, replace=False))[:length]
    else:
        times = FIRST + DAY * np.arange(length)
    tick = 0.5
    step = rng.normal(0, 2.0, (length, symbols)) * np.where(rng.random((length, symbols)) < 0.05, 5, 1)
    close = np.maximum(np.round((60 + step.cumsum(axis=0)) / tick), 10) * tick
    open_ = np.maximum(np.vstack([close[:1], close[:-1]]) + np.round(rng.normal(0, 1.5, close.shape)) * tick, tick)
    high = np.maximum(open_, close) + rng.integers(0, 4, close.shape) * tick
    low = np.maximum(np.minimum(open_, close) - rng.integers(0, 4, close.shape) * tick, tick)
    volume = np.round(rng.lognormal(6, 2, close.shape)) * (rng.random(close.shape) > 0.05)
    rows, columns = np.nonzero(rng.random(close.shape) >= missing)
    return Bars.from_columns(
        [f"S{n}" for n in range(symbols)],
        columns,
        times[rows],
        *(grid[rows, columns] for grid in (open_, high, low, close, volume)),
        timeframe=15 * MINUTE if intraday else DAY,
    )


def random_members(rng: Generator, bars: Bars) -> None:
    """A point-in-time universe: memberships that begin and end, now and then."""
    changes = rng.random(bars.present.shape) < 0.03
    object.__setattr__(bars, "members", (changes.cumsum(axis=0) + rng.integers(0, 2, len(bars.symbols))) % 2 == 0)


def random_costs(rng: Generator) -> Costs:
    def maybe(value: float) -> float:
        return value if rng.random() < 0.5 else 0.0

    kind = rng.choice(["none", "fixed", "percent", "spread", "volume"])
    return Costs(
        commission_bps=maybe(10),
        commission_min=maybe(1),
        spread_bps=maybe(20),
        slippage_type=kind,
        slippage_amount={"none": 0, "fixed": 0.1, "percent": 0.001, "spread": 1.5, "volume": 0.2}[kind],
        reject_rate=maybe(0.3),
        worse_fill_rate=maybe(0.4),
        worse_fill_max=0.01,
        participation=0.1 if rng.random() < 0.5 else np.inf,
        spread_table={"S0": 50} if rng.random() < 0.5 else {},
    )


def random_account(rng: Generator, symbols: int) -> Account:
    return Account(
        capital=10_000,
        fraction=float(rng.choice([0.1, 0.35, 1.0])),
        max_positions=int(rng.integers(1, symbols + 1)),
        lot=float(rng.choice([0, 0, 1, 10])),
        kill_switch_drawdown=float(rng.choice([0.05, 0.15, 0.6, 5.0])),
    )


def random_script(rng: Generator, bars: Bars, sets: int) -> Scripted:
    """Signals, scores with ties, and exits of every kind, different for each parameter set."""
    shape = (len(bars), sets, len(bars.symbols))
    exits = {
        "stop_loss": rng.choice([0.02, 0.05, 0.2], (sets, 1)),
        "take_profit": rng.choice([0.03, 0.1, 0.5], (sets, 1)),
        "trailing_stop": rng.choice([0.03, 0.1], (sets, 1)),
        "max_holding": rng.integers(1, 8, (sets, 1)),
    }
    body = {
        "entering": rng.random(shape) < rng.choice([0.05, 0.3, 0.9]),
        "leaving": rng.random(shape) < rng.choice([0.0, 0.1, 0.4]),
        "scores": rng.integers(0, 4, shape).astype(np.float64),
        "exits": {name: values for name, values in exits.items() if rng.random() < 0.5},
        "ends_with_session": bool(rng.random() < 0.3),
    }
    written: type[Scripted] = type("Scripted", (Scripted,), body)
    return written(bars.symbols, [{"place": number} for number in range(sets)])


def assert_equal(result: Result, plain: Result) -> None:
    assert result.killed_at == plain.killed_at
    fast, slow = astuple(result.trades), astuple(plain.trades)
    for name, ours, theirs in zip(type(result.trades).__slots__, fast, slow, strict=True):
        assert ours.tolist() == theirs.tolist(), name
    assert result.equity.tolist() == plain.equity.tolist()


def plainly(strategy: Strategy, bars: Bars, account: Account, costs: Costs, seed: int) -> list[Result]:
    return [
        Result(
            strategy.name,
            values,
            bars.symbols,
            bars.times,
            bars.dates,
            np.array(run.equity),
            as_columns(run.book.trades),
            run.killed_at,
            account,
            costs,
            seed,
            "",
        )
        for values, run in zip(strategy.values, plain_backtest(strategy, bars, account, costs, seed), strict=True)
    ]


@settings(max_examples=50)
@given(SEEDS)
def test_the_engine_that_jumps_agrees_on_random_signals(seed: int) -> None:
    rng = default_rng(seed)
    bars = some_bars(rng)
    compare(rng, bars, random_script(rng, bars, int(rng.integers(1, 4))), seed, many=99)


@settings(max_examples=50)
@given(SEEDS)
@example(67108864)  # an entry that a bar without volume does not fill costs nothing, not even the least commission
def test_the_engine_for_many_sets_agrees_on_random_signals(seed: int) -> None:
    rng = default_rng(seed)
    bars = some_bars(rng)
    compare(rng, bars, random_script(rng, bars, int(rng.integers(2, 5))), seed, many=2)


@settings(max_examples=50)
@given(SEEDS)
def test_the_engine_for_one_symbol_agrees_on_random_signals(seed: int) -> None:
    """Accounts of one symbol each, half of them without rejections and limits, where ends are found ahead."""
    rng = default_rng(seed)
    bars = some_bars(rng)
    strategy = random_script(rng, bars, int(rng.integers(1, 4)))
    costs = random_costs(rng)
    if rng.random() < 0.5:
        kind = "none" if costs.depends_on_quantity else costs.slippage_type
        costs = replace(costs, reject_rate=0.0, participation=np.inf, slippage_type=kind)
    account = random_account(rng, 3)
    each = door.backtest_each_symbol(
        type(strategy)(bars.symbols, strategy.values), bars, account=account, costs=costs, seed=seed
    )
    for symbol, name in enumerate(bars.symbols):
        column = door._column(bars, symbol)
        body = {
            "entering": strategy.entering[:, :, symbol, None],
            "leaving": strategy.leaving[:, :, symbol, None],
            "scores": strategy.scores[:, :, symbol, None],
        }
        alone = type("Scripted", (type(strategy),), body)([name], strategy.values)
        for number, plain in enumerate(plainly(alone, column, account, costs, seed)):
            assert_equal(each[number][symbol], plain)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("many", [2, 99])
def test_the_engines_agree_on_each_strategy(name: str, many: int, tmp_path: Path) -> None:
    """Three random parameter sets of each of the ten, over 400 bars of eight symbols, some of them missing."""
    rng = default_rng(len(name) * many)
    kind = load(name)
    bars = random_bars(rng, 400, 8, intraday=kind.timeframe != "1d", missing=float(rng.choice([0.0, 0.05])))
    calendar = tmp_path / "calendar.csv"
    dates = np.datetime_as_string(rng.choice(bars.dates, 200))
    rows = [f"S{n % 8},{date},{('bmo', 'amc')[n % 2]}" for n, date in enumerate(dates)]
    calendar.write_text("symbol,date,timing\n" + "\n".join(rows) + "\n")
    sets = [near_default(rng, kind, str(calendar)) for _ in range(3)]
    trades = compare(rng, bars, kind(bars.symbols, sets), seed=1, many=many)
    assert trades > 0


def test_a_parameter_set_trades_the_same_alone_and_beside_many() -> None:
    """Chance included: what it draws depends on what it decides, not on its place among others."""
    rng = default_rng(5)
    kind = load("momentum_basic")
    bars = random_bars(rng, 300, 6, intraday=False, missing=0.05)
    sets = [near_default(rng, kind, "") for _ in range(door._MANY + 1)]
    together = door.backtest(kind(bars.symbols, sets), bars, seed=3)
    for number in (0, 5, door._MANY):
        [alone] = door.backtest(kind(bars.symbols, [sets[number]]), bars, seed=3)
        assert len(alone.trades) > 10
        assert_equal(together[number], alone)
        assert together[number].fingerprint == alone.fingerprint


def near_default(rng: Generator, kind: type[Strategy], calendar: str) -> dict[str, Value]:
    """Each parameter somewhere in the half of its range that holds the default; a text is the path of a calendar."""
    values: dict[str, Value] = {}
    for name, declared in kind.parameters.items():
        if isinstance(declared.default, str):
            values[name] = calendar
            continue
        low, high = declared.default, (declared.low if rng.random() < 0.5 else declared.high)
        value = low + (high - low) * rng.random() / 2
        values[name] = round(value) if isinstance(declared.default, int) else value
    return values


def some_bars(rng: Generator) -> Bars:
    bars = random_bars(
        rng,
        length=int(rng.integers(1, 120)),
        symbols=int(rng.integers(1, 6)),
        intraday=bool(rng.random() < 0.3),
        missing=float(rng.choice([0.0, 0.0, 0.2])),
    )
    if rng.random() < 0.3:
        random_members(rng, bars)
    return bars


def compare(rng: Generator, bars: Bars, strategy: Strategy, seed: int, many: int) -> int:
    """Run both engines, the fast one in random blocks. Returns the number of trades."""
    account, costs = random_account(rng, len(bars.symbols)), random_costs(rng)
    plain = plainly(type(strategy)(bars.symbols, strategy.values), bars, account, costs, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "_MANY", many)
        patch.setattr(door, "_CELLS", int(rng.integers(1, 400 * len(plain))))
        fast = door.backtest(strategy, bars, account=account, costs=costs, seed=seed)
    for result, reference in zip(fast, plain, strict=True):
        assert_equal(result, reference)
    return sum(len(result.trades) for result in plain)
