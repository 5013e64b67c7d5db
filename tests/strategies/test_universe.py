"""Who may be traded when, and in which sector."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from config.errors import BadInput
from strategies.bars import Bars
from strategies.breakout_20d import Breakout20d
from strategies.lab.backtest import backtest
from strategies.lab.costs import parse_costs
from strategies.lab.result import Account
from strategies.sessions import sessions_between
from strategies.universe import members_of, read_membership, read_sectors, restrict, sectors_of

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


def used_twice(first_pause: str, last_pause: str) -> Bars:
    """A has no bars between the two dates, B always has; daily from 2024-01-02, A's closes rise by a dollar a day."""
    table = sessions_between(np.datetime64("2024"), np.datetime64("2024"))
    there = (table.dates < np.datetime64(first_pause)) | (table.dates > np.datetime64(last_pause))
    day = np.concatenate((np.flatnonzero(there), np.arange(len(there))))
    symbol = np.repeat([0, 1], [there.sum(), len(there)])
    price = np.where(symbol == 0, 50.0 + day, 20.0)
    return Bars.from_columns(["A", "B"], symbol, table.opens[day], price, price, price, price, price)


TWICE = "symbol,start,end\nA,2024-01-01,2024-03-28\nA,2024-08-01,\nB,2024-01-01,\n"


def test_a_ticker_that_was_used_again_is_two_members_that_know_nothing_of_each_other(tmp_path: Path) -> None:
    raw = used_twice("2024-04-01", "2024-07-01")
    bars = restrict(raw, write(tmp_path, TWICE))
    assert bars.symbols == ("A", "A", "B")
    assert bars.members is not None
    again = int(np.flatnonzero(raw.present[:, 0] & (raw.dates > np.datetime64("2024-07-01")))[0])
    old, new = bars.present[:, 0], bars.present[:, 1]
    assert (old | new).tolist() == raw.present[:, 0].tolist()
    assert old[:again].sum() == old.sum() > 60
    assert not new[:again].any()
    assert not bars.close[:again, 1].any()
    assert set(bars.close[again:, 0]) == {bars.close[old, 0][-1]}
    np.testing.assert_array_equal(bars.close[new, 1], raw.close[again:, 0])
    assert str(bars.dates[bars.members[:, 1]][0]) == "2024-08-01"
    assert str(bars.dates[bars.members[:, 0]][-1]) == "2024-03-28"
    np.testing.assert_array_equal(bars.close[:, 2], raw.close[:, 1])


@pytest.mark.parametrize(
    ("pause", "text"),
    [
        (("2024-04-01", "2024-04-20"), TWICE),  # short: it left the index and came back
        (("2024-04-01", "2024-07-01"), "symbol,start,end\nA,2024-01-01,\nB,2024-01-01,\n"),  # one membership
        (("2024-09-01", "2024-11-01"), TWICE),  # within one of them
    ],
)
def test_a_pause_alone_or_a_membership_alone_makes_no_other_company(
    tmp_path: Path, pause: tuple[str, str], text: str
) -> None:
    bars = restrict(used_twice(*pause), write(tmp_path, text))
    assert bars.symbols == ("A", "B")


def test_what_the_first_company_did_gives_no_signal_in_the_second(tmp_path: Path) -> None:
    """As one symbol, a signal of the first's last day would be filled months later, with the other's shares."""
    raw, path = used_twice("2024-04-01", "2024-07-01"), write(tmp_path, TWICE.replace("08-01", "07-02"))
    as_one = replace(raw, members=members_of(raw.symbols, raw.dates, read_membership(path)))
    first_entry = []
    for bars in (as_one, restrict(raw, path)):
        strategy = Breakout20d(bars.symbols, [{}])
        [result] = backtest(strategy, bars, account=Account(), costs=parse_costs("none"), seed=0)
        days = (result.trades.entry_time // DAY).astype("datetime64[D]")
        first_entry.append(str(min(days[days > np.datetime64("2024-07-01")])))
    assert first_entry == ["2024-07-02", str(raw.dates[raw.dates > np.datetime64("2024-07-01")][21])]


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
        (
            "symbol,start,end\nA\u200b,2024-01-02,\n",
            "file.csv:2: symbol: 'A\\u200b' has a character that cannot be seen",
        ),
        ("", "file.csv:1: symbol: this column is missing (found: nothing)"),
        ("symbol,start,end\nA,2024-01-02,,2025-01-02\n", "file.csv:2: field 4 ('2025-01-02'): there are 3 columns"),
        (
            "symbol,start,end\nA,2024-01-02,2024-02-01\nB,2024-01-01,\nA,2024-02-01,\n",
            "file.csv:4: start: A is in the universe at 2024-02-01 by TMP/file.csv:2",
        ),
        (
            "symbol,start,end\nA,2024-01-02,\nA,2024-01-02,\n",
            "file.csv:3: start: A is in the universe at 2024-01-02 by TMP/file.csv:2",
        ),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_membership(write(tmp_path, text))
    assert str(caught.value).replace(str(tmp_path), "TMP").endswith(complaint)


def test_a_symbol_in_two_sectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="3: sector: A is in Energy already"):
        read_sectors(write(tmp_path, "symbol,sector\nA,Energy\nA,Utilities\n"))
