"""The scorer and the ticker over a real database, in virtual time."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.alerts.incidents import IncidentBook
from actors.alerts.routing import Route, Routing
from actors.billing.projection import Projector
from actors.billing.scorer import Scorer
from actors.billing.ticker import Ticker
from actors.billing.watch import Watch
from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, ScaledClock, chance
from actors.kernel.mailbox import Mailbox, drop_oldest, reject
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Strategy, child, supervisor
from actors.store.driver import InlineDriver
from actors.store.premises import DATABASE
from actors.store.records import DAEMON, Committed, Delivery, Incident, Kind, NewEntry
from actors.store.store import SqliteStore
from tests.billing.stripe_events import START, Event, charge
from tests.kernel.stage import supervised
from tests.simulation.loop import run_virtual
from tests.store.running import notification

CONFIG = NewEntry(Kind.CONFIG, "acme", START * SECOND, {"failure_rate": 0.15})


def declines(first: int, last: int) -> list[Event]:
    return [charge(at, failed=True, customer=f"cus_{at}") for at in range(first, last)]


class House:
    """A store, a clock and, in each life, a scorer."""

    def __init__(self, folder: Path, on_write: Callable[[str], None]) -> None:
        self.folder = folder
        self.store = SqliteStore(folder, driver=InlineDriver(on_write), ballast_bytes=0)
        self.clock = ScaledClock(START * SECOND)
        self.woken: list[str] = []

    async def append(self, *events: Event) -> None:
        project = Projector(bytes(32)).project
        for one in events:
            at = one["created"] * SECOND
            await self.store.append(NewEntry(Kind.EVENT, "acme", at, project(one), event_id=one["id"]))

    def scorer(self) -> Scorer:
        watch = Watch(IncidentBook(Routing((Route("ops"),))))
        return Scorer(self.store, watch, self.clock, self.woken.extend)

    @asynccontextmanager
    async def alive(self, actor: Callable[[], Actor[Any]], mailbox: Mailbox[Any] | None = None) -> AsyncIterator[None]:
        """One life of an actor under supervision."""
        tree = supervisor("test", Strategy.ONE_FOR_ONE, child("actor", actor, mailbox=mailbox or drop_oldest(16)))
        async with supervised(Supervisor(tree, clock=self.clock, rng=chance(7))):
            yield

    @asynccontextmanager
    async def scoring(self, mailbox: Mailbox[Committed] | None = None) -> AsyncIterator[None]:
        """One life of a scorer, which has read everything at its end."""
        async with self.alive(self.scorer, mailbox):
            yield
            with anyio.fail_after(600):
                await self.store.scored((await self.store.status()).last_seq)

    async def incidents(self) -> list[Incident]:
        return await self.store.incidents(tenant=None)


def in_a_house(
    folder: Path, story: Callable[[House], Coroutine[Any, Any, None]], on_write: Callable[[str], None] = lambda _: None
) -> None:
    async def main() -> None:
        house = House(folder, on_write)
        house.store.name, house.store.mailbox = "store", reject(1024)
        await house.store.start()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(house.store.run)
                await story(house)
                tasks.cancel_scope.cancel()
        finally:
            await house.store.stop()

    run_virtual(main, seed=7)


def test_findings_are_committed_and_the_channels_woken(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        first, second = charge(0), charge(60)
        async with house.scoring():
            await house.append(first, second)
        (incident,) = await house.incidents()
        assert incident.signal == "duplicate_charge"
        assert [note.incident for note in await house.store.due("ops", 1 << 60, 10)] == [incident.id]
        assert house.woken == ["ops"]
        rows = await house.store.events(tenant="acme", since=None, after=0, limit=10)
        assert [(row.id, row.anomaly_score, row.flagged) for row in rows] == [
            (first["id"], 0.0, False),
            (second["id"], 1.0, True),
        ]

    in_a_house(tmp_path, story)


def test_nine_declines_a_restart_and_the_tenth_are_one_incident_that_counts_ten(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await house.store.append(CONFIG)
        async with house.scoring():
            await house.append(*declines(0, 9))
        assert await house.incidents() == []
        async with house.scoring():
            await house.append(*declines(9, 10))
        (incident,) = await house.incidents()
        assert (incident.signal, incident.evidence["failed"]) == ("decline_spike", 10)
        async with house.scoring():
            pass
        assert await house.incidents() == [incident]

    in_a_house(tmp_path, story)


def test_what_came_while_the_scorer_was_away_is_read_from_the_log(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await house.store.append(CONFIG)
        await house.append(*declines(0, 10))
        async with house.scoring():
            pass
        (incident,) = await house.incidents()
        assert incident.evidence["failed"] == 10

    in_a_house(tmp_path, story)


def test_what_a_full_mailbox_dropped_is_read_from_the_log(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await house.store.append(CONFIG)
        async with house.scoring(drop_oldest(1)), anyio.create_task_group() as senders:
            for decline in declines(0, 50):
                senders.start_soon(house.append, decline)
        counted = {incident.signal: incident.evidence.get("failed") for incident in await house.incidents()}
        assert counted == {"decline_spike": 50, "card_testing": None}

    in_a_house(tmp_path, story)


def test_a_snapshot_is_saved_now_and_then_and_started_from(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await house.store.append(CONFIG)
        async with house.scoring():
            await house.append(*declines(0, 5))
            await house.clock.sleep(40)
            await house.append(*declines(5, 9))
        mark = await house.store.load_watch()
        assert 0 < mark.snapshot.seq <= mark.cursor
        async with house.scoring():
            await house.append(*declines(9, 10))
        (incident,) = await house.incidents()
        assert incident.evidence["failed"] == 10

    in_a_house(tmp_path, story)


def test_a_crowd_of_tenants_is_saved_at_once_so_that_it_can_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before a snapshot is due: a platform's endpoint tells of thousands of accounts within a minute."""
    monkeypatch.setattr("actors.billing.watch.CROWD", 3)
    monkeypatch.setattr("actors.billing.watch.AWAKE_MAX", 1)

    async def story(house: House) -> None:
        watch = Watch(IncidentBook(Routing()), house.store.shelf)
        async with house.alive(lambda: Scorer(house.store, watch, house.clock, house.woken.extend)):
            project = Projector(bytes(32)).project
            for number in range(40):
                one = charge(number, customer=f"cus_{number}")
                entry = NewEntry(Kind.EVENT, f"acme/acct_{number}", START * SECOND, project(one), event_id=one["id"])
                await house.store.append(entry)
                await house.clock.sleep(0.3)
            with anyio.fail_after(600):
                await house.store.scored((await house.store.status()).last_seq)
        assert sum(bool(tenant.detectors) for tenant in watch.tenants.values()) <= 8
        assert (await house.store.load_watch()).snapshot.seq > 30

    in_a_house(tmp_path, story)


