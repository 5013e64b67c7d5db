"""Every strategy over recorded bars gives what it gave when its rules were checked.

A change of rules is recorded with NIGHTDESK_WRITE_GOLDEN=1, and shows as a change of numbers in the review.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strategies.bars import Bars
from strategies.base import Value
from strategies.lab.backtest import backtest
from strategies.lab.result import Account, Result
from strategies.lab.trades import REASONS
from strategies.registry import NAMES, load
from strategies.resample import resample
from strategies.sector_rotation import SectorRotation
from tests.strategies.recorded import adjusted_daily, needs_recorded_bars, recorded

GOLDEN = Path(__file__).parent / "golden"
SECTORS = {"AAPL": "Technology", "FB": "Technology", "GOOGL": "Technology", "IBM": "Technology", "AIG": "Financials"}
SECTORS |= {"BAC": "Financials", "AAA": "Other", "IWM": "Small caps", "QQQ": "Large caps", "SPY": "Large caps"}


def bars_for(strategy: str) -> Bars:
    if strategy == "bollinger_reversion":
        return resample(recorded("hourly"), "2h")
    if strategy == "vwap_reversion":
        return resample(recorded("minute"), "15m")
    return adjusted_daily()


def write_calendar(bars: Bars, path: Path) -> None:
    """Earnings each quarter of 63 sessions, before and after the bell in turn; these dates are invented."""
    days = bars.dates[40::63]
    lines = [f"{symbol},{day},{('bmo', 'amc')[n % 2]}\n" for symbol in bars.symbols for n, day in enumerate(days)]
    path.write_text("symbol,date,timing\n" + "".join(lines))


def numbers(result: Result) -> dict[str, Any]:
    """What is compared: prices and money to a millionth, so that the last bit of another machine is forgiven."""
    trades = "\n".join(trade_lines(result))
    reasons = np.bincount(result.trades.reason, minlength=len(REASONS)).tolist()
    return {
        "bars": len(result.times),
        "final_equity": round(result.final_equity, 6),
        "trades": len(result.trades),
        "reasons": {reason: count for reason, count in zip(REASONS, reasons, strict=True) if count},
        "trades_sha256": hashlib.sha256(trades.encode()).hexdigest(),
    }


def trade_lines(result: Result) -> Iterator[str]:
    trades = result.trades
    for n in range(len(trades)):
        when = f"{result.symbols[trades.symbol[n]]} {trades.entry_time[n]} {trades.exit_time[n]}"
        prices = f"{trades.entry_price[n]:.6f} {trades.exit_price[n]:.6f} {trades.quantity[n]:.6f}"
        yield f"{when} {prices} {trades.pnl[n]:.6f} {REASONS[trades.reason[n]]}"


def check(name: str, result: Result) -> None:
    path, measured = GOLDEN / f"{name}.json", numbers(result)
    if "NIGHTDESK_WRITE_GOLDEN" in os.environ:
        path.write_text(json.dumps(measured, indent=2) + "\n")
    assert measured == json.loads(path.read_text())
    assert sum(result.trades.pnl) == pytest.approx(result.final_equity - result.initial_capital, abs=0.005)


@needs_recorded_bars
@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_trades_recorded_bars_as_before(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = bars_for(name)
    params: dict[str, Value] = {}
    if name == "earnings_momentum":
        monkeypatch.chdir(tmp_path)  # chance depends on the parameters, so the path must not change
        write_calendar(bars, Path("earnings.csv"))
        params = {"calendar": "earnings.csv"}
    never_killed = Account(kill_switch_drawdown=math.inf)  # else most would end in the first crash
    [result] = backtest(load(name)(bars.symbols, [params]), bars, account=never_killed, seed=5)
    check(name, result)


@needs_recorded_bars
def test_the_sector_overlay_and_the_kill_switch_withhold_what_they_did_before() -> None:
    bars = adjusted_daily()
    overlay = SectorRotation(bars.symbols, sectors=SECTORS)
    [result] = backtest(load("momentum_basic")(bars.symbols, overlays=[overlay]), bars, seed=5)
    check("momentum_basic_in_strong_sectors", result)
