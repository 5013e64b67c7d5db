"""Metrics by hand on small books, and beside the libraries people know on random curves."""

from math import sqrt

import empyrical  # type: ignore[import-untyped]  # it has no types
import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # likewise
import pytest
import quantstats
from hypothesis import given
from hypothesis import strategies as st

from strategies.lab.metrics import (
    Verdict,
    best_of_worthless,
    cagr,
    daily_returns,
    deflated_sharpe,
    drawdown,
    measure,
    probabilistic_sharpe,
    sharpe,
    sharpe_probability,
    sortino,
)
from strategies.lab.trades import Floats, Trades

DAY = 86_400_000_000  # µs


def trades(*pnl: float, entry: int = 0, bars: int = 1, price: float = 10.0, quantity: float = 1.0) -> Trades:
    """Trades of those P&Ls, entered at bar `entry` of a daily series and held for `bars`."""
    n = len(pnl)
    return Trades(
        symbol=np.zeros(n, np.intp),
        entry_time=np.full(n, entry * DAY),
        entry_price=np.full(n, price),
        exit_time=np.full(n, (entry + bars) * DAY),
        exit_price=np.full(n, price),
        quantity=np.full(n, quantity),
        fees=np.full(n, 1.0),
        slippage=np.full(n, 0.5),
        pnl=np.array(pnl, np.float64),
        reason=np.zeros(n, np.intp),
    )


def daily(size: int) -> tuple[np.ndarray, np.ndarray]:
    times = np.arange(size, dtype=np.int64) * DAY
    return times, times.astype("datetime64[us]").astype("datetime64[D]")


def curve(seed: int, size: int, drift: float) -> Floats:
    moves: Floats = np.random.default_rng(seed).normal(drift, 0.02, size)
    walked: Floats = 100_000 * np.exp(moves.cumsum())
    return walked


curves = st.builds(curve, st.integers(0, 2**32 - 1), st.integers(3, 800), st.floats(-0.003, 0.003))


@given(curves)
def test_the_same_definitions_agree_with_empyrical_and_quantstats(equity: Floats) -> None:
    times, days = daily(equity.size)
    ours = measure(100_000, times, days, equity, trades())
    returns = pd.Series(daily_returns(100_000, days, equity), index=pd.DatetimeIndex(days))
    assert ours.sharpe is not None
    assert ours.sharpe == pytest.approx(empyrical.sharpe_ratio(returns), rel=1e-9)
    assert ours.sharpe == pytest.approx(quantstats.stats.sharpe(returns, periods=252), rel=1e-9)
    if ours.sortino is not None:
        assert ours.sortino == pytest.approx(empyrical.sortino_ratio(returns), rel=1e-9)
        assert ours.sortino == pytest.approx(quantstats.stats.sortino(returns, periods=252), rel=1e-9)
    assert ours.max_drawdown == pytest.approx(-empyrical.max_drawdown(returns), rel=1e-9, abs=1e-12)
    assert ours.max_drawdown == pytest.approx(-quantstats.stats.max_drawdown(returns), rel=1e-9, abs=1e-12)
    assert ours.cagr == pytest.approx(empyrical.cagr(returns), rel=1e-9)


@given(curves)
def test_the_probabilistic_sharpe_ratio_is_that_of_quantstats(equity: Floats) -> None:
    """Their kurtosis and skew carry a bias correction, so they only meet on long curves."""
    equity = np.tile(equity[:700], 3)
    returns = daily_returns(equity[0], daily(equity.size)[1], equity)
    theirs = quantstats.stats.probabilistic_sharpe_ratio(pd.Series(returns), periods=252, smart=False)
    assert probabilistic_sharpe(returns) == pytest.approx(theirs, abs=0.02)


def test_the_first_day_is_a_day_and_starts_from_the_initial_capital() -> None:
    equity = np.array([110.0, 99.0])
    assert daily_returns(100.0, daily(2)[1], equity) == pytest.approx([0.10, -0.10])


def test_bars_within_a_day_make_one_return() -> None:
    days = np.array(["2024-07-01", "2024-07-01", "2024-07-02"], "datetime64[D]")
    assert daily_returns(100.0, days, np.array([150.0, 110.0, 121.0])) == pytest.approx([0.10, 0.10])


def test_drawdown_counts_the_initial_capital_as_the_first_peak() -> None:
    times, days = daily(3)
    measured = measure(100.0, times, days, np.array([90.0, 200.0, 170.0]), trades())
    assert drawdown(100.0, np.array([90.0, 200.0, 170.0])) == pytest.approx([0.10, 0.0, 0.15])
    assert measured.max_drawdown == pytest.approx(0.15)
    assert measured.max_drawdown_of_initial == pytest.approx(0.30)


def test_an_intraday_dip_counts_for_drawdown_but_not_for_sharpe() -> None:
    days = np.array(["2024-07-01"] * 2 + ["2024-07-02"] * 2, "datetime64[D]")
    measured = measure(100.0, np.arange(4) * 3_600_000_000, days, np.array([50.0, 101.0, 60.0, 103.0]), trades())
    assert measured.max_drawdown == pytest.approx(0.50)
    assert measured.sharpe == pytest.approx(sharpe(np.array([0.01, 103 / 101 - 1])))


