"""Who looks into the future is caught; who does not is never accused."""

import re
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import BadInput
from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, StrategyError, param
from strategies.indicators import EMA, SMA
from strategies.lab.audit import SAMPLE_CELLS, look_ahead, sample, warm_up
from strategies.registry import NAMES, load
from tests.strategies.market import random_bars, random_parameters

SEEDS = st.integers(0, 2**32 - 1)


def checks(kind: type[Strategy], seed: int = 1, rows: int = 300) -> set[str]:
    bars = random_bars(np.random.default_rng(seed), kind.timeframe, rows=rows, missing=0.1)
    return {leak.check for leak in look_ahead(lambda: kind(bars.symbols), bars)}


class Tomorrow(Strategy):
    """Buys what closes higher on the next bar of its block."""

    def step(self, bars: Block) -> Signals:
        tomorrow = np.roll(bars.close, -1, axis=0)
        return Signals(tomorrow > bars.close, tomorrow < bars.close, tomorrow / bars.close)


class WholeBlockMean(Strategy):
    """Compares with a mean over everything it was shown: the classic slip of a normalised column."""

    def step(self, bars: Block) -> Signals:
        mean = bars.close.mean(axis=0)
        return Signals(bars.close < mean, bars.close > mean, mean - bars.close)


class PeekingScore(Strategy):
    """Decides honestly, but orders its entries by what comes next."""

    def step(self, bars: Block) -> Signals:
        up = bars.close > bars.open
        return Signals(up, ~up, np.roll(bars.volume, -1, axis=0).astype(np.float64))


class RarelyAhead(Strategy):
    """Waits for an uncommon volume, and takes it only before a rise."""

    def step(self, bars: Block) -> Signals:
        rise = np.roll(bars.close, -1, axis=0) > bars.close
        return Signals((bars.volume > 9_900) & rise, leave=False, score=0.0)


class BlockAverage(Strategy):
    """Looks back within its block, and no further: what came before it is forgotten."""

    def step(self, bars: Block) -> Signals:
        close = bars.close.astype(np.float64)
        average = np.full_like(close, np.nan)
        for row in range(4, len(close)):
            average[row] = close[row - 4 : row + 1].mean(axis=0)
        return Signals(close < average, close > average, score=0.0)


class Gambler(Strategy):
    """Decides by chance."""

    dice = np.random.default_rng(1)

    def step(self, bars: Block) -> Signals:
        return Signals(self.dice.random(bars.close.shape) < 0.5, leave=False, score=0.0)


class SecondBar(Strategy):
    """Takes for granted that there are two bars."""

    def step(self, bars: Block) -> Signals:
        return Signals(bars.close > bars.close[1], leave=False, score=0.0)


class Diary(Strategy):
    """Writes every close into a place that outlives the run, and reads tomorrow's there the next time."""

    pages: ClassVar[dict[int, float]] = {}

    def step(self, bars: Block) -> Signals:
        day = 86_400_000_000
        self.pages.update(zip(bars.times.tolist(), bars.close[:, 0, 0].tolist(), strict=True))
        now = bars.close[:, 0, :1]
        known = [max((self.pages.get(int(t) + n * day, 0) for n in (1, 2, 3, 4)), default=0) for t in bars.times]
        up = (np.array(known)[:, None] > now)[:, None]
        return Signals(up, ~up, 1.0)


class Forgetful(Strategy):
    """Counts its bars in a list, which no restart brings back."""

    def setup(self, _: Shape) -> None:
        self.seen: list[int] = []

    def step(self, bars: Block) -> Signals:
        rows = np.arange(len(self.seen), len(self.seen) + len(bars.times))
        self.seen.extend(bars.times.tolist())
        every_third = (rows % 3 == 0)[:, None, None]
        return Signals(every_third, ~every_third, 1.0)


class Remembering(Strategy):
    """Counts its bars in a number: honest in every way, but where it began matters for ever."""

    def setup(self, _: Shape) -> None:
        self.seen = 0

    def step(self, bars: Block) -> Signals:
        rows = np.arange(self.seen, self.seen + len(bars.times))
        self.seen += len(bars.times)
        every_third = (rows % 3 == 0)[:, None, None]
        return Signals(every_third, ~every_third, 1.0)


class AboveAverage(Strategy):
    """An average that forgets, or one that never quite does."""

    exponential: int = param(0, low=0, high=1)

    def setup(self, shape: Shape) -> None:
        self.average = EMA(shape, 10) if self.exponential else SMA(shape, 10)

    def step(self, bars: Block) -> Signals:
        average = self.average.update(bars.close)
        return Signals(bars.close > average, bars.close < average, bars.close / average)


