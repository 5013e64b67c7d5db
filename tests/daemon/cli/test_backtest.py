"""`nightdesk backtest` as its users meet it: what goes in, what is printed, and what is refused."""

import json
import os
import pty
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.daemon.cli.conftest import HEADER, MY_STRATEGY, Run, RunJson

KEYS = "strategy params symbols bars initial_capital final_equity metrics verdict killed_at trades equity"
METRICS = (
    "trades win_rate expectancy average_win average_loss reward_risk profit_factor sharpe sortino max_drawdown"
    " max_drawdown_of_initial average_duration_s exposure turnover cagr total_fees total_slippage gross_return"
    " net_return"
)
TRADE = "symbol entry_time entry_price exit_time exit_price quantity fees pnl reason"


def test_json_has_exactly_the_promised_keys(result: RunJson, bars: Path) -> None:
    run = result("momentum_basic", "--bars", bars)
    assert " ".join(run) == KEYS
    assert " ".join(run["metrics"]) == METRICS
    assert all(" ".join(trade) == TRADE for trade in run["trades"])
    assert run["metrics"]["trades"] == len(run["trades"]) > 10
    assert (run["strategy"], run["symbols"], run["bars"]) == ("momentum_basic", ["AAPL", "MSFT", "SPY"], 900)
    assert len(run["equity"]) == 300
    assert run["equity"][0][0] == "2023-01-02T14:30:00Z"
    assert run["killed_at"] is None
    assert run["params"]["stop_loss"] == 0.05


def test_the_documented_keys_are_these() -> None:
    guide = Path(__file__).parents[3] / "docs" / "cli-json.md"
    (row,) = re.findall(r"^\| `backtest` \|.*$", guide.read_text(), re.MULTILINE)
    top, metrics, trade = KEYS.split(), METRICS.split(), TRADE.split()
    place = {name: top.index(name) + 1 for name in ("metrics", "trades")}
    in_order = [
        *top[: place["metrics"]],
        *metrics,
        *top[place["metrics"] : place["trades"]],
        *trade,
        *top[place["trades"] :],
    ]
    assert re.findall(r'"(\w+)"', row) == in_order


def test_every_dollar_is_accounted_for(result: RunJson, bars: Path) -> None:
    run = result("momentum_basic", "--bars", bars, "--costs", "commission_bps=5,spread_bps=10", "--capital", 50_000)
    earned = sum(trade["pnl"] for trade in run["trades"])
    assert run["initial_capital"] == 50_000
    assert run["final_equity"] - 50_000 == pytest.approx(earned, rel=1e-9)
    assert run["equity"][-1][1] == run["final_equity"]
    assert run["metrics"]["net_return"] == pytest.approx(earned / 50_000)
    assert run["metrics"]["total_fees"] == pytest.approx(sum(trade["fees"] for trade in run["trades"]))
    times = {time for time, _ in run["equity"]}
    assert all(trade["entry_time"] in times and trade["exit_time"] in times for trade in run["trades"])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_run(run: Run, bars: Path) -> None:
    first, again, other = (
        run("momentum_basic", "--bars", bars, "--seed", seed, "--costs", "reject_rate=0.3", "--json")[1]
        for seed in (7, 7, 8)
    )
    assert first == again != other


def test_options_reach_the_run(result: RunJson, bars: Path) -> None:
    whole = result("momentum_basic", "--bars", bars, "--lot", 1, "--fraction", 0.5, "--costs", "none")
    assert all(trade["quantity"] == int(trade["quantity"]) for trade in whole["trades"])
    assert whole["trades"][0]["quantity"] * whole["trades"][0]["entry_price"] == pytest.approx(50_000, rel=0.01)
    single = result("momentum_basic", "--bars", bars, "--max-positions", 1, "--param", "stop_loss=0.03")
    assert single["params"]["stop_loss"] == 0.03
    held = sorted((trade["entry_time"], trade["exit_time"]) for trade in single["trades"])
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(held))


