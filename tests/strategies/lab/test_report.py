"""The report on runs that are long, empty, or carry strange names."""

import re

import numpy as np
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # it has no types

from strategies.bars import Bars, Block
from strategies.base import Signals, Strategy
from strategies.lab.backtest import backtest
from strategies.lab.costs import Costs
from strategies.lab.report import page
from strategies.lab.report_charts import MOST_POINTS, _extremes
from strategies.lab.result import Account

MINUTE = 60_000_000


class EveryOther(Strategy):
    """In on every other bar."""

    def step(self, bars: Block) -> Signals:
        odd = (bars.times // MINUTE % 2 == 1)[:, None, None]
        return Signals(enter=~odd, leave=odd, score=0.0)


class Always(Strategy):
    """In whenever it may."""

    def step(self, bars: Block) -> Signals:
        return Signals(enter=bars.close > 0, leave=False, score=0.0)


class Never(Strategy):
    """Nothing at all."""

    def step(self, bars: Block) -> Signals:
        nothing = np.zeros(bars.close.shape, np.bool_)
        return Signals(enter=nothing, leave=nothing, score=0.0)


def report(strategy: type[Strategy], symbol: str, size: int) -> str:
    closes = 100 * np.exp(np.random.default_rng(2).normal(0, 0.001, size).cumsum())
    times = np.datetime64("2024-07-01T13:30", "us").astype(np.int64) + np.arange(size) * MINUTE
    bars = Bars.from_columns(
        [symbol], np.zeros(size, np.intp), times, closes, closes, closes, closes, np.full(size, 1e6)
    )
    [result] = backtest(strategy(bars.symbols), bars, costs=Costs())
    return page(result, result.metrics(), bars)


def test_a_name_from_a_file_cannot_become_markup() -> None:
    written = report(EveryOther, "</script><b>A&B", 50)
    plain = report(EveryOther, "AB", 50)
    assert "<b>A" not in written
    assert written.count("</script>") == plain.count("</script>")
    assert "&lt;/script&gt;&lt;b&gt;A&amp;B" in written


def test_a_run_without_trades_has_a_report_too() -> None:
    written = report(Never, "A", 50)
    assert "not enough evidence" in written
    assert "Trades (0)" in written


def test_a_page_of_many_bars_and_trades_stays_readable() -> None:
    written = report(EveryOther, "A", 20_000)
    assert len(written) < len(get_plotlyjs()) + 1_000_000
    assert re.search(r"Trades \(\d+,\d{3}\)", written)
    assert "The last 1,000." in written


def test_thinning_a_curve_keeps_its_ends_peaks_and_valleys() -> None:
    curve = np.random.default_rng(3).normal(size=50_000).cumsum()
    kept = _extremes(curve)
    assert kept.size <= MOST_POINTS + 2
    assert {0, curve.size - 1, int(curve.argmin()), int(curve.argmax())} <= set(kept.tolist())
    assert np.all(np.diff(kept) > 0)
    assert _extremes(curve[:100]).tolist() == list(range(100))


def test_a_run_that_the_kill_switch_stopped_says_when() -> None:
    """Minute bars fall by a fifth at 13:40."""
    prices = np.where(np.arange(50) < 10, 100.0, 80.0)
    times = np.datetime64("2024-07-01T13:30", "us").astype(np.int64) + np.arange(50) * MINUTE
    columns = (prices, prices, prices, prices, np.full(50, 1e6))
    bars = Bars.from_columns(["A"], np.zeros(50, np.intp), times, *columns)
    [result] = backtest(Always(bars.symbols), bars, account=Account(fraction=1.0), costs=Costs())
    written = page(result, result.metrics(), bars)
    assert "1 symbol, 2024-07-01 to 2024-07-01. The kill switch stopped it at the close of 2024-07-01 13:40." in written
