"""What may come into the store: every gate keeps something out that hardly differs from what passes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from config.errors import BadInput, UserError
from strategies.bar_columns import NO_BARS
from strategies.bar_files import read_bars
from strategies.bar_import import Imported, Refused, import_bars
from strategies.bar_store import BarStore, Source
from strategies.bars import COLUMNS
from strategies.sessions import DAY, HOUR, MINUTE, sessions_between
from strategies.stored_bars import read_store
from tests.strategies.importing import DAYS, HEADER, load, refused, stored, walk, write


def test_what_comes_in_is_what_a_backtest_reads_from_the_file_to_the_bit(tmp_path: Path) -> None:
    rows = [*walk("A"), *walk("C", 25, 1), *walk("B", 40, 2)]
    assert load(tmp_path, rows) == Imported("file", DAY, ("A", "B", "C"), 105, 0, {})
    from_file, from_store = read_bars(tmp_path / "bars.csv"), read_store(BarStore(tmp_path / "store"))
    assert from_store.symbols == from_file.symbols
    for name in (*COLUMNS, "price_scale", "volume_scale"):
        np.testing.assert_array_equal(getattr(from_store, name), getattr(from_file, name))


def test_a_bar_that_cannot_be_has_no_way_in(tmp_path: Path) -> None:
    rows = walk()
    rows[3] = ("A", rows[3][1], -1.0)
    assert refused(tmp_path, rows) == ["5: open: -1.0000 is not positive"]
    with pytest.raises(Refused, match="such bars cannot be"):
        load(tmp_path, rows, accept=["order", "duplicate", "twin", "shifted", "jump", "gap", "changed"])
    rows[3] = ("A", rows[3][1], 0.0001)
    assert not any("open" in line for line in refused(tmp_path, rows))


def test_rows_out_of_order_stay_out_and_accepted_they_are_sorted(tmp_path: Path) -> None:
    rows = walk()
    swapped = [*rows[:5], rows[6], rows[5], *rows[7:]]
    assert refused(tmp_path, swapped) == ["8: order: is older than the row of this symbol before it"]
    load(tmp_path, swapped, accept=["order"])
    assert stored(tmp_path).close.tolist() == [round(close * 10_000) for *_, close in rows]


def test_symbols_may_interleave(tmp_path: Path) -> None:
    pairs = zip(walk("A"), walk("B", seed=1), strict=True)
    assert load(tmp_path, [row for pair in pairs for row in reversed(pair)]).bars == 80


def test_a_second_bar_of_a_time_stays_out_and_accepted_the_first_counts(tmp_path: Path) -> None:
    rows = walk()
    other = ("A", rows[5][1], rows[5][2] + 0.01)
    twice = [*rows[:6], other, *rows[6:]]
    assert refused(tmp_path, twice) == ["8: duplicate: repeats a bar of this symbol, but with other numbers"]
    same = [*rows[:6], rows[5], *rows[6:]]
    assert refused(tmp_path, same) == ["8: duplicate: repeats a bar of this symbol, with the same numbers"]
    load(tmp_path, twice, accept=["duplicate"])
    assert stored(tmp_path).close.tolist() == [round(close * 10_000) for *_, close in rows]


def test_two_names_for_one_series_stay_out(tmp_path: Path) -> None:
    rows = walk()
    copied = [("B", *row[1:]) for row in rows]
    assert refused(tmp_path, [*rows, *copied]) == ["42: twin: B has the same bars as A"]
    nearly = [*copied[:-1], ("B", copied[-1][1], copied[-1][2] + 0.01)]
    load(tmp_path, [*rows, *nearly])


def test_a_new_name_for_a_series_that_the_store_has_stays_out_also_where_they_only_overlap(tmp_path: Path) -> None:
    rows = walk(days=60)
    load(tmp_path, rows[:45])
    copied = [("B", *row[1:]) for row in rows[20:]]
    assert refused(tmp_path, copied) == ["2: twin: B has the same bars as A"]
    load(tmp_path, copied[10:], accept=())


def test_a_symbol_that_hardly_moves_may_have_the_closes_of_another(tmp_path: Path) -> None:
    load(tmp_path, [(symbol, day, 1.0) for symbol in ("A", "B") for _, day, _ in walk()])


def test_dates_a_day_late_fall_on_days_when_the_exchange_is_closed(tmp_path: Path) -> None:
    late = [(symbol, str(np.datetime64(day) + 1), close) for symbol, day, close in walk(days=8)]
    said = refused(tmp_path, late)
    assert said[0] == "5: shifted: the exchange was closed on Saturday, 2024-01-06: are dates shifted?"
    assert {line.split(": ")[1] for line in said} == {"shifted", "gap"}


def test_dates_a_session_late_are_seen_beside_another_feed(tmp_path: Path) -> None:
    """None of them falls on a weekend, but the other feed had each close a session before."""
    rows = walk(days=40)
    load(tmp_path, rows, feed="sip")
    late = [("A", str(DAYS[n + 1]), close) for n, (_, _, close) in enumerate(rows)]
    assert refused(tmp_path, late, feed="iex") == ["2: shifted: another feed has these closes of A a session before"]
    early = [("A", str(DAYS[n]), close) for n, (_, _, close) in enumerate(rows[1:])]
    assert refused(tmp_path, early, feed="iex") == ["2: shifted: another feed has these closes of A a session after"]
    nearby = [(symbol, day, round(close * 1.0005, 2)) for symbol, day, close in rows]
    load(tmp_path, nearby, feed="iex")


def test_other_numbers_for_a_stored_bar_stay_out_and_the_same_bars_again_change_nothing(tmp_path: Path) -> None:
    rows = walk()
    load(tmp_path, rows)
    load(tmp_path, rows)
    other = [*rows[:5], ("A", rows[5][1], rows[5][2] + 0.01), *rows[6:]]
    assert refused(tmp_path, other) == [
        f"7: changed: the store has this bar of A with other numbers (close {rows[5][2]:g})"
    ]
    load(tmp_path, other, accept=["changed"])
    assert stored(tmp_path).close[5] == round((rows[5][2] + 0.01) * 10_000)


def test_a_day_has_one_bar_however_it_is_stamped(tmp_path: Path) -> None:
    """At midnight UTC, as here, or with the session's open, as elsewhere."""
    rows = walk()
    opens = [(symbol, f"{day}T14:30:00Z", close) for symbol, day, close in rows]
    twice = [*rows[:1], *opens[:2], *rows[2:]]
    assert refused(tmp_path, twice, timeframe=DAY) == [
        "3: duplicate: repeats a bar of this symbol, with the same numbers"
    ]
    load(tmp_path, rows)
    other = [*opens[:5], ("A", opens[5][1], rows[5][2] + 0.01), *opens[6:]]
    assert refused(tmp_path, other) == [
        f"7: changed: the store has this bar of A with other numbers (close {rows[5][2]:g})"
    ]
    assert refused(tmp_path, [("B", *row[1:]) for row in opens]) == ["2: twin: B has the same bars as A"]
    load(tmp_path, other, accept=["changed"])
    assert len(stored(tmp_path)) == 40
    assert stored(tmp_path).close[5] == round((rows[5][2] + 0.01) * 10_000)


