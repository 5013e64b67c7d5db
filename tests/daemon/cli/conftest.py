"""What the tests of `nightdesk backtest` share: bars, and the command as its users meet it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.cli import main

HEADER = "symbol,time,open,high,low,close,volume\n"
MY_STRATEGY = '''
from strategies.base import Signals, Strategy, param
from strategies.indicators import SMA

class Mine(Strategy):
    """Buy above the average, leave below it."""
    period: int = param(10, low=2, high=50)

    def setup(self, shape):
        self.average = SMA(shape, self.period)

    def step(self, bars):
        average = self.average.update(bars.close)
        return Signals(enter=bars.close > average, leave=bars.close < average, score=bars.close - average)
'''


Run = Callable[..., tuple[int, str, str]]
RunJson = Callable[..., Any]


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three random walks of 300 sessions; drifting up, so that everybody trades."""
    random = np.random.default_rng(11)
    days = np.busday_offset("2023-01-02", np.arange(300), roll="forward")
    lines = []
    for symbol in ("AAPL", "MSFT", "SPY"):
        closes = 100 * np.exp(random.normal(0.001, 0.02, 300).cumsum())
        opens = closes * np.exp(random.normal(0, 0.005, 300))
        for day, start, close in zip(days, opens.round(2), closes.round(2), strict=True):
            high, low = max(start, close) + 0.5, min(start, close) - 0.5
            lines.append(f"{symbol},{day}T14:30:00Z,{start},{high:.2f},{low:.2f},{close},1000000\n")
    path = tmp_path_factory.mktemp("bars") / "bars.csv"
    path.write_text(HEADER + "".join(lines))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["backtest", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def result(run: Run) -> RunJson:
    def result(*arguments: object) -> Any:
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return result