def test_bars_are_resampled_on_request_only(run: Run, result: RunJson, tmp_path: Path) -> None:
    """Two sessions of hourly bars are fourteen bars, or two; to count them as days is worth a word."""
    rows = [f"A,2024-07-0{day}T{hour}:30:00Z,10,11,9,10,5\n" for day in (1, 2) for hour in range(13, 20)]
    path, mine = tmp_path / "hours.csv", tmp_path / "mine.py"
    path.write_text(HEADER + "".join(rows))
    mine.write_text(MY_STRATEGY.replace("param(10, low=2", "param(1, low=1"))
    code, out, err = run(mine, "--bars", path, "--json")
    daily = result(mine, "--bars", path, "--timeframe", "1d")
    assert (code, json.loads(out)["bars"], daily["bars"]) == (0, 14, 2)
    warning = "has 1h bars, mine counts in bars of 1d; --timeframe 1d makes them"
    assert err == f"nightdesk: warning: {path}: {warning}\n"
    assert [time for time, _ in daily["equity"]] == ["2024-07-01T13:30:00Z", "2024-07-02T13:30:00Z"]


def test_bars_of_seconds_are_named_so(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "seconds.csv"
    rows = [f"A,{1_720_000_000 + 30 * n},10,11,9,10,5\n" for n in range(30)]
    path.write_text(HEADER + "".join(rows))
    code, out, err = run("momentum_basic", "--bars", path)
    assert (code, "30 of 30s, 2024-07-03" in out, "has 30s bars" in err) == (0, True, True)


def test_bars_that_are_too_long_for_the_strategy_are_a_warning(run: Run, bars: Path) -> None:
    code, _, err = run("bollinger_reversion", "--bars", bars)
    assert (code, err) == (0, f"nightdesk: warning: {bars}: has 1d bars, bollinger_reversion counts in bars of 2h\n")


def test_earnings_momentum_says_that_it_needs_a_calendar(run: Run, bars: Path, tmp_path: Path) -> None:
    calendar = tmp_path / "calendar.csv"
    calendar.write_text("symbol,date,timing\nSPY,2023-05-01,bmo\n")
    without = run("earnings_momentum", "--bars", bars)
    with_one = run("earnings_momentum", "--bars", bars, "--param", f"calendar={calendar}")
    assert without[2].startswith("nightdesk: warning: earnings_momentum: enters nothing without --param calendar=FILE")
    assert (without[0], without[2].count("\n"), with_one[0], with_one[2]) == (0, 1, 0, "")


def test_only_members_of_the_universe_are_entered(result: RunJson, bars: Path, tmp_path: Path) -> None:
    membership = tmp_path / "membership.csv"
    membership.write_text("symbol,start,end\nSPY,2023-06-01,2023-10-31\n")
    run = result("momentum_basic", "--bars", bars, "--membership", membership)
    assert {trade["symbol"] for trade in run["trades"]} == {"SPY"}
    assert all("2023-06-01" <= trade["entry_time"] <= "2023-11-01" for trade in run["trades"])


def test_the_sector_overlay_withholds_entries(result: RunJson, bars: Path, tmp_path: Path) -> None:
    """With a sector for each symbol the best three are all of them, once the quarter of its ranking is over."""
    sectors = tmp_path / "sectors.csv"
    sectors.write_text("symbol,sector\nAAPL,Technology\nMSFT,Software\nSPY,Everything\n")
    free = result("momentum_basic", "--bars", bars)
    ranked = result("momentum_basic", "--bars", bars, "--overlay", "sector_rotation", "--sectors", sectors)
    assert min(trade["entry_time"] for trade in free["trades"]) < "2023-03-30"  # 63 sessions and a week
    assert "2023-03-30" < min(trade["entry_time"] for trade in ranked["trades"]) < "2023-05-30"


def test_the_overlay_takes_parameters_too(result: RunJson, bars: Path, tmp_path: Path) -> None:
    """Of three sectors one fewer may be entered."""
    sectors = tmp_path / "sectors.csv"
    sectors.write_text("symbol,sector\nAAPL,Technology\nMSFT,Software\nSPY,Everything\n")
    options = (
        "momentum_basic",
        "--bars",
        bars,
        "--overlay",
        "sector_rotation",
        "--sectors",
        sectors,
        "--costs",
        "none",
    )
    three = result(*options)
    two = result(*options, "--param", "sector_rotation.best=2", "--param", "sector_rotation.period=40")
    overlaid = {name: value for name, value in two["params"].items() if "." in name}
    assert overlaid == {"sector_rotation.best": 2, "sector_rotation.period": 40}
    assert three["params"] == two["params"] | {"sector_rotation.best": 3, "sector_rotation.period": 63}
    assert min(trade["entry_time"] for trade in two["trades"]) < min(trade["entry_time"] for trade in three["trades"])
    fewer = result(*options, "--param", "sector_rotation.best=2")
    assert 0 < fewer["metrics"]["trades"] < three["metrics"]["trades"]


def test_the_page_for_people_tells_result_verdict_and_costs(run: Run, bars: Path) -> None:
    code, out, err = run("momentum_basic", "--bars", bars)
    assert (code, err) == (0, "")
    assert re.match(r"momentum_basic: (keep|watch|shelve|not enough evidence)\. \$100,000\.00 became \$", out)
    for words in ("win rate", "Sharpe", "max drawdown", "spread 4 bps", "900 of 1d, 2023-01-02 to", "The last 10 of"):
        assert words in out
    assert max(map(len, out.splitlines())) < 160


def test_twins_are_a_warning_on_stderr(run: Run, bars: Path, tmp_path: Path) -> None:
    twins = tmp_path / "twins.csv"
    twins.write_text(bars.read_text() + bars.read_text().removeprefix(HEADER).replace("AAPL", "AAPX").split("MSFT")[0])
    code, out, err = run("momentum_basic", "--bars", twins, "--json")
    assert code == 0
    assert json.loads(out)["symbols"] == ["AAPL", "AAPX", "MSFT", "SPY"]
    assert err == f"nightdesk: warning: {twins}: AAPX has the same bars as AAPL\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--param", "stop_loss=9"], "momentum_basic: stop_loss: 9 is not a number from 0.01 to 0.15"),
        (["--param", "speed=9"], "momentum_basic: no parameter is called 'speed'"),
        (["--param", "stop_loss"], "momentum_basic: parameter 'stop_loss' is not of the form name=value"),
        (
            ["--param", "stop_loss=0.1", "--param", "stop_loss=0.2"],
            "momentum_basic: parameter 'stop_loss' is given twice",
        ),
        (["--param", "sector_rotation.best=2"], "--param sector_rotation.best=2: add --overlay sector_rotation"),
        (
            ["--overlay", "sector_rotation", "--sectors", "{tmp}/all.csv", "--param", "sector_rotation.best=4"],
            "sector_rotation: best: 4 is not a whole number from 2 to 3",
        ),
        (["--costs", "tax=1"], "--costs: tax: unknown"),
        (["--costs", "reject_rate=2"], "--costs: reject_rate: '2' is not a number between 0 and 1"),
        (["--capital", "lots"], "--capital: 'lots' is not a number from 1 to 1,000,000,000,000"),
        (["--fraction", "1.5"], "--fraction: '1.5' is not a number from 0.0001 to 1"),
        (["--max-positions", "2.5"], "--max-positions: '2.5' is not a whole number"),
        (["--seed", "-1"], "--seed: '-1' is not a number from 0 to 1,000,000,000,000"),
        (["--timeframe", "fortnight"], "timeframe 'fortnight': "),
        (["--timeframe", ""], "timeframe '': "),
        (["--sectors", "{tmp}/some.csv"], "--sectors: only an overlay reads it; add --overlay sector_rotation"),
        (["--overlay", "moon"], "--overlay: 'moon' is not an overlay; there is sector_rotation"),
        (["--overlay", "sector_rotation"], "--overlay sector_rotation: needs --sectors FILE"),
        (
            ["--overlay", "sector_rotation", "--sectors", "{tmp}/some.csv"],
            "{tmp}/some.csv: has no sector for MSFT, SPY",
        ),
        (["--membership", "{tmp}/none.csv"], "{tmp}/none.csv: cannot be read: "),
        (["--membership", "{tmp}/old.csv"], "{tmp}/old.csv: has none of the bars' symbols at"),
        (["--report", "{tmp}/nowhere/out.html"], "--report: {tmp}/nowhere: no such folder"),
        (["--report", "{tmp}"], "--report: {tmp}: is a folder; name a file"),
        (["--report", ""], "--report: .: is a folder; name a file"),
        (["--bars", "{tmp}/bad.csv"], "{tmp}/bad.csv:3: high: 101.20 is below low 101.90"),
        (
            ["--bars", "{tmp}/short.csv"],
            "{tmp}/short.csv: momentum_basic needs 16 bars of a symbol, the longest series has 2",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    run: Run, bars: Path, tmp_path: Path, options: list[str], complaint: str
) -> None:
    good = "AAPL,2024-07-01,102,103,101,102,5\n"
    (tmp_path / "bad.csv").write_text(HEADER + good + "AAPL,2024-07-02,102,101.20,101.90,102,5\n")
    (tmp_path / "short.csv").write_text(HEADER + good + good.replace("07-01", "07-02"))
    (tmp_path / "some.csv").write_text("symbol,sector\nAAPL,Technology\n")
    (tmp_path / "all.csv").write_text("symbol,sector\nAAPL,Technology\nMSFT,Software\nSPY,Everything\n")
    (tmp_path / "old.csv").write_text("symbol,start,end\nAAPL,2001-01-01,2002-01-01\n")
    options = [option.replace("{tmp}", str(tmp_path)) for option in options]
    report = ["--report", tmp_path / "out.html"] if "--report" not in options else []
    code, out, err = run("momentum_basic", "--bars", bars, *report, *options)
    assert (code, out) == (2, "")
    assert err.startswith("nightdesk: " + complaint.replace("{tmp}", str(tmp_path)))
    assert err.count("\n") == 1
    assert not (tmp_path / "out.html").exists()


