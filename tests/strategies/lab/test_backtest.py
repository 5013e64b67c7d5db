"""Every rule of execution and every reason to leave, on bars small enough to check by hand."""

import numpy as np
import pytest

from strategies.lab.costs import Costs
from strategies.lab.result import Account
from tests.strategies.lab.scripted import FREE, MINUTE, WHOLE, Row, bars_of, flat, run, scripted, told

RISE: list[Row] = [
    (100, 102, 99, 101),
    (103, 105, 102, 104),
    (106, 108, 105, 107),
    (109, 111, 108, 110),
    (112, 114, 111, 113),
]


def held_from_100(*later: Row) -> list[Row]:
    """A signal on bar 0, an entry at 100 on bar 1, then what the test says."""
    return [(100, 100, 100, 100), (100, 101, 99, 100), *later]


def test_a_signal_fills_at_the_open_of_the_next_bar() -> None:
    bars = bars_of({"A": RISE})
    result = run(scripted(bars, {"A": [0]}, {"A": [2]}), bars)
    assert told(result, bars) == [("A", 1, 103, 3, 109, "signal")]
    assert result.trades.pnl.tolist() == pytest.approx([100_000 / 103 * 6])


def test_a_signal_on_the_last_bar_fills_nothing() -> None:
    bars = bars_of({"A": RISE})
    result = run(scripted(bars, {"A": [4]}), bars)
    assert len(result.trades) == 0
    assert result.equity.tolist() == [100_000] * 5


def test_a_symbol_without_the_next_bar_fills_at_its_own_next_one() -> None:
    bars = bars_of({"A": [RISE[0], None, RISE[2], None, RISE[4]], "B": flat(50, 5)})
    result = run(scripted(bars, {"A": [0]}, {"A": [2]}), bars)
    assert told(result, bars) == [("A", 2, 106, 4, 112, "signal")]


def test_what_is_held_at_the_close_makes_no_entry_even_while_it_leaves() -> None:
    bars = bars_of({"A": flat(100, 6)})
    result = run(scripted(bars, {"A": [0, 1, 2, 3]}, {"A": [2]}), bars)
    assert told(result, bars) == [("A", 1, 100, 3, 100, "signal"), ("A", 4, 100, 5, 100, "end_of_data")]


def test_stop_95_and_an_open_at_70_fills_at_70() -> None:
    bars = bars_of({"A": held_from_100((70, 75, 65, 72))})
    result = run(scripted(bars, {"A": [0]}, stop_loss=0.05), bars)
    assert told(result, bars) == [("A", 1, 100, 2, 70, "stop_loss")]


def test_stop_95_and_a_low_of_80_fills_at_95() -> None:
    bars = bars_of({"A": held_from_100((100, 101, 80, 100))})
    result = run(scripted(bars, {"A": [0]}, stop_loss=0.05), bars)
    assert told(result, bars) == [("A", 1, 100, 2, 95, "stop_loss")]


def test_a_stop_is_touched_on_the_entry_bar_too() -> None:
    bars = bars_of({"A": [(100, 100, 100, 100), (100, 101, 94, 100), (100, 100, 100, 100)]})
    result = run(scripted(bars, {"A": [0]}, stop_loss=0.05), bars)
    assert told(result, bars) == [("A", 1, 100, 1, 95, "stop_loss")]
    assert result.equity.tolist() == pytest.approx([100_000, 95_000, 95_000])


def test_a_level_that_the_price_only_equals_is_touched() -> None:
    bars = bars_of({"A": held_from_100((100, 100, 95, 96))})
    assert told(run(scripted(bars, {"A": [0]}, stop_loss=0.05), bars), bars)[0][3:] == (2, 95, "stop_loss")
    bars = bars_of({"A": held_from_100((100, 112.5, 99, 100))})
    assert told(run(scripted(bars, {"A": [0]}, take_profit=0.125), bars), bars)[0][3:] == (2, 112.5, "take_profit")


def test_stop_and_target_inside_one_bar_is_the_stop() -> None:
    bars = bars_of({"A": held_from_100((100, 120, 90, 110))})
    result = run(scripted(bars, {"A": [0]}, stop_loss=0.05, take_profit=0.1), bars)
    assert told(result, bars) == [("A", 1, 100, 2, 95, "stop_loss")]


