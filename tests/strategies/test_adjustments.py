"""Splits and dividends change the units of the past, not what happened in it."""

import csv
import datetime as dt
import os
from itertools import pairwise
from math import nan
from pathlib import Path

import numpy as np
import pytest

from config.errors import BadInput
from strategies.adjustments import Action, adjusted, as_csv, read_actions
from strategies.bar_files import read_bars
from strategies.bars import Bars
from strategies.breakout_20d import Breakout20d
from strategies.lab.backtest import backtest
from strategies.lab.costs import parse_costs
from strategies.lab.result import Account
from strategies.lab.trades import REASONS, Reason
from strategies.sessions import sessions_between

DAYS = sessions_between(np.datetime64("2022"), np.datetime64("2024"))


def daily(*closes: list[float], volume: float = 1_000.0) -> Bars:
    """Daily bars from the first session of 2022 on; NaN is a missing bar. Symbols A, B, …"""
    table = np.array(closes).T
    day, symbol = np.nonzero(~np.isnan(table))
    price = table[day, symbol]
    symbols = [chr(ord("A") + n) for n in range(table.shape[1])]
    return Bars.from_columns(
        symbols, symbol, DAYS.opens[day], price, price * 1.01, price * 0.99, price, np.full(price.size, volume)
    )


def date(row: int) -> dt.date:
    found: dt.date = DAYS.dates[row].item()
    return found


def dollars(bars: Bars, symbol: int = 0) -> list[float]:
    return [float(price) for price in bars.close[:, symbol] / bars.price_scale[symbol]]


def test_prices_before_a_split_are_divided_by_it_and_volumes_multiplied() -> None:
    bars = adjusted(daily([100.0, 104.0, 26.5, 27.0]), [Action("A", date(2), split=4.0)], "splits")
    assert dollars(bars) == [25.0, 26.0, 26.5, 27.0]
    assert (bars.volume / bars.volume_scale)[:, 0].tolist() == [4000.0, 4000.0, 1000.0, 1000.0]
    assert (bars.high[1, 0] / bars.price_scale[0], bars.low[1, 0] / bars.price_scale[0]) == (26.26, 25.74)
    assert bars.adjustment == f"splits as of {date(3)}"


def test_ten_shares_that_become_one_raise_the_past() -> None:
    assert dollars(adjusted(daily([2.0, 21.0]), [Action("A", date(1), split=0.1)], "splits")) == [20.0, 21.0]


def test_a_dividend_lowers_the_past_by_its_part_of_the_close_before_it_and_only_where_it_is_wanted() -> None:
    raw, actions = daily([100.0, 50.0, 49.0]), [Action("A", date(2), dividend=1.0)]
    assert dollars(adjusted(raw, actions, "all")) == [98.0, 49.0, 49.0]
    assert dollars(adjusted(raw, actions, "splits")) == [100.0, 50.0, 49.0]
    assert adjusted(raw, actions, "raw").close.tolist() == raw.close.tolist()


def test_factors_multiply_and_touch_only_their_symbol() -> None:
    raw = daily([100.0, 50.0, 50.0, 25.0], [8.0, 8.0, 8.0, 8.0])
    bars = adjusted(raw, [Action("A", date(1), split=2.0), Action("A", date(3), split=2.0)], "splits")
    assert dollars(bars) == [25.0] * 4
    assert dollars(bars, 1) == [8.0] * 4
    assert bars.price_scale[1] == raw.price_scale[1]


def test_a_bar_that_is_missing_on_the_day_of_the_split_repeats_the_adjusted_close() -> None:
    bars = adjusted(daily([40.0, np.nan, 10.0], [1.0, 2.0, 3.0]), [Action("A", date(1), split=4.0)], "splits")
    assert dollars(bars) == [10.0, 10.0, 10.0]
    assert bars.present[:, 0].tolist() == [True, False, True]


def test_a_day_is_seen_again_as_it_was_seen_then() -> None:
    """The day before the split is the raw past; later bars and later actions make no difference to it."""
    raw = daily([100.0, 104.0, 26.5, 27.0])
    known = [Action("A", date(2), split=4.0)]
    then = adjusted(raw.rows(0, 2), [], "splits", date(1))
    again = adjusted(raw, known, "splits", date(1))
    assert dollars(again) == dollars(then) == [100.0, 104.0]
    assert again.adjustment == then.adjustment
    assert dollars(adjusted(raw, known, "splits", date(2))) == [25.0, 26.0, 26.5]
    with pytest.raises(BadInput, match="no bars until then"):
        adjusted(raw, known, "splits", date(0) - dt.timedelta(days=1))


def test_a_small_price_keeps_six_digits() -> None:
    bars = adjusted(daily([123.4567, 0.5], volume=1.0), [Action("A", date(1), split=1000.0)], "splits")
    assert dollars(bars)[0] == pytest.approx(0.1234567, rel=5e-6)


def test_a_dividend_as_high_as_the_price_is_a_mistake() -> None:
    with pytest.raises(BadInput, match=r"a dividend of 50 on .* is no less than the price before it, 50"):
        adjusted(daily([50.0, 50.0]), [Action("A", date(1), dividend=50.0)], "all")


def test_a_symbol_that_is_not_yet_there_is_left_alone() -> None:
    """As of a day before its first bar, a ticker's earlier split and dividend have no prices to change."""
    raw = daily([10.0, 10.0, 10.0, 10.0], [nan, nan, 20.0, 21.0])
    actions = [Action("B", date(1), split=2.0, dividend=0.5)]
    for as_of in (date(1), None):
        assert dollars(adjusted(raw, actions, "all", as_of), 1) == dollars(adjusted(raw, [], "all", as_of), 1)


