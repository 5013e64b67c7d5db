"""Bars on their way into a store, row by row."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from strategies.adjustments import Action
from strategies.bar_columns import Series
from strategies.bar_import import Imported, Refused, import_bars
from strategies.bar_store import BarStore
from strategies.sessions import DAY, sessions_between

DAYS = sessions_between(np.datetime64("2024"), np.datetime64("2024")).dates
HEADER = "symbol,time,open,high,low,close,volume"
Row = tuple[str, str, float]


def walk(symbol: str = "A", days: int = 40, seed: int = 0) -> list[Row]:
    """A close for each of the year's first sessions, no two steps alike."""
    closes = 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, days)))
    return [(symbol, str(day), round(float(close), 2)) for day, close in zip(DAYS, closes, strict=False)]


def write(path: Path, rows: Sequence[Row]) -> Path:
    lines = [f"{symbol},{day},{close:.4f},{close:.4f},{close:.4f},{close:.4f},1000" for symbol, day, close in rows]
    path.write_text("\n".join((HEADER, *lines, "")))
    return path


def load(
    folder: Path,
    rows: Sequence[Row],
    *,
    name: str = "bars.csv",
    feed: str = "file",
    timeframe: int | None = None,
    actions: Sequence[Action] = (),
    accept: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Imported:
    return import_bars(
        BarStore(folder / "store"),
        write(folder / name, rows),
        feed=feed,
        timeframe=timeframe,
        actions=actions,
        accept=accept,
        at="2024-06-01T00:00:00Z",
        by="ada",
        progress=progress,
    )


def refused(
    folder: Path,
    rows: Sequence[Row],
    *,
    feed: str = "file",
    timeframe: int | None = None,
    actions: Sequence[Action] = (),
) -> list[str]:
    """What the gates said, without the folder; nothing has changed."""
    store = BarStore(folder / "store")
    before = store.manifest()
    with pytest.raises(Refused) as caught:
        load(folder, rows, feed=feed, timeframe=timeframe, actions=actions)
    assert store.manifest() == before
    return [line.removeprefix(f"{folder}/bars.csv:") for line in caught.value.lines]


def stored(folder: Path, symbol: str = "A", feed: str = "file") -> Series:
    return BarStore(folder / "store").opened(feed, DAY).series(symbol)
