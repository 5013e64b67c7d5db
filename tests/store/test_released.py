"""The database of every released schema is opened, upgraded and read by today's code."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.store import schema
from actors.store.premises import DATABASE
from tests.store.release import RELEASED, contents
from tests.store.running import event, running

FROZEN = sorted(RELEASED.glob("schema_*.sql"))


@pytest.fixture(params=FROZEN, ids=lambda path: path.stem)
def released(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any]:
    """A data directory as an older nightdesk left it, and what that one read from it."""
    dump: Path = request.param
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.executescript(dump.read_text())
    return tmp_path, json.loads(dump.with_suffix(".json").read_text())


def kept(then: Any, now: Any) -> bool:
    """All of `then` is in `now`; objects may have gained keys since."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and kept(value, now[key]) for key, value in then.items())
    if isinstance(then, list):
        return isinstance(now, list) and len(then) == len(now) and all(map(kept, then, now))
    return bool(then == now)


def test_every_schema_is_frozen() -> None:
    """A migration comes with a database of the schema it leads to: python -m tests.store.release."""
    assert {int(path.stem.removeprefix("schema_")) for path in FROZEN} == set(schema.migrations())


async def test_an_upgrade_keeps_everything(released: tuple[Path, Any]) -> None:
    """Also at the next start, when nothing is left to upgrade."""
    data_dir, then = released
    for _ in range(2):
        async with running(data_dir) as store:
            now = await contents(store)
        for part, value in then.items():
            assert kept(value, now[part]), (part, value, now[part])


async def test_an_upgraded_database_goes_on(released: tuple[Path, Any]) -> None:
    """It still knows every event, and counts on from the newest."""
    data_dir, then = released
    async with running(data_dir) as store:
        known = then["events"][0]
        assert (await store.append(event(known["id"], tenant=known["tenant"]))).duplicate
        assert (await store.append(event("evt_new"))).seq == then["log"][-1]["seq"] + 1


@pytest.mark.parametrize("dump", FROZEN, ids=lambda path: path.stem)
def test_the_frozen_schema_is_what_its_migrations_make(dump: Path, tmp_path: Path) -> None:
    """A released migration is never edited: the databases that it has made are out there."""
    number = int(dump.stem.removeprefix("schema_"))
    with closing(sqlite3.connect(tmp_path / "frozen.db")) as frozen, closing(sqlite3.connect(":memory:")) as made:
        frozen.executescript(dump.read_text())
        for version, script in schema.migrations().items():
            if version <= number:
                made.executescript(script)
        assert statements(frozen) == statements(made)


def statements(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name")
    return [re.sub(r"\s+", " ", sql) for (sql,) in rows]