def test_a_trade_that_made_nothing_is_neither_win_nor_loss() -> None:
    times, days = daily(3)
    measured = measure(100.0, times, days, np.full(3, 100.0), trades(30.0, 0.0, -10.0, 10.0))
    assert measured.trades == 4
    assert measured.win_rate == 0.5
    assert measured.average_win == 20.0
    assert measured.average_loss == 10.0
    assert measured.reward_risk == 2.0
    assert measured.profit_factor == 4.0
    assert measured.expectancy == 7.5


def test_expectancy_is_what_win_rate_and_averages_promise() -> None:
    times, days = daily(3)
    measured = measure(100.0, times, days, np.full(3, 100.0), trades(30.0, -10.0, 12.0, -4.0, -9.0))
    assert measured.win_rate is not None
    assert measured.average_win is not None
    assert measured.average_loss is not None
    promised = measured.win_rate * measured.average_win - (1 - measured.win_rate) * measured.average_loss
    assert measured.expectancy == pytest.approx(promised)


def test_costs_separate_gross_from_net() -> None:
    times, days = daily(2)
    measured = measure(100.0, times, days, np.array([100.0, 107.0]), trades(5.0, 2.0))
    assert (measured.total_fees, measured.total_slippage) == (2.0, 1.0)
    assert measured.net_return == pytest.approx(0.07)
    assert measured.gross_return == pytest.approx(0.10)


def test_exposure_is_the_share_of_bars_that_end_with_a_position() -> None:
    """Entered on the second of four bars and left two later: two bars of four end with it."""
    times, days = daily(4)
    measured = measure(100.0, times, days, np.full(4, 100.0), trades(1.0, 1.0, entry=1, bars=2))
    assert measured.exposure == 0.5
    assert measured.average_duration_s == 2 * 86_400


def test_turnover_is_both_sides_over_the_mean_equity() -> None:
    times, days = daily(2)
    measured = measure(100.0, times, days, np.array([100.0, 300.0]), trades(1.0, price=10.0, quantity=4.0))
    assert measured.turnover == pytest.approx(80 / 200)


def test_what_is_undefined_is_none() -> None:
    times, days = daily(3)
    flat = measure(100.0, times, days, np.full(3, 100.0), trades())
    undefined = ("win_rate", "expectancy", "average_win", "average_loss", "reward_risk", "profit_factor")
    assert [getattr(flat, name) for name in (*undefined, "sharpe", "sortino", "average_duration_s")] == [None] * 9
    assert flat.cagr == 0.0
    assert flat.verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_without_a_loss_profit_factor_and_sortino_are_undefined() -> None:
    times, days = daily(3)
    winning = measure(100.0, times, days, np.array([100.0, 102.0, 105.0]), trades(2.0, 3.0))
    assert winning.sharpe is not None
    assert [winning.profit_factor, winning.reward_risk, winning.average_loss, winning.sortino] == [None] * 4


def test_a_year_of_252_days_compounds_to_its_own_return() -> None:
    assert cagr(0.10, 252) == pytest.approx(0.10)
    assert cagr(0.21, 504) == pytest.approx(0.10)
    assert cagr(0.0, 0) is None


@pytest.mark.parametrize(
    ("target", "verdict"),
    [(1.0001, Verdict.KEEP), (0.9999, Verdict.WATCH), (0.5001, Verdict.WATCH), (0.4999, Verdict.SHELVE)],
)
def test_the_verdict_turns_at_a_sharpe_of_one_and_of_a_half(target: float, verdict: Verdict) -> None:
    noise = np.random.default_rng(7).normal(0, 0.01, 252)
    noise -= noise.mean()
    returns = noise + target * noise.std(ddof=1) / sqrt(252)
    times, days = daily(252)
    equity = 100.0 * np.cumprod(1 + returns)
    assert measure(100.0, times, days, equity, trades(*[1.0] * 30)).verdict is verdict
    assert measure(100.0, times, days, equity, trades(*[1.0] * 29)).verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_sortino_divides_by_all_days_not_only_the_losing_ones() -> None:
    returns = np.array([0.02, -0.01, 0.01, -0.01])
    assert sortino(returns) == pytest.approx(returns.mean() / sqrt(0.0002 / 4) * sqrt(252))


def test_more_trials_deflate_the_sharpe_ratio() -> None:
    """One trial is the probabilistic ratio; the best of a hundred worthless ones is worth little."""
    returns = np.random.default_rng(3).normal(0.001, 0.01, 500)
    trials = np.random.default_rng(4).normal(0, 0.05, 100)
    alone, few, many = (deflated_sharpe(returns, trials[:n]) for n in (1, 10, 100))
    assert alone == probabilistic_sharpe(returns)
    assert alone is not None
    assert few is not None
    assert many is not None
    assert 1 > alone > few > many > 0


def test_the_published_example_of_the_deflated_sharpe_ratio() -> None:
    """Bailey and López de Prado (2014): annual Sharpe 2.5 over 1,250 days, the best of 100 trials, is 90 % certain."""
    best = best_of_worthless(trials=100, deviation=sqrt(0.5 / 250))
    assert best == pytest.approx(0.1132, abs=5e-5)
    certain = sharpe_probability(2.5 / sqrt(250), best, size=1250, skew=-3, kurtosis=10)
    assert certain == pytest.approx(0.9004, abs=5e-5)
