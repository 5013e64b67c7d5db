"""Every indicator with random settings, and a way to feed it blocks."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from strategies.bars import Bars, Block
from strategies.indicators import (
    ATR,
    EMA,
    MACD,
    ROC,
    RSI,
    SMA,
    VWAP,
    Bollinger,
    Cross,
    Highest,
    Lowest,
    NewWeek,
    Percentile,
    Previous,
    Recently,
    RelativeVolume,
    Trough,
    ValueWhen,
)
from strategies.lanes import Shape

Outputs = tuple[npt.NDArray[np.float64], ...]
Update = Callable[[Block], object]
Settings = Mapping[str, npt.NDArray[np.int64]]
Make = Callable[[Shape, Settings], Update]


def _of_closes(kind: type[SMA] | type[EMA] | type[RSI]) -> Make:
    def make(shape: Shape, a: Settings) -> Update:
        indicator = kind(shape, a["n"])
        return lambda bars: indicator.update(bars.close)

    return make


def _atr(shape: Shape, a: Settings) -> Update:
    atr = ATR(shape, a["n"])
    return lambda bars: atr.update(bars.high, bars.low, bars.close)


def _relative_volume(shape: Shape, a: Settings) -> Update:
    volume = RelativeVolume(shape, a["n"])
    return lambda bars: volume.update(bars.volume)


def _new_week(shape: Shape, _: Settings) -> Update:
    week = NewWeek(shape)
    return lambda bars: week.update(bars.dates)


def _rsi_average(shape: Shape, a: Settings) -> Update:
    rsi = RSI(shape, a["n"])
    smooth, mean = EMA(shape, a["m"], of=rsi), SMA(shape, a["m"], of=rsi)

    def update(bars: Block) -> object:
        value = rsi.update(bars.close)
        return smooth.update(value), mean.update(value)

    return update


def _trough(shape: Shape, a: Settings) -> Update:
    rsi = RSI(shape, a["m"])
    trough = Trough(shape, a["n"] + a["k"], a["k"], of=rsi)
    return lambda bars: trough.update(bars.low, rsi.update(bars.close))


def _macd_cross(shape: Shape, a: Settings) -> Update:
    macd = MACD(shape, a["k"], a["k"] + a["n"], a["m"])
    cross = Cross(shape, of=macd)

    def update(bars: Block) -> object:
        lines = macd.update(bars.close)
        return *lines, *cross.update(*lines)

    return update


def _squeeze(shape: Shape, a: Settings) -> Update:
    bands = Bollinger(shape, a["n"], 2.0)
    narrow = Percentile(shape, a["m"], 10, of=bands)
    recently = Recently(shape, a["k"], of=narrow)

    def update(bars: Block) -> object:
        lower, middle, upper = bands.update(bars.close)
        width = (upper - lower) / middle
        limit = narrow.update(width)
        return lower, middle, upper, limit, recently.update(width <= limit)

    return update


def _gap(shape: Shape, a: Settings) -> Update:
    previous, roc, value = Previous(shape), ROC(shape, a["n"]), ValueWhen(shape)

    def update(bars: Block) -> object:
        before, change = previous.update(bars.close), roc.update(bars.close)
        return before, change, value.update(change > 0.01, before)

    return update


def _vwap(shape: Shape, _: Settings) -> Update:
    # An average of the session so far has a value at missing bars too; nobody asks for it there.
    vwap = VWAP(shape)
    return lambda bars: np.where(bars.present, vwap.update(bars), np.nan)


def _extremes(shape: Shape, a: Settings) -> Update:
    highest, lowest = Highest(shape, a["n"]), Lowest(shape, a["m"])
    return lambda bars: (highest.update(bars.high), lowest.update(bars.low))


INDICATORS: dict[str, Make] = {
    "SMA": _of_closes(SMA),
    "EMA": _of_closes(EMA),
    "RSI": _of_closes(RSI),
    "ATR": _atr,
    "RelativeVolume": _relative_volume,
    "VWAP": _vwap,
    "NewWeek": _new_week,
    "Highest and Lowest": _extremes,
    "MACD and Cross": _macd_cross,
    "Bollinger, Percentile and Recently": _squeeze,
    "Trough": _trough,
    "Previous, ROC and ValueWhen": _gap,
    "EMA and SMA of RSI": _rsi_average,
}


def random_settings(rng: Generator, sets: int) -> Settings:
    """Three window lengths for each set; some sets agree in some of them."""
    return {name: rng.integers(2, 14, (sets, 1)) for name in "nmk"}


def feed(make: Make, settings: Settings, bars: Bars, blocks: Iterable[tuple[int, int]]) -> Outputs:
    """All outputs, each (time, sets, symbols), of an indicator that was shown the blocks one after the other."""
    shape = Shape(len(settings["n"]), bars.symbols)
    update = make(shape, settings)
    seen = []
    for start, stop in blocks:
        block = bars.block(start, stop)
        shape.begin(block.present)
        outputs = update(block)
        shape.end()
        size = (stop - start, shape.sets, len(bars.symbols))
        seen.append([np.broadcast_to(o, size) for o in (outputs if isinstance(outputs, tuple) else (outputs,))])
    return tuple(np.concatenate(parts).astype(np.float64) for parts in zip(*seen, strict=True))
