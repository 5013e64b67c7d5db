"""What is stored is read to the bit, whoever wrote it in between, and never half of it."""

import datetime as dt
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import BadInput, UserError
from strategies.adjustments import Action
from strategies.bar_columns import NAMES, Series
from strategies.bar_store import BarStore, Source
from strategies.bars import COLUMNS, Bars
from strategies.resample import resample
from strategies.sessions import DAY, HOUR, MINUTE, sessions_between
from strategies.stored_bars import read_store
from tests.patience import PATIENCE_S

SOURCE = Source("test")
SESSIONS = sessions_between(np.datetime64("2023"), np.datetime64("2024"))
MARCH = int(np.datetime64("2024-03-01T14:30", "us").astype(np.int64))


def series(times: Sequence[int] | np.ndarray, seed: int = 0, *, fractional: bool = False) -> Series:
    """Bars at these times, of random prices."""
    rng = np.random.default_rng(seed)
    close = rng.integers(10_000, 5_000_000, len(times))
    spread = rng.integers(0, 10_000, (3, len(times)))
    volume = rng.integers(0, 10**12, len(times))
    return Series(
        np.array(times, np.int64),
        close - spread[0] // 2,
        close + spread[1],
        close - spread[0],
        close,
        volume if fractional else volume // 10_000 * 10_000,
        close + 7 if seed % 2 else np.zeros(len(times), np.int64),
        np.zeros(len(times), np.int64),
    )


