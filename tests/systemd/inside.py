"""What test_boot.py runs inside the container it has booted: installs the service, tries it, notes what it sees."""

import grp
import http.client
import json
import os
import pwd
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import yaml

from actors.kernel.clock import monotonic
from tests.process.harness import SECRET, charge, signed, until

Facts = dict[str, Any]

NIGHTDESK = "/opt/nightdesk/bin/nightdesk"
CONFIG = Path("/etc/nightdesk/nightdesk.yaml")
CREDENTIAL = Path("/etc/nightdesk/acme.secret")
DROP_INS = Path("/etc/systemd/system/nightdesk.service.d")
PORT = 8787
STRANGER = 4711
SECRET_IN_THE_FILE = "whsec_in_the_file"

CLIENTS, PER_CLIENT_S, SECONDS = 4, 50, 4


class Operator:
    """Does, step by step, what docs/operating.md says; each step returns what it saw."""

    def __init__(self) -> None:
        self.token = ""
        self.acknowledged = 0

    def install(self) -> Facts:
        """Config, units, user; then a drop-in of the operator's own."""
        init = ["init", str(CONFIG), "--tenant", "acme", "--secret-from", "SIGNING_SECRET"]
        written = run(NIGHTDESK, *init, SIGNING_SECRET=SECRET_IN_THE_FILE)
        installed = run(NIGHTDESK, "install-service")
        CREDENTIAL.touch(mode=0o600)
        CREDENTIAL.write_text(SECRET)
        loads = f"LoadCredential=billing__tenants__acme__webhook_secrets:{CREDENTIAL}"
        DROP_INS.mkdir(parents=True, exist_ok=True)
        (DROP_INS / "credential.conf").write_text(f"[Service]\n{loads}\n")
        run("systemctl", "daemon-reload")
        self.token = config()["billing"]["tenants"][0]["token"]
        return {
            "init": written.returncode,
            "install": installed.returncode,
            "said": installed.stdout + installed.stderr,
            "config_owner": CONFIG.owner(),
            "config_mode": f"{CONFIG.stat().st_mode & 0o777:o}",
            "home": pwd.getpwnam("nightdesk").pw_dir,
        }

    def start(self) -> Facts:
        """`systemctl start` of a notifying service returns when it has said READY."""
        enabled = run("systemctl", "enable", "--now", "nightdesk.socket", "nightdesk.service")
        pid = int(show("MainPID"))
        return {
            "enabled": enabled.returncode,
            "said": enabled.stderr,
            "state": show("ActiveState"),
            "ready": status()["ready"],
            "user": pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name,
            "capabilities": proc_status(pid, "CapEff"),
            "no_new_privileges": proc_status(pid, "NoNewPrivs"),
            "data": sorted(path.name for path in Path("/var/lib/nightdesk").iterdir()),
        }

    def credential(self) -> Facts:
        """The credential's secret is in force, not the file's."""
        body = json.dumps(charge()).encode()
        forged = self.post(body, SECRET_IN_THE_FILE)
        genuine = self.post(body, SECRET)
        return {"of_the_file": forged, "of_the_credential": genuine}

    def permissions(self) -> Facts:
        """A member of the group reads; only root changes; anybody else is not let in."""
        member = [grp.getgrnam("nightdesk").gr_gid]
        changes = run(NIGHTDESK, "reload", groups=member)
        stranger = run(NIGHTDESK, "status", groups=[])
        return {
            "member_reads": run(NIGHTDESK, "status", groups=member).returncode,
            "member_changes": changes.returncode,
            "member_is_told": changes.stderr,
            "member_reads_config": run("cat", str(CONFIG), groups=member).returncode,
            "stranger_reads": stranger.returncode,
            "stranger_is_told": stranger.stderr,
            "root_changes": run(NIGHTDESK, "reload").returncode,
        }

    def reload(self) -> Facts:
        """Two declines of one customer are nothing, until the config says that they are."""
        self.decline_twice("cus_before")
        before = self.decliners()
        tree = config()
        tree["billing"]["alerts"] = {"customer_decline_count": 2}
        CONFIG.write_text(yaml.safe_dump(tree))
        pid = show("MainPID")
        reloaded = run("systemctl", "reload", "nightdesk.service")
        until(lambda: "config_reloaded" in journal() or None)
        self.decline_twice("cus_after")
        return {
            "before": before,
            "reloaded": reloaded.returncode,
            "after": until(lambda: self.decliners() or None),
            "same_process": pid == show("MainPID"),
            "state": show("ActiveState"),
        }

    def restart(self) -> Facts:
        """`systemctl restart` while clients post on connections that they keep open."""
        answers: list[str] = []
        clients = [threading.Thread(target=self.client, args=(answers,)) for _ in range(CLIENTS)]
        pid = show("MainPID")
        for client in clients:
            client.start()
        threading.Event().wait(SECONDS / 4)
        restarted = run("systemctl", "restart", "nightdesk.service")
        for client in clients:
            client.join()
        self.acknowledged += answers.count("200")
        return {
            "restarted": restarted.returncode,
            "another_process": pid != show("MainPID"),
            "posted": len(answers),
            "otherwise_answered": sorted({answer for answer in answers if answer != "200"}),
            "stored": status()["events"]["stored"],
            "acknowledged": self.acknowledged,
        }

    def watchdog(self) -> Facts:
        """A process that stands still is killed, and another takes its place."""
        # Only for this step: on a busy machine so short a time could pass by itself. The unit's own is 30 s.
        (DROP_INS / "watchdog.conf").write_text("[Service]\nWatchdogSec=2\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "nightdesk.service")
        pid = int(show("MainPID"))
        os.kill(pid, signal.SIGSTOP)
        until(lambda: int(show("NRestarts")) or None)
        until(lambda: show("ActiveState") == "active" or None)
        return {
            "another_process": pid != int(show("MainPID")),
            "timed_out": "Watchdog timeout" in journal(),
            "accepts": self.post(json.dumps(charge()).encode(), SECRET),
            "stored": status()["events"]["stored"],
            "acknowledged": self.acknowledged,
        }

    def backup(self) -> Facts:
        """A copy while it runs, and back to it; one webhook came in between."""
        copy = "/var/lib/nightdesk/backup.db"
        elsewhere = run(NIGHTDESK, "backup", "/root/backup.db")
        copied = run(NIGHTDESK, "backup", copy)
        self.post(json.dumps(charge()).encode(), SECRET)
        run("systemctl", "stop", "nightdesk.socket", "nightdesk.service")
        restored = run(NIGHTDESK, "restore", copy, NIGHTDESK_DATA_DIR="/var/lib/nightdesk")
        started = run("systemctl", "start", "nightdesk.socket", "nightdesk.service")
        self.acknowledged -= 1
        return {
            "elsewhere": elsewhere.stderr,
            "copied": copied.returncode,
            "restored": restored.returncode,
            "said": restored.stdout + restored.stderr,
            "started": started.returncode,
            "stored": status()["events"]["stored"],
            "acknowledged_before": self.acknowledged,
        }

    def stop(self) -> Facts:
        """Both units, or the next webhook would start it again."""
        stopped = run("systemctl", "stop", "nightdesk.socket", "nightdesk.service")
        return {
            "stopped": stopped.returncode,
            "result": show("Result"),
            "status": show("ExecMainStatus"),
            "status_command": run(NIGHTDESK, "status").returncode,
            "secrets_in_the_journal": [word for word in (SECRET, SECRET_IN_THE_FILE, self.token) if word in journal()],
        }

    def post(self, body: bytes, secret: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        connection.request("POST", f"/webhook/{self.token}", body, signed(body, secret))
        code = connection.getresponse().status
        self.acknowledged += code == 200
        connection.close()
        return code

    def client(self, answers: list[str]) -> None:
        """A steady sender on one connection, which http.client opens anew when the server has said that it closes."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        pause = threading.Event()
        began = monotonic()
        for n in range(PER_CLIENT_S * SECONDS):
            pause.wait(max(0.0, began + n / PER_CLIENT_S - monotonic()))
            body = json.dumps(charge()).encode()
            try:
                connection.request("POST", f"/webhook/{self.token}", body, signed(body, SECRET))
                response = connection.getresponse()
                response.read()
                answers.append(str(response.status))
            except OSError as error:
                connection.close()
                answers.append(repr(error))

    def decline_twice(self, customer: str) -> None:
        for _ in range(2):
            self.post(json.dumps(charge(customer=customer, failed=True)).encode(), SECRET)
        until(lambda: status()["events"]["lag"] == 0 or None)

    def decliners(self) -> list[str]:
        lines = run(NIGHTDESK, "incidents", "--json").stdout.splitlines()
        found = map(json.loads, lines)
        return [incident["scope"] for incident in found if incident["signal"] == "decline_spike"]


def run(*command: str, groups: list[int] | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """As root, or as somebody who is in these groups only."""
    who: dict[str, Any] = {} if groups is None else {"user": STRANGER, "group": STRANGER, "extra_groups": groups}
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False, **who
    )


def show(fact: str) -> str:
    """A property of the service, as the manager knows it."""
    return run("systemctl", "show", "--value", "--property", fact, "nightdesk.service").stdout.strip()


def status() -> Facts:
    facts: Facts = json.loads(run(NIGHTDESK, "status", "--json").stdout)
    return facts


def config() -> Facts:
    facts: Facts = yaml.safe_load(CONFIG.read_text())
    return facts


def journal() -> str:
    return run("journalctl", "--unit=nightdesk.service", "--unit=nightdesk.socket", "--no-pager").stdout


def proc_status(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{field}:"))


def main(results: Path) -> None:
    """Every step, in order; what a broken one says, and the journal, for whoever must find out why."""
    operator = Operator()
    seen: dict[str, Facts] = {}
    try:
        for step in (
            operator.install,
            operator.start,
            operator.credential,
            operator.permissions,
            operator.reload,
            operator.restart,
            operator.watchdog,
            operator.backup,
            operator.stop,
        ):
            seen[step.__name__] = step()
    except Exception:  # noqa: BLE001 - the test reports it
        seen["broken"] = {"trace": traceback.format_exc()}
    (results / "journal.txt").write_text(journal())
    (results / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
