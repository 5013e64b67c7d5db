"""Bars are read strictly: what cannot be a bar is refused with file, line and field."""

import gzip
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import BadInput
from strategies.bar_files import read_bars
from strategies.bar_gates import doubts
from strategies.bars import Bars

HEADER = "symbol,time,open,high,low,close,volume\n"
FIRST, SECOND = "AAPL,2024-07-01T13:30:00Z,10,11,9,10.5,1000\n", "AAPL,2024-07-02T13:30:00Z,10.5,12,10,11,1500\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one example after the other is written."""
    return tmp_path_factory.mktemp("bars")


def write(folder: Path, text: str, name: str = "bars.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refused(path: Path) -> str:
    """The one line that the user sees, with the folder cut off."""
    with pytest.raises(BadInput) as caught:
        read_bars(path)
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(f"{path.parent}/", "")


def same(a: Bars, b: Bars) -> bool:
    columns = ("times", "open", "high", "low", "close", "volume", "present")
    return a.symbols == b.symbols and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in columns)


def test_prices_become_units_and_times_microseconds(tmp_path: Path) -> None:
    bars = read_bars(write(tmp_path, HEADER + FIRST + SECOND))
    assert bars.symbols == ("AAPL",)
    assert bars.times.tolist() == [1_719_840_600_000_000, 1_719_927_000_000_000]
    assert bars.open[:, 0].tolist() == [100_000, 105_000]
    assert bars.close[:, 0].tolist() == [105_000, 110_000]
    assert bars.volume[:, 0].tolist() == [1000, 1500]


@pytest.mark.parametrize(
    "stamp",
    ["1719840600", "2024-07-01T13:30:00", "2024-07-01 13:30", "2024-07-01T09:30:00-04:00", "20240701T133000Z"],
)
def test_every_way_to_write_a_time_means_the_same_moment(tmp_path: Path, stamp: str) -> None:
    bars = read_bars(write(tmp_path, HEADER + FIRST.replace("2024-07-01T13:30:00Z", stamp)))
    assert bars.times.tolist() == [1_719_840_600_000_000]


@pytest.mark.parametrize("stamp", ["2024-07-01", "20240701"])
def test_a_date_is_midnight_utc(tmp_path: Path, stamp: str) -> None:
    bars = read_bars(write(tmp_path, HEADER + FIRST.replace("2024-07-01T13:30:00Z", stamp)))
    assert bars.times.tolist() == [1_719_792_000_000_000]
    assert bars.dates.tolist() == [np.datetime64("2024-07-01").item()]


def test_columns_are_found_by_name_in_any_order_beside_others(tmp_path: Path) -> None:
    plain = read_bars(write(tmp_path, HEADER + FIRST))
    text = "\ufeff,Volume,x,x,Close,Low,High,Open,Time,Symbol\n0,1000,?,,10.5,9,11,10,2024-07-01T13:30:00Z,AAPL\n"
    assert same(plain, read_bars(write(tmp_path, text, "other.csv")))


def test_crlf_quotes_and_empty_lines_change_nothing(tmp_path: Path) -> None:
    plain = read_bars(write(tmp_path, HEADER + FIRST + SECOND))
    text = (HEADER + FIRST.replace("AAPL", '"AAPL"') + "\n" + SECOND).replace("\n", "\r\n")
    assert same(plain, read_bars(write(tmp_path, text, "other.csv")))


@settings(max_examples=30)
@given(st.permutations([symbol for symbol in "ABC" for _ in range(4)]))
def test_symbols_may_interleave(folder: Path, order: list[str]) -> None:
    rows = {symbol: iter(range(4)) for symbol in "ABC"}
    text = HEADER + "".join(f"{symbol},{next(rows[symbol]) * 86400},10,11,9,10,{ord(symbol)}\n" for symbol in order)
    bars = read_bars(write(folder, text))
    assert bars.symbols == ("A", "B", "C")
    assert bars.volume.tolist() == [[65, 66, 67]] * 4


