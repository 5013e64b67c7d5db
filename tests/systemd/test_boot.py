"""The service under a real systemd, booted in a container for these tests: from the installation to the stop.

One boot; tests/systemd/inside.py does what an operator does and writes down what it saw.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.systemd.inside import CLIENTS, PER_CLIENT_S, SECONDS

Facts = dict[str, Any]

# The interpreter of these tests, unless it lives where the service cannot see it, as in a home directory.
INTERPRETER = Path(sys.executable).resolve()
SYSTEM_PYTHON = INTERPRETER if INTERPRETER.is_relative_to("/usr") else Path("/usr/bin/python3")
BOOT_S = 180

UNIT = """\
[Unit]
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
{steps}
"""


def boot(folder: Path, *steps: str, binds: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A container with this machine's /usr and an empty everything else; it ends with its one service."""
    unit = folder / "driver.service"
    unit.write_text(UNIT.format(steps="\n".join(f"ExecStart={step}" for step in steps)))
    command = [
        *("systemd-nspawn", "--quiet", "--directory=/", "--volatile=yes", "--boot", "--console=pipe"),
        # A name and a network of its own: neither its files nor its ports meet those of this machine.
        *(f"--machine=nightdesk-test-{os.getpid()}", "--private-network", "--register=no", "--keep-unit"),
        *(f"--bind-ro={unit}:/run/systemd/system/driver.service", *binds),
        # There is no network to wait for.
        *("systemd.mask=systemd-networkd-wait-online.service", "systemd.firstboot=no", "systemd.unit=driver.service"),
    ]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOOT_S, check=False
    )


