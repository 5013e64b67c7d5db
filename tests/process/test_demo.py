"""The demo is the real daemon: what it tells is what happened."""

import json
import signal
import subprocess
import sys

import pytest

from actors.store.records import DAEMON
from strategies.registry import NAMES
from tests.patience import PATIENCE_S
from tests.process.harness import ROOT

DEMO = [sys.executable, "-m", "daemon", "demo"]
SPEED = 1200
SECONDS_MAX = 300


def test_the_demo_sums_up_what_happened() -> None:
    """Things went wrong in the shop and on the exchange, what was delivered is stored, the summary is the last line.

    It is left as soon as something is over and the kill switch has struck, however long this machine takes for that.
    """
    command = [*DEMO, "--seconds", str(SECONDS_MAX), "--speed", str(SPEED), "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        awaited = {"OVER", "kill switch"}
        for line in demo.stdout:
            awaited -= {words for words in awaited if words in line}
            if not awaited:
                break
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=PATIENCE_S)
    assert (demo.returncode, err) == (0, "")
    told = json.loads(out.splitlines()[-1])
    counts = told["events"]
    assert 0 < counts["delivered"] <= counts["stored"] + counts["duplicates"]  # an answer may have come too late
    assert counts["stored"] > 100
    assert told["virtual_seconds"] == pytest.approx(told["seconds"] * SPEED, rel=0.1)
    assert told["incidents"]
    assert all(incident["opened"] for incident in told["incidents"])
    assert {incident["tenant"] for incident in told["incidents"]} <= {"shop", DAEMON}
    assert any(incident["resolved"] for incident in told["incidents"])
    assert told["notifications"] >= len(told["incidents"])
    assert told["actors"]["restarts"] == 0

    board = told["strategies"]
    assert sorted(row["name"] for row in board) == sorted(NAMES)
    assert [row["equity"] for row in board] == sorted((row["equity"] for row in board), reverse=True)
    assert sum(row["trades"] for row in board) > 0
    killed = [row for row in board if row["killed"]]
    assert [row["name"] for row in killed] == ["relative_strength"]  # what it bought fell by 30 % over night
    assert killed[0]["equity"] < 85_000
    assert "kill_switch" in {incident["signal"] for incident in told["incidents"]}


def test_ctrl_c_ends_the_demo_in_order() -> None:
    """Exit 0, with the sum of what happened until then."""
    demo = subprocess.Popen(DEMO, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    assert "nightdesk listens on" in demo.stdout.readline()
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=PATIENCE_S)
    assert (demo.returncode, err) == (0, "")
    assert "webhooks delivered" in out
