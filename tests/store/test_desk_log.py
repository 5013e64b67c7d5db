"""What the trading desk is told is on disk before anyone hears of it, and is read again as it was."""

import sqlite3
from array import array
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from actors.kernel.mailbox import reject
from actors.store.desk_log import Known, pack, unpack
from actors.store.desk_records import COLUMNS, BarBlock, DeskCommitted, DeskEntry, DeskKind, DeskMark, Gap, NewDeskEntry
from actors.store.premises import DATABASE
from tests.store.running import NOON, running

MINUTE = 60_000_000
FILL = 10

WHOLE = st.integers(-(2**63), 2**63 - 1)


def block(time: int = NOON, symbols: Sequence[str] = ("AAPL", "MSFT"), *, first: int = 1_000_000) -> BarBlock:
    """Bars whose every number is another, from `first` on."""
    columns = {
        name: array("q", range(first + 100 * n, first + 100 * n + len(symbols))) for n, name in enumerate(COLUMNS)
    }
    return BarBlock("iex", "stream", MINUTE, time, tuple(symbols), **columns)


def bars(block: BarBlock, kind: DeskKind = DeskKind.BLOCK) -> NewDeskEntry:
    return NewDeskEntry(kind, block.time + MINUTE, block)


def fill(number: int, *, key: str = "") -> NewDeskEntry:
    return NewDeskEntry(FILL, NOON, {"execution": number}, key)


@given(st.data())
def test_every_block_is_read_as_it_was_written(data: Any) -> None:
    symbols = data.draw(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=5))
    column = st.lists(WHOLE, min_size=len(symbols), max_size=len(symbols)).map(lambda values: array("q", values))
    columns = {name: data.draw(column) for name in COLUMNS}
    written = BarBlock("sip", "rest", MINUTE, data.draw(WHOLE), tuple(symbols), **columns)
    assert unpack(DeskKind.BLOCK, pack(written)) == written


@pytest.mark.parametrize("symbols", [(), ("AAPL",)])
def test_every_gap_is_read_as_it_was_written(symbols: tuple[str, ...]) -> None:
    written = Gap("iex", MINUTE, NOON, NOON + 5 * MINUTE, "the stream was down", symbols)
    assert unpack(DeskKind.GAP, pack(written)) == written


async def test_inputs_of_all_kinds_share_one_order_also_after_a_restart(tmp_path: Path) -> None:
    gap = Gap("iex", MINUTE, NOON, NOON + MINUTE, "reconnected")
    inputs = [bars(block()), fill(1), NewDeskEntry(DeskKind.GAP, NOON, gap), fill(2)]
    async with running(tmp_path) as store:
        assert [await store.desk.append([entry]) for entry in inputs] == [1, 2, 3, 4]
    written = [DeskEntry(n, entry.kind, entry.at, entry.data) for n, entry in enumerate(inputs, 1)]
    async with running(tmp_path) as store:
        assert await store.desk.read(0, 10) == written
        assert await store.desk.read(1, 1) == written[1:2]
        assert await store.desk.read(0, 10, kinds=[FILL]) == [written[1], written[3]]


async def test_followers_hear_of_what_is_on_disk_also_when_its_sender_went_away(tmp_path: Path) -> None:
    reader = reject(8)
    async with running(tmp_path) as store:
        store.desk.follow(reader)
        store.desk.follow(reader)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.desk.append, [bars(block()), fill(1)])
            await checkpoint()
            tasks.cancel_scope.cancel()
        [told] = await reader.take(8)
        assert isinstance(told, DeskCommitted)
        assert list(told.entries) == await store.desk.read(0, 10)
        assert (told.last, reader.depth) == (2, 0)
        store.desk.unfollow(reader)
        await store.desk.append([fill(2)])
        assert reader.depth == 0