def obstacle(folder: Path) -> str | None:
    """Why no systemd can be booted here, or None."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not installed (Debian: systemd-container)"
    if not SYSTEM_PYTHON.exists():
        return f"there is no {SYSTEM_PYTHON}"
    ours = "{}.{}".format(*sys.version_info)
    asked = [str(SYSTEM_PYTHON), "-c", "import sys, venv; print('{}.{}'.format(*sys.version_info))"]
    theirs = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if theirs != ours:
        return f"{SYSTEM_PYTHON} is {theirs or 'without venv'}; the dependencies installed here are for {ours}"
    tried = boot(folder, "/bin/true")
    if tried.returncode:
        return f"systemd-nspawn cannot boot here: {(tried.stderr or tried.stdout).strip().splitlines()[-1]}"
    return None


@pytest.fixture(scope="module")
def seen(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Facts]:
    """What inside.py saw, by step."""
    folder = tmp_path_factory.mktemp("boot")
    if reason := obstacle(folder):
        pytest.skip(reason)
    booted = boot(
        folder,
        f"{SYSTEM_PYTHON} -m venv --without-pip /opt/nightdesk",
        # The dependencies, and pip itself, are those of the environment the tests run in: nothing is downloaded.
        "/bin/sh -c 'echo /opt/dependencies > $(echo /opt/nightdesk/lib/python3*/site-packages)/dependencies.pth'",
        f"/opt/nightdesk/bin/python -m pip install --quiet --no-index --no-deps --ignore-installed /opt/{wheel.name}",
        "/bin/sh -c 'cd /opt/checkout && exec /opt/nightdesk/bin/python -m tests.systemd.inside /results'",
        binds=(
            f"--bind-ro={wheel}:/opt/{wheel.name}",
            f"--bind-ro={sysconfig.get_path('purelib')}:/opt/dependencies",
            f"--bind-ro={ROOT / 'tests'}:/opt/checkout/tests",
            f"--bind={folder}:/results",
        ),
    )
    result = folder / "seen.json"
    assert result.exists(), booted.stdout[-4000:] + booted.stderr
    steps: dict[str, Facts] = json.loads(result.read_text())
    assert "broken" not in steps, steps["broken"]["trace"] + (folder / "journal.txt").read_text()[-8000:]
    return steps


def test_an_installation_is_two_commands(seen: dict[str, Facts]) -> None:
    install = seen["install"]
    assert (install["init"], install["install"]) == (0, 0), install["said"]
    assert "wrote /etc/systemd/system/nightdesk.service\n" in install["said"]
    assert install["home"] == "/var/lib/nightdesk"
    assert (install["config_owner"], install["config_mode"]) == ("nightdesk", "600")


def test_it_is_started_when_it_is_ready(seen: dict[str, Facts]) -> None:
    start = seen["start"]
    assert (start["enabled"], start["state"], start["ready"]) == (0, "active", True), start["said"]
    assert "nightdesk.db" in start["data"]


def test_it_runs_as_its_own_user_who_may_do_nothing_else(seen: dict[str, Facts]) -> None:
    start = seen["start"]
    assert (start["user"], int(start["capabilities"], 16), start["no_new_privileges"]) == ("nightdesk", 0, "1")


def test_a_secret_may_be_a_credential(seen: dict[str, Facts]) -> None:
    assert seen["credential"] == {"of_the_file": 400, "of_the_credential": 200}


def test_the_group_reads_and_root_changes(seen: dict[str, Facts]) -> None:
    permissions = seen["permissions"]
    assert (permissions["member_reads"], permissions["member_changes"]) == (0, 1)
    assert "only root and the daemon's own user" in permissions["member_is_told"]
    assert permissions["root_changes"] == 0


def test_secrets_are_not_for_the_group_and_nothing_is_for_strangers(seen: dict[str, Facts]) -> None:
    permissions = seen["permissions"]
    assert permissions["member_reads_config"] != 0
    assert permissions["stranger_reads"] == 1
    advice = "permission denied; join the socket's group, or use sudo"
    assert permissions["stranger_is_told"] == f"nightdesk: /run/nightdesk/control.sock: {advice}\n"


def test_a_reload_changes_a_threshold_of_the_running_process(seen: dict[str, Facts]) -> None:
    reload = seen["reload"]
    assert (reload["before"], reload["after"]) == ([], ["cus_after"])
    assert (reload["reloaded"], reload["same_process"], reload["state"]) == (0, True, "active")


def test_nobody_is_refused_while_it_restarts(seen: dict[str, Facts]) -> None:
    """200 webhooks a second on connections that stay open: every one is answered 200, and stored."""
    restart = seen["restart"]
    assert (restart["restarted"], restart["another_process"]) == (0, True)
    assert restart["otherwise_answered"] == []
    assert restart["posted"] == CLIENTS * PER_CLIENT_S * SECONDS
    assert restart["stored"] == restart["acknowledged"]


def test_a_process_that_stands_still_is_replaced(seen: dict[str, Facts]) -> None:
    watchdog = seen["watchdog"]
    assert (watchdog["timed_out"], watchdog["another_process"]) == (True, True)
    assert watchdog["accepts"] == 200
    assert watchdog["stored"] == watchdog["acknowledged"]


def test_a_backup_is_taken_while_it_runs_and_can_be_gone_back_to(seen: dict[str, Facts]) -> None:
    """The service writes it, so only where the service may write."""
    backup = seen["backup"]
    refusal = "nightdesk: /root/backup.db: the backup could not be written: Permission denied\n"
    assert backup["elsewhere"] == refusal
    assert (backup["copied"], backup["restored"], backup["started"]) == (0, 0, 0), backup["said"]
    assert backup["stored"] == backup["acknowledged_before"]


def test_it_stops_in_order_and_in_time(seen: dict[str, Facts]) -> None:
    """After TimeoutStopSec the result would be `timeout`."""
    stop = seen["stop"]
    assert (stop["stopped"], stop["result"], stop["status"]) == (0, "success", "0")
    assert stop["status_command"] == 3


def test_the_journal_holds_no_secret(seen: dict[str, Facts]) -> None:
    assert seen["stop"]["secrets_in_the_journal"] == []