def test_a_folder_holds_one_file_per_symbol(tmp_path: Path) -> None:
    bare = "time,open,high,low,close,volume\n"
    folder = tmp_path / "bars"
    folder.mkdir()
    write(folder, bare + FIRST.removeprefix("AAPL,"), "MSFT.CSV")
    write(folder, "notes", "README.txt")
    with gzip.open(folder / "BRK.B.csv.gz", "wt") as file:
        file.write(bare + SECOND.removeprefix("AAPL,"))
    bars = read_bars(folder)
    assert bars.symbols == ("BRK.B", "MSFT")
    assert bars.present.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("kind", ["timestamp", "zoned", "text", "unix"])
def test_parquet_and_gzip_hold_the_same_bars(tmp_path: Path, kind: str) -> None:
    plain = read_bars(write(tmp_path, HEADER + FIRST + SECOND))
    with gzip.open(tmp_path / "bars.csv.gz", "wt") as file:
        file.write(HEADER + FIRST + SECOND)
    seconds = pa.array([1_719_840_600, 1_719_927_000])
    time = {
        "timestamp": seconds.cast(pa.timestamp("s")),
        "zoned": seconds.cast(pa.timestamp("s", tz="America/New_York")),
        "text": pa.array(["2024-07-01T13:30:00Z", "2024-07-02T13:30:00Z"]),
        "unix": seconds,
    }[kind]
    prices = {"open": [10, 10.5], "high": [11.0, 12.0], "low": [9, 10], "close": [10.5, 11.0], "volume": [1000, 1500]}
    pq.write_table(pa.table({"symbol": ["AAPL"] * 2, "time": time, **prices}), tmp_path / "bars.parquet")
    assert same(plain, read_bars(tmp_path / "bars.csv.gz"))
    assert same(plain, read_bars(tmp_path / "bars.parquet"))