async def test_of_inputs_appended_together_all_are_kept_or_none(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        with pytest.raises(TypeError):
            await store.desk.append([fill(1), NewDeskEntry(FILL, NOON, {"not JSON": {1}})])
        assert await store.desk.read(0, 10) == []


@pytest.mark.parametrize(
    "wrong",
    [
        NewDeskEntry(FILL, NOON, block()),
        NewDeskEntry(DeskKind.BLOCK, NOON, {"a": 1}),
        NewDeskEntry(DeskKind.GAP, NOON, block()),
        bars(block(symbols=("AAPL", "AAPL"))),
        bars(BarBlock("iex", "stream", MINUTE, NOON, ("AAPL",), *[array("q")] * len(COLUMNS))),
    ],
)
async def test_what_is_not_what_its_kind_says_is_refused(tmp_path: Path, wrong: NewDeskEntry) -> None:
    async with running(tmp_path) as store:
        with pytest.raises(ValueError, match=r"no |a block"):
            await store.desk.append([wrong])
        assert await store.desk.last_seq() == 0


async def test_bars_are_found_by_the_time_they_start_at_in_the_order_of_commitment(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        first, later = bars(block(NOON)), bars(block(NOON + MINUTE))
        revised = bars(block(NOON, ["AAPL"], first=2_000_000), DeskKind.REVISION)
        await store.desk.append([first, fill(1), later, revised])
        found = await store.desk.bars(NOON, NOON + MINUTE)
        assert [entry.data for entry in found] == [first.data, revised.data]
        assert [entry.seq for entry in found] == [1, 4]


async def test_what_is_said_twice_is_in_the_log_once_and_takes_nothing_along(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.desk.append([fill(1, key="execution 1"), fill(2)])
        with pytest.raises(Known, match="execution 1"):
            await store.desk.append([fill(3, key="execution 3"), fill(1, key="execution 1")], cursor=("broker", 2))
        assert len(await store.desk.read(0, 10)) == 2
        assert (await store.desk.load("broker")).cursor == 0
        assert await store.desk.append([fill(3, key="execution 3")]) == 3


async def test_a_reader_finds_its_cursor_and_state_as_of_the_inputs_it_wrote_with_them(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        assert await store.desk.load("runner") == DeskMark(0, 0, {})
        await store.desk.append([fill(1)], cursor=("runner", 0), parts={"book": (1, b"one"), "strategy": (3, b"s")})
        await store.desk.append([], cursor=("runner", 1))
        await store.desk.append([], cursor=("broker", 1), parts={"orders": (1, b"another's")})
    async with running(tmp_path) as store:
        assert await store.desk.load("runner") == DeskMark(1, 0, {"book": (1, b"one"), "strategy": (3, b"s")})
        await store.desk.append([], cursor=("runner", 1), parts={"book": (2, b"two")})
        assert await store.desk.load("runner") == DeskMark(1, 1, {"book": (2, b"two"), "strategy": (3, b"s")})
        with pytest.raises(ValueError, match="go back"):
            await store.desk.append([fill(2)], cursor=("runner", 0))
        with pytest.raises(ValueError, match="as of"):
            await store.desk.append([fill(2)], parts={"book": (2, b"")})
        assert await store.desk.last_seq() == 1


async def test_what_a_reader_may_need_stays_and_a_seq_is_never_used_again(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.desk.append([fill(n) for n in range(1, 6)])
        assert await store.desk.prune(NOON + 1, 100) == 0
        await store.desk.append([], cursor=("book", 2), parts={"all": (1, b"")})
        await store.desk.append([], cursor=("book", 5))
        await store.desk.append([], cursor=("archive", 3))
        assert await store.desk.prune(NOON, 100) == 0
        assert await store.desk.prune(NOON + 1, 1) == 1
        assert await store.desk.prune(NOON + 1, 100) == 1
        await store.desk.append([], cursor=("book", 5), parts={"all": (1, b"")})
        assert await store.desk.prune(NOON + 1, 100) == 1
        await store.desk.append([], cursor=("archive", 5))
        assert await store.desk.prune(NOON + 1, 100) == 2
    async with running(tmp_path) as store:
        assert await store.desk.append([fill(6)]) == 6
        assert (await store.desk.last_seq(), (await store.desk.load("book")).cursor) == (6, 5)


async def test_a_damaged_row_says_so_and_hides_no_other(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.desk.append([fill(1), fill(2)])
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("UPDATE desk_log SET data = x'00' WHERE seq = 1")
        connection.commit()
    async with running(tmp_path) as store:
        first, second = await store.desk.read(0, 10)
        assert first.damage
        assert (first.data, second.damage, second.data) == ({}, "", {"execution": 2})