def test_an_open_beyond_the_target_is_the_target_even_if_the_stop_follows() -> None:
    bars = bars_of({"A": held_from_100((115, 120, 90, 110))})
    result = run(scripted(bars, {"A": [0]}, stop_loss=0.05, take_profit=0.1), bars)
    assert told(result, bars) == [("A", 1, 100, 2, 115, "take_profit")]


def test_levels_follow_the_fill_not_the_signal() -> None:
    """A signal at 100 that opens at 120 has its 10 % target at 132: no instant loss at 110."""
    bars = bars_of({"A": [(100, 100, 100, 100), (120, 121, 115, 120), (121, 133, 120, 130)]})
    result = run(scripted(bars, {"A": [0]}, take_profit=0.1), bars)
    assert told(result, bars) == [("A", 1, 120, 2, 132, "take_profit")]


def test_a_trailing_stop_follows_the_highest_completed_bar() -> None:
    """Bar 2 reaches 120 and falls to 109: below 10 % of 120, but 120 counts only from bar 3."""
    bars = bars_of({"A": held_from_100((100, 120, 109, 110), (112, 113, 107, 110))})
    result = run(scripted(bars, {"A": [0]}, trailing_stop=0.1), bars)
    assert told(result, bars) == [("A", 1, 100, 3, 108, "trailing_stop")]


def test_a_trailing_stop_starts_at_the_fill() -> None:
    bars = bars_of({"A": [(100, 100, 100, 100), (100, 101, 89, 95), (95, 95, 95, 95)]})
    result = run(scripted(bars, {"A": [0]}, trailing_stop=0.1), bars)
    assert told(result, bars) == [("A", 1, 100, 1, 90, "trailing_stop")]


def test_of_two_stops_the_higher_one_gives_price_and_reason() -> None:
    bars = bars_of({"A": held_from_100((100, 110, 100, 110), (104, 105, 90, 95))})
    result = run(scripted(bars, {"A": [0]}, stop_loss=0.05, trailing_stop=0.1), bars)
    assert told(result, bars) == [("A", 1, 100, 3, 99, "trailing_stop")]


def test_three_bars_at_most_leaves_at_the_open_after_the_third() -> None:
    bars = bars_of({"A": RISE})
    result = run(scripted(bars, {"A": [0]}, max_holding=3), bars)
    assert told(result, bars) == [("A", 1, 103, 4, 112, "max_holding")]


def test_a_missing_bar_is_not_a_bar_held() -> None:
    bars = bars_of({"A": [RISE[0], RISE[1], None, RISE[3], RISE[4]], "B": flat(1, 5)})
    result = run(scripted(bars, {"A": [0]}, max_holding=2), bars)
    assert told(result, bars) == [("A", 1, 103, 4, 112, "max_holding")]


def test_an_exit_that_was_ordered_keeps_its_reason() -> None:
    bars = bars_of({"A": RISE})
    result = run(scripted(bars, {"A": [0]}, {"A": [3]}, max_holding=3), bars)
    assert told(result, bars) == [("A", 1, 103, 4, 112, "signal")]


def session(*starts: str) -> list[int]:
    return [int(np.datetime64(f"2024-07-{start}", "us").astype(np.int64)) for start in starts]


def test_a_strategy_that_ends_with_its_session_leaves_at_the_open_of_the_last_bar() -> None:
    """3 July 2024 closes at 13:00 in New York: its last quarter hour starts at 16:45 UTC."""
    times = session("03T16:00", "03T16:15", "03T16:30", "03T16:45", "05T13:30")
    bars = bars_of({"A": RISE}, times, timeframe=15 * MINUTE)
    result = run(scripted(bars, {"A": [0]}, session_end=True), bars)
    assert told(result, bars) == [("A", 1, 103, 3, 109, "session_end")]


def test_where_the_last_bar_of_a_session_is_missing_the_next_open_ends_it() -> None:
    times = session("03T16:00", "03T16:15", "03T16:30", "05T13:30", "05T13:45")
    bars = bars_of({"A": RISE}, times, timeframe=15 * MINUTE)
    result = run(scripted(bars, {"A": [0]}, session_end=True), bars)
    assert told(result, bars) == [("A", 1, 103, 3, 109, "session_end")]