def test_a_strategy_nobody_knows_is_named_with_those_there_are(run: Run, bars: Path) -> None:
    code, _, err = run("get_rich", "--bars", bars)
    assert code == 2
    assert err.startswith("nightdesk: no strategy is called 'get_rich'; there are bollinger_reversion, ")


def test_the_report_is_one_page_that_loads_nothing(run: Run, bars: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.html", tmp_path / "again.html"
    for path in (first, again):
        assert run("momentum_basic", "--bars", bars, "--seed", 3, "--report", path)[0] == 0
    page = first.read_text()
    assert first.read_bytes() == again.read_bytes()
    assert len(page) < 6_000_000
    assert not re.search(r"""<(?:script|link|img|iframe)[^>]*\s(?:src|href)=""", page)
    for words in ("momentum_basic", "Equity and drawdown", "Monthly returns", "What this rests on", "spread 4 bps"):
        assert words in page


def test_without_plotly_the_report_says_how_to_get_it(
    run: Run, bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    monkeypatch.delitem(sys.modules, "strategies.lab.report", raising=False)
    code, out, err = run("momentum_basic", "--bars", bars, "--report", tmp_path / "out.html")
    assert (code, out) == (1, "")
    assert err == "nightdesk: --report: needs plotly.offline; install it with: pip install 'nightdesk[report]'\n"


def test_a_report_that_cannot_be_written_is_said_in_one_line(run: Run, bars: Path) -> None:
    code, out, err = run("momentum_basic", "--bars", bars, "--report", "/dev/full")
    assert (code, out) == (1, "")
    assert err == "nightdesk: --report: /dev/full: No space left on device\n"


def console(*arguments: object) -> list[str]:
    return [str(Path(sys.executable).with_name("nightdesk")), "backtest", *map(str, arguments)]


def test_the_console_script_is_silent_on_stderr_when_piped(bars: Path) -> None:
    done = subprocess.run(console("momentum_basic", "--bars", bars, "--json"), capture_output=True, check=True)
    assert done.stderr == b""
    assert " ".join(json.loads(done.stdout)) == KEYS


def test_progress_is_shown_on_a_terminal(bars: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(console("momentum_basic", "--bars", bars), stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = os.read(ours, 10_000)
        assert process.stdout is not None
        process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert b"% of the bars" in shown


def test_help_does_not_load_numpy() -> None:
    code = "import sys; from daemon.cli import parser; parser().format_help(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
