"""Settings come from three places, and every fault in them is one line that names the key."""

from pathlib import Path
from typing import Any

import pytest

from config import __file__ as package
from config.errors import BadInput
from config.load import load, unknown_names
from config.settings import Settings

TENANT = "billing: {tenants: [{name: acme, token: t-1, webhook_secrets: [whsec_1]}]}\n"


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def write(folder: Path, text: str) -> Path:
    path = folder / "nightdesk.yaml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        load(write(folder, text))
    return [line.removeprefix("nightdesk: ").removeprefix(f"{folder}/") for line in str(caught.value).split("\n")]


def test_the_default_file_says_what_the_code_says() -> None:
    shown = load(Path(package).parent / "default.yaml")
    assert shown == Settings()


def test_the_example_is_valid() -> None:
    settings = load(Path(package).parent / "example.yaml")
    assert [tenant.name for tenant in settings.billing.tenants] == ["acme", "globex"]


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "data_dir: ./data\ncontrol: {socket: here.sock}"))
    assert settings.data_dir == tmp_path / "data"
    assert settings.control.socket == tmp_path / "here.sock"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_BILLING__LISTEN", "0.0.0.0:99")
    settings = load(write(tmp_path, TENANT))
    assert settings.billing.listen == "0.0.0.0:99"
    assert settings.billing.tenants[0].name == "acme"


def test_credentials_win_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential reaches into a list by the name of its part, and leaves the part's other keys alone."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "billing__tenants__acme__webhook_secrets").write_text("whsec_new\nwhsec_old\n")
    (folder / "trading__key_id").write_text("PK1\n")
    (folder / "something_else").write_text("not ours")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    monkeypatch.setenv("NIGHTDESK_TRADING__KEY_ID", "from the environment")
    settings = load(write(tmp_path, TENANT))
    tenant = settings.billing.tenants[0]
    assert [secret.get_secret_value() for secret in tenant.webhook_secrets] == ["whsec_new", "whsec_old"]
    assert tenant.token is not None
    assert tenant.token.get_secret_value() == "t-1"
    assert settings.trading.key_id is not None
    assert settings.trading.key_id.get_secret_value() == "PK1"


def test_a_credential_for_nobody_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "billing__tenants__nobody__api_key").write_text("rk_1")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert refusal(tmp_path, TENANT) == [
        "credential billing__tenants__nobody__api_key: nothing is named 'nobody' there"
    ]


