"""The acceptance cases that show on the real process, from HTTP request to row and notification."""

import json
import re
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from config.errors import BadInput
from daemon.cli.client import Client
from tests.process.harness import ROOT, SECRET, TOKEN, RunningDaemon, charge, nightdesk, now_s, running, signed, until

ONE = {"name": "acme", "token": TOKEN, "webhook_secrets": [SECRET]}
OTHER = {"name": "globex", "token": "globex-token", "webhook_secrets": ["whsec_other"]}


def billing(daemon: RunningDaemon, **more: object) -> dict[str, object]:
    return {"billing": {"listen": f"127.0.0.1:{daemon.port}", "tenants": [ONE], **more}}


def post_many(daemon: RunningDaemon, events: list[dict[str, object]]) -> list[int]:
    """Over one keep-alive connection."""
    statuses = []
    with closing(HTTPConnection("127.0.0.1", daemon.port, timeout=20)) as connection:
        for event in events:
            body = json.dumps(event).encode()
            connection.request("POST", f"/webhook/{TOKEN}", body, signed(body))
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
    return statuses


def test_two_thousand_events_from_one_address_are_all_taken(tmp_path: Path) -> None:
    """1: no limit by peer address; every one is answered 200 and is a row."""
    with running(tmp_path) as daemon, ThreadPoolExecutor(8) as pool:
        shares = [[charge() for _ in range(250)] for _ in range(8)]
        answers = [status for share in pool.map(lambda share: post_many(daemon, share), shares) for status in share]
        assert answers == [200] * 2000
        assert daemon.settled()["events"] == {"stored": 2000, "duplicates": 0, "rejected": 0, "lag": 0}


def test_one_event_ten_times_in_a_row_and_ten_times_at_once_is_one_event(tmp_path: Path) -> None:
    """3: the failure counts once, and nobody is alarmed."""
    with running(tmp_path) as daemon, ThreadPoolExecutor(10) as pool:
        event = charge(customer="cus_1", failed=True)
        answers = [daemon.deliver(event) for _ in range(10)]
        answers += pool.map(lambda _: daemon.deliver(event), range(10))
        status = daemon.settled()
        assert answers == [200] * 20
        assert (status["events"]["stored"], status["events"]["duplicates"]) == (1, 19)
        assert daemon.incidents() == []


def test_while_another_process_holds_the_write_lock_nothing_is_acknowledged(tmp_path: Path) -> None:
    """4: 503 while it holds it, and the retry after the release is one row."""
    with running(tmp_path) as daemon:
        event = charge()
        with closing(sqlite3.connect(tmp_path / "data" / "nightdesk.db")) as thief:
            thief.execute("BEGIN IMMEDIATE")
            assert daemon.deliver(event) == 503
            thief.rollback()
        assert daemon.deliver(event) == 200
        assert daemon.settled()["events"]["stored"] == 1


def test_windows_and_alerts_survive_a_kill(tmp_path: Path) -> None:
    """5: nine failures, kill, the tenth: one decline_spike of ten; what was told before is still listed."""
    with running(tmp_path, start=False) as daemon:
        daemon.configure(billing(daemon, alerts={"failure_rate": 0.15}))
        daemon.start()
        for _ in range(2):
            daemon.deliver(charge(customer="cus_twice", amount=2900, created=now_s() - 7200))
        for number in range(9):
            assert daemon.deliver(charge(customer=f"cus_{number}", failed=True)) == 200
        daemon.settled()
        assert daemon.incidents("decline_spike") == []
        daemon.kill()
        daemon.start()
        assert daemon.deliver(charge(customer="cus_9", failed=True)) == 200
        daemon.settled()
        (spike,) = daemon.incidents("decline_spike")
        assert (spike["evidence"]["failed"], spike["evidence"]["attempts"]) == (10, 10)
        assert len(daemon.incidents("duplicate_charge")) == 1


def test_a_hanging_channel_changes_nothing_for_anyone_else(tmp_path: Path) -> None:
    """7: webhooks and /healthz answer as ever, the other channel is told at once, the notification stays pending."""
    with socket.create_server(("127.0.0.1", 0)) as tarpit, running(tmp_path, start=False) as daemon:
        hang = f"http://127.0.0.1:{tarpit.getsockname()[1]}/"
        channels = [{"name": "hangs", "type": "webhook", "url": hang}]
        channels += [{"name": "ops", "type": "webhook", "url": daemon.sink.url}]
        daemon.configure({"alerts": {"channels": channels}})
        daemon.start()
        for _ in range(2):
            daemon.deliver(charge(customer="cus_twice", amount=2900))
        assert daemon.sink.next()["scope"] == "cus_twice"
        for _ in range(50):
            assert daemon.deliver(charge()) == 200
        with closing(HTTPConnection("127.0.0.1", daemon.port, timeout=5)) as connection:
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
        assert daemon.get("/status")["notifications"]["pending"] == 1
        assert daemon.stop() == 0


