"""A strategy comes by name or from a user's own file; what is wrong with the file is one line."""

import re
from pathlib import Path

import numpy as np
import pytest

from config.errors import BadInput
from strategies.lab.audit import look_ahead
from strategies.registry import NAMES, load, parse_params
from tests.strategies.market import random_bars

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "writing-a-strategy.md").read_text()
ONE = "a strategy file defines one subclass of Strategy"
RANGE = "the parameter's default 5 needs a range: low and high around it"
LENGTH = "a number and m, h or d is needed, such as 15m, 2h or 1d"
HEADER = "from strategies.base import *\nfrom strategies.base import Strategy\n"
OWN = HEADER + "class A(Strategy):\n    {}\n    def step(self, bars): ...\n"


def written(folder: Path, source: str, name: str = "own.py") -> str:
    path = folder / name
    path.write_text(source)
    return str(path)


def refusal(source: str, folder: Path) -> str:
    with pytest.raises(BadInput) as caught:
        load(written(folder, source))
    return str(caught.value).replace(str(folder), "")


def test_each_of_the_ten_is_loaded_by_name() -> None:
    assert len(NAMES) == len({load(name) for name in NAMES}) == 10


@pytest.mark.parametrize("text", [README, GUIDE], ids=["README", "guide"])
def test_a_copy_with_two_lines_changed_is_another_strategy(text: str, tmp_path: Path) -> None:
    """The commands that are printed there, carried out on the file they name."""
    copies = re.findall(r"^\$ cp (strategies/\S+) (\S+)$", text, re.MULTILINE)
    edits = re.findall(r"^\$ sed -i 's/(.+)/(.+)/' (\S+)$", text, re.MULTILINE)
    assert (len(copies), len(edits)) == (1, 2)
    (original, copy), text = copies[0], (ROOT / copies[0][0]).read_text()
    for old, new, file in edits:
        assert file == copy
        assert text.count(old) == 1
        text = text.replace(old, new)
    changed = [
        one
        for one, other in zip((ROOT / original).read_text().split("\n"), text.split("\n"), strict=True)
        if one != other
    ]
    assert len(changed) == 2
    strategy = load(written(tmp_path, text, copy))
    assert strategy.name == Path(copy).stem
    assert strategy.check({})["width"] == 2.5
    assert load("bollinger_reversion").name == "bollinger_reversion"
    bars = random_bars(np.random.default_rng(1), "2h", rows=300, symbols=5)
    ours = strategy(bars.symbols).advance(bars.block(0, 300))
    theirs = load("bollinger_reversion")(bars.symbols, [{"width": 2.5}]).advance(bars.block(0, 300))
    assert ours.enter.any()
    np.testing.assert_array_equal(ours.enter, theirs.enter)
    assert (ours.leave < theirs.leave).any(), "a close at the middle is no longer a reason to leave"