ODD = "has a blank at an end, or more than printable ASCII"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("AAPL,2024-07-02T13:30:00Z,102,101.20,101.90,102,5", "high: 101.20 is below low 101.90"),
        ("AAPL,2024-07-02T13:30:00Z,8.9,12,9,11,5", "open: 8.9 is below low 9"),
        ("AAPL,2024-07-02T13:30:00Z,12.01,12,9,11,5", "open: 12.01 is above high 12"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,9,8,5", "close: 8 is below low 9"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,9,13,5", "close: 13 is above high 12"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,0,11,5", "low: 0 is not positive"),
        ("AAPL,2024-07-02T13:30:00Z,-10,12,-11,11,5", "open: -10 is not positive"),
        ("AAPL,2024-07-02T13:30:00Z,10,inf,9,11,5", "high: inf is not a finite number"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,9,nan,5", "close: nan is not a finite number"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,9,11,nan", "volume: nan is not a finite number"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,9,11,-1", "volume: -1 is negative"),
        ("AAPL,2024-07-02T13:30:00Z,10,1e13,9,11,5", "high: 1e13 is more than 1e+12"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,9,eleven,5", "close: 'eleven' is not a number"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,9,,5", "close: '' is not a number"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,9,11", "6 fields where the header names 7"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,9,11,5,6", "8 fields where the header names 7"),
        ("AAPL,yesterday,10,12,9,11,5", "time: 'yesterday' is neither ISO 8601 nor unix seconds"),
        ("AAPL,,10,12,9,11,5", "time: '' is neither ISO 8601 nor unix seconds"),
        ("AAPL,1719927000000,10,12,9,11,5", "time: '1719927000000' is too late to be unix seconds (milliseconds?)"),
        ("AAPL,2024-07-01T13:30:00Z,10,12,9,11,5", "time: 2024-07-01T13:30:00Z repeats a bar of this symbol"),
        (
            "AAPL,2024-06-30T13:30:00Z,10,12,9,11,5",
            "time: 2024-06-30T13:30:00Z comes after 2024-07-01T13:30:00Z, a later bar of this symbol",
        ),
        ("AAPL,2024-07-02T13:30:00Z,10,12,0.00001,11,5", "low: 0.00001 rounds to no 1/10000 dollar"),
        ("AAPL,2024-07-02T13:30:00Z,10,12,0.00005,11,5", "low: 0.00005 rounds to no 1/10000 dollar"),
        ("AAPL,0001-01-01,10,12,9,11,5", "time: 0001-01-01 is not from 1800 to 2099"),
        ("AAPL,1799-12-31T23:59:59Z,10,12,9,11,5", "time: 1799-12-31T23:59:59Z is not from 1800 to 2099"),
        ("AAPL,9998-01-01,10,12,9,11,5", "time: 9998-01-01 is not from 1800 to 2099"),
        ("AAPL,9999-12-31T23:59:59-12:00,10,12,9,11,5", "time: 9999-12-31T23:59:59-12:00 is not from 1800 to 2099"),
        ("AAPL,-9999999999999999,10,12,9,11,5", "time: '-9999999999999999' is too early to be unix seconds"),
        (" AAPL,2024-07-02T13:30:00Z,10,12,9,11,5", f"symbol: ' AAPL' {ODD}"),
        ("AAPL\t,2024-07-02T13:30:00Z,10,12,9,11,5", f"symbol: 'AAPL\\t' {ODD}"),
        ("A\x1b[31m,2024-07-02T13:30:00Z,10,12,9,11,5", f"symbol: 'A\\x1b[31m' {ODD}"),
        (",2024-07-02T13:30:00Z,10,12,9,11,5", "symbol: it is empty"),
        ("ŁÓDŹ,2024-07-02T13:30:00Z,10,12,9,11,5", "symbol: 'ŁÓDŹ' is not plain ASCII"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path: Path, row: str, complaint: str) -> None:
    """Line 4: a header, a good row and an empty line come before it, another symbol and a repeated bar after it."""
    after = "MSFT,2024-07-01T13:30:00Z,10,11,9,10.5,1000\n" * 2
    path = write(tmp_path, HEADER + FIRST + "\n" + row + "\n" + after)
    assert refused(path) == f"bars.csv:4: {complaint}"


SPLINTERS = st.sampled_from(
    [b",", b"\n", b"\r", b'"', b"#", b"-", b"\0", b"\xff", b"nan", b"1e400", b"now", b"9" * 30, b""]
)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 30), SPLINTERS), min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused_in_one_line(folder: Path, damages: list[tuple[int, int, bytes]]) -> None:
    text = (HEADER + FIRST + SECOND + FIRST.replace("AAPL", "MSFT")).encode()
    for at, removed, splinter in damages:
        text = text[:at] + splinter + text[at + removed :]
    path = folder / "bars.csv"
    path.write_bytes(text)
    try:
        bars = read_bars(path)
    except BadInput:
        assert refused(path).startswith("bars.csv")
    else:
        assert bars.low[bars.present].min() >= 1


def test_noise_in_the_last_digits_of_adjusted_prices_is_no_fault(tmp_path: Path) -> None:
    bars = read_bars(write(tmp_path, HEADER + "A,2024-07-01,10.000000001,10,9.1,9.099999999,5\n"))
    assert (bars.open.item(), bars.high.item(), bars.low.item(), bars.close.item()) == (
        100_000,
        100_000,
        91_000,
        91_000,
    )