def test_nothing_is_entered_at_the_last_bar_of_a_session() -> None:
    times = session("03T16:30", "03T16:45", "05T13:30", "05T13:45", "05T14:00")
    bars = bars_of({"A": RISE}, times, timeframe=15 * MINUTE)
    assert len(run(scripted(bars, {"A": [0]}, session_end=True), bars).trades) == 0


def test_what_is_open_at_the_end_is_closed_at_its_last_close_and_that_is_the_last_equity() -> None:
    bars = bars_of({"A": RISE})
    result = run(scripted(bars, {"A": [0]}), bars, costs=Costs(commission_bps=100))
    assert told(result, bars) == [("A", 1, 103, 4, 113, "end_of_data")]
    assert result.final_equity == pytest.approx(100_000 / 1.01 / 103 * 113 * 0.99)


def test_a_symbol_whose_bars_stop_is_marked_and_closed_at_its_last_close() -> None:
    bars = bars_of({"A": [*RISE[:3], None, None], "B": flat(50, 5)})
    result = run(scripted(bars, {"A": [0]}), bars)
    assert told(result, bars) == [("A", 1, 103, 2, 107, "end_of_data")]
    assert result.equity.tolist() == pytest.approx([100_000 * x for x in (1, 104 / 103, *[107 / 103] * 3)])


def test_a_position_whose_bars_stop_counts_as_exposure_as_long_as_it_takes_a_place() -> None:
    """A is in the book from bar 1 to the end; sold at the last close, it is not held there."""
    bars = bars_of({"A": [*RISE[:3], None, None], "B": flat(50, 5)})
    result = run(scripted(bars, {"A": [0], "B": [2]}), bars, Account(max_positions=1))
    assert told(result, bars) == [("A", 1, 103, 2, 107, "end_of_data")]
    assert result.metrics().exposure == 3 / 5


def test_a_symbol_that_leaves_the_universe_is_closed_at_its_last_close_that_day() -> None:
    members = np.ones((5, 1), np.bool_)
    members[3:] = False
    bars = bars_of({"A": RISE}, members=members)
    result = run(scripted(bars, {"A": [0, 2, 3]}), bars)
    assert told(result, bars) == [("A", 1, 103, 2, 107, "end_of_data")]


def test_only_a_member_is_entered() -> None:
    members = np.ones((5, 1), np.bool_)
    members[:2] = False
    bars = bars_of({"A": RISE}, members=members)
    assert told(run(scripted(bars, {"A": [0, 1]}), bars), bars) == []
    assert told(run(scripted(bars, {"A": [0, 1, 2]}), bars), bars) == [("A", 3, 109, 4, 113, "end_of_data")]


def test_the_kill_switch_flattens_at_the_next_open_and_nothing_follows() -> None:
    """All in at 100; a close of 85 is a fall of 15 % of the initial capital."""
    rows = {
        "A": [*held_from_100((100, 100, 85, 85), (80, 90, 80, 90)), *flat(90, 2)],
        "B": [*flat(10, 3), *flat(20, 3)],
    }
    bars = bars_of(rows)
    account = Account(fraction=0.999, max_positions=2, kill_switch_drawdown=0.1498)
    result = run(scripted(bars, {"A": [0, 3], "B": [2, 3]}), bars, account)
    assert told(result, bars) == [("A", 1, 100, 3, 80, "kill_switch")]
    assert result.killed_at == bars.times[2]
    assert result.equity.tolist() == pytest.approx([100_000, 100_000, 85_015, *[80_020] * 3])


def test_the_kill_switch_counts_from_the_highest_equity_and_not_a_cent_early() -> None:
    """Up to 120,000, then down to 105,000: exactly 15 % of the 100,000 it began with."""
    bars = bars_of({"A": held_from_100((120, 120, 120, 120), (105.01, 105.01, 105.01, 105.01), (105, 105, 105, 105))})
    result = run(scripted(bars, {"A": [0]}), bars, Account(fraction=1))
    assert result.killed_at == bars.times[4]
    bars = bars_of({"A": held_from_100((120, 120, 120, 120), (105.01, 105.01, 105.01, 105.01))})
    assert run(scripted(bars, {"A": [0]}), bars, Account(fraction=1)).killed_at is None


