import json
from pathlib import Path
from typing import Any

import pytest

from actors.kernel.clock import SECOND
from daemon.cli import main
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, charge, event
from tests.billing.subscribers import invoiced, subscribed


def replayed(capsys: pytest.CaptureFixture[str], path: Path, *arguments: str) -> tuple[list[dict[str, Any]], Any]:
    """Each change, and the summary."""
    assert main(["replay", str(path), "--json", *arguments]) == 0
    *steps, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return steps, last["summary"]


def recording(tmp_path: Path, *events: Event) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in events))
    return path


def test_a_change_of_an_incident_is_a_line_and_the_summary_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = charge(0), charge(60)
    steps, summary = replayed(capsys, recording(tmp_path, first, second, second))
    opened, resolved = steps
    assert opened | {"evidence": {}} == {
        "at": START + 60,
        "tenant": "default",
        "signal": "duplicate_charge",
        "severity": "warning",
        "state": "opened",
        "scope": "cus_1",
        "title": "Charged twice: $29.00, 60 s apart",
        "evidence": {},
        "event_ids": [first["id"], second["id"]],
    }
    assert (resolved["state"], resolved["at"]) == ("resolved", START + 3660)
    assert {key: summary[key] for key in ("events", "stored", "duplicates", "incidents")} == {
        "events": 3,
        "stored": 2,
        "duplicates": 1,
        "incidents": 1,
    }


def test_the_clock_follows_the_time_of_receipt_and_never_goes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {"received": START + 7200.5, "tenant": "acme", "event": charge(0)},
        {"received": START + 100, "tenant": "acme", "event": charge(60)},
    ]
    steps, _ = replayed(capsys, recording(tmp_path, *lines))
    opened = [(step["signal"], step["at"]) for step in steps if step["state"] == "opened"]
    assert opened == [("webhook_lag", START + 7200.5), ("duplicate_charge", START + 7200.5)]


def test_the_same_file_gives_the_same_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path, *(charge(at, customer=None, fingerprint="card") for at in range(3)))
    assert replayed(capsys, path)[0] == replayed(capsys, path)[0]


def test_thresholds_of_a_configuration_show_what_would_have_been(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path, *(charge(at, failed=True, customer=f"cus_{at}") for at in range(10)))
    assert replayed(capsys, path)[0] == []
    config = tmp_path / "nightdesk.yaml"
    config.write_text("billing: {alerts: {failure_rate: 0.15}}")
    steps, _ = replayed(capsys, path, "--config", str(config))
    assert [(step["signal"], step["state"], step["evidence"]["failed"]) for step in steps] == [
        ("decline_spike", "opened", 10),
        ("decline_spike", "resolved", 10),
    ]


def test_bare_events_are_those_of_the_only_tenant_configured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "nightdesk.yaml"
    tenant = {"name": "acme", "token": "acme-token-1", "webhook_secrets": ["whsec_x"], "alerts": {"failure_rate": 0.15}}
    config.write_text(json.dumps({"billing": {"tenants": [tenant]}}))
    path = recording(tmp_path, *(charge(at, failed=True, customer=f"cus_{at}") for at in range(10)))
    steps, _ = replayed(capsys, path, "--config", str(config))
    assert {(step["tenant"], step["signal"]) for step in steps} == {("acme", "decline_spike")}


