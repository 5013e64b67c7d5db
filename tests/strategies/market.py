"""Random bars for tests: several symbols, missing bars, ties, sessions with early closes; and random parameters."""

from itertools import pairwise

import numpy as np
from numpy.random import Generator

from strategies.bars import Bars, Floats, parse_timeframe
from strategies.base import Parametrised, Value
from strategies.sessions import DAY, Micros, sessions_between


def random_bars(
    rng: Generator, timeframe: str = "1d", *, rows: int = 200, symbols: int = 3, missing: float = 0.1
) -> Bars:
    """Random walks on a grid of ten cents, so that prices tie with each other and with averages now and then."""
    volatility = rng.choice([0.003, 0.02, 0.05])
    close = _ticks(rng.uniform(5, 100, symbols) * np.exp(rng.normal(0, volatility, (rows, symbols)).cumsum(axis=0)))
    calm = rng.integers(0, rows, 2)
    close[calm.min() : calm.min() + 30] = close[calm.min()]  # a trading halt: bands of no width, an RSI of 50
    open_ = _ticks(close * np.exp(rng.normal(0, volatility, (rows, symbols))))
    high = _ticks(np.maximum(open_, close) * (1 + rng.exponential(volatility / 2, (rows, symbols))))
    low = _ticks(np.minimum(open_, close) * (1 - rng.exponential(volatility / 2, (rows, symbols)).clip(0, 0.5)))
    volume = rng.integers(0, 10_000, (rows, symbols)) * (rng.random((rows, symbols)) > 0.05)
    kept = rng.random((rows, symbols)) >= missing
    kept[rng.integers(0, rows, symbols), np.arange(symbols)] = True  # every symbol has a bar
    row, symbol = np.nonzero(kept)
    times = bar_times(timeframe, rows)
    columns = [column[row, symbol].astype(np.float64) for column in (open_, high, low, close, volume)]
    names = [f"S{n}" for n in range(symbols)]
    return Bars.from_columns(names, symbol, times[row], *columns, timeframe=parse_timeframe(timeframe))


def bar_times(timeframe: str, rows: int) -> Micros:
    """Bar starts in sessions from 1 November 2019 on: Thanksgiving's early close is near."""
    length = parse_timeframe(timeframe)
    years = sessions_between(np.datetime64("2019-11-01"), np.datetime64("2023-01-01"))
    later = years.dates >= np.datetime64("2019-11-01")
    if length == DAY:
        return years.dates[later].astype("datetime64[us]").astype(np.int64)[:rows]
    opens, closes = years.opens[later], years.closes[later]
    starts = [np.arange(opens, closes, length) for opens, closes in zip(opens[:rows], closes[:rows], strict=True)]
    return np.concatenate(starts)[:rows]


def random_parameters(rng: Generator, kind: type[Parametrised]) -> dict[str, Value]:
    """Anywhere in the ranges; texts stay as they are."""
    return {
        name: int(rng.integers(int(declared.low), int(declared.high), endpoint=True))
        if isinstance(declared.default, int)
        else float(rng.uniform(declared.low, declared.high))
        for name, declared in kind.parameters.items()
        if not isinstance(declared.default, str)
    }


def random_cuts(rng: Generator, rows: int) -> list[tuple[int, int]]:
    """Blocks that cover all rows: some of one bar, some long."""
    edges = sorted({0, rows, *rng.integers(1, rows, rng.integers(1, 40)).tolist()})
    return list(pairwise(edges))


def _ticks(prices: Floats) -> Floats:
    return np.maximum(np.rint(prices * 10), 1) / 10
