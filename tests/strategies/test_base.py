"""Parameters have ranges, saved state continues, and a strategy that errs is stopped with its file and line."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import BadInput
from strategies.bars import Bars, Block, Bools
from strategies.base import Shape, Signals, Strategy, StrategyError, Value, param
from strategies.indicators import SMA
from strategies.lanes import StateMismatch
from strategies.registry import NAMES, load
from strategies.sector_rotation import SectorRotation
from tests.strategies.market import random_bars, random_cuts, random_parameters

BARS = random_bars(np.random.default_rng(5), rows=80, symbols=2, missing=0)
ALL = BARS.block(0, len(BARS))


class Crossover(Strategy):
    """Buys above its average."""

    period: int = param(10, low=2, high=40)
    stop_loss: float = param(0.05, low=0.01, high=0.2)

    def setup(self, shape: Shape) -> None:
        self.average = SMA(shape, self.period)

    def step(self, bars: Block) -> Signals:
        average = self.average.update(bars.close)
        return self.decide(bars, average)

    def decide(self, bars: Block, average: np.ndarray) -> Signals:
        return Signals(bars.close > average, bars.close < average, bars.close / average, stop_loss=self.stop_loss)


def deciding(decide: Callable[[Crossover, Block, np.ndarray], object]) -> type[Crossover]:
    return type("Crossover", (Crossover,), {"decide": decide})


def error_of(kind: type[Strategy]) -> str:
    with pytest.raises(StrategyError) as caught:
        kind(BARS.symbols).advance(ALL)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"perod": 10}, "crossover: no parameter is called 'perod'; there are: period, stop_loss"),
        ({"period": 41}, "crossover: period: 41 is not a whole number from 2 to 40"),
        ({"period": 1}, "crossover: period: 1 is not a whole number from 2 to 40"),
        ({"period": 10.5}, "crossover: period: 10.5 is not a whole number from 2 to 40"),
        ({"period": True}, "crossover: period: True is not a whole number from 2 to 40"),
        ({"stop_loss": float("nan")}, "crossover: stop_loss: nan is not a number from 0.01 to 0.2"),
        ({"stop_loss": "tight"}, "crossover: stop_loss: tight is not a number from 0.01 to 0.2"),
    ],
)
def test_a_parameter_that_is_unknown_or_out_of_range_names_what_is_allowed(
    values: Mapping[str, Value], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        Crossover(BARS.symbols, [values])
    assert str(caught.value) == message


def test_a_number_without_a_range_cannot_be_a_parameter() -> None:
    with pytest.raises(TypeError, match="range"):
        param(20)
    with pytest.raises(TypeError, match="range"):
        param(20, low=30, high=40)


def test_parameters_are_columns_one_row_a_set() -> None:
    strategy = Crossover(BARS.symbols, [{}, {"period": 30}])
    assert np.asarray(strategy.period).tolist() == [[10], [30]]
    assert strategy.values[1] == {"period": 30, "stop_loss": 0.05}
    assert strategy.warmup == 30


def test_the_history_needed_includes_that_of_the_overlay() -> None:
    overlay = SectorRotation(BARS.symbols, sectors={"S0": "A"})
    assert Crossover(BARS.symbols, overlays=[overlay]).warmup == 64


def test_decisions_are_full_views_and_exits_a_number_for_each_set() -> None:
    decided = Crossover(BARS.symbols, [{}, {"stop_loss": 0.1}]).advance(ALL)
    assert decided.enter.shape == decided.leave.shape == decided.score.shape == (80, 2, 2)
    assert decided.stop_loss is not None
    assert decided.stop_loss.tolist() == [[0.05], [0.1]]
    assert decided.take_profit is None


def test_nothing_is_wanted_where_a_bar_is_missing_nor_entered_outside_the_universe() -> None:
    bars = random_bars(np.random.default_rng(1), rows=100, missing=0.3)
    members = np.random.default_rng(2).random(bars.present.shape) < 0.5
    object.__setattr__(bars, "members", members)
    decided = Crossover(bars.symbols).advance(bars.block(0, 100))
    assert decided.enter.any()
    assert not decided.enter[:, 0][~(bars.present & members)].any()
    assert not decided.leave[:, 0][~bars.present].any()
    assert decided.leave[:, 0][bars.present & ~members].any()


def test_an_exception_in_a_step_names_the_strategys_own_line() -> None:
    def decide(_: Crossover, bars: Block, average: np.ndarray) -> Signals:
        return Signals(bars.nonsense, average > 0, average)  # type: ignore[attr-defined]

    line = decide.__code__.co_firstlineno + 1
    assert (
        error_of(deciding(decide)) == f"{__file__}:{line}: AttributeError: 'Block' object has no attribute 'nonsense'"
    )


@pytest.mark.parametrize(
    ("raised", "told"),
    [(OSError("no\n  luck\r\n"), "OSError: no luck"), (SystemExit(), "SystemExit"), (SystemExit(3), "SystemExit: 3"),
     (KeyboardInterrupt(), "KeyboardInterrupt")],
)  # fmt: skip
def test_whatever_a_step_raises_is_one_line(raised: BaseException, told: str) -> None:
    def decide(_: Crossover, __: Block, ___: np.ndarray) -> Signals:
        raise raised

    assert error_of(deciding(decide)) == f"{__file__}:{decide.__code__.co_firstlineno + 1}: {told}"


def test_an_exception_in_setup_names_the_strategys_own_line() -> None:
    class Broken(Crossover):
        def setup(self, shape: Shape) -> None:
            self.average = SMA(shape, np.zeros((7, 1), np.int64))

    with pytest.raises(StrategyError, match=rf"test_base.py:{Broken.setup.__code__.co_firstlineno + 1}: ValueError: "):
        Broken(BARS.symbols)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda *_: None, "step returned NoneType, not Signals"),
        (lambda _, b, a: Signals(b.close[1:] > a[1:], b.close < a, a), "enter has shape (79, 1, 2), not (time, sets,"),
        (lambda _, b, a: Signals(b.close > a, np.ones((80, 3, 2), bool), a), "leave has shape (80, 3, 2), not (time,"),
        (
            lambda _, b, a: Signals((b.close > a)[0], b.close < a, a),
            "enter has shape (1, 2), not (time, sets, symbols)",
        ),
        (lambda _, b, a: Signals((b.close > a)[:1], b.close < a, a), "enter has shape (1, 1, 2), not (time, sets,"),
        (lambda _, b, a: Signals((b.close > a)[0, 0, 0], b.close < a, a), "enter has shape (), not (time, sets,"),
        (lambda _, b, a: Signals(b.close > a, b.close < a, a[-1]), "score has shape (1, 2), not (time, sets, symbols)"),
        (
            lambda _, b, a: Signals(b.close - a, b.close < a, a),
            "enter is float64, not the True or False of a comparison",
        ),
        (lambda _, b, a: Signals(b.close > a, b.close < a, a * np.nan), "with a score that is undefined or infinite"),
        (lambda _, b, a: Signals(b.close > a, b.close < a, a / 0), "with a score that is undefined or infinite"),
        (lambda _, b, a: Signals(b.close > a, b.close < a, -a / 0), "with a score that is undefined or infinite"),
        (lambda _, b, a: Signals(b.close > a, b.close < a, np.array("high")), "score is <U4, not numbers"),
        (lambda _, b, a: Signals(b.close > a, b.close < a, a, take_profit="2 %"), "take_profit is <U3, not numbers"),
        (lambda _, b, a: Signals(b.close > a, b.close < a, a, stop_loss=-0.02), "stop_loss is -0.02, not above 0"),
        (
            lambda _, b, a: Signals(b.close > a, b.close < a, a, max_holding=1.5),
            "max_holding is 1.5, not a whole number of bars",
        ),
        (
            lambda _, b, a: Signals(b.close > a, b.close < a, a, stop_loss=a),
            "stop_loss has shape (80, 1, 2), not (sets,",
        ),
    ],
)
def test_signals_that_are_none_stop_the_run_with_file_and_line(
    returned: Callable[[Crossover, Block, np.ndarray], object], message: str
) -> None:
    error = error_of(deciding(returned))
    assert f"test_base.py:{Crossover.step.__code__.co_firstlineno}: " in error
    assert message in error


@pytest.mark.parametrize(
    "signals",
    [
        lambda up: Signals(up, leave=False, score=0.0),  # single values
        lambda up: Signals(up, leave=~up[:, :, :1], score=up[:, :, :1] * 1.0),  # one symbol's for all
        lambda up: Signals(up, leave=~up, score=up * np.ones((1, 2, 1))),  # more parameter sets than the bars have
    ],
)
def test_what_is_the_same_for_all_sets_or_symbols_need_not_be_repeated(signals: Callable[[Bools], Signals]) -> None:
    def decide(_: Crossover, bars: Block, __: np.ndarray) -> Signals:
        return signals(bars.close > bars.open)

    decided = deciding(decide)(BARS.symbols, [{}, {"period": 20}]).advance(ALL)
    assert decided.enter.shape == decided.leave.shape == decided.score.shape == (len(BARS), 2, len(BARS.symbols))
    assert decided.enter.any()


def test_what_is_first_remembered_in_a_step_stops_the_run() -> None:
    """No restart could restore it."""

    def decide(self: Crossover, bars: Block, average: np.ndarray) -> Signals:
        self.last = bars.close[-1]  # type: ignore[attr-defined]
        return Signals(bars.close > average, bars.close < average, average)

    assert error_of(deciding(decide)).endswith(": step begins to remember self.last; make it in setup")


@pytest.mark.parametrize(
    "condition",
    [
        lambda b, a: ~(b.close > a),  # True where the average is undefined
        lambda b, a: np.isnan(a) | (b.close > a),
        lambda b, a: b.close > np.nan_to_num(a),
        lambda b, a: (b.close < a) == (b.close > a),
    ],
)
def test_entering_on_a_value_that_is_not_yet_defined_stops_the_run(
    condition: Callable[[Block, np.ndarray], np.ndarray],
) -> None:
    def decide(_: Crossover, bars: Block, average: np.ndarray) -> Signals:
        return Signals(condition(bars, average), bars.close < average, 1.0)

    message = r"enters S0 at 2019-11-\d\dT00:00:00Z because of a value that is undefined until bar 10$"
    with pytest.raises(StrategyError, match=message):
        deciding(decide)(BARS.symbols).advance(ALL)


def test_entering_before_some_indicator_is_defined_is_fine_when_it_hangs_on_none() -> None:
    def decide(_: Crossover, bars: Block, average: np.ndarray) -> Signals:
        return Signals((bars.close > bars.open) | (bars.close > average), bars.close < average, 1.0)

    decided = deciding(decide)(BARS.symbols).advance(ALL)
    assert decided.enter[:9].any()


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_a_saved_state_continues_to_the_bit(name: str, seed: int) -> None:
    """A new object at every cut, overlay included; the state goes through a file as a daemon would keep it."""
    rng = np.random.default_rng(seed)
    kind = load(name)
    bars = random_bars(rng, kind.timeframe, rows=200, symbols=4, missing=rng.choice([0, 0.3]))
    sets = [{}, random_parameters(rng, kind)]
    sectors = dict(zip(bars.symbols, "AABC", strict=True))

    def fresh() -> Strategy:
        return kind(bars.symbols, sets, [SectorRotation(bars.symbols, [{"period": 21, "best": 2}], sectors=sectors)])

    whole = fresh().advance(bars.block(0, len(bars)))
    strategy = fresh()
    for start, stop in random_cuts(rng, len(bars)):
        decided = strategy.advance(bars.block(start, stop))
        for field in ("enter", "leave", "score"):
            np.testing.assert_array_equal(getattr(decided, field), getattr(whole, field)[start:stop])
        state, strategy = strategy.state(), fresh()
        strategy.restore(state)


def test_a_state_of_another_strategy_or_other_symbols_is_refused() -> None:
    strategy = Crossover(BARS.symbols)
    strategy.advance(ALL)
    with pytest.raises(StateMismatch):
        load("momentum_basic")(BARS.symbols).restore(strategy.state())
    with pytest.raises(StateMismatch):
        Crossover(["A", "B", "C"]).restore(strategy.state())


def test_the_fingerprint_changes_with_whatever_the_signals_depend_on() -> None:
    other = random_bars(np.random.default_rng(5), rows=80, symbols=2, missing=0)
    object.__setattr__(other, "feed", "iex")

    def fingerprint(kind: type[Strategy], values: Mapping[str, Value], bars: Bars, first: int = 0) -> str:
        strategy = kind(bars.symbols, [values])
        strategy.advance(bars.block(first, first + 1))
        return strategy.fingerprint(bars)

    prints = [
        fingerprint(Crossover, {}, BARS),
        fingerprint(Crossover, {"period": 11}, BARS),
        fingerprint(Crossover, {}, other),
        fingerprint(Crossover, {}, BARS, first=1),
        fingerprint(load("momentum_basic"), {}, BARS),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(Crossover, {}, BARS) == prints[0]


def test_the_fingerprint_of_a_set_is_the_same_alone_and_beside_others() -> None:
    beside, alone = Crossover(BARS.symbols, [{}, {"period": 11}]), Crossover(BARS.symbols, [{"period": 11}])
    for strategy in (beside, alone):
        strategy.advance(ALL)
    assert beside.fingerprint(BARS, 1) == alone.fingerprint(BARS) != beside.fingerprint(BARS, 0)


def test_a_block_without_any_bar_decides_nothing_and_changes_nothing() -> None:
    bars = random_bars(np.random.default_rng(1), rows=60, missing=0)
    gap = np.zeros_like(bars.present)
    gap[:30] = gap[40:] = True
    object.__setattr__(bars, "present", bars.present & gap)
    for kind in (Crossover, load("momentum_basic"), load("bollinger_squeeze"), load("rsi_divergence")):
        strategy = kind(bars.symbols)
        strategy.advance(bars.block(0, 30))
        before = strategy.state()
        decided = strategy.advance(bars.block(30, 40))
        assert not decided.enter.any()
        assert not decided.leave.any()
        for path, value in strategy.state().items():
            np.testing.assert_array_equal(value, before[path], err_msg=path)
