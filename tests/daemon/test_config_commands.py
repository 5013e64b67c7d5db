"""A first config, and what the commands about configs say."""

import json
import stat
from pathlib import Path

import pytest
import yaml

from config.load import load
from daemon.cli import main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGNING_SECRET", "whsec_from_the_environment")


def test_init_writes_a_config_that_only_its_owner_can_read_and_that_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "first.yaml", "--tenant", "acme", "--secret-from", "SIGNING_SECRET"]) == 0
    path = tmp_path / "first.yaml"
    settings = load(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tenant = settings.billing.tenants[0]
    assert tenant.name == "acme"
    assert tenant.webhook_secrets[0].get_secret_value() == "whsec_from_the_environment"
    assert tenant.token is not None
    assert f"/webhook/{tenant.token.get_secret_value()}" in capsys.readouterr().out
    assert settings.data_dir == tmp_path / "data"


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nightdesk.yaml").write_text("mine")
    assert main(["init", "--secret-from", "SIGNING_SECRET"]) == 1
    assert capsys.readouterr().err == "nightdesk: nightdesk.yaml: exists already; choose another name\n"
    assert (tmp_path / "nightdesk.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://hooks.slack.com.example/hook", "webhook"),
        ("http://[::1]:9/hook", "webhook"),
        (None, "console"),
    ],
)
def test_init_knows_whose_webhook_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, kind: str
) -> None:
    if url:
        monkeypatch.setenv("HOOK", url)
    given = ["--webhook-from", "HOOK"] if url else []
    assert main(["init", "--secret-from", "SIGNING_SECRET", *given]) == 0
    (channel,) = load(tmp_path / "nightdesk.yaml").alerts.channels
    assert channel.type == kind


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--secret-from", "SIGNING_SECRET", "--webhook", "hooks.slack.com/x"],
            "nightdesk: alerts.channels[0].url: expected an http:// or https:// address\n",
        ),
        (
            ["--secret-from", "SIGNING_SECRET", "--webhook", "http://["],
            "nightdesk: alerts.channels[0].url: Invalid IPv6 URL\n",
        ),
        (["--secret-from", "NO_SUCH"], "nightdesk: --secret-from: the environment variable NO_SUCH is not set\n"),
        (
            ["--secret-from", "SIGNING_SECRET", "--listen", "here"],
            "nightdesk: billing.listen: expected host:port such as 127.0.0.1:8787, not 'here'\n",
        ),
    ],
)
def test_init_refuses_what_would_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """And leaves nothing behind."""
    assert main(["init", *arguments]) == 2
    assert capsys.readouterr().err == says
    assert list(tmp_path.iterdir()) == []


def test_check_names_every_fault_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("billing: {listn: 1}\nweb: {port: 2}\n")
    assert main(["config", "check", "--config", "bad.yaml"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "nightdesk: bad.yaml: web.port: unknown key",
        "nightdesk: bad.yaml: billing.listn: unknown key (did you mean listen?)",
    ]


def test_show_masks_every_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "--secret-from", "SIGNING_SECRET", "--webhook", "http://127.0.0.1:9/secret-path"])
    capsys.readouterr()
    assert main(["config", "show", "--config", "nightdesk.yaml"]) == 0
    shown = capsys.readouterr().out
    written = yaml.safe_load((tmp_path / "nightdesk.yaml").read_text())["billing"]["tenants"][0]
    assert yaml.safe_load(shown)["billing"]["tenants"][0]["name"] == written["name"]
    for secret in (written["token"], "whsec_from_the_environment", "secret-path"):
        assert secret not in shown


def test_show_writes_durations_as_the_file_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nightdesk.yaml"
    path.write_text("retention: {bodies: 36h, log: 90s}\nalerts: {digest: {every: 0.5s}}")
    assert main(["config", "show", "--config", str(path)]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["retention"], shown["alerts"]["digest"]["every"]) == ({"bodies": "36h", "log": "90s"}, "0.5s")


def test_the_schema_knows_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"billing", "alerts", "trading", "watch", "data_dir"} <= schema["properties"].keys()
    assert schema["additionalProperties"] is False
    duration = schema["$defs"]["Risk"]["properties"]["stale_after"]
    assert {kind["type"] for kind in duration["anyOf"]} == {"string", "number"}