def test_actions_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "actions.csv"
    actions = [Action("A", date(1), 4.0), Action("B", date(0), 1.0, 0.235), Action("B", date(1), 0.1, 1 / 3)]
    path.write_text(as_csv(reversed(actions)))
    assert read_actions(path) == actions


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("A,2024-13-01,2,", "date: '2024-13-01' is not a date"),
        ("A,2024-01-02,0,", "split: '0' is not a number from 0.0001 to 10000"),
        ("A,2024-01-02,two,", "split: 'two' is not a number"),
        ("A,2024-01-02,,-1", "dividend: '-1' is not a number from 0"),
        (",2024-01-02,2,", "symbol: is empty"),
        ("A,2024-01-01,3,", "date: A has another split or dividend on 2024-01-01 already"),
    ],
)
def test_a_wrong_action_is_named_by_file_line_and_field(tmp_path: Path, row: str, complaint: str) -> None:
    path = tmp_path / "actions.csv"
    path.write_text(f"symbol,date,split,dividend\nA,2024-01-01,2,\n{row}\n")
    with pytest.raises(BadInput) as caught:
        read_actions(path)
    assert str(caught.value).startswith(f"{path}:3: {complaint}")


Row = tuple[str, int, int, float, float, float, int]


def _closed(bars: Bars, last: int) -> list[Row]:
    """Symbol, times, reason, quantity, entry price and profit of the trades that were over by that bar."""
    strategy = Breakout20d(bars.symbols, [{}])
    [result] = backtest(strategy, bars, account=Account(), costs=parse_costs("default"), seed=7)
    found = result.trades
    symbols = [bars.symbols[symbol] for symbol in found.symbol]
    columns = (found.entry_time, found.exit_time, found.quantity, found.entry_price, found.pnl)
    rows = zip(symbols, *(column.tolist() for column in columns), found.reason.tolist(), strict=True)
    end_of_data = REASONS.index(Reason.END_OF_DATA)
    return [row for row in rows if row[2] <= bars.times[last] and row[-1] != end_of_data]


def test_corporate_action_days_give_the_same_trades_before_and_after_readjustment() -> None:
    """As of the day before the split, on the split's own day, and a year later: the same trades in other units."""
    rng = np.random.default_rng(3)
    closes = np.round(80 * np.exp(np.cumsum(rng.normal(0.001, 0.02, (3, 500)), axis=1)), 2)
    split_on = 250
    closes[0, split_on:] = np.round(closes[0, split_on:] / 4, 2)
    raw = daily(*closes.tolist(), volume=400_000.0)
    actions = [Action("A", date(split_on), split=4.0)]
    before = _closed(adjusted(raw, actions, "splits", date(split_on - 1)), split_on - 1)
    assert sum(row[0] == "A" for row in before) >= 2
    assert len(before) >= 5
    for as_of in (date(split_on), date(499)):
        after = _closed(adjusted(raw, actions, "splits", as_of), split_on - 1)
        assert [(*row[:3], row[-1]) for row in after] == [(*row[:3], row[-1]) for row in before]
        for then, now in zip(before, after, strict=True):
            units = 4 if then[0] == "A" else 1
            assert now[3:5] == pytest.approx((then[3] * units, then[4] / units), rel=1e-5)
            assert now[5] == pytest.approx(then[5], rel=1e-3, abs=0.05)


DATA = Path(os.environ.get("NIGHTDESK_TEST_DATA", "."), "bars")


@pytest.mark.skipif("NIGHTDESK_TEST_DATA" not in os.environ, reason="NIGHTDESK_TEST_DATA names no recorded factors")
@pytest.mark.parametrize("symbol", ["AAPL", "SPY", "IBM", "BAC", "AIG", "EEM", "USO", "IWM", "GOOGL"])
def test_real_splits_and_dividends_give_the_published_factors(symbol: str) -> None:
    """22 years: each row's reference price and the step to the next row are an action; prices come out as published."""
    raw = read_bars(DATA / "daily_raw.csv.gz")
    column = raw.symbols.index(symbol)
    with (DATA / "factors" / f"{symbol.lower()}.csv").open(newline="") as file:
        rows = [
            (dt.date.fromisoformat(day), float(price), float(split), float(reference))
            for day, price, split, reference in csv.reader(file)
        ]
    actions = [
        Action(symbol, day + dt.timedelta(days=1), round(later / split, 4), reference * (1 - price / next_price))
        for (day, price, split, reference), (_, next_price, later, _) in pairwise(rows)
    ]
    ours = adjusted(raw, actions, "all")
    there = raw.present[:, column]
    at = np.searchsorted(np.array([day for day, *_ in rows], "datetime64[D]"), raw.dates[there])
    published = np.array([price * split for _, price, split, _ in rows])[at]
    theirs = raw.close[there, column] / raw.price_scale[column] * published
    np.testing.assert_allclose(ours.close[there, column] / ours.price_scale[column], theirs, rtol=2e-3)
    splits = adjusted(raw, actions, "splits")
    only = np.array([split for _, _, split, _ in rows])[at]
    np.testing.assert_allclose(
        splits.close[there, column] / splits.price_scale[column],
        raw.close[there, column] / raw.price_scale[column] * only,
        rtol=2e-5,
    )
