"""alpaca-py is behind one module, comes without pandas, and only where it is traded with."""

import subprocess
import sys

from tests.test_house import ROOT, imports, modules

FENCE = ROOT / "actors" / "trading" / "alpaca" / "sdk.py"


def said(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_one_module_imports_it() -> None:
    importing = {
        path
        for floor in ("daemon", "actors", "strategies", "config")
        for path in modules(floor)
        if any(name.split(".")[0] == "alpaca" for name in imports(path))
    }
    assert importing == {FENCE}


def test_it_comes_without_the_seventy_megabytes_of_pandas_which_others_may_still_have() -> None:
    program = (
        "import sys, actors.trading.alpaca.market, actors.trading.alpaca.broker\n"
        "print('alpaca.data.live.stock' in sys.modules, 'pandas' in sys.modules)\n"
        "import pandas\n"
        "print(pandas.DataFrame([1]).shape)"
    )
    assert said(program).split("\n")[:2] == ["True False", "(1, 1)"]


def test_a_desk_that_trades_elsewhere_does_without_it() -> None:
    program = "import sys, daemon.app, daemon.trading, daemon.desk_start; print('alpaca' in sys.modules)"
    assert said(program).strip() == "False"
