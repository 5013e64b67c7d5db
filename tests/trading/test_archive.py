"""The feed's bars are in the column store after the night, whatever happened in it."""

import datetime as dt
import subprocess
import sys
from array import array
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

from actors.store.desk_records import COLUMNS, BarBlock, DeskKind, Gap, NewDeskEntry
from actors.trading.archive import Archive, move_bars, next_time, series_of
from actors.trading.ports import SplitDay, Unreachable
from strategies.adjustments import Action
from strategies.bar_columns import NAMES
from strategies.bar_store import BarStore
from strategies.sessions import DAY
from strategies.stored_bars import read_store
from tests.store.running import NOON, running
from tests.trading.archiving_process import MINUTE
from tests.trading.scripted import OPEN, SYMBOLS, ScriptedMarket


def block(time: int, prices: dict[str, int], *, timeframe: int = MINUTE, feed: str = "iex") -> BarBlock:
    """Bars whose every number is the price."""
    columns = (array("q", prices.values()) for _ in COLUMNS)
    return BarBlock(feed, "stream", timeframe, time, tuple(prices), *columns)


def entry(data: BarBlock | Gap, kind: DeskKind = DeskKind.BLOCK) -> NewDeskEntry:
    return NewDeskEntry(kind, NOON, data)


async def test_blocks_and_revisions_are_moved_once_and_the_last_word_on_a_bar_counts(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "bars")
    async with running(tmp_path) as log:
        await log.desk.append(
            [
                entry(block(NOON, {"A": 1, "B": 2})),
                entry(Gap("iex", MINUTE, NOON, NOON + MINUTE, "the stream was down"), DeskKind.GAP),
                entry(block(NOON + MINUTE, {"B": 4})),
                entry(block(NOON, {"A": 3}), DeskKind.REVISION),
                entry(block(NOON, {"A": 7}, timeframe=120 * MINUTE)),
            ]
        )
        assert await move_bars(log.desk, store, MINUTE) == 3
        assert (await log.desk.load("archive")).cursor == 5
        bars = read_store(store)
        assert (bars.symbols, bars.feed, bars.times.tolist()) == (("A", "B"), "iex", [NOON, NOON + MINUTE])
        assert bars.close.tolist() == [[3, 2], [3, 4]]
        assert bars.present.tolist() == [[True, True], [False, True]]
        await log.desk.append([NewDeskEntry(10, NOON, {"an": "intent"})])
        assert await move_bars(log.desk, store, MINUTE) == 0
        assert (await log.desk.load("archive")).cursor == 6
        assert store.manifest().generation == 1


async def test_the_bars_of_two_feeds_are_kept_apart(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "bars")
    async with running(tmp_path) as log:
        await log.desk.append([entry(block(NOON, {"A": 1})), entry(block(NOON + MINUTE, {"A": 2}, feed="sip"))])
        await move_bars(log.desk, store, MINUTE)
    assert read_store(store, feed="iex").close.tolist() == [[1]]
    assert read_store(store, feed="sip").close.tolist() == [[2]]


class Morning(Exception):
    """The story is over."""


class Nights:
    """A clock whose sleepers wake at once, so many times; then it is morning."""

    def __init__(self, now: int, nights: int) -> None:
        self._now, self._left = now, nights

    def now(self) -> int:
        return self._now

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self._now + round(seconds * 1_000_000))

    async def sleep_until(self, at: int) -> None:
        if not self._left:
            raise Morning
        self._left -= 1
        self._now = at


class SlowToAnswer(ScriptedMarket):
    """Of splits, too, it says nothing while there are troubles."""

    async def splits(self, symbols: Collection[str], first: str, last: str) -> list[SplitDay]:
        if self.troubles:
            raise self.troubles.pop(0)
        return await super().splits(symbols, first, last)


