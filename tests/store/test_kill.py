"""Killed at any moment, the store keeps every event it has acknowledged, once."""

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from actors.store.premises import DATABASE
from tests.store.running import event, running

ROUNDS = 5
ACKNOWLEDGED = 400


async def test_killed_five_times_while_writing_it_has_every_acknowledged_event_once(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for run in range(ROUNDS):
        with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here
            [sys.executable, "-m", "tests.store.writer_process", str(tmp_path), str(run)],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout
            acknowledged += [writer.stdout.readline().strip() for _ in range(ACKNOWLEDGED + 37 * run)]
            writer.kill()
            # What it still said before it died counts, too; only a line cut short does not.
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute(
            "SELECT count(*) FROM log WHERE seq NOT IN (SELECT seq FROM event_keys)"
        ).fetchone() == (0,)
    async with running(tmp_path) as store:
        ids = Counter(entry.data["id"] for entry in await store.read_log(0, 1_000_000))
        assert len(acknowledged) >= ROUNDS * ACKNOWLEDGED
        assert set(acknowledged) <= ids.keys()
        assert set(ids.values()) == {1}
        assert (await store.status()).stored == len(ids)
        assert (await store.append(event(acknowledged[0]))).duplicate