def minutes(days: int, first: int = 0, *, leave_out: float = 0.0, seed: int = 0) -> np.ndarray:
    """The minutes of some sessions of 2023, with half an hour before and after each."""
    spans = zip(SESSIONS.opens[first : first + days], SESSIONS.closes[first : first + days], strict=True)
    times = np.concatenate([np.arange(open_ - HOUR // 2, close + HOUR // 2, MINUTE) for open_, close in spans])
    return times[np.random.default_rng(seed).random(len(times)) >= leave_out]


def same(left: Series, right: Series) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in NAMES)


def assert_equal(left: Bars, right: Bars) -> None:
    assert left.symbols == right.symbols
    for name in (*COLUMNS, "price_scale", "volume_scale"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    assert left.timeframe == right.timeframe


@settings(max_examples=30)
@given(st.data())
def test_what_was_written_is_read_to_the_bit_and_the_newest_bar_of_a_time_counts(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    """Against a dictionary: several writes over several months, of numbers of every size."""
    store = BarStore(tmp_path_factory.mktemp("bars"))
    whole = st.integers(-(2**40), 2**40)
    bar = st.tuples(*[whole] * (len(NAMES) - 1))
    time = st.integers(0, 400_000).map(lambda minute: MARCH + minute * MINUTE)
    expected: dict[str, dict[int, tuple[int, ...]]] = {}
    writes = st.dictionaries(st.sampled_from(["A", "B", "C"]), st.dictionaries(time, bar, max_size=6), max_size=3)
    for write in data.draw(st.lists(writes, max_size=4)):
        batch = {}
        for symbol, bars in write.items():
            rows = [(moment, *bars[moment]) for moment in sorted(bars)]
            batch[symbol] = Series(*np.array(rows, np.int64).reshape(-1, len(NAMES)).T)
            expected.setdefault(symbol, {}).update(bars)
        store.add("iex", MINUTE, batch, SOURCE)
    for symbol, bars in expected.items():
        rows = [(moment, *bars[moment]) for moment in sorted(bars)]
        assert same(
            store.opened("iex", MINUTE).series(symbol), Series(*np.array(rows, np.int64).reshape(-1, len(NAMES)).T)
        )


@pytest.mark.parametrize("leave_out", [0.0, 0.3])
@pytest.mark.parametrize("timeframe", ["5m", "1h", "2h", "1d"])
def test_longer_bars_put_together_part_by_part_are_those_of_resampling_everything(
    tmp_path: Path, timeframe: str, leave_out: float
) -> None:
    """Across months, daylight saving, symbols that begin late or are missing in a part, and shares in fractions."""
    store = BarStore(tmp_path)
    store.add(
        "iex",
        MINUTE,
        {
            "A": series(minutes(60, leave_out=leave_out)),
            "B": series(minutes(30, 30, leave_out=leave_out, seed=1), 1, fractional=True),
            "C": series(minutes(5, leave_out=leave_out, seed=2), 2),
        },
        SOURCE,
    )
    assert_equal(read_store(store, timeframe=timeframe), resample(read_store(store), timeframe))
    some = read_store(store, timeframe=timeframe, symbols=["C", "A"])
    assert_equal(some, resample(read_store(store, symbols=["A", "C"]), timeframe))


def test_bars_stamped_to_the_microsecond_are_read_like_any_other(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    odd = np.cumsum(np.random.default_rng(0).integers(1, 10**11, 200)) + MARCH
    store.add("iex", DAY, {"A": series(odd), "B": series(odd[::3], 1)}, SOURCE)
    bars = read_store(store)
    np.testing.assert_array_equal(bars.times, odd)
    np.testing.assert_array_equal(bars.times[bars.present[:, 1]], odd[::3])
    np.testing.assert_array_equal(bars.close[bars.present[:, 1], 1], series(odd[::3], 1).close)


def test_feeds_and_lengths_do_not_mix_unless_one_is_chosen(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    with pytest.raises(BadInput, match="there are no bars"):
        read_store(store)
    store.add("iex", DAY, {"A": series(SESSIONS.opens)}, SOURCE)
    store.add("sip", DAY, {"A": series(SESSIONS.opens, 1)}, SOURCE)
    store.add("sip", HOUR, {"A": series(SESSIONS.opens, 2)}, SOURCE)
    with pytest.raises(BadInput, match=r"several feeds, which do not mix \(1d from iex, 1d from sip, 1h from sip\)"):
        read_store(store)
    with pytest.raises(BadInput, match=r"several lengths \(1d from sip, 1h from sip\); choose one with --timeframe"):
        read_store(store, feed="sip")
    with pytest.raises(BadInput, match=r"no such bars \(there are: 1d from iex"):
        read_store(store, feed="iex", timeframe="1h")
    with pytest.raises(BadInput, match="has no 1d bars of B from iex"):
        read_store(store, feed="iex", symbols=["B"])
    assert read_store(store, feed="iex").feed == "iex"
    np.testing.assert_array_equal(
        read_store(store, feed="sip", timeframe="1d").close[:, 0], series(SESSIONS.opens, 1).close
    )


def test_the_source_of_every_range_is_told_and_the_newest_counts_where_they_overlap(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    times = [MARCH + n * DAY for n in range(10)]
    store.add("iex", DAY, {"A": series(times)}, Source("old"))
    store.add("iex", DAY, {"A": series(times[3:5])}, Source("new", accepted={"gap": ["a line"]}))
    store.add("iex", DAY, {"A": series(times[8:])}, Source("old"))
    manifest = store.manifest()
    told = [(since, until, manifest.sources[source].text) for since, until, source in manifest.ranges["iex/1d"]["A"]]
    assert told == [
        (times[0], times[3] - 1, "old"),
        (times[3], times[4], "new"),
        (times[4] + 1, times[9], "old"),
    ]
    assert manifest.sources[1].accepted == {"gap": ["a line"]}


def test_splits_stay_until_others_of_their_day_come(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    first, other = Action("A", dt.date(2024, 1, 5), 4.0), Action("A", dt.date(2024, 1, 5), 5.0)
    later = Action("B", dt.date(2024, 1, 8), dividend=0.5)
    store.add("iex", DAY, {"A": series(SESSIONS.opens)}, SOURCE, [first])
    store.add_actions([])
    store.add("iex", DAY, {"A": series(SESSIONS.opens)}, SOURCE)
    assert store.actions() == [first]
    store.add_actions([later, other])
    assert store.actions() == [other, later]
    assert len(list(tmp_path.glob("actions.*"))) == 1


def test_a_second_writer_is_turned_away_and_a_reader_keeps_what_it_has_opened(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    old, new = series(SESSIONS.opens), series(SESSIONS.opens, 1)
    store.add("iex", DAY, {"A": old}, SOURCE)
    opened = store.opened("iex", DAY)
    with store._writing(), pytest.raises(UserError, match="another nightdesk is writing"):
        BarStore(tmp_path).add("iex", DAY, {"A": new}, SOURCE)
    store.add("iex", DAY, {"A": new}, SOURCE)
    assert same(opened.series("A"), old)
    assert same(store.opened("iex", DAY).series("A"), new)


def test_a_store_is_never_founded_among_the_files_of_others(tmp_path: Path) -> None:
    """It sweeps away what its manifest does not list."""
    mine = tmp_path / "my" / "own" / "thesis.2"
    mine.mkdir(parents=True)
    (mine / "text.npy").touch()
    with pytest.raises(BadInput, match="has other files in it, and is no bar store"):
        BarStore(tmp_path).add("iex", DAY, {"A": series(SESSIONS.opens)}, SOURCE)
    assert (mine / "text.npy").exists()
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 99}'])
def test_a_damaged_manifest_is_said_in_one_line(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(damage)
    with pytest.raises(UserError, match=r"manifest\.json: cannot be read as a bar store's manifest"):
        BarStore(tmp_path).manifest()


@pytest.mark.parametrize("left", [".manifest.json.new", ".calendar.csv.new", "lock"])
def test_what_a_kill_while_founding_leaves_is_in_nobodys_way(tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_bytes(b"{")
    BarStore(tmp_path).add("iex", DAY, {"A": series(SESSIONS.opens)}, SOURCE)
    assert same(BarStore(tmp_path).opened("iex", DAY).series("A"), series(SESSIONS.opens))


@pytest.mark.parametrize("room", [0, 50, 1_000, 4_000])
def test_where_nothing_more_can_be_written_the_old_bars_stay_and_nothing_else(tmp_path: Path, room: int) -> None:
    """No file may grow larger than that, as on a disk that is full: founding fails, then a replacement."""
    store, old = BarStore(tmp_path), series(SESSIONS.opens[:20])
    with files_no_larger_than(room // 50), pytest.raises(UserError, match=r"cannot be written: file too large"):
        store.add("iex", DAY, {"A": old}, SOURCE, [Action("A", dt.date(2024, 1, 5), 4.0)])
    assert store.manifest().parts == ()
    store.add("iex", DAY, {"A": old}, SOURCE)
    before = {path for path in tmp_path.rglob("*") if path.name != "lock"}
    with files_no_larger_than(room), pytest.raises(UserError, match=r"cannot be written: file too large"):
        store.add("iex", DAY, {"A": series(range(0, 1_000_000 * DAY, DAY))}, SOURCE)
    assert {path for path in tmp_path.rglob("*") if path.name != "lock"} == before
    assert same(store.opened("iex", DAY).series("A"), old)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A write beyond it fails, the file keeps what fitted."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [0, 60, 200])
def test_a_column_that_was_cut_off_is_said_in_one_line(tmp_path: Path, size: int) -> None:
    store = BarStore(tmp_path)
    store.add("iex", DAY, {"A": series(SESSIONS.opens)}, SOURCE)
    [column] = tmp_path.rglob("close.npy")
    os.truncate(column, size)
    with pytest.raises(UserError, match="a file that its manifest lists cannot be read"):
        store.opened("iex", DAY)


def _rewrite_for_ever(folder: Path, ready: Any) -> None:
    """Writes the whole of one edition after the other."""
    store = BarStore(folder)
    ready.set()
    for edition in range(2, 1_000_000):
        store.add("iex", MINUTE, edition_of(edition), SOURCE)


def edition_of(number: int) -> dict[str, Series]:
    """Every bar of every symbol and month bears the number."""
    times = np.concatenate([minutes(2, first) for first in (0, 20, 40)])
    column = np.full(len(times), number, np.int64)
    return {symbol: Series(times, *[column] * (len(NAMES) - 1)) for symbol in ("A", "B", "C")}


@pytest.mark.parametrize("seed", range(6))
def test_a_writer_that_is_killed_leaves_the_old_or_the_new_never_a_mixture(tmp_path: Path, seed: int) -> None:
    """A real process rewrites three months of three symbols and is killed at any moment, while we read."""
    store = BarStore(tmp_path)
    store.add("iex", MINUTE, edition_of(1), SOURCE)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_rewrite_for_ever, args=(tmp_path, ready))
    writer.start()
    assert writer.pid is not None
    assert ready.wait(PATIENCE_S)
    seen = {edition(store) for _ in range(int(np.random.default_rng(seed).integers(3, 30)))}
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    left = edition(store)
    assert left >= max(seen)
    store.add("iex", MINUTE, edition_of(left + 1), SOURCE)
    assert edition(store) == left + 1
    folders = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*/*")}
    assert folders == {part.folder for part in store.manifest().parts}


def edition(store: BarStore) -> int:
    """The one number that all bars bear."""
    bars = read_store(store)
    [number] = np.unique(np.stack([bars.open, bars.high, bars.low, bars.close]))
    assert bars.present.all()
    assert len(bars.times) == len(edition_of(0)["A"])
    return int(number)
