"""A user's own strategy in `nightdesk backtest`: it runs, or one line says why not."""

import json
import re
from pathlib import Path

import pytest

from tests.daemon.cli.conftest import MY_STRATEGY, Run, RunJson


def test_a_users_own_file_is_a_strategy(result: RunJson, bars: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MY_STRATEGY)
    run = result(file, "--bars", bars, "--param", "period=20")
    assert (run["strategy"], run["params"]) == ("mine", {"period": 20})
    assert run["trades"]


@pytest.mark.parametrize(
    ("change", "line", "complaint"),
    [
        (("return Signals(", "1 / 0; return Signals("), 14, "ZeroDivisionError"),
        (("enter=bars.close > average", "enter=(bars.close > average).ravel()"), 12, "enter has shape"),
        (("enter=bars.close > average", "enter=(bars.close > average)[0]"), 12, "enter has shape"),
        (("enter=bars.close > average", "enter=~(bars.close < average)"), 12, "undefined until bar 10"),
        (("def step", "def stop"), 5, "no step"),
        (("return Signals(", "raise KeyboardInterrupt; return Signals("), 14, "KeyboardInterrupt"),
        (("bars):", "bars)"), 12, "expected ':'"),
    ],
)
def test_a_users_strategy_at_fault_is_named_by_file_and_line(
    run: Run, bars: Path, tmp_path: Path, change: tuple[str, str], line: int, complaint: str
) -> None:
    file, report = tmp_path / "mine.py", tmp_path / "out.html"
    file.write_text(MY_STRATEGY.replace(*change))
    code, out, err = run(file, "--bars", bars, "--report", report)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert f"nightdesk: {file}:{line}: " in err or complaint == "no step"
    assert not report.exists()


@pytest.mark.parametrize("where", ["from strategies.base", "return Signals("])
def test_an_interrupted_run_says_so_and_writes_nothing(run: Run, bars: Path, tmp_path: Path, where: str) -> None:
    file, report = tmp_path / "mine.py", tmp_path / "out.html"
    file.write_text(MY_STRATEGY.replace(where, f"__import__('signal').raise_signal(2); {where}"))
    assert run(file, "--bars", bars, "--report", report) == (130, "", "nightdesk: interrupted\n")
    assert not report.exists()


LOOKING_AHEAD = """
        ahead = np.full(bars.close.shape, np.nan)
        for k in range(len(bars.close) - 12):
            ahead[k] = bars.close[k + 12] / bars.close[k + 1]
        return Signals(enter=ahead > 1.02, leave=ahead < 1, score=np.nan_to_num(ahead))
"""


@pytest.mark.parametrize(
    "step",
    [
        LOOKING_AHEAD,
        LOOKING_AHEAD.replace("score=np.nan_to_num(ahead)", "score=0.0"),
        "return Signals(bars.close < bars.close.mean(axis=0), leave=False, score=0.0)",
        "return Signals(bars.close > bars.open, leave=np.roll(bars.close, -1, axis=0) < bars.close, score=0.0)",
        "return Signals(bars.close > bars.open, leave=False, score=np.roll(bars.volume, -1, axis=0) / bars.open)",
    ],
)
def test_a_users_strategy_that_looks_ahead_is_refused(run: Run, bars: Path, tmp_path: Path, step: str) -> None:
    file, report = tmp_path / "seer.py", tmp_path / "out.html"
    file.write_text(
        "import numpy as np\nfrom strategies.base import Signals, Strategy\n"
        f"class Seer(Strategy):\n    def step(self, bars):\n        {step.strip()}\n"
    )
    code, out, err = run(file, "--bars", bars, "--report", report, "--json")
    assert (code, out) == (2, "")
    place = r"(enter|leave|score) of (AAPL|MSFT|SPY) at 202\d-\d\d-\d\dT14:30:00Z"
    assert re.fullmatch(rf"nightdesk: {file}: looks ahead: {place} changes .* the bars after it.*\n", err)
    assert not report.exists()


def test_a_users_strategy_that_a_restart_would_change_runs_with_a_warning(run: Run, bars: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    count = "self.days.extend(bars.times); third = np.arange(len(self.days))[-len(bars.times) :, None, None] % 3 == 0"
    file.write_text(
        "import numpy as np\nfrom strategies.base import Signals, Strategy\nclass Mine(Strategy):\n"
        "    def setup(self, shape):\n        self.days = []\n"
        f"    def step(self, bars):\n        {count}\n        return Signals(third, leave=~third, score=0.0)\n"
    )
    code, out, err = run(file, "--bars", bars, "--json")
    assert (code, len(json.loads(out)["trades"]) > 10) == (0, True)
    assert re.fullmatch(rf"nightdesk: warning: {file}: enter of AAPL at \S+ is another one after a restart: .*\n", err)


def test_what_a_users_strategy_prints_is_no_part_of_the_result(run: Run, bars: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MY_STRATEGY.replace("        average =", "        print('looking')\n        average ="))
    code, out, err = run(file, "--bars", bars, "--json")
    assert (code, json.loads(out)["strategy"], err) == (0, "mine", "looking\n")
