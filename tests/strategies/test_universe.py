"""Who may be traded when, and in which sector."""

from pathlib import Path

import numpy as np
import pytest

from config.errors import BadInput
from strategies.bars import Bars
from strategies.universe import read_membership, read_sectors, restrict, sectors_of

DAY = 86_400_000_000


def flat_bars(*symbols: str, days: int = 4) -> Bars:
    """Daily bars from 2024-07-01, all at $10."""
    start = np.datetime64("2024-07-01", "us").astype(np.int64)
    symbol, day = (index.ravel() for index in np.indices((len(symbols), days)))
    price = np.full(symbol.size, 10.0)
    return Bars.from_columns(symbols, symbol, start + day * DAY, price, price, price, price, price)


def write(folder: Path, text: str) -> Path:
    path = folder / "file.csv"
    path.write_text(text)
    return path


def test_members_by_date_first_and_last_day_included(tmp_path: Path) -> None:
    path = write(tmp_path, "symbol,start,end\nA,2024-07-02,2024-07-03\nB,2020-01-01,\nC,2020-01-01,2024-06-30\n")
    members = restrict(flat_bars("A", "B", "C"), path).members
    assert members is not None
    assert members.T.tolist() == [[False, True, True, False], [True] * 4, [False] * 4]


def test_a_symbol_that_comes_back_has_two_intervals(tmp_path: Path) -> None:
    path = write(tmp_path, "ticker,start_date,end_date\nA,2024-01-01,2024-07-01\nA,2024-07-04,\n")
    members = restrict(flat_bars("A"), path).members
    assert members is not None
    assert members[:, 0].tolist() == [True, False, False, True]


def test_a_universe_without_any_of_the_bars_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "symbol,start,end\nA,2020-01-01,2021-01-01\nZ,2020-01-01,\n")
    with pytest.raises(BadInput, match=r"has none of the bars' symbols at their dates \(A, B\)"):
        restrict(flat_bars("A", "B"), path)


def test_sectors_are_those_of_the_bars_and_each_has_one(tmp_path: Path) -> None:
    sectors = write(tmp_path, "Symbol,Security,GICS Sector\nA,Alpha,Energy\nB,Beta,Utilities\n")
    assert sectors_of(["A"], sectors) == {"A": "Energy"}
    with pytest.raises(BadInput, match="no sector for C, D"):
        sectors_of(["A", "C", "D"], sectors)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("symbol,start\nA,2024-01-01\n", "file.csv:1: end: this column is missing (found: symbol, start)"),
        ("symbol,start,end\nA,2024-13-01,\n", "file.csv:2: start: '2024-13-01' is not a date (YYYY-MM-DD)"),
        ("symbol,start,end\nA,2024-01-02,2024-01-01\n", "file.csv:2: end: 2024-01-01 is before start 2024-01-02"),
        ("symbol,start,end\n,2024-01-02,\n", "file.csv:2: symbol: is empty"),
        ("", "file.csv:1: symbol: this column is missing (found: nothing)"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_membership(write(tmp_path, text))
    assert str(caught.value).endswith(complaint)


def test_a_symbol_in_two_sectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="3: sector: A is in Energy already"):
        read_sectors(write(tmp_path, "symbol,sector\nA,Energy\nA,Utilities\n"))