async def test_a_night_brings_bars_and_splits_and_what_is_old_and_needed_by_nobody_goes(tmp_path: Path) -> None:
    """Also when the market gives no answer at first. A split that the owner has told of stays as it was told."""
    bars, market = BarStore(tmp_path / "bars"), SlowToAnswer()
    told = Action("MSFT", dt.date(2026, 9, 25), 2.0, 0.5)
    bars.add_actions([told])
    market.split_days = [SplitDay("AAPL", "2026-09-28", 4.0), SplitDay("MSFT", "2026-09-25", 2.0)]
    market.troubles = [Unreachable("not now")]
    old = NewDeskEntry(DeskKind.BLOCK, OPEN - 40 * DAY, block(OPEN - 40 * DAY, {"AAPL": 9}))
    async with running(tmp_path) as log:
        await log.desk.append([old, NewDeskEntry(DeskKind.BLOCK, OPEN, block(OPEN, {"AAPL": 5}))])
        archive = Archive(log.desk, bars, Nights(OPEN, 2), market, SYMBOLS)
        with pytest.raises(Morning):
            await archive.run()
        assert [entry.seq for entry in await log.desk.read(0, 10)] == [2]
    assert read_store(bars).close.tolist() == [[9], [5]]
    assert bars.actions() == [Action("AAPL", dt.date(2026, 9, 28), 4.0), told]
    assert market.troubles == []


async def test_bars_wait_until_it_is_known_which_splits_they_come_after(tmp_path: Path) -> None:
    bars, market = BarStore(tmp_path / "bars"), SlowToAnswer()
    market.troubles = [Unreachable("not now") for _ in range(9)]
    async with running(tmp_path) as log:
        await log.desk.append([NewDeskEntry(DeskKind.BLOCK, OPEN, block(OPEN, {"AAPL": 5}))])
        with pytest.raises(Morning):
            await Archive(log.desk, bars, Nights(OPEN, 3), market, SYMBOLS).run()
    assert len(market.troubles) < 9
    assert bars.manifest().parts == ()


@pytest.mark.parametrize("seed", range(4))
async def test_killed_while_moving_it_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    """A real process appends and moves; it is killed in three nights, and the next move completes the store."""
    moves = np.random.default_rng(seed).integers(1, 12, 3)
    for night, count in enumerate(moves):
        with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here
            [sys.executable, "-m", "tests.trading.archiving_process", str(tmp_path), str(seed * 10 + night)],
            stdout=subprocess.PIPE,
            text=True,
        ) as mover:
            assert mover.stdout
            for _ in range(1 + count):
                assert mover.stdout.readline()
            mover.kill()
    store = BarStore(tmp_path / "bars")
    async with running(tmp_path) as log:
        blocks = [one.data for one in await log.desk.read(0, 100_000) if isinstance(one.data, BarBlock)]
        seen = store.opened("iex", MINUTE)
        expected = series_of(blocks)
        for (
            symbol
        ) in seen.symbols:  # what a move has left behind is a prefix, with nothing in it that is not in the log
            assert set(seen.series(symbol).time) <= set(expected[symbol].time)
        await move_bars(log.desk, store, MINUTE)
    moved = store.opened("iex", MINUTE)
    assert moved.symbols == sorted(expected)
    assert len(moved.parts) >= 2
    for symbol, series in expected.items():
        for name in NAMES:
            np.testing.assert_array_equal(getattr(moved.series(symbol), name), getattr(series, name))


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2024-01-10T05:59", "2024-01-10T06:00"),
        ("2024-01-10T06:00", "2024-01-11T06:00"),
        ("2024-07-10T04:30", "2024-07-10T05:00"),
        ("2024-07-10T20:00", "2024-07-11T05:00"),
    ],
)
def test_bars_are_moved_at_one_in_the_morning_in_new_york(now: str, then: str) -> None:
    moments = [int(np.datetime64(text, "us").astype(np.int64)) for text in (now, then)]
    assert next_time(moments[0]) == moments[1]
