"""What the watch commits is one transaction, and committing it again changes nothing."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.store.driver import InlineDriver
from actors.store.records import Delivery, Severity, Snapshot, State
from actors.store.store import SqliteStore
from tests.simulation.loop import run_virtual
from tests.store.running import NOON, event, found, incident, notification, running, tick

MINUTE = 60_000_000


async def stocked(store: SqliteStore, entries: int = 9) -> None:
    for n in range(entries):
        await store.append(event(f"evt_{n + 1}"))


async def test_findings_come_back_as_they_were_committed_also_after_a_restart(tmp_path: Path) -> None:
    opened = incident(evidence={"observed": 14, "links": ["https://example.com/é"]}, event_ids=("evt_1", "evt_2"))
    closed = incident(
        "inc_2", opened=NOON + 1, state=State.RESOLVED, severity=Severity.INFO, resolved=NOON + 9, acked=NOON + 3,
        snoozed_until=NOON + 5, notified=NOON + 2, reminders=2, revision=4, scope="cus_1", false_positive=True,
    )  # fmt: skip
    parts = {("acme", "decline_spike"): (1, b"\x00state"), ("", "book"): (2, b"")}
    async with running(tmp_path) as store:
        await stocked(store)
        await store.commit_findings(found(8, incidents=(opened, closed), snapshot=Snapshot(7, parts)))
    async with running(tmp_path) as store:
        assert await store.incidents(tenant=None) == [opened, closed]
        assert await store.incidents(tenant="acme", state="resolved") == [closed]
        assert await store.incidents(tenant="other") == []
        assert await store.incidents(tenant=None, limit=1) == [closed]
        assert await store.incident("inc_2", tenant=None) == closed
        assert await store.incident("inc_3", tenant=None) is None
        watermark = await store.load_watch()
        assert (watermark.cursor, watermark.snapshot) == (8, Snapshot(7, parts))
        assert watermark.open_incidents == (opened,)


async def test_a_snapshot_keeps_the_parts_it_does_not_name(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await stocked(store)
        await store.commit_findings(
            found(2, snapshot=Snapshot(2, {("acme", "a"): (1, b"a2"), ("acme", "b"): (1, b"b2")}))
        )
        await store.commit_findings(found(5, snapshot=Snapshot(5, {("acme", "b"): (2, b"b5")})))
        snapshot = (await store.load_watch()).snapshot
        assert snapshot == Snapshot(5, {("acme", "a"): (1, b"a2"), ("acme", "b"): (2, b"b5")})


async def test_committing_the_same_findings_twice_is_committing_them_once(tmp_path: Path) -> None:
    """After a commit of unknown outcome the scorer comes again."""
    findings = found(
        3,
        incidents=(incident(),),
        notifications=(notification("k", "inc_1"),),
        scores={1: 0.25, 2: 0.5},
        flagged=frozenset({2, 3}),
        snapshot=Snapshot(3, {("acme", "a"): (1, b"a")}),
    )
    async with running(tmp_path) as store:
        await stocked(store, 3)
        await store.commit_findings(findings)
        await store.settle(1, Delivery.DELIVERED, attempts=1, at=NOON)
        await store.commit_findings(findings)
        assert await store.due("ops", NOON, 9) == []
        assert (await store.status()).notifications["delivered"] == 1
        assert await store.incidents(tenant=None) == [incident()]
        listed = await store.events(tenant=None, since=None, after=0, limit=9)
        assert [(row.anomaly_score, row.flagged) for row in listed] == [(0.25, False), (0.5, True), (0.0, True)]


async def test_the_cursor_never_goes_back_and_late_findings_leave_no_trace(tmp_path: Path) -> None:
    """A scorer that was thought dead cannot undo what its successor has committed."""
    async with running(tmp_path) as store:
        await stocked(store)
        await store.commit_findings(found(6))
        with pytest.raises(ValueError, match="come too late"):
            await store.commit_findings(found(5, incidents=(incident(),)))
        assert await store.incidents(tenant=None) == []
        assert (await store.load_watch()).cursor == 6


async def test_an_older_revision_of_an_incident_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    newer = incident(revision=3, title="newer")
    async with running(tmp_path) as store:
        await store.commit_findings(found(0, incidents=(newer,)))
        await store.commit_findings(found(0, incidents=(incident(revision=2, title="older"),)))
        assert await store.incident("inc_1", tenant=None) == newer


async def test_an_incident_is_marked_false_positive_and_the_next_one_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        first = incident(state=State.RESOLVED)
        await store.commit_findings(found(0, incidents=(first,)))
        await store.commit_findings(
            found(0, false_positives=("inc_1",), incidents=(incident("inc_2", opened=NOON + 1),))
        )
        assert [one.false_positive for one in await store.incidents(tenant=None)] == [True, False]


async def test_scored_returns_when_the_watch_has_come_so_far(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await stocked(store, 2)
        waiting = store.scored(2)
        waiting.send(None)
        await store.commit_findings(found(1))
        await store.commit_findings(found(2))
        with pytest.raises(StopIteration):
            waiting.send(None)
        await store.scored(2)
    async with running(tmp_path) as store:
        await store.scored(2)


async def test_due_gives_the_oldest_first_once_their_time_has_come(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.enqueue([notification("later", not_before=NOON + 9), notification("a"), notification("b")])
        await store.enqueue([notification("a"), notification("elsewhere", channel="slack")])
        assert [one.key for one in await store.due("ops", NOON, 9)] == ["a", "b"]
        assert [one.key for one in await store.due("ops", NOON + 9, 2)] == ["later", "a"]
        assert await store.next_due("ops") == NOON
        assert await store.next_due("nowhere") is None
        (a, b) = await store.due("ops", NOON, 9)
        await store.settle(a.id, Delivery.DELIVERED, attempts=1, at=NOON)
        await store.settle(b.id, Delivery.PENDING, attempts=1, at=NOON, not_before=NOON + 20, error="HTTP 500")
        assert await store.next_due("ops") == NOON + 9
        (_, retried) = await store.due("ops", NOON + 20, 9)
        assert (retried.key, retried.attempts, retried.error, retried.payload) == ("b", 1, "HTTP 500", dict(b.payload))
        assert isinstance(retried.severity, Severity)


async def test_a_notification_waits_for_the_earlier_one_of_its_incident_that_is_being_retried(tmp_path: Path) -> None:
    """One that is merely held back (quiet hours) blocks nothing; nor does another incident or channel."""
    async with running(tmp_path) as store:
        await store.commit_findings(found(0, incidents=(incident("inc_1"), incident("inc_2"))))
        sent = [notification("open", "inc_1"), notification("over", "inc_1", not_before=NOON + MINUTE)]
        await store.enqueue([*sent, notification("other", "inc_2"), notification("slack", "inc_1", channel="slack")])
        await store.settle(1, Delivery.PENDING, attempts=1, at=NOON, not_before=NOON + 5 * MINUTE)
        assert [one.key for one in await store.due("ops", NOON + 2 * MINUTE, 9)] == ["other"]
        assert [one.key for one in await store.due("slack", NOON + 2 * MINUTE, 9)] == ["slack"]
        await store.settle(3, Delivery.DELIVERED, attempts=1, at=NOON)
        assert await store.next_due("ops") == NOON + 5 * MINUTE
        assert [one.key for one in await store.due("ops", NOON + 5 * MINUTE, 9)] == ["open", "over"]


async def test_what_was_delivered_stays_delivered(tmp_path: Path) -> None:
    """A late report of a failure cannot send it again."""
    async with running(tmp_path) as store:
        await store.enqueue([notification("a")])
        await store.settle(1, Delivery.DELIVERED, attempts=1, at=NOON)
        await store.settle(1, Delivery.PENDING, attempts=2, at=NOON)
        assert await store.due("ops", NOON, 9) == []


async def test_the_third_crash_over_an_entry_makes_it_a_dead_letter_that_folds_skip(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await stocked(store, 3)
        assert [await store.count_crash("scorer", 2, f"crash {n}", NOON + n) for n in range(2)] == [1, 2]
        assert await store.dead_letters() == []
    async with running(tmp_path) as store:
        assert [await store.count_crash("scorer", 2, f"crash {n}", NOON + n) for n in range(2, 4)] == [3, 4]
        (letter,) = await store.dead_letters()
        assert (letter.actor, letter.seq, letter.error, letter.replayed) == ("scorer", 2, "crash 2", None)
        assert (await store.load_watch()).skipped == {2}


async def test_a_revived_entry_is_read_once_more_under_a_new_seq_and_listed_once(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await stocked(store, 3)
        for _ in range(3):
            await store.count_crash("scorer", 2, "boom", NOON)
        assert await store.revive(1, NOON + 5)
        assert not await store.revive(1, NOON + 6)
        assert not await store.revive(9, NOON + 6)
        assert [(one.seq, one.at, one.data["id"]) for one in await store.read_log(3, 9)] == [(4, NOON + 5, "evt_2")]
        assert [row.id for row in await store.events(tenant=None, since=None, after=0, limit=9)] == [
            "evt_1",
            "evt_3",
            "evt_2",
        ]
        assert (await store.append(event("evt_2"))) == replace(await store.append(event("evt_2")), seq=2)
        assert (await store.status()).stored == 3
        assert (await store.dead_letters())[0].replayed == NOON + 5


@given(
    steps=st.lists(st.one_of(st.just("append"), st.just("tick"), st.integers(0, 3)), max_size=25),
    crash=st.integers(0, 25),
)
@settings(max_examples=30)
def test_a_restart_at_any_point_finds_cursor_snapshot_and_tail_that_make_the_same_state(
    steps: list[str | int], crash: int
) -> None:
    """The state here is the list of everything read; snapshot plus tail is the whole fold."""

    async def play(data_dir: Path, todo: list[str | int]) -> None:
        async with running(data_dir, driver=InlineDriver()) as store:
            watermark = await store.load_watch()
            state = watermark.snapshot.parts.get(("", "seen"), (1, b""))[1]
            state += bytes(
                one.seq for one in await store.read_log(watermark.snapshot.seq, 999) if one.seq <= watermark.cursor
            )
            assert state == bytes(range(1, watermark.cursor + 1))
            for step in todo:
                if isinstance(step, str):
                    await store.append(event(f"evt_{len(state)}") if step == "append" else tick())
                    continue
                entries = await store.read_log(len(state), step)
                state += bytes(one.seq for one in entries)
                snapshot = Snapshot(len(state), {("", "seen"): (1, state)}) if step % 2 else None
                await store.commit_findings(found(len(state), snapshot=snapshot))

    with TemporaryDirectory() as folder:
        for todo in (steps[:crash], steps[crash:], []):
            run_virtual(partial(play, Path(folder), todo))