def test_the_guides_whole_strategy_works_and_looks_at_nothing_it_should_not(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    kind = load(written(tmp_path, source, "golden_cross.py"))
    bars = random_bars(np.random.default_rng(2), rows=700, symbols=5)
    strategy = kind(bars.symbols)
    assert strategy.warmup == 201
    assert strategy.advance(bars.block(0, 700)).enter.any()
    assert look_ahead(lambda: kind(bars.symbols), bars) == []


def test_the_guide_lists_every_indicator() -> None:
    listed = set(re.findall(r"`(\w+)\(", GUIDE))
    assert set(__import__("strategies.indicators", fromlist=["*"]).__all__) <= listed


def test_an_unknown_name_lists_the_ten() -> None:
    with pytest.raises(BadInput, match="no strategy is called 'bolinger'; there are bollinger_reversion, "):
        load("bolinger")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(BadInput, match=r"^nowhere/own\.py: no such file$"):
        load("nowhere/own.py")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Own(\n", "/own.py:1: '(' was never closed"),
        ("import numpy\n\nnumpy.nonsense()\n", "/own.py:3: AttributeError: module 'numpy' has no attribute 'nonsense'"),
        ("import no_such_module\n", "/own.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\n", f"/own.py: {ONE}; here: none"),
        (HEADER + "class A(Strategy): pass\nclass B(Strategy): pass\n", f"/own.py: {ONE}; here: A, B"),
        (HEADER + "class A(Strategy): pass\n", "/own.py: A has no step method"),
        (OWN.format("timeframe = '7q'"), f"/own.py: A: timeframe '7q': {LENGTH}"),
        (OWN.format("timeframe = ''"), f"/own.py: A: timeframe '': {LENGTH}"),
        (OWN.format("timeframe = None"), f"/own.py: A: timeframe 'None': {LENGTH}"),
        ("x = 1\nraise RuntimeError('two\\nlines')\n", "/own.py:2: RuntimeError: two lines"),
        ("import sys\nsys.exit(5)\n", "/own.py:2: SystemExit: 5"),
        ("x = 1\nraise KeyboardInterrupt\n", "/own.py:2: KeyboardInterrupt"),
        ("class Odd(BaseException): pass\n\nraise Odd\n", "/own.py:3: Odd"),
        ("x = 1\ny = '\0'\n", "/own.py:2: source code string cannot contain null bytes"),
        (HEADER + "class A(Strategy):\n    n: int = param(5)\n", f"/own.py:4: TypeError: {RANGE}"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(source: str, message: str, tmp_path: Path) -> None:
    assert refusal(source, tmp_path) == message


def test_an_edited_file_is_read_again_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    source = HEADER + "class A(Strategy):\n    n: int = param(5, low=1, high=9)\n    def step(self, bars): ...\n"
    path = written(tmp_path, source)
    assert load(path).check({}) == {"n": 5}
    written(tmp_path, source.replace("param(5", "param(6"))
    assert load(path).check({}) == {"n": 6}
    assert [file.name for file in tmp_path.iterdir()] == ["own.py"]


def test_parameters_are_read_from_texts() -> None:
    kind = load("breakout_20d")
    assert parse_params(kind, ["entry=30", "stop_loss=0.1"]) == {"entry": 30, "exit": 10, "stop_loss": 0.1}
    assert parse_params(kind, []) == kind.check({})


def test_a_text_parameter_is_taken_as_it_is() -> None:
    assert parse_params(load("earnings_momentum"), ["calendar=2024=a.csv"])["calendar"] == "2024=a.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entry", "breakout_20d: parameter 'entry' is not of the form name=value"),
        ("entry=soon", "breakout_20d: entry: soon is not a whole number from 5 to 60"),
        ("entry=20.5", "breakout_20d: entry: 20.5 is not a whole number from 5 to 60"),
        ("entry=61", "breakout_20d: entry: 61 is not a whole number from 5 to 60"),
        ("stop_loss=inf", "breakout_20d: stop_loss: inf is not a number from 0.01 to 0.15"),
        ("entry=30 entry=31", "breakout_20d: parameter 'entry' is given twice"),
        ("stop=0.1", "breakout_20d: no parameter is called 'stop'; there are: entry, exit, stop_loss"),
    ],
)
def test_a_wrong_parameter_names_its_range(text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_params(load("breakout_20d"), text.split())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("symbol,day,timing\n", ":1: the header needs symbol,date,timing"),
        ("symbol,date,timing\nA,2024-13-01,bmo\n", ":2: date: '2024-13-01' is not a date such as 2024-05-31"),
        ("symbol,date,timing\nA,2024-12-01,bmo\nA,2024-12-01,noon\n", ":3: timing: 'noon' is neither bmo nor amc"),
        ("symbol,date,timing\nA\n", ":2: date: None is not a date such as 2024-05-31"),
    ],
)
def test_a_wrong_earnings_calendar_names_file_line_and_field(rows: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "calendar.csv"
    path.write_text(rows)
    with pytest.raises(BadInput) as caught:
        load("earnings_momentum")(["A"], [{"calendar": str(path)}])
    assert str(caught.value) == f"{path}{message}"


def test_a_missing_earnings_calendar_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"calendar\.csv: No such file or directory"):
        load("earnings_momentum")(["A"], [{"calendar": str(tmp_path / "calendar.csv")}])
