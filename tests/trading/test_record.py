"""A live record is judged as a backtest is, outlives restarts month by month, and is told in a few lines."""

import pytest

from actors.simulated.exchange.tape import Recorded
from actors.trading.ports import Side
from actors.trading.quality import Quality, model_cost
from actors.trading.record import Record
from actors.trading.summary import lines
from strategies.lab.costs import Costs
from strategies.lab.metrics import Verdict
from strategies.lab.result import Account
from strategies.sessions import DAY
from tests.strategies.lab.scripted import FIRST, bars_of, run, scripted
from tests.trading.nutshell import Nutshell, trader_of

RISING = [(100 + n, 101 + n, 99 + n, 100.5 + n) for n in range(40)]


def lived() -> Nutshell:
    """A strategy that has bought and sold now and then for forty days."""
    bars = bars_of({"A": RISING, "B": RISING[::-1]})
    strategy = scripted(bars, {"A": [1, 10, 20], "B": [5, 20]}, {"A": [8, 15, 30], "B": [12, 34]})
    account = Account()
    shell = Nutshell(trader_of(strategy, bars, account, Costs(), "mine"), bars, account, Costs(), 0)
    shell.play(Recorded(bars).moments())
    return shell


def test_metrics_of_a_live_record_are_those_of_the_backtest() -> None:
    bars = bars_of({"A": RISING, "B": RISING[::-1]})
    strategy = scripted(bars, {"A": [1, 10, 20], "B": [5, 20]}, {"A": [8, 15, 30], "B": [12, 34]})
    lab = run(strategy, bars, Account()).metrics()
    live = lived().trader.record.metrics(100_000)
    assert (live.trades, live.exposure, live.average_duration_s) == (lab.trades, lab.exposure, lab.average_duration_s)
    for name in ("sharpe", "sortino", "max_drawdown", "win_rate", "expectancy", "turnover", "net_return", "cagr"):
        assert getattr(live, name) == pytest.approx(getattr(lab, name)), name
    assert live.verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_a_record_is_saved_by_the_month_and_only_what_changed() -> None:
    record = lived().trader.record
    saved = record.save()
    assert list(saved) == ["record:2024-01", "record:2024-02"]
    assert record.save() == {}
    record.mark(FIRST + 41 * DAY, 1.0)
    again = record.save()
    assert list(again) == ["record:2024-02"]
    other = Record(DAY)
    other.load(saved | again)
    assert (other.times, other.equity, other.trades) == (record.times, record.equity, record.trades)


def test_a_record_without_any_bar_has_nothing_to_say() -> None:
    metrics = Record(DAY).metrics(100_000)
    assert (metrics.trades, metrics.sharpe, metrics.verdict) == (0, None, Verdict.NOT_ENOUGH_EVIDENCE)


def test_the_summary_tells_the_sum_and_each_strategy_and_nothing_of_a_day_without_bars() -> None:
    trader = lived().trader
    told = lines([trader], FIRST + 34 * DAY, FIRST + 40 * DAY)
    assert told[0].startswith("desk: $")
    assert "1 trades closed" in told[0]
    assert "mine" in told[1]
    assert "not enough evidence" in told[1]
    assert lines([trader], FIRST + 60 * DAY, FIRST + 61 * DAY) == []


def test_a_fill_worse_than_the_mid_costs_whichever_side_it_is_on() -> None:
    quality = Quality()
    quality.filled(Side.BUY, 100.1, 100.0, model=4.0)
    quality.filled(Side.SELL, 99.8, 100.0, model=4.0)
    assert quality.cost_bps == pytest.approx(15.0)
    assert quality.model_bps == 4.0
    assert quality.tracking_error_bps == pytest.approx(((6**2 + 16**2) / 2) ** 0.5)


def test_the_model_is_half_the_spread_the_slippage_and_what_chance_costs_on_average() -> None:
    costs = Costs(
        spread_bps=4, slippage_type="percent", slippage_amount=0.0005, worse_fill_rate=0.05, worse_fill_max=0.001
    )
    assert model_cost(costs, "A", 100.0) == pytest.approx(2 + 5 + 0.25)
    assert model_cost(Costs(slippage_type="fixed", slippage_amount=0.02), "A", 50.0) == pytest.approx(4.0)
