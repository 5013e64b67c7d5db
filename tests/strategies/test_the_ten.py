"""The ten decide what the plainest reading of their rules decides, on bars and parameters nobody chose."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from strategies.bars import Bars
from strategies.base import Decisions, Overlay, Parametrised, Strategy, Value
from strategies.registry import NAMES, load
from strategies.sector_rotation import SectorRotation
from tests.strategies import plain_rules
from tests.strategies.market import random_bars, random_parameters
from tests.strategies.plain_rules import Verdict

SEEDS = st.integers(0, 2**32 - 1)
ALONE = [name for name in NAMES if name not in {"earnings_momentum", "relative_strength"}]


def decisions(
    kind: type[Strategy], bars: Bars, sets: Sequence[Mapping[str, Value]], overlays: tuple[Overlay, ...] = ()
) -> Decisions:
    return kind(bars.symbols, sets, overlays).advance(bars.block(0, len(bars)))


def assert_same(bars: Bars, lane: int, decided: Decisions, row: int, verdicts: Mapping[int, Verdict]) -> None:
    """Enter and leave are the same; so is the score of what is entered, but for the last bits."""
    for symbol in range(len(bars.symbols)):
        enter, leave, score = verdicts.get(symbol, (False, False, np.nan))
        at = (row, lane, symbol)
        assert decided.enter[at] == enter, f"enter at {at}"
        assert decided.leave[at] == leave, f"leave at {at}"
        if enter:
            assert decided.score[at] == pytest.approx(score, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ALONE)
@given(seed=SEEDS)
@example(seed=2_141_574)  # a close exactly 1 % below a VWAP that no float is
@settings(max_examples=15)
def test_a_strategy_decides_as_its_plain_rule(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind, rule = load(name), getattr(plain_rules, name)
    bars = random_bars(rng, kind.timeframe, missing=rng.choice([0, 0.1, 0.5]))
    sets = [kind.check({}), kind.check(random_parameters(rng, kind))]
    decided = decisions(kind, bars, sets)
    for lane, parameters in enumerate(sets):
        for row, _, here in plain_rules.walk(bars):
            assert_same(bars, lane, decided, row, {n: rule(own, parameters) for n, own in here.items()})


@given(seed=SEEDS)
@settings(max_examples=15)
def test_relative_strength_decides_as_its_plain_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = load("relative_strength")
    bars = random_bars(rng, symbols=8, missing=rng.choice([0, 0.1, 0.5]))
    narrow: Mapping[str, Value] = {"period": 21, "enter_best": 2, "leave_beyond": 5}
    sets = [kind.check({}), kind.check(random_parameters(rng, kind)), kind.check(narrow)]
    decided = decisions(kind, bars, sets)
    for lane, parameters in enumerate(sets):
        for row, first_of_week, here in plain_rules.walk(bars):
            verdicts = plain_rules.relative_strength(here, first_of_week, parameters)
            assert_same(bars, lane, decided, row, verdicts)


@given(seed=SEEDS)
@settings(max_examples=15)
def test_earnings_momentum_decides_as_its_plain_rule(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = np.random.default_rng(seed)
    kind = load("earnings_momentum")
    bars = random_bars(rng, missing=rng.choice([0, 0.1, 0.5]))
    first, last = bars.dates[[0, -1]].astype(object)
    calendar = [
        (str(rng.choice([*bars.symbols, "ELSE"])), first + dt.timedelta(days=int(day)), str(rng.choice(["bmo", "amc"])))
        for day in rng.integers(-5, (last - first).days + 5, 60)
    ]
    path = tmp_path_factory.mktemp("earnings") / "calendar.csv"
    lines = [f"{symbol},{date.isoformat()},{timing}" for symbol, date, timing in calendar]
    path.write_text("\n".join(["symbol,date,timing", *lines]))
    sets = [kind.check(random_parameters(rng, kind) | {"calendar": str(path)}) for _ in range(2)]
    decided = decisions(kind, bars, sets)
    for lane, parameters in enumerate(sets):
        for row, _, here in plain_rules.walk(bars):
            rule = plain_rules.earnings_momentum
            own = {n: rule(o, parameters, calendar) for n, o in here.items()}
            assert_same(bars, lane, decided, row, own)


@given(seed=SEEDS)
@settings(max_examples=15)
def test_sector_rotation_withholds_entries_in_weak_sectors_and_no_exit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = load("momentum_basic")
    bars = random_bars(rng, symbols=9, missing=rng.choice([0, 0.1, 0.5]))
    sectors = {symbol: str(rng.choice(list("ABCDE"))) for symbol in bars.symbols[:-1]}  # the last belongs to none
    overlay = SectorRotation(bars.symbols, [{"period": 21, "best": 2}], sectors=sectors)
    free, held = decisions(kind, bars, [{}]), decisions(kind, bars, [{}], (overlay,))
    strong: set[str] = set()
    for row, first_of_week, here in plain_rules.walk(bars):
        if first_of_week:
            strong = plain_rules.strong_sectors(here, sectors, 21, 2)
        allowed = np.array([sectors.get(symbol) in strong for symbol in bars.symbols])
        np.testing.assert_array_equal(held.enter[row, 0], free.enter[row, 0] & allowed)
    np.testing.assert_array_equal(held.leave, free.leave)


@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_enters_and_leaves_somewhere(name: str, tmp_path: Path) -> None:
    """So that the agreement above is not an agreement on nothing."""
    kind = load(name)
    calendar = tmp_path / "calendar.csv"
    days = [f"S{n},{np.datetime64('2019-11-04') + 7 * week},bmo" for n in range(10) for week in range(30)]
    calendar.write_text("\n".join(["symbol,date,timing", *days]))
    parameters = {"calendar": str(calendar)} if "calendar" in kind.parameters else {}
    bars = random_bars(np.random.default_rng(7), kind.timeframe, rows=600, symbols=30)
    decided = decisions(kind, bars, [parameters])
    assert decided.enter.any()
    assert decided.leave.any()


def test_earnings_momentum_without_a_calendar_enters_nothing() -> None:
    bars = random_bars(np.random.default_rng(1), missing=0)
    assert not decisions(load("earnings_momentum"), bars, [{}]).enter.any()


def test_every_strategy_says_in_its_docstring_what_it_does() -> None:
    for name in NAMES:
        kind = load(name)
        assert kind.name == name
        assert kind.__doc__
        assert 40 < len(kind.__doc__.strip()) <= 120


def test_the_ten_trade_the_bars_their_rules_are_written_for() -> None:
    timeframes = {name: load(name).timeframe for name in NAMES}
    assert {name for name, length in timeframes.items() if length != "1d"} == {"bollinger_reversion", "vwap_reversion"}
    assert (timeframes["bollinger_reversion"], timeframes["vwap_reversion"]) == ("2h", "15m")


def test_the_defaults_are_those_of_the_rules() -> None:
    """The numbers a trader would quote."""
    assert load("bollinger_reversion").check({}) == {
        "period": 20, "width": 2.0, "relative_volume": 1.5, "volume_period": 20, "stop_loss": 0.02,
    }  # fmt: skip
    assert load("rsi_macd_confluence").check({}) == {
        "rsi_period": 14, "oversold": 35.0, "overbought": 65.0, "fast": 12, "slow": 26, "signal": 9,
        "stop_loss": 0.04, "take_profit": 0.096,
    }  # fmt: skip
    assert load("breakout_20d").check({}) == {"entry": 20, "exit": 10, "stop_loss": 0.05}
    assert load("vwap_reversion").check({}) == {
        "distance": 0.01, "after_open": 30, "before_close": 45, "stop_loss": 0.015,
    }  # fmt: skip
    assert load("rsi_divergence").check({}) == {
        "lookback": 20, "recent": 5, "rsi_period": 14, "divergence": 3.0, "oversold": 40.0, "recovered": 60.0,
        "stop_loss": 0.04, "max_holding": 20,
    }  # fmt: skip
    assert load("earnings_momentum").check({}) == {
        "calendar": "", "gap": 0.03, "stop_loss": 0.06, "max_holding": 10,
    }  # fmt: skip
    assert load("relative_strength").check({}) == {
        "period": 63, "enter_best": 10, "leave_beyond": 20, "stop_loss": 0.08,
    }  # fmt: skip
    assert load("momentum_basic").check({}) == {
        "period": 10, "rise": 0.03, "fall": 0.02, "rsi_period": 14, "overbought": 70.0,
        "stop_loss": 0.05, "take_profit": 0.1,
    }  # fmt: skip
    assert load("mean_reversion_rsi").check({}) == {
        "period": 14, "oversold": 30.0, "recovered": 65.0, "stop_loss": 0.07, "take_profit": 0.08,
    }  # fmt: skip
    assert load("bollinger_squeeze").check({}) == {
        "period": 20, "width": 2.0, "lookback": 120, "percent": 10.0, "within": 5, "stop_loss": 0.04,
    }  # fmt: skip


def test_the_documentation_lists_every_parameter_with_its_range() -> None:
    text = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text()
    kinds: list[type[Parametrised]] = [*map(load, NAMES), SectorRotation]
    for kind in kinds:
        (section,) = re.findall(rf"^## {kind.name}, (.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        rows = {
            f"| `{name}` | {one.default} | {one.low:g} to {one.high:g} |"
            if one.default != ""
            else "| `calendar` | none | a file |"
            for name, one in kind.parameters.items()
        }
        assert rows == {row for row in section.splitlines() if row.startswith("| `")}
        assert (kind.__doc__ or "").split("\n")[0] in section
