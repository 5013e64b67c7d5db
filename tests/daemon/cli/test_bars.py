"""`nightdesk import-bars` and `data status`, and backtests on what they brought: as users meet them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from config.errors import UserError
from daemon.cli import main
from daemon.cli.bar_source import handing_over
from strategies.bar_store import BarStore
from strategies.sessions import DAY, correct, sessions_between
from tests.daemon.cli.conftest import HEADER

NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))
DAYS = sessions_between(np.datetime64("2022"), np.datetime64("2023")).dates
SPLIT_ON = 200


class Said(NamedTuple):
    """What a command answered."""

    returncode: int
    stdout: str
    stderr: str


Nightdesk = Callable[..., Said]


@pytest.fixture
def nightdesk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nightdesk:
    """Runs a command in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Said:
        code = main([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return run


def prices(symbols: int, days: int, seed: int = 0) -> np.ndarray:
    """Closes (symbols, days)."""
    steps = np.random.default_rng(seed).normal(0.0005, 0.02, (symbols, days))
    return np.round(100 * np.exp(np.cumsum(steps, axis=1)), 2)


def write(path: Path, closes: np.ndarray) -> Path:
    rows = [
        f"S{symbol},{day},{close},{close * 1.01:.2f},{close * 0.99:.2f},{close},{1000 + n}"
        for symbol, series in enumerate(closes)
        for n, (day, close) in enumerate(zip(DAYS, series, strict=False))
    ]
    path.write_text("\n".join((HEADER.strip(), *rows, "")))
    return path


def test_a_backtest_on_the_store_is_the_backtest_on_the_file(tmp_path: Path, nightdesk: Nightdesk) -> None:
    file = write(tmp_path / "bars.csv", prices(3, 300))
    said = nightdesk("import-bars", file, "--store", "history", "--feed", "sip")
    assert (said.returncode, said.stdout) == (0, "900 bars of 1d of 3 symbols from sip: history\n")
    runs = [nightdesk("backtest", "breakout_20d", "--bars", bars, "--json") for bars in (file, "history")]
    assert runs[0].stdout == runs[1].stdout
    assert len(json.loads(runs[0].stdout)["trades"]) > 5


def test_store_as_a_value_is_the_one_in_the_data_directory(tmp_path: Path, nightdesk: Nightdesk) -> None:
    config = tmp_path / "nightdesk.yaml"
    config.write_text("data_dir: ./data\ntrading: {enabled: true}  # its keys are the service's credentials\n")
    write(tmp_path / "bars.csv", prices(1, 60))
    assert nightdesk("import-bars", "bars.csv", "--config", config).returncode == 0
    run = nightdesk("backtest", "breakout_20d", "--bars", "store", "--config", config)
    assert run.returncode == 0
    assert BarStore(tmp_path / "data" / "bars").opened("file", DAY).symbols == ["S0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can import for another user")
def test_what_root_imports_is_the_services(tmp_path: Path, nightdesk: Nightdesk) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 12_345, 12_346)
    (tmp_path / "nightdesk.yaml").write_text("data_dir: ./data\n")
    write(tmp_path / "bars.csv", prices(1, 60))
    assert nightdesk("import-bars", "bars.csv", "--config", "nightdesk.yaml").returncode == 0
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in data.rglob("*")}
    assert owners == {(12_345, 12_346)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for another user")
def test_what_root_writes_is_the_services_also_when_it_is_broken_off(tmp_path: Path) -> None:
    os.chown(tmp_path, 12_345, 12_346)
    store = BarStore(tmp_path / "bars")

    def broken_off() -> None:
        store.add_actions([])
        raise UserError("no answer")

    with pytest.raises(UserError, match="no answer"), handing_over(store, None):
        broken_off()
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {12_345}


def test_a_split_is_adjusted_for_and_the_day_before_it_is_seen_as_it_was(tmp_path: Path, nightdesk: Nightdesk) -> None:
    closes = prices(2, 300)
    closes[0, SPLIT_ON:] = np.round(closes[0, SPLIT_ON:] / 4, 2)
    write(tmp_path / "bars.csv", closes)
    day = DAYS[SPLIT_ON]
    (tmp_path / "splits.csv").write_text(f"symbol,date,split,dividend\nS0,{day},4,\n")
    refused = nightdesk("import-bars", "bars.csv", "--store", "s")
    assert refused.returncode == 2
    assert f"bars.csv:{SPLIT_ON + 2}: jump: S0 goes from " in refused.stderr
    assert not (tmp_path / "s").exists()
    assert nightdesk("import-bars", "bars.csv", "--store", "s", "--actions", "splits.csv").returncode == 0

    def prices_of(*options: str) -> list[float]:
        run = nightdesk("backtest", "breakout_20d", "--bars", "s", "--costs", "none", "--json", *options)
        assert run.returncode == 0, run.stderr
        return [
            trade["entry_price"]
            for trade in json.loads(run.stdout)["trades"]
            if trade["symbol"] == "S0"
            and trade["exit_time"] < str(DAYS[SPLIT_ON - 1])
            and trade["reason"] != "end_of_data"
        ]

    then, now, raw = prices_of("--as-of", str(day - 1)), prices_of(), prices_of("--adjust", "raw")
    assert then == raw != []
    assert now == pytest.approx([price / 4 for price in then])


def test_each_line_that_was_accepted_is_shown_and_the_rest_counted(tmp_path: Path, nightdesk: Nightdesk) -> None:
    file = write(tmp_path / "bars.csv", prices(1, 60))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], *(line for line in lines[1:] for _ in range(2))]))
    shown = nightdesk("import-bars", "bars.csv", "--store", "s", "--accept", "duplicate").stdout.splitlines()
    assert [len(shown), shown[1], shown[-1]] == [
        13,
        "accepted, and written down in the store:",
        "  duplicate: 50 more such rows",
    ]