def test_what_is_said_of_one_incident_is_not_said_of_the_next(tmp_path: Path) -> None:
    """18: a false positive, an ack and a snooze stay with their incident, also after a restart."""
    with running(tmp_path) as daemon:
        for customer in ("cus_a", "cus_b", "cus_c"):
            for _ in range(2):
                daemon.deliver(charge(customer=customer, amount=2900))
        daemon.settled()
        first, second, third = sorted(daemon.incidents(), key=lambda incident: incident["scope"])
        assert daemon.ask("/false-positive", {"id": first["id"]})["false_positive"]
        assert daemon.ask("/ack", {"id": second["id"]})["acked"] is not None
        assert daemon.ask("/snooze", {"id": third["id"], "duration": "2h"})["snoozed_until"] is not None
        daemon.stop()
        daemon.start()
        for _ in range(2):
            daemon.deliver(charge(customer="cus_d", amount=2900))
        daemon.settled()
        marked = {incident["scope"]: incident["false_positive"] for incident in daemon.incidents()}
        assert marked == {"cus_a": True, "cus_b": False, "cus_c": False, "cus_d": False}


def test_a_threshold_may_change_in_the_middle_of_a_window(tmp_path: Path) -> None:
    """19: nine failures, a reload that sets the rule, the tenth: the nine still count."""
    with running(tmp_path) as daemon:
        for number in range(9):
            daemon.deliver(charge(customer=f"cus_{number}", failed=True))
        daemon.settled()
        daemon.configure(billing(daemon, alerts={"failure_rate": 0.5}))
        answer = daemon.ask("/reload", {})
        assert answer == {"changed": ["billing.alerts.failure_rate"], "needs_restart": []}
        daemon.deliver(charge(customer="cus_9", failed=True))
        daemon.settled()
        (spike,) = daemon.incidents("decline_spike")
        assert spike["evidence"]["failed"] == 10


def test_a_reload_names_what_needs_a_restart_until_it_is_done(ready: RunningDaemon) -> None:
    ready.configure({"logging": {"level": "debug"}, "watch": {"host": False}})
    answer = ready.ask("/reload", {})
    assert answer == {"changed": ["logging.level"], "needs_restart": ["watch.host"]}
    assert ready.ask("/reload", {}) == {"changed": [], "needs_restart": ["watch.host"]}


def test_a_config_that_lost_its_tenants_is_not_taken(tmp_path: Path) -> None:
    """An editor that saves half a file must not turn Stripe away."""
    with running(tmp_path) as daemon:
        daemon.config.write_text("")
        code, said = nightdesk("reload", "--socket", daemon.socket)
        assert (code, len(said)) == (2, 1)
        assert "none is left; nothing was changed" in said[0]
        assert daemon.deliver(charge()) == 200


def test_tenants_are_strangers_to_each_other(tmp_path: Path) -> None:
    """20: A's signature opens nothing at B's address, and A's events are not among B's."""
    with running(tmp_path, start=False) as daemon:
        daemon.configure({"billing": {"listen": f"127.0.0.1:{daemon.port}", "tenants": [ONE, OTHER]}})
        daemon.start()
        event = charge()
        assert daemon.deliver(event, path="/webhook/globex-token") == 400
        assert daemon.deliver(event, path="/webhook/nobody") == 404
        body = json.dumps(event).encode()
        assert daemon.post(body, signed(body, "whsec_other"), "/webhook/globex-token") == 200
        assert daemon.post(body, signed(body), f"/webhook/{TOKEN}") == 200
        rows = [json.loads(line) for line in Client(daemon.socket).lines("/events?tenant=globex")]
        assert [(row["tenant"], row["id"]) for row in rows] == [("globex", event["id"])]


def test_a_flood_of_one_tenant_is_its_own_affair(tmp_path: Path) -> None:
    """22: beyond its quota A is answered 429 with a Retry-After; B is answered 200 all the while."""
    small = {**ONE, "rate_limit": {"per_second": 1, "burst": 20}}
    with running(tmp_path, start=False) as daemon:
        daemon.configure({"billing": {"listen": f"127.0.0.1:{daemon.port}", "tenants": [small, OTHER]}})
        daemon.start()
        answers = post_many(daemon, [charge() for _ in range(60)])
        assert set(answers) == {200, 429}
        for _ in range(20):
            body = json.dumps(charge()).encode()
            assert daemon.post(body, signed(body, "whsec_other"), "/webhook/globex-token") == 200


