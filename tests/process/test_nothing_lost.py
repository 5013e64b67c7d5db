"""Nothing that was acknowledged is lost, whatever instant the process dies at."""

import json
import socket
import sqlite3
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

import pytest

from actors.kernel.clock import chance
from daemon.cli.client import Client
from tests.process.harness import TOKEN, RunningDaemon, charge, running, signed, until

ROUNDS = 10
CLIENTS = 4


class Load:
    """Clients on keep-alive connections that post until told to end and, as Stripe does, retry what was not taken."""

    def __init__(self, daemon: RunningDaemon, *, per_second: float | None = None) -> None:
        self.acknowledged: set[str] = set()
        self.doubled: set[str] = set()  # customers whose two equal charges were both acknowledged
        self.failures: list[str] = []
        self._daemon = daemon
        self._pause_s = CLIENTS / per_second if per_second else 0.0
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        count = 0
        connection: HTTPConnection | None = None
        while not self._end.is_set():
            count += 1
            event = charge()
            twice = [event]
            if count % 25 == 0:
                customer = f"cus_twice_{number}_{count}"
                twice = [charge(customer=customer, amount=2900), charge(customer=customer, amount=2900)]
            for each in twice:
                connection = self._until_acknowledged(connection, each)
            if len(twice) == 2 and not self._end.is_set():
                self.doubled.add(twice[0]["data"]["object"]["customer"])
            self._end.wait(self._pause_s)
        if connection is not None:
            connection.close()

    def _until_acknowledged(self, connection: HTTPConnection | None, event: dict[str, object]) -> HTTPConnection | None:
        body = json.dumps(event).encode()
        while not self._end.is_set():
            try:
                connection = connection or HTTPConnection("127.0.0.1", self._daemon.port, timeout=10)
                connection.request("POST", f"/webhook/{TOKEN}", body, signed(body))
                response = connection.getresponse()
                response.read()
                if response.status == 200:
                    self.acknowledged.add(str(event["id"]))
                    return connection
                self.failures.append(f"answered {response.status}")
            except (OSError, HTTPException) as error:
                self.failures.append(repr(error))
                if connection is not None:
                    connection.close()
                connection = None
                self._end.wait(0.02)
        return connection


def test_ten_kills_under_load_lose_nothing_and_tell_everything_once(tmp_path: Path) -> None:
    """Every acknowledged event is stored once, each incident opened once, each notification sent under one key."""
    rng = chance(20261122)
    with running(tmp_path) as daemon:
        acknowledged: set[str] = set()
        doubled: set[str] = set()
        for _ in range(ROUNDS):
            with Load(daemon) as load:
                threading.Event().wait(rng.uniform(0.2, 1.0))
                daemon.kill()
            acknowledged |= load.acknowledged
            doubled |= load.doubled
            daemon.start()
        daemon.settled()
        stored = Counter(json.loads(line)["id"] for line in _events(daemon))
        opened = Counter(incident["scope"] for incident in daemon.incidents("duplicate_charge"))
        assert acknowledged - stored.keys() == set()
        assert [event for event, count in stored.items() if count > 1] == []
        assert doubled - opened.keys() == set()
        assert [scope for scope, count in opened.items() if count > 1] == []
        _told_once(daemon)
        assert daemon.stop() == 0
    _intact(tmp_path / "data")


def _events(daemon: RunningDaemon) -> list[str]:
    return list(Client(daemon.socket).lines("/events"))


def _told_once(daemon: RunningDaemon) -> None:
    """At least once under a stable key; more than once only where an attempt was in flight at a kill."""
    openings = Counter(
        key for key, body in zip(daemon.sink.keys, daemon.sink.all, strict=True) if body["kind"] == "incident.opened"
    )
    told = {body["scope"] for body in daemon.sink.all if body["kind"] == "incident.opened"}
    scopes = {incident["scope"] for incident in daemon.incidents("duplicate_charge")}
    assert scopes - told == set()
    assert sum(count - 1 for count in openings.values()) <= ROUNDS


def _intact(folder: Path) -> None:
    for path in folder.glob("*.db"):
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()


def test_a_restart_with_an_inherited_socket_refuses_nobody(tmp_path: Path) -> None:
    """Keep-alive clients at 200 requests/s through two restarts: none refused, none cut off, none lost."""
    with (
        running(tmp_path, start=False) as daemon,
        socket.create_server(("127.0.0.1", daemon.port), backlog=128) as listening,
    ):
        daemon.start(listening=listening)
        with Load(daemon, per_second=200) as load:
            for _ in range(2):
                before = len(load.acknowledged)
                until(lambda: len(load.acknowledged) > before + 50 or None)  # noqa: B023 - used at once
                assert daemon.stop() == 0
                daemon.start(listening=listening)
            before = len(load.acknowledged)
            until(lambda: len(load.acknowledged) > before + 50 or None)
        assert load.failures == []
        daemon.settled()
        stored = {json.loads(line)["id"] for line in _events(daemon)}
        assert load.acknowledged - stored == set()


@pytest.mark.parametrize("alerted", [True, False])
def test_a_kill_around_the_notification_neither_forgets_nor_repeats_it(tmp_path: Path, *, alerted: bool) -> None:
    """Delivered before the kill: not again after it. Recorded but not delivered: delivered after the restart."""
    with running(tmp_path) as daemon:
        daemon.sink.behave = lambda: 200 if alerted else 503
        for _ in range(2):
            assert daemon.deliver(charge(customer="cus_twice", amount=2900)) == 200
        until(lambda: daemon.incidents("duplicate_charge") or None)
        if alerted:
            daemon.sink.next()
            daemon.settled()
        daemon.kill()
        daemon.sink.behave = lambda: 200
        daemon.start()
        daemon.settled()
        assert len(daemon.sink.all) == 1
        assert len(daemon.incidents()) == 1
