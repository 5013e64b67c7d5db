"""The recorded bars of a companion folder, where NIGHTDESK_TEST_DATA names one."""

import csv
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from strategies.bar_files import read_bars
from strategies.bar_gates import PRICES
from strategies.bars import Bars, Floats
from strategies.sessions import Dates

FOLDER = Path(os.environ.get("NIGHTDESK_TEST_DATA", "")) / "bars"
# Those whose ticker meant one company all the time, with the names of their factor files.
SYMBOLS = {"AAA": "aaa.1"} | {
    name: name.lower() for name in ("AAPL", "AIG", "BAC", "FB", "GOOGL", "IBM", "IWM", "QQQ", "SPY")
}

needs_recorded_bars = pytest.mark.skipif(
    "NIGHTDESK_TEST_DATA" not in os.environ, reason="NIGHTDESK_TEST_DATA names no folder of recorded bars"
)


@cache
def recorded(kind: str) -> Bars:
    """`hourly` or `minute` bars as they were traded."""
    return read_bars(FOLDER / f"{kind}_raw.csv.gz")


@cache
def adjusted_daily() -> Bars:
    """Daily bars of 1998 to 2021, adjusted for splits and dividends to their last day; AAA was delisted on the way."""
    raw = read_bars(FOLDER / "daily_raw.csv.gz")
    factors = {raw.symbols.index(symbol): _factors(file) for symbol, file in SYMBOLS.items()}
    known = np.array(list(factors))
    row, column = np.nonzero(raw.present[:, known])
    symbol = known[column]
    price, split = np.ones(row.size), np.ones(row.size)
    for n, (last_days, price_factors, split_factors) in factors.items():
        own = symbol == n
        # A factor holds up to and with its day, so a bar takes the first row that is not before it.
        at = np.searchsorted(last_days, raw.dates[row[own]])
        price[own], split[own] = price_factors[at] * split_factors[at], split_factors[at]
    dollars = {name: getattr(raw, name)[row, symbol] / raw.price_scale[symbol] * price for name in PRICES}
    volume = np.rint(raw.volume[row, symbol] / split)
    return Bars.from_columns(list(SYMBOLS), column, raw.times[row], **dollars, volume=volume, adjustment="all")


def _factors(file: str) -> tuple[Dates, Floats, Floats]:
    """Last days, price factors and split factors, ascending by day."""
    with (FOLDER / "factors" / f"{file}.csv").open(newline="") as lines:
        rows = [
            (f"{day[:4]}-{day[4:6]}-{day[6:]}", float(price), float(split))
            for day, price, split, _ in csv.reader(lines)
        ]
    days, prices, splits = zip(*rows, strict=True)
    return np.array(days, "datetime64[D]"), np.array(prices), np.array(splits)