def test_two_days_over_a_weekend_are_bars_of_days(tmp_path: Path) -> None:
    rows = walk()
    assert (rows[3][1], rows[4][1]) == ("2024-01-05", "2024-01-08")
    assert load(tmp_path, rows[3:5]).timeframe == DAY


def test_bars_that_are_no_longer_than_their_distance_stay_out(tmp_path: Path) -> None:
    """A length that was said wrongly, or that nobody can know."""
    path = tmp_path / "bars.csv"
    lines = [f"A,2024-01-02T{time}Z,5,5,5,5,10" for time in ("14:30", "14:31", "15:31")]
    path.write_text("\n".join((HEADER, *lines, "")))
    store = BarStore(tmp_path / "store")
    with pytest.raises(Refused, match=r"nothing was imported: these are no bars of 1h$") as caught:
        import_bars(store, path, feed="iex", timeframe=HOUR, actions=(), accept=(), at="", by="")
    assert caught.value.lines == [f"{path}:3: time: begins 1m after the bar of this symbol before it"]
    several = [("A", "2024-01-02T14:30:00Z", 5.0), ("A", "2024-01-03", 5.0)]
    for rows in (several, [*walk(), ("A", f"{DAYS[39]}T05:00:00Z", 50.0)]):
        with pytest.raises(BadInput, match=r"how long is a bar\? .* --timeframe 1d$"):
            load(tmp_path, rows)


def test_a_price_that_cannot_be_kept_exactly_stays_out(tmp_path: Path) -> None:
    [said] = refused(tmp_path, [("A", "2024-01-02", 9.5e11)])
    assert said == "2: open: 950000000000.0000 is too large to be kept"


def test_bars_are_not_let_in_beside_others_than_they_were_compared_with(tmp_path: Path) -> None:
    """Two imports at once: the second has looked at the store before the first had written."""
    rows = walk()
    other = [(symbol, day, close + 0.01) for symbol, day, close in rows]

    def meanwhile(doing: str) -> None:
        if doing == "writing":
            load(tmp_path, rows, name="first.csv")

    with pytest.raises(UserError, match="other bars have come in meanwhile; try again"):
        load(tmp_path, other, progress=meanwhile)
    assert stored(tmp_path).close[0] == round(rows[0][2] * 10_000)
    assert " changed: " in refused(tmp_path, other)[0]


