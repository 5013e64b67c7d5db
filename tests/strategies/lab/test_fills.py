"""One order, one bar: what fills, at what price. Every number was worked out by hand."""

import math

import pytest

from strategies.lab.costs import Costs, SlippageType
from strategies.lab.fills import NO_STOP, NO_TARGET, Market, capacity, gapped, touched
from strategies.lab.trades import Reason

FREE = Costs()


def market(costs: Costs = FREE, lot: float = 0.0, symbol: str = "F") -> Market:
    return Market(costs, symbol, run=1, lot=lot)


@pytest.mark.parametrize(
    ("open_", "stop", "trailing", "target", "reason"),
    [
        (70, 95, NO_STOP, 110, Reason.STOP_LOSS),
        (95, 95, NO_STOP, 110, Reason.STOP_LOSS),
        (96, 95, 97, 110, Reason.TRAILING_STOP),
        (110, 95, NO_STOP, 110, Reason.TAKE_PROFIT),
        (100, 95, 96, 110, None),
        (100, NO_STOP, NO_STOP, NO_TARGET, None),
    ],
)
def test_an_open_beyond_a_level_leaves_there(
    open_: float, stop: float, trailing: float, target: float, reason: Reason | None
) -> None:
    assert gapped(open_, stop, trailing, target) == reason


@pytest.mark.parametrize(
    ("bar", "levels", "exit_"),
    [
        ((100, 101, 80), (95, NO_STOP, NO_TARGET), (95, Reason.STOP_LOSS)),
        ((100, 101, 95), (95, NO_STOP, NO_TARGET), (95, Reason.STOP_LOSS)),
        ((94, 101, 80), (95, NO_STOP, NO_TARGET), (94, Reason.STOP_LOSS)),
        ((100, 110, 99), (95, NO_STOP, 110), (110, Reason.TAKE_PROFIT)),
        ((100, 111, 94), (95, NO_STOP, 110), (95, Reason.STOP_LOSS)),
        ((100, 101, 95), (90, 96, NO_TARGET), (96, Reason.TRAILING_STOP)),
        ((100, 109, 96), (95, NO_STOP, 110), None),
    ],
)
def test_a_level_inside_the_bar_fills_there_and_the_stop_comes_first(
    bar: tuple[float, float, float],
    levels: tuple[float, float, float],
    exit_: tuple[float, Reason] | None,
) -> None:
    assert touched(*bar, *levels) == exit_


@pytest.mark.parametrize(
    ("kind", "amount", "buys_at", "sells_at"),
    [
        ("none", 0, 100.02, 99.98),  # half of 4 basis points
        ("fixed", 0.25, 100.27, 99.73),
        ("percent", 0.0005, 100.07, 99.93),
        ("spread", 1.5, 100.08, 99.92),
    ],
)
def test_half_the_spread_and_the_slippage_add_up(
    kind: SlippageType, amount: float, buys_at: float, sells_at: float
) -> None:
    venue = market(Costs(spread_bps=4, slippage_type=kind, slippage_amount=amount))
    bought = venue.buy(0, 100, volume=1e6, budget=10_000, cash=1e6)
    sold = venue.sell(0, 100, volume=1e6, quantity=10, already_filled=0)
    assert bought
    assert sold
    assert bought.price == pytest.approx(buys_at, rel=1e-14)
    assert bought.quantity == pytest.approx(10_000 / buys_at, rel=1e-14)
    assert sold.price == pytest.approx(sells_at, rel=1e-14)
    assert sold.slippage == pytest.approx(10 * (100 - sells_at), rel=1e-9)


def test_volume_slippage_grows_with_the_root_of_the_share_of_the_bar() -> None:
    venue = market(Costs(slippage_type="volume", slippage_amount=0.1))
    sold = venue.sell(0, 100, volume=40_000, quantity=100, already_filled=0)  # 1/400 of the bar: 0.1 / 20
    assert sold
    assert sold.price == pytest.approx(99.5)


def test_an_order_that_moves_the_price_is_sized_at_the_price_it_moves_to() -> None:
    fill = market(Costs(slippage_type="volume", slippage_amount=0.1)).buy(0, 100, 1_000, budget=10_000, cash=1e6)
    assert fill
    assert fill.price == pytest.approx(100 * (1 + 0.1 * math.sqrt(fill.quantity / 1_000)), rel=1e-12)
    assert fill.quantity * fill.price == pytest.approx(10_000, rel=1e-12)