def test_one_tenant_of_a_recording_is_replayed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"received": START + at, "tenant": tenant, "event": charge(at)}
        for at in (0, 60)
        for tenant in ("acme", "other")
    ]
    path = recording(tmp_path, *lines, charge(120))
    steps, summary = replayed(capsys, path, "--tenant", "acme")
    assert {step["tenant"] for step in steps} == {"acme"}
    assert summary["events"] == 3


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"type": "x", "created": 1}', "id: an event needs one"),
        ('{"id": "evt_1", "created": "soon"}', "created: must be a unix time"),
        ('{"event": {"id": "evt_1", "created": 1}}', "received: must be a unix time"),
        ('{"received": 1, "event": []}', "event: not a JSON object"),
        ('{"received": 1, "tenant": 5, "event": {"id": "evt_1"}}', "tenant: must be a name"),
    ],
)
def test_a_bad_line_is_one_line_that_names_it(
    bad: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path, charge(0))
    with path.open("a") as lines:
        lines.write(f"\n{bad}\n")
    assert main(["replay", str(path), "--json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nightdesk: {path}:3: {what}")
    _, summary = replayed(capsys, path, "--skip-bad")
    assert (summary["events"], summary["skipped"]) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["missing.jsonl"], "missing.jsonl: No such file or directory"),
        (["--until", "soon", "missing.jsonl"], "--until: 'soon' is neither a unix time nor ISO 8601"),
        (["--config", "missing.yaml", "missing.jsonl"], "missing.yaml"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    arguments: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["replay", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert what in line


def test_a_tenant_the_configuration_does_not_know_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "nightdesk.yaml"
    config.write_text("billing: {tenants: []}")
    path = recording(tmp_path, charge(0))
    assert main(["replay", str(path), "--config", str(config), "--tenant", "acme"]) == 2
    assert "no tenant named 'acme'" in capsys.readouterr().err


def test_people_read_when_how_bad_whose_and_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(recording(tmp_path, charge(0), charge(60)))]) == 0
    out = capsys.readouterr().out
    assert "WARNING   default · duplicate charge · opened" in out
    assert "Charged twice: $29.00, 60 s apart (cus_1)" in out
    assert "2 events · 2 stored · 0 duplicates · 1 incidents" in out


def test_a_year_of_silence_between_two_events_takes_no_year(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Minutes in which nothing is due are jumped over: half a million of them, in a test that ends."""
    night = charge(0), charge(60), charge(365 * 86_400)
    _, summary = replayed(capsys, recording(tmp_path, *night))
    assert summary["incidents"] == 1


def test_a_replay_says_what_the_live_watch_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same events, live with a tick at every minute and replayed, under the same thresholds."""
    rules = {"failure_rate": 0.3, "failure_min_attempts": 5}
    events = [charge(at * 97, failed=at % 3 == 0, customer=f"cus_{at % 4}", basil=at % 2 == 0) for at in range(60)]
    events += [charge(86_400 + at, failed=True) for at in range(5)]
    live = Night(**rules)
    live.deliver(*events)
    live.pass_minutes(25 * 60)
    config = tmp_path / "nightdesk.yaml"
    config.write_text(json.dumps({"billing": {"alerts": rules}}))
    steps, _ = replayed(capsys, recording(tmp_path, *events), "--config", str(config))
    assert [(step["at"], step["signal"], step["state"], step["scope"], step["title"]) for step in steps] == [
        (step.at / SECOND, step.incident.signal, step.state, step.incident.scope, step.incident.title)
        for step in live.steps
    ]
    assert {step["signal"] for step in steps} == {"decline_spike", "duplicate_charge"}


def test_an_event_without_a_known_type_is_stored_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, summary = replayed(capsys, recording(tmp_path, event("treasury.surprise", {"id": "x"}, 0)))
    assert summary["stored"] == 1


def test_eight_thousand_years_between_two_events_are_not_ticked_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first year of them is, in which a subscription by the month lapses, and one by the year."""
    last = charge(0) | {"created": 253_402_300_000}
    yearly = subscribed(0, 2, interval="year"), invoiced(60, 2)
    steps, summary = replayed(capsys, recording(tmp_path, subscribed(0, 1), invoiced(60, 1), *yearly, last))
    assert summary["events"] == 5
    lapsed = [step for step in steps if (step["signal"], step["state"]) == ("silent_lapse", "opened")]
    assert [(step["scope"], (step["at"] - START) // 86_400) for step in lapsed] == [("sub_1", 33), ("sub_2", 373)]
