"""What a user gets wrong is one line with what to do, the right exit code, no traceback, and nothing changed."""

import os
import signal
import socket
from pathlib import Path

import pytest
import yaml

from config.errors import DaemonUnreachable
from daemon.cli.client import Client
from tests.process.harness import RunningDaemon, charge, nightdesk, running

TENANT = {"name": "acme", "token": "t", "webhook_secrets": ["whsec_1"]}


def write(folder: Path, **sections: object) -> Path:
    path = folder / "nightdesk.yaml"
    tree = {
        "data_dir": "./data",
        "control": {"socket": "./control.sock"},
        "web": {"listen": None},
        "billing": {"listen": "127.0.0.1:0", "tenants": [TENANT]},
        **sections,
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def test_a_missing_secret(tmp_path: Path) -> None:
    config = write(tmp_path, billing={"tenants": [{"name": "acme", "token": "t"}]})
    code, said = nightdesk("run", "--config", config)
    assert (code, len(said)) == (2, 1)
    assert "billing.tenants[0].webhook_secrets: at least one secret is needed" in said[0]
    assert not (tmp_path / "data").exists()


def test_an_occupied_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = write(tmp_path, billing={"listen": f"127.0.0.1:{taken.getsockname()[1]}", "tenants": [TENANT]})
        code, said = nightdesk("run", "--config", config)
    assert (code, len(said)) == (1, 1)
    assert said[0].startswith("nightdesk: billing.listen: 127.0.0.1:")
    assert "in use" in said[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    code, said = nightdesk("run", "--config", write(tmp_path, data_dir="./closed/data"))
    assert (code, len(said)) == (1, 1)
    assert "cannot be written" in said[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_directory_that_cannot_even_be_looked_into(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    config = write(tmp_path, control={"socket": "./closed/control.sock"})
    for words in (["run"], ["restore", closed / "backup.db"]):
        code, said = nightdesk(*words, "--config", config)
        assert (code > 0, len(said)) == (True, 1)
        assert "permission denied" in said[0]


def test_a_file_where_the_data_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    code, said = nightdesk("run", "--config", write(tmp_path))
    assert (code, len(said)) == (1, 1)
    assert str(tmp_path / "data") in said[0]
    assert (tmp_path / "data").read_text() == "mine"


def test_a_second_daemon_on_the_same_data(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    with running(tmp_path / "first") as daemon:
        assert daemon.process is not None
        config = write(tmp_path, data_dir=str(daemon.folder / "data"))
        code, said = nightdesk("run", "--config", config)
        assert (code, len(said)) == (1, 1)
        assert f"pid {daemon.process.pid}" in said[0]


def test_a_busy_control_socket(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    with running(tmp_path / "first") as daemon:
        code, said = nightdesk("run", "--config", write(tmp_path, control={"socket": str(daemon.socket)}))
        assert (code, len(said)) == (1, 1)
        assert "another daemon answers" in said[0]
        assert daemon.get("/status")["ready"]


def test_a_stale_control_socket_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.kill()
        assert daemon.socket.is_socket()
        daemon.start()
        assert daemon.get("/status")["ready"]


def test_a_control_socket_that_is_somebody_elses_file(tmp_path: Path) -> None:
    (tmp_path / "control.sock").write_text("precious")
    code, said = nightdesk("run", "--config", write(tmp_path))
    assert (code, len(said)) == (1, 1)
    assert "is no socket" in said[0]
    assert (tmp_path / "control.sock").read_text() == "precious"


def test_a_command_without_a_daemon(tmp_path: Path) -> None:
    code, said = nightdesk("status", "--socket", tmp_path / "none.sock")
    assert code == 3
    assert said == [
        f"nightdesk: the daemon is not running (no answer on {tmp_path}/none.sock); start it with: nightdesk run"
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ack", "inc_none"], "no incident has the id 'inc_none'"),
        (["snooze", "inc_none", "tomorrow"], "duration: expected a duration such as"),
        (["restart", "nobody"], "no actor is named 'nobody'; there are: store"),
        (["dead-letters", "replay", "7"], "no dead letter has the id 7"),
        (["events", "--since", "yesterday"], "since: expected a time such as"),
        (["events", "--tenant", "nope"], "no tenant is named 'nope'; there are: acme"),
        (["incidents", "--tenant", "nope"], "no tenant is named 'nope'; there are: acme"),
        (["events", "--limit", "99999999999999999999"], "limit: expected a whole number up to 100000"),
        (["events", "--limit", "few"], "--limit: invalid int value: 'few'; see nightdesk events --help"),
        (["snooze", "inc_none"], "the following arguments are required: duration; see nightdesk snooze --help"),
        (["snooze", "inc_none", "0s"], "duration: must be longer than 0s"),
        (["snooze", "inc_none", "99999999999d"], "duration: must be longer than 0s and at most"),
        (["dead-letters", "replay", "9223372036854775808"], "no dead letter has the id"),
    ],
)
def test_orders_that_make_no_sense(ready: RunningDaemon, arguments: list[str], says: str) -> None:
    code, said = nightdesk(*arguments, "--socket", ready.socket)
    assert (code, len(said)) == (2, 1)
    assert says in said[0]


def test_a_reload_of_a_bad_config_changes_nothing(tmp_path: Path) -> None:
    """Every fault is listed, the old settings stay in force."""
    with running(tmp_path) as daemon:
        good = daemon.config.read_text()
        daemon.config.write_text(good + "\nlogging: {level: loud}\nweb2: 1\n")
        code, said = nightdesk("reload", "--socket", daemon.socket)
        assert code == 2
        assert ["logging.level" in said[0], "web2: unknown key" in said[1]] == [True, True]
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.get("/status")["ready"]


def test_a_backup_does_not_overwrite(ready: RunningDaemon, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    assert nightdesk("backup", target, "--socket", ready.socket)[0] == 0
    before = target.read_bytes()
    code, said = nightdesk("backup", target, "--socket", ready.socket)
    assert (code, len(said)) == (1, 1)
    assert str(target) in said[0]
    assert target.read_bytes() == before


def test_a_listing_that_is_cut_short_says_so(tmp_path: Path) -> None:
    """The daemon is killed while it lists: exit 3, not a shorter list."""
    with running(tmp_path) as daemon:
        daemon.deliver(charge())
        lines = Client(daemon.socket).lines("/events?follow=1")
        next(lines)
        daemon.kill()
        with pytest.raises(DaemonUnreachable, match="what was printed is not all"):
            next(lines)


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    with running(tmp_path, start=False) as daemon:
        daemon.errors = Path("/dev/full")
        daemon.start()
        assert daemon.deliver(charge()) == 200
        assert daemon.stop() == 0