def test_what_is_there_is_told_to_people_and_to_scripts(tmp_path: Path, nightdesk: Nightdesk) -> None:
    empty = nightdesk("data", "status", "--store", "s")
    assert (empty.returncode, empty.stdout) == (0, "s: no bars; import some with: nightdesk import-bars PATH\n")
    file = write(tmp_path / "bars.csv", prices(2, 30))
    file.write_text(
        "".join(line for n, line in enumerate(file.read_text().splitlines(keepends=True)) if n not in {5, 6})
    )
    imported = nightdesk("import-bars", "bars.csv", "--store", "s", "--accept", "gap", "--json")
    assert json.loads(imported.stdout) == {
        "feed": "file",
        "timeframe": "1d",
        "symbols": ["S0", "S1"],
        "bars": 58,
        "actions": 0,
        "accepted": {"gap": [f"bars.csv:6: gap: 2 sessions have no bar of S0 after {DAYS[3]}"]},
        "store": "s",
    }
    lines = [line.split() for line in nightdesk("data", "status", "--store", "s").stdout.splitlines()]
    assert lines[1] == ["file", "1d", "2", "58", str(DAYS[0]), str(DAYS[29]), "2"]
    status = json.loads(nightdesk("data", "status", "--store", "s", "--json").stdout)
    first, second = status["series"]
    assert first["gaps"] == [{"since": str(DAYS[4]), "until": str(DAYS[5]), "sessions": 2}]
    assert second["gaps"] == []
    assert first["ranges"] == [
        {"since": f"{DAYS[0]}T00:00:00.000000Z", "until": f"{DAYS[29]}T00:00:00.000000Z", "source": str(file)}
    ]
    assert status["sources"][0]["accepted"] == json.loads(imported.stdout)["accepted"]
    assert status["sources"][0]["by"]
    one = nightdesk("data", "status", "S1", "--store", "s").stdout
    assert "S1" in one
    assert "S0" not in one


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["import-bars"], "import-bars: name a PATH, or --actions FILE"),
        (
            ["import-bars", "bars.csv", "--feed", "../up"],
            "--feed: '../up': small letters, digits and _ make a feed's name",
        ),
        (["import-bars", "no.csv", "--store", "s"], "no.csv: cannot be read: No such file or directory"),
        (["import-bars", "bars.csv", "--timeframe", "1w"], "timeframe '1w': a number and m, h or d is needed"),
        (["data", "status", "NOBODY", "--store", "s"], "s: has no bars of NOBODY"),
        (
            ["backtest", "breakout_20d", "--bars", "bars.csv", "--adjust", "all"],
            "--adjust: only bars of the store have it",
        ),
        (["backtest", "breakout_20d", "--bars", "s", "--as-of", "May"], "--as-of: 'May' is not a date (YYYY-MM-DD)"),
        (["backtest", "breakout_20d", "--bars", "s", "--feed", "iex"], "s: has no such bars (there are: 1d from file)"),
        (
            ["backtest", "breakout_20d", "--bars", "s", "--timeframe", "1h"],
            "s: has no such bars (there are: 1d from file)",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, nightdesk: Nightdesk, arguments: list[str], complaint: str) -> None:
    write(tmp_path / "bars.csv", prices(1, 30))
    assert nightdesk("import-bars", "bars.csv", "--store", "s").returncode == 0
    said = nightdesk(*arguments)
    assert said.returncode == 2
    assert said.stderr.startswith(f"nightdesk: {complaint}")
    assert said.stderr.count("\n") == 1