def test_an_entry_that_crashes_the_fold_three_times_is_put_aside_and_told(tmp_path: Path) -> None:
    """The entries around it are all scored, once."""
    poison = {"signal": "made_up", "scope": "", "severity": "no such severity", "title": "", "evidence": {}}

    async def story(house: House) -> None:
        await house.store.append(CONFIG)
        async with house.scoring():
            await house.append(*declines(0, 5))
            await house.store.append(NewEntry(Kind.ALARM, DAEMON, START * SECOND, poison))
            await house.append(*declines(5, 10))
        (letter,) = await house.store.dead_letters()
        assert "no such severity" in letter.error
        assert {incident.signal: incident.evidence.get("failed") for incident in await house.incidents()} == {
            "decline_spike": 10,
            "dead_letter": None,
        }

    in_a_house(tmp_path, story)


def spoil(house: House, sql: str) -> None:
    """What a bad disk does."""
    with closing(sqlite3.connect(house.folder / DATABASE)) as database, database:
        database.execute(sql)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE snapshots SET state = randomblob(200)",
        "UPDATE snapshots SET state = substr(state, 1, length(state) / 2) WHERE part <> 'watch'",
        "UPDATE snapshots SET state = randomblob(9) WHERE part = 'decline_spike'",
        "UPDATE snapshots SET version = version + 1",
        "UPDATE snapshots SET state = CAST('[]' AS BLOB) WHERE part <> 'thin_events'",
    ],
)
def test_a_snapshot_that_cannot_be_read_is_made_again_from_the_log(tmp_path: Path, damage: str) -> None:
    async def story(house: House) -> None:
        await house.store.append(CONFIG)
        async with house.scoring():
            await house.append(*declines(0, 7))
            await house.clock.sleep(40)
            await house.append(*declines(7, 9))
        before = (await house.store.load_watch()).snapshot
        assert before.parts
        spoil(house, damage)
        async with house.scoring():
            pass
        after = (await house.store.load_watch()).snapshot
        assert after.seq >= before.seq
        mine = {part: state for part, state in before.parts.items() if part[1] != "incidents"}
        assert {part: state for part, state in after.parts.items() if part in mine} == mine
        async with house.scoring():
            await house.append(*declines(9, 10))
        (incident,) = await house.incidents()
        assert incident.evidence["failed"] == 10

    in_a_house(tmp_path, story)


