"""Tenants added, changed and removed while the daemon runs: the real process, by its commands."""

import json
import os
from pathlib import Path

import pytest

from tests.process.harness import SECRET, RunningDaemon, charge, nightdesk, running, signed


def tenant(daemon: RunningDaemon, *arguments: str) -> tuple[int, list[str]]:
    return nightdesk("tenant", *arguments, "--socket", daemon.socket)


def added(daemon: RunningDaemon, name: str, *options: str) -> str:
    """The address of a new tenant, whose secret is in the variable NEW_SECRET."""
    code, lines = tenant(daemon, "add", name, "--secret-from", "NEW_SECRET", "--json", *options)
    assert code == 0, lines
    return str(json.loads(lines[0])["address"])


def deliver(daemon: RunningDaemon, address: str, secret: str) -> int:
    body = json.dumps(charge()).encode()
    return daemon.post(body, signed(body, secret), address)


def listed(daemon: RunningDaemon) -> dict[str, dict[str, object]]:
    _, lines = tenant(daemon, "list", "--json")
    return {row["name"]: row for row in map(json.loads, lines)}


def test_a_tenant_is_watched_at_once_and_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is unguessable, its thresholds are its own, and its secrets are nowhere to be read."""
    monkeypatch.setenv("NEW_SECRET", "whsec_globex_1")
    monkeypatch.setenv("NEW_KEY", "rk_live_globex")
    with running(tmp_path) as daemon:
        address = added(daemon, "globex", "--alert", "customer_decline_count=2", "--channel", "ops")
        assert len(address) > len("/webhook/") + 30
        assert deliver(daemon, address, "whsec_globex_1") == 200
        assert deliver(daemon, address, SECRET) == 400
        daemon.kill()
        daemon.start()
        assert listed(daemon)["globex"] | {"changed": ""} == {
            "name": "globex",
            "source": "database",
            "watched": True,
            "why_not": None,
            "secrets": 1,
            "api_key": False,
            "channels": ["ops"],
            "alerts": {"customer_decline_count": 2},
            "changed": "",
        }
        for _ in range(2):
            event = charge(customer="cus_globex", failed=True)
            body = json.dumps(event).encode()
            assert daemon.post(body, signed(body, "whsec_globex_1"), address) == 200
        daemon.settled()
        assert [incident["tenant"] for incident in daemon.incidents("decline_spike")] == ["globex"]
        assert "whsec_" not in daemon.log()
        assert address.removeprefix("/webhook/") not in daemon.log()


def test_a_secret_rolls_and_the_old_one_is_good_until_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as daemon:
        monkeypatch.setenv("NEW_SECRET", "whsec_1")
        address = added(daemon, "globex")

        def good() -> list[int]:
            return [number for number in range(1, 5) if deliver(daemon, address, f"whsec_{number}") == 200]

        def rotate(number: int, *options: str) -> list[str]:
            monkeypatch.setenv("NEW_SECRET", f"whsec_{number}")
            return tenant(daemon, "rotate-secret", "globex", "--secret-from", "NEW_SECRET", *options)[1]

        assert rotate(2) == ["globex has a new signing secret; 2 are good now"]
        assert good() == [1, 2]
        assert rotate(3) == ["globex has a new signing secret; 2 are good now"]
        assert good() == [2, 3]
        assert rotate(3) == ["globex has a new signing secret; 2 are good now"]
        assert good() == [2, 3]
        assert rotate(4, "--drop-previous") == ["globex has a new signing secret; 1 are good now"]
        assert good() == [4]


def test_settings_change_one_by_one_and_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not named stays; a threshold without a value is the common one again."""
    monkeypatch.setenv("NEW_SECRET", "whsec_1")
    monkeypatch.setenv("NEW_KEY", "rk_test_1")
    with running(tmp_path, {"alerts": {"channels": [{"name": "terminal", "type": "console"}]}}) as daemon:
        address = added(daemon, "globex", "--alert", "customer_decline_count=2", "--channel", "terminal")
        change = ("change", "globex", "--alert", "refund_spike_count=8", "--rate-limit", "0.001")
        assert tenant(daemon, *change) == (0, ["globex is changed"])
        row = listed(daemon)["globex"]
        assert row["alerts"] == {"customer_decline_count": 2, "refund_spike_count": 8}
        assert (row["channels"], row["api_key"]) == (["terminal"], False)
        tenant(daemon, "change", "globex", "--alert", "refund_spike_count=", "--api-key-from", "NEW_KEY")
        row = listed(daemon)["globex"]
        assert (row["alerts"], row["api_key"]) == ({"customer_decline_count": 2}, True)
        assert deliver(daemon, address, "whsec_1") == 200
        assert "rk_test_1" not in daemon.log()


