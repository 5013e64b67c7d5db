"""Whatever Alpaca sends is read, or is told to make no sense; nothing it could say ends a stream or becomes a price."""

from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.trading.alpaca import reading
from actors.trading.ports import TERMINAL, Bar, Halted, Quote, Side, Unreachable

NOON = 1_790_602_200_000_000

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    *(
        "t",
        "o",
        "h",
        "l",
        "c",
        "v",
        "vw",
        "n",
        "bp",
        "ap",
        "sc",
        "date",
        "open",
        "close",
        "id",
        "client_order_id",
        "symbol",
    ),
    *("side", "status", "filled_qty", "filled_avg_price", "event", "qty", "price", "timestamp", "order_id", "cum_qty"),
    *(
        "transaction_time",
        "equity",
        "cash",
        "buying_power",
        "avg_entry_price",
        "new_rate",
        "old_rate",
        "ex_date",
        "rate",
    ),
]
LIKELY = JSON | st.sampled_from(
    ["2026-09-28T13:30:00.5Z", "2026-09-28", "09:30", "12.5", "buy", "fill", "H", "-1", "nan"]
)
OBJECTS = JSON | st.dictionaries(st.sampled_from(NAMES), LIKELY)


@given(OBJECTS)
def test_nothing_that_could_be_sent_raises_anything_but_that_it_makes_no_sense(data: Any) -> None:
    report = reading.order(ORDER)
    readers: list[Callable[[Any], object]] = [
        lambda said: reading.bar("AAPL", said),
        lambda said: reading.quote("AAPL", said),
        lambda said: reading.halted("AAPL", said),
        reading.session,
        reading.split,
        reading.dividend,
        reading.order,
        lambda said: reading.execution(said, report),
        lambda said: reading.activity(said, "ours"),
        reading.account,
        reading.holding,
    ]
    for read in readers:
        try:
            read(data)
        except Unreachable:
            continue


ORDER = {
    "id": "904837e3",
    "client_order_id": "ours",
    "symbol": "AAPL",
    "side": "buy",
    "status": "partially_filled",
    "filled_qty": "1.5",
    "filled_avg_price": "101.25",
    "a field of tomorrow": {"nested": [1]},
}
BAR = {
    "t": "2026-09-28T13:30:00Z",
    "o": 100,
    "h": 101.5,
    "l": 99.99995,
    "c": 100.12345,
    "v": 1200.5,
    "n": 17,
    "vw": 100.2,
}


def test_a_bar_is_in_ten_thousandths_of_a_dollar() -> None:
    expected = Bar("AAPL", NOON, 1_000_000, 1_015_000, 1_000_000, 1_001_234, 1200.5, 1_002_000, 17)
    assert reading.bar("AAPL", BAR | {"o": 100.0}) == expected
    assert reading.bar("AAPL", {name: BAR[name] for name in "tohlcv"}) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"h": 99},
        {"l": 0},
        {"o": -1},
        {"v": -1},
        {"v": float("nan")},
        {"c": float("inf")},
        {"t": "today"},
        {"o": None},
        {"h": 1e18},
        {"v": 1e30},
    ],
)
def test_a_bar_that_cannot_be_is_none(wrong: dict[str, Any]) -> None:
    assert reading.bar("AAPL", BAR | wrong) is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-09-28T13:30:00Z",
        "2026-09-28T13:30:00.000000999Z",
        "2026-09-28T09:30:00-04:00",
        "2026-09-28T09:30:00.000000-04:00",
        msgpack.Timestamp(NOON // 1_000_000, 0),
    ],
)
def test_times_are_understood_in_all_the_ways_they_are_written(text: Any) -> None:
    assert reading.quote("AAPL", {"t": text, "bp": 1, "ap": 2}) == Quote("AAPL", NOON, 10_000, 20_000)


def test_a_side_that_nobody_offers_is_no_price() -> None:
    for nobody in ({"ap": 0}, {"ap": None}, {}):
        quote = reading.quote("AAPL", {"t": "2026-09-28T13:30:00Z", "bp": 100} | nobody)
        assert quote is not None
        assert (quote.ask, quote.valid) == (0, False)


@pytest.mark.parametrize(("code", "halted"), [("H", True), ("P", True), ("2", True), ("T", False), ("3", False)])
def test_halts_and_their_ends_are_known_on_all_tapes(code: str, halted: bool) -> None:
    said = reading.halted("AAPL", {"t": "2026-09-28T13:30:00Z", "sc": code})
    assert said == Halted("AAPL", halted, NOON)
    assert reading.halted("AAPL", {"t": "2026-09-28T13:30:00Z", "sc": "Q"}) is None


@given(st.text())
def test_an_order_in_a_state_never_heard_of_is_in_flight(state: str) -> None:
    report = reading.order(ORDER | {"status": state})
    assert report.over == (state in TERMINAL)
    assert (report.filled, report.average, report.side) == (1.5, 101.25, Side.BUY)


def test_a_fill_has_the_same_name_on_the_stream_and_in_the_history() -> None:
    """Though the stream's execution_id is in neither."""
    update = {"event": "partial_fill", "qty": "0.5", "price": "101.0", "timestamp": "2026-09-28T13:30:00.1Z"}
    streamed = reading.execution(update | {"execution_id": "2f63ea93"}, reading.order(ORDER))
    told = {
        "id": "20260928133000100::8efc7b9a",
        "activity_type": "FILL",
        "transaction_time": "2026-09-28T13:30:00.1Z",
        "type": "partial_fill",
        "price": "101",
        "qty": "0.5",
        "side": "buy",
        "symbol": "AAPL",
        "leaves_qty": "1",
        "order_id": "904837e3",
        "cum_qty": "1.50",
    }
    assert reading.activity(told, "ours") == streamed


def test_a_missing_number_of_the_account_is_no_zero_and_the_old_pattern_day_trader_fields_change_nothing() -> None:
    account = {"equity": "1000", "cash": "500", "buying_power": "500", "status": "ACTIVE"}
    day_trader = {"pattern_day_trader": True, "daytrade_count": 4, "daytrading_buying_power": "0"}
    assert reading.account(account) == reading.account(account | day_trader)
    with pytest.raises(Unreachable):
        reading.account({"cash": "500", "buying_power": "500"})
    assert reading.account(account | {"trading_blocked": True}).blocked
    assert reading.account(account | {"status": "ACCOUNT_CLOSED"}).blocked