def test_what_cannot_be_read_of_a_tenant_at_rest_is_found_when_it_wakes_and_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event is blamed for it."""
    monkeypatch.setattr("actors.billing.watch.AWAKE_MAX", 0)

    async def story(house: House) -> None:
        await house.store.append(CONFIG)
        async with house.scoring():
            await house.append(*declines(0, 7))
            await house.clock.sleep(40)
            await house.append(*declines(7, 9))
            await house.clock.sleep(40)
        spoil(house, "UPDATE snapshots SET state = randomblob(9) WHERE part = 'decline_spike'")
        async with house.scoring():
            await house.append(*declines(9, 10))
        (incident,) = await house.incidents()
        assert incident.evidence["failed"] == 10
        assert await house.store.dead_letters() == []

    in_a_house(tmp_path, story)


def test_an_entry_whose_bytes_are_damaged_is_a_dead_letter_at_once(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await house.store.append(CONFIG)
        await house.append(*declines(0, 9))
        spoil(house, "UPDATE log SET data = randomblob(50) WHERE seq = 3")
        async with house.scoring():
            await house.append(*declines(9, 11))
        counted = {incident.signal: incident.evidence.get("failed") for incident in await house.incidents()}
        assert counted == {"decline_spike": 10, "dead_letter": None}
        (letter,) = await house.store.dead_letters()
        assert (letter.seq, letter.error.partition(":")[0]) == (3, "its data cannot be read")
        rows = await house.store.events(tenant=None, since=None, after=0, limit=100)
        assert len(rows) == 10
        assert not await house.store.revive(letter.id, house.clock.now())
        async with house.scoring():
            pass
        assert len(await house.store.dead_letters()) == 1

    in_a_house(tmp_path, story)


def test_findings_wait_while_the_store_is_away(tmp_path: Path) -> None:
    away = False

    def on_write(when: str) -> None:
        if away and when == "before":
            raise sqlite3.OperationalError("database or disk is full")

    async def story(house: House) -> None:
        nonlocal away
        await house.append(charge(0), charge(60))
        away = True
        async with house.alive(house.scorer):
            await house.clock.sleep(20)
            assert await house.incidents() == []
            away = False
            await house.store.scored(2)
        assert len(await house.incidents()) == 1

    in_a_house(tmp_path, story, on_write)


def test_what_waited_by_a_clock_that_was_ahead_waits_no_longer_than_it_had_to(tmp_path: Path) -> None:
    """Retried in an hour, says a clock three days ahead; then it is set right."""
    now, ahead = START * SECOND, (START + 3 * 86_400) * SECOND

    async def story(house: House) -> None:
        async with house.scoring():
            await house.store.append(NewEntry(Kind.TICK, DAEMON, ahead, {}))
            await house.store.enqueue([notification("late", not_before=ahead)])
            (row,) = await house.store.due("ops", ahead, 10)
            again = ahead + 3600 * SECOND
            await house.store.settle(row.id, Delivery.PENDING, attempts=1, at=ahead, not_before=again)
            await house.store.append(NewEntry(Kind.TICK, DAEMON, now, {}))
        assert {incident.signal for incident in await house.incidents()} == {"clock_drift"}
        assert [row.key for row in await house.store.due("ops", now + 3600 * SECOND, 10) if row.id == 1] == ["late"]
        assert await house.store.next_due("ops") == now

    in_a_house(tmp_path, story)


def test_a_minute_is_written_down_at_each_full_minute(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        async with house.alive(lambda: Ticker(house.store, house.clock)):
            await house.clock.sleep(100)
        ticks = [entry.at for entry in await house.store.read_log(0, 10) if entry.kind is Kind.TICK]
        first = (START // 60 + 1) * 60
        assert ticks == [first * SECOND, (first + 60) * SECOND]

    in_a_house(tmp_path, story)


class SuspendedClock(ScaledClock):
    """Of a machine that slept: time goes on, nobody notices."""

    slept_s = 0

    def now(self) -> int:
        return super().now() + self.slept_s * SECOND


def test_minutes_slept_through_are_one_tick(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.clock = clock = SuspendedClock(START * SECOND)
        async with house.alive(lambda: Ticker(house.store, clock)):
            await clock.sleep(60)
            clock.slept_s = 3600
            await clock.sleep(60)
        first, second = (entry.at for entry in await house.store.read_log(0, 10) if entry.kind is Kind.TICK)
        assert second - first == 3660 * SECOND

    in_a_house(tmp_path, story)


def test_the_stored_log_read_again_gives_every_incident_as_people_were_told_of_it(tmp_path: Path) -> None:
    """Events, ticks, thresholds and operators' words are all in the log: a replay of it is the life itself."""

    async def story(house: House) -> None:
        await house.store.append(CONFIG)
        async with house.scoring():
            await house.append(charge(0), charge(60), *declines(100, 112))
        duplicate = next(one for one in await house.incidents() if one.signal == "duplicate_charge")
        words = {"incident": duplicate.id, "command": "ack"}, {"incident": duplicate.id, "command": "false_positive"}
        at = START * SECOND
        async with house.scoring():  # another life
            await house.store.append(NewEntry(Kind.COMMAND, "acme", at + 200 * SECOND, words[0]))
            await house.store.append(NewEntry(Kind.CONFIG, "acme", at + 300 * SECOND, {"customer_decline_count": 2}))
            await house.append(charge(310, failed=True, customer="cus_7"), charge(320, failed=True, customer="cus_7"))
            await house.store.append(NewEntry(Kind.COMMAND, "acme", at + 400 * SECOND, words[1]))
            for minute in range(10, 200, 5):
                await house.store.append(NewEntry(Kind.TICK, DAEMON, at + minute * 60 * SECOND, {}))
        told = {one.id: one for one in await house.incidents()}
        assert {one.signal for one in told.values()} == {"duplicate_charge", "decline_spike"}
        assert told[duplicate.id].false_positive
        again = Watch(IncidentBook(Routing((Route("ops"),))))
        found: dict[str, Incident] = {}
        for entry in await house.store.read_log(0, 1_000):
            again.apply(entry)
            found |= {one.id: one for one in again.drain().incidents}
        assert found == told

    in_a_house(tmp_path, story)