def test_who_was_waved_through_is_written_down_with_who_did_it(tmp_path: Path) -> None:
    rows = walk()
    imported = load(tmp_path, [*rows[:10], *rows[11:]], accept=["gap"])
    line = f"{tmp_path}/bars.csv:12: gap: 1 session has no bar of A after {rows[9][1]}"
    assert imported.accepted == {"gap": [line]}
    [source] = BarStore(tmp_path / "store").manifest().sources
    assert source == Source(str(tmp_path / "bars.csv"), "2024-06-01T00:00:00Z", "ada", {"gap": [line]})


def test_many_rows_at_a_gate_are_told_as_ten_and_a_number(tmp_path: Path) -> None:
    said = refused(tmp_path, walk(days=40)[::2])
    assert len(said) == 11
    assert said[-1] == "gap: 9 more such rows"


def test_minutes_are_checked_by_session(tmp_path: Path) -> None:
    """Minutes without a trade are usual; a session without a minute is a gap, a minute on a Sunday a shifted date."""
    sessions = sessions_between(np.datetime64("2024"), np.datetime64("2024"))
    times = [int(sessions.opens[day]) + minute * MINUTE for day in (0, 1, 2) for minute in (0, 1, 7, 200)]
    path = tmp_path / "bars.csv"

    def load_minutes(moments: Sequence[int]) -> Imported:
        path.write_text("\n".join((HEADER, *(f"A,{moment // 1_000_000},5,5,5,5,10" for moment in moments), "")))
        store = BarStore(tmp_path / "store")
        return import_bars(store, path, feed="iex", timeframe=None, actions=(), accept=(), at="", by="")

    with pytest.raises(Refused) as caught:
        load_minutes([*times[:4], *times[8:]])
    assert caught.value.lines == [f"{path}:6: gap: 1 session has no bar of A after 2024-01-02"]
    with pytest.raises(Refused) as caught:
        load_minutes([*times, int(sessions.opens[3]) + 2 * DAY])
    assert caught.value.lines[0].endswith("shifted: the exchange was closed on Sunday, 2024-01-07: are dates shifted?")
    assert load_minutes(times).timeframe == MINUTE


def test_a_folder_of_files_comes_in_together_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "A.csv", walk("A"))
    bad = [*walk("B", seed=1), ("B", "2024-01-02", 5.0)]
    write(folder / "B.csv", bad)
    store = BarStore(tmp_path / "store")

    def load_folder() -> Imported:
        return import_bars(store, folder, feed="file", timeframe=None, actions=(), accept=(), at="", by="")

    with pytest.raises(Refused) as caught:
        load_folder()
    assert [line.split(": ")[:2] for line in caught.value.lines] == [
        [f"{folder}/B.csv:42", "order"],
        [f"{folder}/B.csv:42", "duplicate"],
    ]
    assert not (tmp_path / "store" / "manifest.json").exists()
    write(folder / "B.csv", bad[:-1])
    assert load_folder().symbols == ("A", "B")


def test_rows_of_parquet_are_told_by_number(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = walk()
    rows = [*rows[:10], *rows[11:]]
    symbols, days, closes = (list(column) for column in zip(*rows, strict=True))
    columns = {"symbol": symbols, "time": pa.array(days).cast(pa.timestamp("us"))}
    columns |= dict.fromkeys(("open", "high", "low", "close"), closes) | {"volume": [10] * len(rows)}
    path = tmp_path / "bars.parquet"
    pq.write_table(pa.table(columns), path)
    store = BarStore(tmp_path / "store")
    with pytest.raises(Refused) as caught:
        import_bars(store, path, feed="file", timeframe=None, actions=(), accept=(), at="", by="")
    assert caught.value.lines == [f"{path}: row 11: gap: 1 session has no bar of A after {rows[9][1]}"]
    import_bars(store, path, feed="file", timeframe=None, actions=(), accept=["gap"], at="", by="")
    assert stored(tmp_path).close.tolist() == [round(close * 10_000) for close in closes]


def test_a_file_that_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("symbol,time\n")
    with pytest.raises(BadInput, match=r"bars\.csv:1: open: this column is missing"):
        import_bars(BarStore(tmp_path), path, feed="file", timeframe=None, actions=(), accept=(), at="", by="")


def test_an_empty_series_is_nothing(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.add("file", DAY, {"A": NO_BARS}, Source("nothing"))
    assert store.manifest().parts == ()
