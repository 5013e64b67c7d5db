"""Our side of the backtest benchmark, imported by the measured process only: its imports are part of a cold start."""

import importlib.util
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.backtest_cases import CASES, Case
from strategies.bars import Bars, Block, Floats
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import Bollinger
from strategies.lab.backtest import backtest, backtest_each_symbol
from strategies.lab.costs import Costs
from strategies.lab.result import Account
from strategies.registry import NAMES, load

INVESTED = {False: 0.95, True: 0.05}  # of its cash; 9,000 round trips on minutes would ruin a full account
COSTS = Costs(commission_bps=5, slippage_type="percent", slippage_amount=0.0005)
GRID = [{"period": period, "width": width / 10} for period in range(10, 30, 2) for width in range(10, 30, 2)]


class Bands(Strategy):
    """Buy below the lower Bollinger band, sell above the middle one: the rule that every tool runs."""

    period: int = param(20, low=2, high=100)
    width: float = param(2.0, low=0.5, high=5.0)
    stop_loss: float | None = None

    def setup(self, shape: Shape) -> None:
        self.bands = Bollinger(shape, self.period, self.width)

    def step(self, bars: Block) -> Signals:
        lower, middle, _ = self.bands.update(bars.close)
        return Signals(
            enter=bars.close < lower,
            leave=bars.close > middle,
            score=(lower - bars.close) / (middle - lower),
            stop_loss=self.stop_loss,
        )


class BandsWithStop(Bands):
    """For the account whose positions compete."""

    stop_loss = 0.05


def runner(name: str, bars: Bars) -> Callable[[], int]:
    """A function that runs the case once and returns the number of trades."""
    if name == "ten":
        return all_ten(bars)
    sets = GRID if CASES[name].sets > 1 else [{}]
    never_killed = Account(kill_switch_drawdown=math.inf)  # as the other tools

    def shared() -> int:
        results = backtest(BandsWithStop(bars.symbols, sets), bars, account=never_killed, costs=COSTS)
        return sum(len(result.trades) for result in results)

    def separate() -> int:
        account = replace(never_killed, fraction=INVESTED[CASES[name].minute], max_positions=1)
        results = backtest_each_symbol(Bands(bars.symbols, sets), bars, account=account, costs=COSTS)
        return sum(len(result.trades) for result in chain(*results))

    return shared if name.endswith("shared") else separate


def all_ten(bars: Bars) -> Callable[[], int]:
    """Each of the ten with its defaults, invented earnings every quarter, and the metrics of its result."""
    calendar = Path(tempfile.mkdtemp()) / "earnings.csv"
    rows = (f"{symbol},{day},bmo\n" for symbol in bars.symbols for day in bars.dates[40::63])
    calendar.write_text("symbol,date,timing\n" + "".join(rows))

    def run() -> int:
        trades = 0
        for name in NAMES:
            params = [{"calendar": str(calendar)}] if name == "earnings_momentum" else [{}]
            [result] = backtest(load(name)(bars.symbols, params), bars)
            trades += result.metrics().trades
        return trades

    return run


def random_bars(case: Case, harness: Path | None) -> Bars:
    """The harness's bars, else a seeded random walk in cents."""
    generate = load_harness(harness).gen if harness else random_walk
    columns = generate(case.symbols, case.bars, case.minute)
    step = 60_000_000 if case.minute else 86_400_000_000
    first = np.datetime64("2015-01-02", "us").astype(np.int64)
    row, symbol = (index.ravel() for index in np.indices((case.bars, case.symbols)))
    return Bars.from_columns(
        [f"S{n:03d}" for n in range(case.symbols)], symbol, first + row * step, *(column.ravel() for column in columns)
    )


def random_walk(symbols: int, bars: int, minute: bool) -> tuple[Floats, ...]:
    """Open, high, low, close (bars, symbols) in cents, and volume."""
    random = np.random.default_rng(20_260_331)
    size, spread = (bars, symbols), 0.0008 if minute else 0.018
    close = (100 * np.exp((random.standard_normal(size) * spread).cumsum(axis=0))).clip(1).round(2)
    before = np.vstack([np.full((1, symbols), 100.0), close[:-1]])
    start = (before * np.exp(random.standard_normal(size) * spread / 3)).clip(1).round(2)
    reach = np.abs(random.standard_normal((2, *size))) * spread / 2
    high = (np.maximum(start, close) * (1 + reach[0])).round(2)
    low = (np.minimum(start, close) * (1 - reach[1])).round(2).clip(0.5)
    return start, high, low, close, random.lognormal(12, 0.5, size).round()


def load_harness(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location("harness", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