def test_new_events_are_followed_as_they_come(ready: RunningDaemon) -> None:
    """`events -f` prints an event that was stored after it began; it began before some of those delivered here."""
    seen: list[str] = []
    lines = Client(ready.socket).lines("/events?follow=1&limit=0")
    reader = threading.Thread(target=lambda: seen.append(next(lines)))
    reader.start()
    delivered = []

    def followed() -> list[str] | None:
        delivered.append(charge())
        assert ready.deliver(delivered[-1]) == 200
        return seen or None

    until(followed)
    reader.join()
    assert json.loads(seen[0])["id"] in [event["id"] for event in delivered]
    lines.close()


@pytest.mark.parametrize("command", ["status", "actors", "incidents", "events", "dead-letters"])
def test_every_listing_has_lines_for_people_and_json_for_scripts(ready: RunningDaemon, command: str) -> None:
    ready.deliver(charge())
    for extra in ([], ["--json"]):
        code, out = nightdesk(command, "--socket", ready.socket, *extra)
        assert code == 0
        for line in out if extra else ():
            json.loads(line)


def test_a_backup_restores_what_it_held(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        kept, lost = charge(), charge()
        daemon.deliver(kept)
        assert nightdesk("backup", tmp_path / "copy.db", "--socket", daemon.socket)[0] == 0
        daemon.deliver(lost)
        assert nightdesk("restore", tmp_path / "copy.db", "--config", daemon.config)[0] == 1
        daemon.stop()
        assert nightdesk("restore", tmp_path / "copy.db", "--config", daemon.config)[0] == 0
        daemon.start()
        ids = [json.loads(line)["id"] for line in Client(daemon.socket).lines("/events")]
        assert ids == [kept["id"]]


def test_a_test_alert_reaches_the_channel(ready: RunningDaemon) -> None:
    code, said = nightdesk("test-alert", "ops", "--socket", ready.socket)
    assert (code, said) == (0, ["sent to: ops"])
    until(lambda: [body for body in ready.sink.all if body["kind"] == "test"] or None)


def test_a_test_alert_that_does_not_arrive_says_why(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.sink.behave = lambda: 404
        code, said = nightdesk("test-alert", "ops", "--socket", daemon.socket)
    assert (code, said) == (1, ["nightdesk: alerts.channels: ops: HTTP 404"])


def test_the_log_level_changes_while_it_runs(ready: RunningDaemon) -> None:
    assert nightdesk("loglevel", "debug", "--socket", ready.socket)[0] == 0
    assert nightdesk("restart", "billing.ticker", "--socket", ready.socket)[0] == 0
    until(lambda: "actor_started" in ready.log() or None)
    code, said = nightdesk("loglevel", "loud", "--socket", ready.socket)
    assert (code, said[0]) == (
        2,
        "nightdesk: no log level is named 'loud'; there are: debug, info, warning, error, critical",
    )


@pytest.mark.parametrize(("path", "key"), [("/loglevel", "level"), ("/test-alert", "channel"), ("/ack", "id")])
def test_a_value_of_the_wrong_kind_is_a_mistake_of_who_sent_it(ready: RunningDaemon, path: str, key: str) -> None:
    with pytest.raises(BadInput, match=r"is named \[\]|has the id \[\]"):
        ready.ask(path, {key: []})


def test_top_shows_actors_and_open_incidents(ready: RunningDaemon) -> None:
    for _ in range(2):
        ready.deliver(charge(customer="cus_top", amount=2900))
    ready.settled()
    assert ready.get("/top")["channels"] == [{"name": "ops", "failing": False, "pending": 0, "failed": 0}]
    code, screen = nightdesk("top", "-n", "1", "--socket", ready.socket)
    assert code == 0
    assert any("billing.scorer" in line for line in screen)
    assert any("duplicate_charge" in line for line in screen)


def test_json_has_the_keys_that_the_contract_promises(ready: RunningDaemon) -> None:
    """docs/cli-json.md, read by machine: what a command prints has exactly the keys of its row."""
    contract = {}
    for row in (ROOT / "docs" / "cli-json.md").read_text().splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`"):
            contract[cells[0].split("`")[1]] = re.findall(r'"(\w+)"', cells[2])
    for _ in range(2):
        ready.deliver(charge(customer="cus_contract", amount=2900))
    ready.settled()
    for command in ("status", "incidents", "events", "actors"):
        code, lines = nightdesk(command, "--json", "--socket", ready.socket)
        assert code == 0
        answer = json.loads(lines[-1])
        assert sorted(_keys(answer[0] if isinstance(answer, list) else answer)) == sorted(contract[command])


def _keys(answer: dict[str, object]) -> list[str]:
    """Those of inner objects included; evidence and counts by reason have keys of their own."""
    keys: list[str] = []
    for key, value in answer.items():
        keys.append(key)
        if isinstance(value, dict) and key not in {"evidence", "dropped"}:
            keys += _keys(value)
    return keys
