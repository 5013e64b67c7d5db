"""Whatever fails and whenever the process dies: nothing is lost, nothing opens twice, and the log explains it all."""

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from actors.alerts.messages import rfc3339
from actors.billing.watch import Watch
from actors.store.records import Incident
from tests.simulation.loop import run_virtual, seeds
from tests.simulation.world import CHANNELS, World, book, reopened

SEEDS_IN_CI = 50


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: here processes are killed, not power supplies, so fsync proves nothing."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.mark.parametrize("seed", seeds(SEEDS_IN_CI))
def test_a_night_of_faults_ends_as_if_nothing_had_failed(seed: int, folder: Path) -> None:
    world = World(seed, folder)
    try:
        world.live_through()
        _check(world)
    except BaseException as error:
        error.add_note(f"{world.deaths} deaths, faults: {dict(world.faults.met)}")
        error.add_note(f"replay this seed with: make simulate SEED={seed}")
        raise


def _check(world: World) -> None:
    store = run_virtual(lambda: reopened(world))
    planned = {event["id"] for event in world.events}
    assert world.acknowledged == planned
    assert Counter(row.id for row in store.events) == Counter(planned)
    assert store.dead_letters == []

    unbroken = Watch(book())
    expected: dict[str, Incident] = {}
    for entry in store.log:
        unbroken.apply(entry)
        expected |= {incident.id: incident for incident in unbroken.drain().incidents}
    assert {incident.id: incident for incident in store.incidents} == expected

    promised = Counter((channel, key) for channel, key in store.outbox)
    taken = Counter(world.taken)
    assert taken.keys() == promised.keys()
    about_incidents = {(channel, key) for channel, key in promised if not key.startswith("digest.")}
    assert _owed(store.incidents) == {(channel, key.split(".")[0]) for channel, key in about_incidents}
    for channel, digests in store.digests.items():
        _check_digests(channel, digests, store.incidents)
    for order in _by_incident(world.taken).values():
        assert order == sorted(order)
    with closing(sqlite3.connect(world.folder / "nightdesk.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _check_digests(channel: str, digests: list[dict[str, Any]], incidents: list[Incident]) -> None:
    """Periods follow on each other; each incident opens in one and ends in one, but for those after the last."""
    periods = [(one["since"], one["until"]) for one in digests]
    assert all(since < until for since, until in periods)
    assert all(before[1] <= after[0] for before, after in pairwise(periods))
    opened = [incident["id"] for one in digests for incident in one["opened"]]
    ended = [incident["id"] for one in digests for incident in one["ended"]]
    assert len(set(opened)) == len(opened)
    assert len(set(ended)) == len(ended)
    untold = {one.id for one in incidents if (one.signal, one.scope) != ("channel_failed", channel)} - {*opened}
    last = max((until for _, until in periods), default="")
    assert all(rfc3339(one.opened) > last for one in incidents if one.id in untold)


def _owed(incidents: list[Incident]) -> set[tuple[str, str]]:
    """Every channel hears of every incident, but for its own failure."""
    return {
        (channel, incident.id)
        for incident in incidents
        for channel in CHANNELS
        if (incident.signal, incident.scope) != ("channel_failed", channel)
    }


def _by_incident(taken: list[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
    """The revisions of each incident in the order in which a channel first took them."""
    orders: dict[tuple[str, str], list[int]] = {}
    for channel, key in dict.fromkeys(taken):
        if key.startswith("digest."):
            continue
        incident, revision, *_ = key.split(".")
        orders.setdefault((channel, incident), []).append(int(revision))
    return orders
