"""`nightdesk exchange` as its user meets it: a program on a port."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.simulated.exchange.faults import FAULTS, LASTING
from actors.simulated.exchange.server import KEY_ID, SECRET_KEY
from tests.patience import PATIENCE_S
from tests.process.desk import trading
from tests.process.harness import ROOT, charge, until

COMMAND = [sys.executable, "-m", "daemon", "exchange"]


@contextmanager
def exchange(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The process, what it said, and its address."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        said = "".join(process.stdout.readline() for _ in range(8))
        yield process, said, re.findall(r"http://\S+", said)[0]
    finally:
        process.kill()
        process.communicate()


def ask(address: str, path: str) -> Any:
    headers = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": SECRET_KEY}
    with urllib.request.urlopen(urllib.request.Request(address + path, headers=headers), timeout=PATIENCE_S) as answer:
        return json.load(answer)


def refused(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stderr


def test_it_says_where_it_is_trades_and_ends_on_ctrl_c() -> None:
    with exchange("--speed", "600", "--seed", "5", "--faults", "504") as (process, said, address):
        assert KEY_ID in said
        assert "504" in said
        assert ask(address, "/v2/account")["cash"] == "100000"
        assert "synthetic" in said
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, complaints) == (0, "")


def test_it_plays_recorded_minutes_from_the_moment_before_they_begin(tmp_path: Path) -> None:
    bars = tmp_path / "bars.csv"
    rows = [f"ACME,2026-03-02T14:{30 + n}:00Z,{n + 10},{n + 12},{n + 9},{n + 11},1000" for n in range(20)]
    bars.write_text("\n".join(["symbol,time,open,high,low,close,volume", *rows, ""]))
    with exchange("--bars", str(bars), "--speed", "60000") as (_, said, address):
        assert "2026-03-02T09:29:00-05:00" in said
        assert [asset["symbol"] for asset in ask(address, "/v2/assets")] == ["ACME"]
        found: list[Any] = []
        while len(found) < 20:
            path = "/v2/stocks/bars?symbols=ACME&timeframe=1Min&start=2026-03-02T00:00:00Z"
            found = ask(address, path)["bars"].get("ACME", [])
        assert [bar["o"] for bar in found] == list(range(10, 30))


def test_daily_bars_are_lived_through_in_minutes(tmp_path: Path) -> None:
    bars = tmp_path / "daily.csv"
    rows = ["2026-03-02,10,14,9,13,39000", "2026-03-03,13,15,11,12,78000"]
    bars.write_text("\n".join(["symbol,time,open,high,low,close,volume", *(f"ACME,{row}" for row in rows), ""]))
    with exchange("--bars", str(bars), "--speed", "100000") as (_, said, address):
        assert "2026-03-02T09:29:00-05:00" in said

        def both() -> list[Any] | None:
            path = "/v2/stocks/bars?symbols=ACME&timeframe=1Day&start=2026-03-01T00:00:00Z"
            found = ask(address, path)["bars"].get("ACME", [])
            return found if len(found) == 2 and found[-1]["v"] == 78000 else None

        found = until(both)
        assert [[bar[key] for key in "ohlcv"] for bar in found] == [[10, 14, 9, 13, 39000], [13, 15, 11, 12, 78000]]


def test_a_daemon_beside_it_trades_at_its_time(tmp_path: Path) -> None:
    """As its page says: two programs, and the settings that the one prints for the other."""
    with exchange("--speed", "60") as (_, _, address), trading(tmp_path, address.removeprefix("http://")) as daemon:
        daemon.start()
        until(lambda: True if daemon.get("/strategies")["strategies"][0]["trades"] else None)
        until(lambda: True if daemon.get("/positions")["account"]["reconciled"] else None)
        assert not daemon.incidents("broker_mismatch")


def test_the_digest_tells_what_was_traded_there_in_the_same_hours_of_ours(tmp_path: Path) -> None:
    with exchange("--speed", "60") as (_, _, address), trading(tmp_path, address.removeprefix("http://")) as daemon:
        tree = yaml.safe_load(daemon.config.read_text())
        tree["alerts"]["digest"]["every"] = 5
        daemon.config.write_text(yaml.safe_dump(tree))
        daemon.start()
        until(lambda: True if daemon.get("/strategies")["strategies"][0]["trades"] else None)
        for _ in range(2):
            daemon.deliver(charge(customer="cus_1", amount=2900))
        told = until(lambda: next((one for one in daemon.sink.all if one["kind"] == "digest"), None))
        head, line = told["evidence"]["desk"]
        assert head.startswith("desk: $")
        assert line.startswith("  restless: ")


def test_what_it_cannot_do_is_one_line(tmp_path: Path) -> None:
    sunday = tmp_path / "sunday.csv"
    sunday.write_text("symbol,time,open,high,low,close,volume\nA,2026-03-01,1,1,1,1,1\n")
    assert refused("--faults", "deef")[0] == 2
    assert refused("--speed", "0") == (2, "nightdesk: --speed: must be more than 0 and at most 100000\n")
    code, said = refused("--bars", str(sunday))
    assert (code, said.count("\n")) == (2, 1)
    assert "no bar in the exchange's hours" in said
    with exchange() as (_, _, address):
        code, said = refused("--port", address.rpartition(":")[2])
        assert (code, said.count("\n")) == (1, 1)
        assert "address already in use" in said


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_explained_in_the_help_and_in_the_docs(name: str) -> None:
    table = (ROOT / "docs" / "exchange.md").read_text()
    assert f"| `{name}`{' (a spell)' if name in LASTING else ''} | {FAULTS[name]} |" in table