def test_the_doctor_has_a_remedy_for_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nightdesk.yaml"
    path.write_text(
        "data_dir: ./data\n"
        "billing: {tenants: [{name: acme, token: short, webhook_secrets: [whsec_1]}, "
        "{name: globex, token: long-enough-to-be-safe, webhook_secrets: [sk_test_1]}]}\n"
    )
    path.chmod(0o644)
    monkeypatch.setenv("NIGHTDESK_BILING__LISTEN", "127.0.0.1:1")
    assert main(["doctor", "--config", str(path), "--json"]) == 1
    findings = {row["what"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert "chmod 600" in findings["config"]["says"]
    assert "its token can be guessed" in findings["tenant acme"]["says"]
    assert "is it an API key?" in findings["tenant globex"]["says"]
    assert "nobody would hear" in findings["channels"]["says"]
    assert findings["data_dir"]["well"]
    assert "did you mean billing?" in findings["NIGHTDESK_BILING__LISTEN"]["says"]
    assert "sk_test_1" not in json.dumps(findings)


def test_who_only_trades_is_well_without_tenants_and_with_a_config_that_all_may_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NIGHTDESK_TEST_DATA", raising=False)  # no setting has this name, as doctor would say
    path = tmp_path / "nightdesk.yaml"
    path.write_text(
        "data_dir: ./data\nbilling: {listen: '127.0.0.1:0'}\ntrading: {enabled: true, broker: simulated}\n"
        "alerts: {channels: [{name: terminal, type: console}]}"
    )
    path.chmod(0o644)
    assert main(["doctor", "--config", str(path)]) == 0
    said = capsys.readouterr().out
    assert "which holds no secrets" in said
    assert "strategy earnings_momentum: enters nothing without params: {calendar: FILE}" in said


def test_the_doctor_finds_what_cannot_be_traded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nightdesk.yaml"
    path.write_text("data_dir: ./data\ntrading: {enabled: true, broker: simulated, strategies: [nope]}\n")
    assert main(["doctor", "--config", str(path), "--json"]) == 1
    findings = {row["what"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert findings["strategies"]["says"].startswith("trading.strategies[0]: no strategy is called 'nope'; there are: ")


def test_the_doctor_looks_whether_somebody_answers_where_each_channel_leads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    channels = [
        {"name": "hook", "type": "slack", "url": "http://127.0.0.1:9/x"},
        {"name": "phone", "type": "telegram", "token": "1:x", "chat_id": 1, "base_url": "http://127.0.0.1:9"},
        {"name": "mail", "type": "email", "host": "127.0.0.1", "port": 9, "from": "a@example.com", "to": ["b@c.de"]},
        {"name": "long", "type": "webhook", "url": f"http://{'x' * 70}.example/"},
        {"name": "terminal", "type": "console"},
    ]
    path = tmp_path / "nightdesk.yaml"
    path.write_text(json.dumps({"data_dir": "./data", "alerts": {"channels": channels}}))
    assert main(["doctor", "--config", str(path), "--json"]) == 1
    findings = {row["what"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    for name, setting in (("hook", "url"), ("phone", "base_url"), ("mail", "host and port"), ("long", "url")):
        assert not findings[f"channel {name}"]["well"]
        assert findings[f"channel {name}"]["says"].endswith(f"; check its {setting}")
    assert findings["channel terminal"]["well"]


def test_a_config_in_etc_is_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names what the unit names, and so every command finds the same data as the service."""
    etc = tmp_path / "nightdesk.yaml"
    monkeypatch.setattr("daemon.cli.config.SERVICE_CONFIGS", tmp_path)
    assert main(["init", str(etc), "--tenant", "acme", "--secret-from", "SIGNING_SECRET"]) == 0
    settings = load(etc)
    assert settings.data_dir == Path("/var/lib/nightdesk")
    assert settings.control.socket == Path("/run/nightdesk/control.sock")
    assert f"Then: nightdesk install-service --config {etc}" in capsys.readouterr().out


def test_the_doctor_names_what_is_set_but_has_no_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nightdesk.yaml"
    path.write_text("watch: {uptime: [{name: app, url: 'https://app.example/health'}]}\n")
    assert main(["doctor", "--config", str(path), "--json"]) == 1
    findings = {row["what"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert "has no effect in this version" in findings["watch.uptime"]["says"]
    assert "web.listen" not in findings