def test_a_tenant_overrides_only_the_rules_it_sets(tmp_path: Path) -> None:
    text = (
        "billing: {alerts: {failure_rate: 0.2, customer_decline_count: 9}, tenants: "
        "[{name: a, token: t, webhook_secrets: [s], alerts: {failure_rate: 0.1}}]}"
    )
    billing = load(write(tmp_path, text)).billing
    rules = billing.alerts_of(billing.tenants[0])
    assert (rules.failure_rate, rules.customer_decline_count) == (0.1, 9)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("billing: {listn: 1}", ["nightdesk.yaml: billing.listn: unknown key (did you mean listen?)"]),
        (
            "billing: {tenants: [{name: a, token: t}]}",
            [
                (
                    "nightdesk.yaml: billing.tenants[0].webhook_secrets: at least one secret is needed "
                    "(Stripe → Developers → Webhooks → Signing secret)"
                )
            ],
        ),
        (
            (
                "billing: {tenants: [{name: a, token: t, webhook_secrets: [s]}, "
                "{name: b, token: t, webhook_secrets: [s]}]}"
            ),
            ["nightdesk.yaml: billing: tenants[1].token: another tenant has the same token"],
        ),
        (
            "trading: {base_url: 'localhost:8790', stream_url: 'http://x'}",
            [
                "nightdesk.yaml: trading.base_url: expected http:// or https:// and a host",
                "nightdesk.yaml: trading.stream_url: expected ws:// or wss:// and a host",
            ],
        ),
        (
            "alerts: {channels: [{name: x, type: wobhook}]}",
            [
                (
                    "nightdesk.yaml: alerts.channels[0].type: expected one of "
                    "webhook, console, slack, discord, telegram, email, apprise"
                )
            ],
        ),
        (
            "alerts: {channels: [{name: x, type: slack, url: nowhere}]}",
            ["nightdesk.yaml: alerts.channels[0].url: expected an http:// or https:// address"],
        ),
        (
            "trading: {risk: {stale_after: soon}}\nlogging: {level: loud}",
            [
                "nightdesk.yaml: logging.level: Input should be 'debug', 'info', 'warning' or 'error'",
                "nightdesk.yaml: trading.risk.stale_after: expected a duration such as 90s, 5m, 2h or 7d, not 'soon'",
            ],
        ),
        (
            "alerts: {quiet_hours: {start: '22:00', end: '07:00', timezone: Mars/X}}",
            [
                (
                    "nightdesk.yaml: alerts.quiet_hours.timezone: no time zone is named 'Mars/X'; "
                    "expected one such as Europe/Berlin"
                )
            ],
        ),
        (
            "alerts: {quiet_hours: {start: '22:00', end: '22:00'}}",
            ["nightdesk.yaml: alerts.quiet_hours: start and end are the same; leave quiet_hours out for none"],
        ),
        (
            "billing: {alerts: {customer_decline_count: true, failure_min_attempts: 99999999999999999999}}",
            [
                "nightdesk.yaml: billing.alerts.customer_decline_count: expected a whole number",
                "nightdesk.yaml: billing.alerts.failure_min_attempts: Input should be less than or equal to 1000000",
            ],
        ),
        (
            "alerts: {channels: [{name: x, type: slack, url: 'http://127.0.0.1:99999/'}]}",
            ["nightdesk.yaml: alerts.channels[0].url: Port out of range 0-65535"],
        ),
        (
            "trading: {strategies: [{params: {entry: 20}}]}",
            ["nightdesk.yaml: trading.strategies[0].name: is missing"],
        ),
        (
            "trading: {capital_per_strategy: .inf}",
            ["nightdesk.yaml: trading.capital_per_strategy: Input should be a finite number"],
        ),
        (
            'trading: {enabled: true, key_id: "PK1\u200b", secret_key: s}',
            ["nightdesk.yaml: trading.key_id: has a character that no key has; copy it again"],
        ),
        ('data_dir: "a\\0b"', ["nightdesk.yaml: data_dir: a path cannot hold a NUL character"]),
        (
            "retention: {log: 9999999d}",
            ["nightdesk.yaml: retention.log: must be longer than 0s and at most 3660d"],
        ),
        ("a: 1\na: 2", ["nightdesk.yaml:2: not valid YAML: the key 'a' stands twice"]),
        ("a: [", ["nightdesk.yaml:1: not valid YAML: expected the node content, but found '<stream end>'"]),
        ("- 1", ["nightdesk.yaml: expected keys and values, not a list"]),
    ],
)
def test_every_fault_is_one_line_with_its_key(tmp_path: Path, text: str, lines: list[str]) -> None:
    assert refusal(tmp_path, text) == lines


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.yaml: no such file or directory"):
        load(tmp_path / "gone.yaml")


@pytest.mark.parametrize("secret", ["whsec_secret", "t-secret"])
def test_no_refusal_and_no_picture_of_the_settings_shows_a_secret(tmp_path: Path, secret: str) -> None:
    text = "billing: {tenants: [{name: a, token: t-secret, webhook_secrets: [whsec_secret]}]}"
    settings: Any = load(write(tmp_path, text))
    assert secret not in repr(settings)
    assert secret not in " ".join(refusal(tmp_path, text + "\nlogging: {level: whsec_secret}\nx: t-secret"))


def test_a_variable_that_is_no_setting_is_told_with_what_may_have_been_meant() -> None:
    """Such as a single underscore where two belong; those of settings and of others are nobody's business."""
    names = ("NIGHTDESK_BILING__LISTEN", "NIGHTDESK_DATADIR", "NIGHTDESK_DATA_DIR", "NIGHTDESK_WEB__LISTEN", "HOME")
    assert list(unknown_names(dict.fromkeys(names, "x"))) == [
        ("NIGHTDESK_BILING__LISTEN", "no setting has this name (did you mean billing?)"),
        ("NIGHTDESK_DATADIR", "no setting has this name (did you mean data_dir?)"),
    ]