def test_what_a_connected_account_does_is_its_own(tmp_path: Path) -> None:
    """One declines card after card, on an endpoint of acme's; asked for acme, both are shown."""
    with running(tmp_path) as daemon:
        for account in ("acct_1", "acct_2"):
            for _ in range(3):
                daemon.deliver(charge(customer="cus_1", failed=True) | {"account": account})
        daemon.settled()
        assert daemon.incidents("decline_spike") == []
        for _ in range(2):
            daemon.deliver(charge(customer="cus_1", failed=True) | {"account": "acct_2"})
        daemon.settled()
        assert [incident["tenant"] for incident in daemon.incidents("decline_spike")] == ["acme/acct_2"]
        assert daemon.sink.next()["tenant"] == "acme/acct_2"
        for asked, events in (("acme", 8), ("acme/acct_1", 3), ("acme/acct_2", 5)):
            _, lines = nightdesk("events", "--tenant", asked, "--json", "--socket", daemon.socket)
            assert len(lines) == events
        code, lines = nightdesk("events", "--tenant", "acme/acct_3", "--socket", daemon.socket)
        assert (code, lines) == (2, ["nightdesk: no tenant is named 'acme/acct_3'; there are: acme"])


def test_a_removed_tenant_is_unknown_at_once_and_what_was_stored_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEW_SECRET", "whsec_1")
    with running(tmp_path) as daemon:
        address = added(daemon, "globex")
        assert deliver(daemon, address, "whsec_1") == 200
        assert tenant(daemon, "remove", "globex") == (0, ["globex is no longer watched; its data stays"])
        assert deliver(daemon, address, "whsec_1") == 404
        code, lines = nightdesk("events", "--tenant", "globex", "--json", "--socket", daemon.socket)
        assert (code, len(lines)) == (0, 1)
        assert list(listed(daemon)) == ["acme"]
        daemon.kill()
        daemon.start()
        assert deliver(daemon, address, "whsec_1") == 404


def test_a_tenant_without_a_secret_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as daemon:
        _, lines = tenant(daemon, "add", "globex", "--json")
        address = json.loads(lines[0])["address"]
        assert deliver(daemon, address, "") == 404
        assert not listed(daemon)["globex"]["watched"]
        monkeypatch.setenv("NEW_SECRET", "whsec_1")
        tenant(daemon, "rotate-secret", "globex", "--secret-from", "NEW_SECRET")
        assert deliver(daemon, address, "whsec_1") == 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rotate-secret", "acme", "--secret-from", "HOME"], "tenant acme stands in the config file"),
        (["remove", "acme"], "tenant acme stands in the config file: change it there, then nightdesk reload"),
        (["register-endpoint", "acme", "--url", "https://x.example"], "tenant acme stands in the config file"),
        (["remove", "nobody"], "no tenant is named 'nobody'; there are: acme"),
        (["add", "acme"], "a tenant named 'acme' exists already"),
        (["add", "a/b"], "name: expected a name of at most 64 letters"),
        (["add", "beta", "--channel", "pager"], "channels: no channel is named 'pager'; there are: ops"),
        (["add", "beta", "--alert", "refund_spike=5"], "alerts.refund_spike: unknown key"),
        (["add", "beta", "--alert", "refund_spike_count=lots"], "alerts.refund_spike_count:"),
        (["add", "beta", "--secret-from", "NO_SUCH"], "--secret-from: the environment variable NO_SUCH is not set"),
        (["rotate-secret", "beta"], "the signing secret is missing"),
        (["change", "acme", "--rate-limit", "5"], "tenant acme stands in the config file"),
        (["change", "acme"], "what is to be changed?"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_one_line(ready: RunningDaemon, arguments: list[str], says: str) -> None:
    code, lines = tenant(ready, *arguments)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"nightdesk: {says}")
    assert list(listed(ready)) == ["acme"]


def test_the_config_file_counts_where_both_have_a_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reload, the database's is shown as left out."""
    monkeypatch.setenv("NEW_SECRET", "whsec_of_database")
    with running(tmp_path) as daemon:
        address = added(daemon, "globex")
        tenants = [
            {"name": "acme", "token": "acme-token", "webhook_secrets": [SECRET]},
            {"name": "globex", "token": "from-the-file", "webhook_secrets": ["whsec_of_file"]},
        ]
        daemon.configure({"billing": {"tenants": tenants}})
        daemon.ask("/reload", {})
        assert deliver(daemon, "/webhook/from-the-file", "whsec_of_file") == 200
        assert deliver(daemon, address, "whsec_of_database") == 404
        _, lines = tenant(daemon, "list", "--json")
        rows = [json.loads(line) for line in lines]
        assert [(row["name"], row["source"], row["watched"]) for row in rows] == [
            ("acme", "file", True),
            ("globex", "file", True),
            ("globex", "database", False),
        ]


def test_only_root_and_the_daemons_own_user_may_change_tenants(ready: RunningDaemon) -> None:
    """The group may read the list, which holds no secret."""
    if os.geteuid() != 0:
        pytest.skip("another user cannot be played without root")
    ready.socket.chmod(0o666)
    for folder in (ready.folder, *ready.folder.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    script = (
        "import http.client, socket, sys, os; os.setuid(65534);"
        "c = http.client.HTTPConnection('x'); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(sys.argv[1]);"
        "c.request(sys.argv[2], sys.argv[3], '{}'); print(c.getresponse().status)"
    )
    import subprocess
    import sys

    def status(method: str, path: str) -> str:
        return subprocess.check_output(
            [sys.executable, "-c", script, str(ready.socket), method, path], text=True
        ).strip()

    assert status("GET", "/tenants") == "200"
    for order in ("add", "rotate-secret", "remove", "register-endpoint"):
        assert status("POST", f"/tenants/{order}") == "403"