@pytest.mark.parametrize("cheat", [Tomorrow, WholeBlockMean, PeekingScore])
def test_a_strategy_that_looks_ahead_in_its_block_is_caught_three_ways(cheat: type[Strategy]) -> None:
    assert checks(cheat) >= {"truncated", "poisoned", "in one block"}


def test_a_strategy_that_remembers_the_future_from_an_earlier_run_is_caught() -> None:
    Diary.pages.clear()
    assert "in one block" in checks(Diary)


def test_a_strategy_that_a_restart_changes_is_caught() -> None:
    assert checks(Forgetful) == {"restarted"}


def test_a_leak_names_signal_symbol_and_time() -> None:
    bars = random_bars(np.random.default_rng(1), missing=0)
    cut_off, poisoned, *_ = map(str, look_ahead(lambda: Tomorrow(bars.symbols), bars))
    said = r"looks ahead: enter of S\d at 20[-0-9]{8}T00:00:00Z changes "
    assert re.fullmatch(said + "when the bars after it are cut off", cut_off)
    assert re.fullmatch(said + "with the bars after it", poisoned)


@pytest.mark.parametrize("seed", range(5))
def test_a_strategy_that_forgets_between_blocks_is_not_accused_of_seeing_the_future(seed: int) -> None:
    assert checks(BlockAverage, seed) == {"in one block", "restarted"}


def test_a_strategy_that_throws_dice_is_told_so_first() -> None:
    bars = random_bars(np.random.default_rng(1), missing=0)
    leak = look_ahead(lambda: Gambler(bars.symbols), bars)[0]
    assert re.fullmatch(r"enter of S\d at \S+ is another one each time", str(leak))


def test_a_glance_ahead_that_decides_one_bar_in_a_hundred_is_caught() -> None:
    assert {"truncated", "in one block"} <= checks(RarelyAhead)


def test_an_error_that_only_a_single_bar_provokes_says_so() -> None:
    bars = random_bars(np.random.default_rng(1), missing=0)
    with pytest.raises(StrategyError, match=r"IndexError: .* \(in a block of one bar\)$"):
        look_ahead(lambda: SecondBar(bars.symbols), bars)


def test_a_sample_is_the_latest_bars_of_all_symbols_with_room_for_the_warm_up() -> None:
    bars = random_bars(np.random.default_rng(1), rows=700, symbols=400, missing=0)
    assert len(sample(bars, 1_000)) == 700
    shown = sample(bars, 50)
    assert (len(shown), shown.symbols) == (50 + SAMPLE_CELLS // 400, bars.symbols)
    assert shown.times[-1] == bars.times[-1]


@pytest.mark.parametrize("honest", [AboveAverage, Remembering])
def test_an_honest_strategy_is_not_accused(honest: type[Strategy]) -> None:
    assert checks(honest) == set()


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@settings(max_examples=3)
def test_none_of_the_ten_is_accused(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = load(name)
    bars = random_bars(rng, kind.timeframe, rows=250, missing=rng.choice([0, 0.1, 0.5]))
    sets = [{}, random_parameters(rng, kind)]
    assert look_ahead(lambda: kind(bars.symbols, sets), bars) == []


def test_a_plain_average_settles_when_it_is_full_and_an_exponential_one_later() -> None:
    bars = random_bars(np.random.default_rng(1), rows=600, missing=0.1)
    plain = warm_up(lambda: AboveAverage(bars.symbols), bars)
    exponential = warm_up(lambda: AboveAverage(bars.symbols, [{"exponential": 1}]), bars)
    assert (plain.declared, plain.settled) == (10, 10)
    assert exponential.declared == 10
    assert exponential.settled is not None
    assert 30 < exponential.settled < 150


def test_a_strategy_that_counts_from_its_first_bar_never_settles() -> None:
    bars = random_bars(np.random.default_rng(1), rows=100, missing=0)
    assert warm_up(lambda: Remembering(bars.symbols), bars).settled is None


@pytest.mark.parametrize("name", NAMES)
def test_the_ten_settle(name: str) -> None:
    kind = load(name)
    bars = random_bars(np.random.default_rng(3), kind.timeframe, rows=700, missing=0.1)
    result = warm_up(lambda: kind(bars.symbols), bars)
    assert result.settled is not None
    assert result.declared == kind(bars.symbols).warmup


def test_too_few_bars_to_tell_say_how_many_are_needed() -> None:
    bars = random_bars(np.random.default_rng(1), rows=30, missing=0)
    with pytest.raises(BadInput, match="the warm-up analysis needs 40 bars; there are 30"):
        warm_up(lambda: AboveAverage(bars.symbols), bars)