def test_fixed_slippage_never_makes_a_price_negative() -> None:
    sold = market(Costs(slippage_type="fixed", slippage_amount=5)).sell(0, 3, 1e6, 10, 0)
    assert sold
    assert sold.price == 0


def test_the_size_is_reduced_to_what_the_cash_covers_with_its_fee() -> None:
    fill = market(Costs(commission_bps=100)).buy(0, 50, 1e6, budget=10_000, cash=1_010)
    assert fill
    assert fill.quantity == pytest.approx(20)
    assert fill.notional + fill.fee == pytest.approx(1_010)


def test_a_minimum_commission_also_comes_out_of_the_cash() -> None:
    fill = market(Costs(commission_bps=1, commission_min=5)).buy(0, 50, 1e6, budget=10_000, cash=1_005)
    assert fill
    assert (fill.quantity, fill.fee) == (20, 5)


@pytest.mark.parametrize(("budget", "filled"), [(0.99, False), (1.0, True)])
def test_an_order_under_a_dollar_is_skipped(budget: float, filled: bool) -> None:
    assert (market().buy(0, 100, 1e6, budget, cash=1_000) is not None) == filled


def test_whole_shares_round_down_after_the_cash_limit() -> None:
    fill = market(lot=1).buy(0, 300, 1e6, budget=1_000, cash=899)
    assert fill
    assert fill.quantity == 2
    assert market(lot=1).buy(0, 300, 1e6, budget=299, cash=1e6) is None


def test_a_tenth_of_the_bar_fills_and_the_rest_of_an_entry_is_gone() -> None:
    fill = market(Costs(participation=0.1)).buy(0, 100, volume=50, budget=10_000, cash=1e6)
    assert fill
    assert fill.quantity == 5
    assert market(Costs(participation=0.1)).buy(0, 100, volume=0, budget=10_000, cash=1e6) is None


def test_where_the_price_follows_the_share_of_volume_a_bar_without_volume_fills_nothing() -> None:
    venue = market(Costs(slippage_type="volume", slippage_amount=0.01))
    assert venue.buy(0, 100, volume=0, budget=10_000, cash=1e6) is None
    assert venue.sell(0, 100, volume=0, quantity=7, already_filled=0) is None
    assert venue.buy(0, 100, volume=1e6, budget=10_000, cash=1e6)
    last = venue.close_out(0, 100, volume=0, quantity=7)
    assert (last.quantity, last.price) == (7, 99)


def test_entry_and_exit_in_one_bar_share_its_volume() -> None:
    venue = market(Costs(participation=0.1))
    rest = venue.sell(0, 100, volume=50, quantity=4, already_filled=4)
    assert rest
    assert rest.quantity == 1
    assert venue.sell(0, 100, volume=50, quantity=5, already_filled=5) is None


def test_the_last_close_takes_everything_and_rejects_nothing() -> None:
    fill = market(Costs(spread_bps=200, participation=0.1, reject_rate=1)).close_out(0, 100, volume=0, quantity=7)
    assert (fill.quantity, fill.price) == (7, 99)


def test_a_rejection_rate_of_one_fills_nothing() -> None:
    venue = market(Costs(reject_rate=1))
    assert venue.buy(0, 100, 1e6, 1_000, 1_000) is None
    assert venue.sell(0, 100, 1e6, 1, 0) is None


def test_rejections_and_worse_fills_come_at_their_rates_and_within_their_bounds() -> None:
    venue = market(Costs(reject_rate=0.03, worse_fill_rate=0.05, worse_fill_max=0.001))
    fills = [venue.buy(bar, 100, 1e6, 1_000, 1e6) for bar in range(20_000)]
    done = [fill for fill in fills if fill]
    worse = [fill.price - 100 for fill in done if fill.price > 100]
    assert 1 - len(done) / 20_000 == pytest.approx(0.03, abs=0.005)
    assert len(worse) / len(done) == pytest.approx(0.05, abs=0.007)
    assert max(worse) <= 0.1 + 1e-9
    assert sum(worse) / len(worse) == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize(("volume", "lot", "shares"), [(55, 0, 5.5), (55, 1, 5), (9, 1, 0), (0, 0, 0)])
def test_the_capacity_of_a_bar_is_a_share_of_its_volume_in_whole_lots(volume: float, lot: float, shares: float) -> None:
    assert capacity(volume, 0.1, lot) == pytest.approx(shares)