def test_cash_freed_at_the_open_pays_for_an_entry_at_that_open() -> None:
    bars = bars_of({"A": flat(100, 5), "B": flat(50, 5)})
    result = run(scripted(bars, {"A": [0], "B": [2]}, {"A": [2]}), bars, Account(fraction=1, max_positions=1))
    assert told(result, bars) == [("A", 1, 100, 3, 100, "signal"), ("B", 3, 50, 4, 50, "end_of_data")]


def test_cash_freed_inside_a_bar_does_not() -> None:
    bars = bars_of({"A": held_from_100((100, 100, 90, 100), (100, 100, 100, 100)), "B": flat(50, 4)})
    strategy = scripted(bars, {"A": [0], "B": [1]}, stop_loss=0.05)
    result = run(strategy, bars, Account(fraction=1, max_positions=2, kill_switch_drawdown=1))
    assert told(result, bars) == [("A", 1, 100, 2, 95, "stop_loss")]


def test_the_highest_scores_enter_then_the_order_of_symbols_and_the_rest_is_dropped() -> None:
    bars = bars_of({name: flat(100, 5) for name in "ABCD"})
    strategy = scripted(bars, {"A": [0], "B": [0], "C": [0], "D": [0]}, score={"A": 1, "B": 2, "C": 3, "D": 2})
    result = run(strategy, bars, Account(fraction=0.1, max_positions=2))
    assert [trade[0] for trade in told(result, bars)] == ["B", "C"]
    assert {trade[1] for trade in told(result, bars)} == {1}


def test_a_position_is_a_fraction_of_equity_at_the_last_close() -> None:
    """A doubles by the close of bar 2: B's tenth is a tenth of 110,000, whatever A opens at."""
    bars = bars_of({"A": held_from_100((200, 200, 200, 200), (300, 300, 300, 300)), "B": flat(50, 4)})
    result = run(scripted(bars, {"A": [0], "B": [2]}), bars, Account(fraction=0.1))
    assert dict(zip(result.trades.symbol.tolist(), result.trades.quantity.tolist(), strict=True)) == {0: 100, 1: 220}


def test_the_last_position_takes_what_cash_is_left() -> None:
    bars = bars_of({name: flat(100, 3) for name in "AB"})
    result = run(scripted(bars, {"A": [0], "B": [0]}), bars, Account(fraction=0.6), Costs(commission_bps=50))
    left = 100_000 - 60_000 * 1.005
    assert result.trades.quantity.tolist() == pytest.approx([600, left / 1.005 / 100])


def test_an_unfilled_rest_of_an_entry_is_gone() -> None:
    rows: list[Row] = [(100, 100, 100, 100, 1_000)] * 4
    bars = bars_of({"A": rows})
    result = run(scripted(bars, {"A": [0]}), bars, costs=Costs(participation=0.1))
    assert result.trades.quantity.tolist() == [100]


def test_an_unfilled_rest_of_an_exit_is_sent_again_and_one_position_is_one_trade() -> None:
    """100 shares: 60 leave at 110, the bar's tenth; 40 at the next open, 120; the reason stays."""
    rows: list[Row] = [
        (100, 100, 100, 100, 1_000),
        (100, 100, 100, 100, 1_000),
        (110, 110, 80, 110, 600),
        (120, 120, 120, 120, 600),
        (130, 130, 130, 130, 600),
    ]
    bars = bars_of({"A": rows})
    result = run(scripted(bars, {"A": [0]}, {"A": [1]}, stop_loss=0.1), bars, costs=Costs(participation=0.1))
    assert told(result, bars) == [("A", 1, 100, 3, 114, "signal")]
    assert result.trades.quantity.tolist() == [100]
    assert result.trades.pnl.tolist() == pytest.approx([60 * 10 + 40 * 20])