@pytest.fixture
def rules_again() -> Iterator[None]:
    """Afterwards the exchange's days are as the rules say."""
    yield
    correct({})


@pytest.mark.usefixtures("rules_again")
def test_a_day_that_the_brokers_calendar_has_closed_is_no_gap(tmp_path: Path, nightdesk: Nightdesk) -> None:
    closes = prices(1, 10)
    file = write(tmp_path / "bars.csv", closes)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:4], *lines[5:]]))
    assert nightdesk("import-bars", "bars.csv", "--store", "s").returncode == 2
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "calendar.csv").write_text(f"date,open,close\n{DAYS[3]},,\n")
    assert nightdesk("import-bars", "bars.csv", "--store", "s").returncode == 0
    status = json.loads(nightdesk("data", "status", "--store", "s", "--json").stdout)
    assert status["series"][0]["gaps"] == []


@pytest.mark.parametrize("files", [1, 4, 8])
def test_an_import_that_is_killed_has_not_happened(tmp_path: Path, nightdesk: Nightdesk, files: int) -> None:
    """Killed as soon as that many new files are there: the old bars are whole, and the next import works."""
    store = BarStore(tmp_path / "s")
    old, new = prices(40, 250), prices(40, 500, seed=1)
    write(tmp_path / "old.csv", old)
    write(tmp_path / "new.csv", new)
    assert nightdesk("import-bars", "old.csv", "--store", "s").returncode == 0
    before = set((tmp_path / "s").glob("*/*/*/*"))
    command = [NIGHTDESK, "import-bars", "new.csv", "--store", "s", "--accept", "changed"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as importing:
        while importing.poll() is None and len(set((tmp_path / "s").glob("*/*/*/*")) - before) < files:
            pass
        importing.kill()
    expected = {1: (new * 10_000).round(), 0: (old * 10_000).round()}[store.manifest().generation - 1]
    opened = store.opened("file", DAY)
    for symbol, closes in enumerate(expected):
        assert opened.series(f"S{symbol}").close.tolist() == closes.tolist()
    assert nightdesk("import-bars", "new.csv", "--store", "s", "--accept", "changed").returncode == 0
    assert store.opened("file", DAY).series("S7").close.tolist() == (new[7] * 10_000).round().tolist()