def test_a_bar_repeated_in_another_file_of_the_folder_is_named_there(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    write(folder, HEADER + FIRST, "a.csv")
    write(folder, HEADER + SECOND + "MSFT,2024-07-01T13:30:00Z,10,11,9,10,1\n" + SECOND, "b.csv")
    assert refused(folder) == "bars/b.csv:4: time: 2024-07-02T13:30:00Z repeats a bar of this symbol"


def test_a_bad_row_of_a_parquet_file_is_named_by_its_number(tmp_path: Path) -> None:
    columns = {"symbol": ["A", "A"], "time": [0, 86400], "open": [1.0, 2.0], "high": [1.0, 2.0], "low": [1.0, 3.0]}
    pq.write_table(pa.table(columns | {"close": [1.0, 2.0], "volume": [1, None]}), tmp_path / "bars.parquet")
    assert refused(tmp_path / "bars.parquet") == "bars.parquet: row 2: volume: None is not a finite number"
    whole = columns | {"low": [1.0, 2.0], "close": [1.0, 2.0], "volume": [1, 1]}
    for odd, complaint in (
        ({"symbol": ["A", "Łódź"]}, "is not plain ASCII"),
        ({"time": [date(2024, 7, 1), None]}, "row 2: time: None is not from 1800 to 2099"),
        ({"time": [date(2024, 7, 1), date(9999, 12, 31)]}, "row 2: time: 9999-12-31 is not from 1800 to 2099"),
    ):
        pq.write_table(pa.table(whole | odd), tmp_path / "bars.parquet")
        assert complaint in refused(tmp_path / "bars.parquet")


@pytest.mark.parametrize("first", ["1800-01-01", "1883-11-17", "2099-12-30T12:00Z"])
def test_the_first_and_the_last_times_that_are_taken_have_a_calendar(tmp_path: Path, first: str) -> None:
    bars = read_bars(write(tmp_path, HEADER + FIRST.replace("2024-07-01T13:30:00Z", first)))
    assert [str(day) for day in bars.dates] == [first[:10]]
    assert bars.block(0, 1).session_open.shape == (1,)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "bars.csv: is empty"),
        (HEADER, "bars.csv: has no bars"),
        (
            "symbol,time,open,high,low,volume\n",
            "bars.csv:1: close: this column is missing (found: symbol, time, open, high, low, volume)",
        ),
        (
            "time,open,high,low,close,volume\n",
            "bars.csv:1: symbol: this column is missing (found: time, open, high, low, close, volume)",
        ),
        (HEADER.replace("\n", ",close\n"), "bars.csv:1: close: there are 2 columns of this name"),
    ],
)
def test_a_file_without_bars_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    assert refused(write(tmp_path, text)) == complaint


def test_what_is_no_file_of_bars_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.csv") == "none.csv: cannot be read: No such file or directory"
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty") == "empty: no .csv, .csv.gz or .parquet file in this folder"
    assert refused(write(tmp_path, HEADER, "a.csv.gz")) == "a.csv.gz: cannot be read: Not a gzipped file (b'sy')"
    whole = gzip.compress((HEADER + FIRST * 100).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[:-20])
    assert "cut.csv.gz: cannot be read: Compressed file ended" in refused(tmp_path / "cut.csv.gz")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01" * 100)
    assert refused(tmp_path / "binary.csv") == "binary.csv: is not a CSV file in UTF-8"
    (tmp_path / "latin.csv").write_bytes((HEADER + FIRST).encode() + "Ä".encode("latin-1"))
    assert refused(tmp_path / "latin.csv") == "latin.csv: is not a CSV file in UTF-8"
    assert "bars.parquet: cannot be read: " in refused(write(tmp_path, HEADER, "bars.parquet"))


def test_twins_and_jumps_are_doubted_not_refused(tmp_path: Path) -> None:
    def series(symbol: str, split: int) -> str:
        price = [100 + day % 7 if day < split else (100 + day % 7) / 2 for day in range(30)]
        return "".join(f"{symbol},{day * 86400},{p},{p},{p},{p},1\n" for day, p in enumerate(price))

    bars = read_bars(write(tmp_path, HEADER + series("A", 99) + series("B", 99) + series("C", 14)))
    assert list(doubts(bars)) == [
        "B has the same bars as A",
        "C jumps from 106 to 50 on 1970-01-15: are splits adjusted for?",
    ]