def test_a_stop_that_fills_in_part_keeps_its_reason_at_the_next_open() -> None:
    rows: list[Row] = [
        (100, 100, 100, 100, 1_000),
        (100, 100, 100, 100, 1_000),
        (100, 100, 94, 100, 500),
        (101, 101, 101, 101, 1_000),
    ]
    bars = bars_of({"A": rows})
    result = run(scripted(bars, {"A": [0]}, stop_loss=0.05), bars, costs=Costs(participation=0.1))
    assert told(result, bars) == [("A", 1, 100, 3, 98, "stop_loss")]


def test_an_entry_that_took_its_share_of_the_bar_leaves_none_for_its_stop() -> None:
    rows: list[Row] = [(100, 100, 100, 100, 1_000), (100, 100, 90, 100, 1_000), (98, 98, 98, 98, 1_000)]
    bars = bars_of({"A": rows})
    result = run(scripted(bars, {"A": [0]}, stop_loss=0.05), bars, costs=Costs(participation=0.1))
    assert told(result, bars) == [("A", 1, 100, 2, 98, "stop_loss")]


def test_a_rejected_entry_is_gone_and_a_rejected_exit_is_sent_again() -> None:
    """Half of all orders are rejected: entries wait for a new signal, exits for the next open, none is lost."""
    bars = bars_of({f"S{n}": flat(100, 6) for n in range(200)})
    enter = {name: [0] for name in bars.symbols}
    leave = {name: [1] for name in bars.symbols}
    account = Account(fraction=0.001, max_positions=200)
    result = run(scripted(bars, enter, leave), bars, account, Costs(reject_rate=0.5))
    trades = told(result, bars)
    assert 70 < len(trades) < 130
    assert {trade[1] for trade in trades} == {1}
    left_at = [sum(trade[3] == bar and trade[5] == "signal" for trade in trades) for bar in (2, 3, 4, 5)]
    assert 0.3 < left_at[0] / len(trades) < 0.7
    assert sum(left_at) + sum(trade[5] == "end_of_data" for trade in trades) == len(trades)
    assert left_at[1] > left_at[3]


def test_a_stop_that_was_rejected_at_the_open_is_not_tried_twice_in_one_bar() -> None:
    """Where the gapped stop is rejected, it goes at the next open, with its reason."""
    bars = bars_of({f"S{n}": held_from_100((90, 90, 90, 90), (80, 80, 80, 80)) for n in range(100)})
    strategy = scripted(bars, {name: [0] for name in bars.symbols}, stop_loss=0.05)
    account = Account(fraction=0.001, max_positions=100, kill_switch_drawdown=1)
    trades = told(run(strategy, bars, account, Costs(reject_rate=0.3)), bars)
    stopped = [trade[3:5] for trade in trades if trade[5] == "stop_loss"]
    assert set(stopped) == {(2, 90), (3, 80)}


def test_eighty_percent_long_on_a_rising_line_hardly_draws_down() -> None:
    """From 100 to 200 in 250 bars, held: equity continuous when the position opens, drawdown under 0.2 %."""
    line = np.linspace(100, 200, 250).round(4)
    bars = bars_of({"A": [(price, price, price, price) for price in line.tolist()]})
    result = run(scripted(bars, {"A": [0]}), bars, Account(fraction=0.8), Costs(spread_bps=4, commission_bps=5))
    peak = np.maximum.accumulate(result.equity)
    assert ((peak - result.equity) / peak).max() < 0.002
    assert np.abs(np.diff(result.equity)).max() < 0.005 * 100_000
    assert result.final_equity > 175_000


def test_both_fees_and_the_slippage_are_in_the_trade() -> None:
    bars = bars_of({"A": flat(100, 4)})
    costs = Costs(commission_min=10, slippage_type="fixed", slippage_amount=1)
    result = run(scripted(bars, {"A": [0]}, {"A": [1]}), bars, Account(fraction=0.0101), costs)
    assert result.trades.quantity.tolist() == pytest.approx([10])
    assert result.trades.fees.tolist() == [20]
    assert result.trades.slippage.tolist() == pytest.approx([20])
    assert result.trades.pnl.tolist() == pytest.approx([-40])


def test_no_costs_no_trades_no_change() -> None:
    bars = bars_of({"A": RISE})
    result = run(scripted(bars, {}), bars, WHOLE, FREE)
    assert (result.final_equity, len(result.trades), result.killed_at) == (100_000, 0, None)
