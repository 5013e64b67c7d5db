"""What cannot be traded as it is said is one line that names the key, the file and the line; nothing is started."""

from pathlib import Path

import pytest

from daemon.cli import main

KEYS = "key_id: PK1, secret_key: s"
SYMBOLS = "universe: {symbols: [AAPL, MSFT]}"


def complaint(folder: Path, capsys: pytest.CaptureFixture[str], trading: str, *options: str) -> str:
    """What `run` says, and its exit code is 2."""
    config = folder / "nightdesk.yaml"
    config.write_text(
        f"data_dir: ./data\ncontrol: {{socket: ./control.sock}}\nbilling: {{listen: '127.0.0.1:0'}}\n"
        f"trading: {{enabled: true, {trading}}}\n"
    )
    assert main(["run", "--config", str(config), *options]) == 2
    assert not (folder / "data").exists()
    error = capsys.readouterr().err
    assert error.startswith("nightdesk: ")
    assert error.count("\n") == 1
    return error.removeprefix("nightdesk: ").replace(f"{folder}/", "").removeprefix("nightdesk.yaml: ").strip()


@pytest.mark.parametrize(
    ("trading", "says"),
    [
        (
            SYMBOLS,
            "trading.key_id: is needed (Alpaca → API Keys), as NIGHTDESK_TRADING__KEY_ID or as a credential",
        ),
        (f"{KEYS}, capital_per_strategy: 0", "trading.capital_per_strategy: Input should be greater than 0"),
        (f"{KEYS}, universe: {{symbols: []}}", "trading.universe.symbols: at least one symbol is needed"),
        (
            f"{KEYS}, universe: {{symbols: [AAPL, AAPL]}}",
            "trading.universe.symbols: AAPL is given twice",
        ),
        (
            f"{KEYS}, universe: {{symbols: [apple]}}",
            "trading.universe.symbols[0]: expected a symbol such as AAPL or BRK.B",
        ),
        (
            f"{KEYS}, overlays: [sector_rotation]",
            "trading.universe.sectors: sector_rotation needs this file, a CSV symbol,sector",
        ),
        (f"{KEYS}, strategies: []", "trading.strategies: at least one is needed; leave the key out for all ten"),
        (f"{KEYS}, strategies: [breakout_20d, breakout_20d]", "trading.strategies[1]: breakout_20d is given twice"),
        (
            f"{KEYS}, strategies: [{{name: breakout_20d, params: {{entry: 9000}}}}]",
            "trading.strategies[0]: breakout_20d: entry: 9000 is not a whole number from 5 to 60",
        ),
        (
            f"{KEYS}, strategies: [{{name: breakout_20d, params: {{speed: 1}}}}]",
            "trading.strategies[0]: breakout_20d: no parameter is called 'speed'; there are: ",
        ),
        (f"{KEYS}, costs: cheap", "trading.costs: cheap: unknown; give default, none, or key=value"),
        (f"{KEYS}, strategies_dir: ./own", "trading.strategies_dir: own: no such folder"),
        (f"{KEYS}, universe: {{symbols: [AAPL], membership: ./members.csv}}", "members.csv: "),
    ],
)
def test_it_says_where_and_what(tmp_path: Path, capsys: pytest.CaptureFixture[str], trading: str, says: str) -> None:
    assert complaint(tmp_path, capsys, trading).startswith(says)


def test_an_unknown_strategy_is_told_who_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(STRATEGY)
    says = complaint(tmp_path, capsys, f"{KEYS}, strategies_dir: ./own, strategies: [yours]")
    assert says.startswith("trading.strategies[0]: no strategy is called 'yours'; there are: bollinger_reversion, ")
    assert says.endswith(", mine")
    says = complaint(tmp_path, capsys, KEYS, "--strategy", "yours")
    assert says.startswith("--strategy: no strategy is called 'yours'; there are: ")


def test_a_file_of_the_folder_that_does_not_import_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "_notes.py").write_text("this is not looked at")
    (tmp_path / "own" / "broken.py").write_text("import strategies\nimport no_such_thing\n")
    says = complaint(tmp_path, capsys, f"{KEYS}, strategies_dir: ./own, strategies: [breakout_20d]")
    assert says == "own/broken.py:2: ModuleNotFoundError: No module named 'no_such_thing'"


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("membership", "symbol,start,end\nAAPL,2020-01-01,2019-01-01\n", "universe.csv:2: end: 2019-01-01 is before"),
        ("membership", "symbol,start,end\nIBM,2020-01-01,\n", "universe.csv: has none of trading.universe.symbols"),
        ("membership", "symbol,start,end\nAAPL,2020-01-01,\nAAPL,2021-01-01,\n", "universe.csv:3: start: AAPL is"),
        ("sectors", "symbol,sector\nAAPL,tech\n", "universe.csv: has no sector for MSFT"),
        ("sectors", "symbol,sector\nAAPL,tech\nAAPL,food\nMSFT,tech\n", "universe.csv:3: sector: AAPL is in tech"),
    ],
)
def test_a_fault_in_the_universe_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, text: str, says: str
) -> None:
    (tmp_path / "universe.csv").write_text(text)
    universe = f"universe: {{symbols: [AAPL, MSFT], {key}: ./universe.csv}}"
    assert complaint(tmp_path, capsys, f"{KEYS}, {universe}").startswith(says)


def test_config_check_sees_what_run_would_refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "nightdesk.yaml"
    config.write_text(f"trading: {{enabled: true, {KEYS}, strategies: [nobody]}}\n")
    assert main(["config", "check", "--config", str(config)]) == 1
    assert "trading.strategies[0]: no strategy is called 'nobody'" in capsys.readouterr().err


def test_a_strategy_can_only_be_chosen_where_something_is_traded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "nightdesk.yaml"
    config.write_text("data_dir: ./data\n")
    assert main(["run", "--config", str(config), "--strategy", "breakout_20d"]) == 2
    assert capsys.readouterr().err == "nightdesk: --strategy: nothing is traded; set trading.enabled\n"


STRATEGY = '''
from strategies.base import Signals, Strategy


class Mine(Strategy):
    """Never buys."""

    def step(self, bars):
        return Signals(enter=bars.close < 0, leave=bars.close < 0, score=bars.close)
'''
