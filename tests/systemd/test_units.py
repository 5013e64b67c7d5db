"""The units as systemd itself judges them."""

import re
import shutil
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest
import structlog

from actors.kernel.clock import WallClock, chance
from config.settings import Settings
from daemon.app import STORE_STUCK_S, Daemon
from daemon.cli import main
from daemon.cli.service import render, units
from daemon.desk_start import opener
from daemon.logs import Logs

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")

EXPOSURE_MAX = 1.3
OUTSIDE_THE_TREE_S = 5.0
"""The interpreter's own start and end, joining of threads included."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Service and socket with an executable that exists."""
    for name in ("nightdesk.service", "nightdesk.socket"):
        text = (units() / name).read_text().replace("@NIGHTDESK@", "/bin/true")
        (tmp_path / name).write_text(
            text.replace("@CONFIG@", "/etc/nightdesk.yaml").replace("@LISTEN@", "127.0.0.1:8787")
        )
    return tmp_path


@needs_systemd
def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", installed / "nightdesk.service", installed / "nightdesk.socket"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_service_can_do_little_else(installed: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", installed / "nightdesk.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX


async def test_the_stages_of_the_end_fit_into_what_systemd_waits(tmp_path: Path) -> None:
    """Every actor that takes as long as it may, one after the other, is still within TimeoutStopSec."""
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "alerts": {"channels": [{"name": f"c{n}", "type": "console"} for n in range(7)]},
            "trading": {"enabled": True, "broker": "simulated"},
        }
    )
    with socket.socket(socket.AF_UNIX) as control:
        clock = WallClock()
        logs = Logs("error", "json", clock)
        open_desk = opener(settings)
        assert open_desk is not None
        daemon = Daemon(
            settings,
            public=[],
            control=control,
            clock=clock,
            rng=chance(1),
            logs=logs,
            open_desk=partial(open_desk, clock),
        )
    structlog.reset_defaults()
    assert daemon.tree().stop_s + OUTSIDE_THE_TREE_S <= seconds("TimeoutStopSec")


def test_a_start_may_take_as_long_as_the_database_needs() -> None:
    """Were systemd the less patient one, a large database could never be upgraded."""
    assert seconds("TimeoutStartSec") > STORE_STUCK_S


def seconds(key: str) -> int:
    found = re.search(rf"^{key}=(\d+)$", (units() / "nightdesk.service").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_a_dry_run_prints_every_file_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.executable", "/opt/nightdesk/bin/python3")
    assert main(["install-service", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "ExecStart=/opt/nightdesk/bin/nightdesk run --config /etc/nightdesk/nightdesk.yaml" in printed
    assert "ListenStream=127.0.0.1:8787" in printed
    assert re.search(r"@[A-Z]+@", printed) is None


def test_an_installation_that_the_service_could_not_see_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.executable", "/home/me/.venv/bin/python3")
    assert main(["install-service", "--dry-run"]) == 1
    assert "below /opt" in capsys.readouterr().err


def test_the_config_path_is_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/opt/nightdesk/bin/python3")
    text = render("nightdesk.service", Path("/srv/my.yaml"), "[::1]:80")
    assert text is not None
    assert "--config /srv/my.yaml" in text
