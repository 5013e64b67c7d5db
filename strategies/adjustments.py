"""Splits and dividends: prices before them brought to what they would have been after them, on read.

Raw bars are kept as they were; what is adjusted depends only on the bars, the actions and the day as of which one
looks. So what was seen on a day can be seen again.
"""

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from config.errors import BadInput
from strategies.bars import Bars, Floats, Ints, adjusted_scale, carry_forward
from strategies.csv_table import parse_date, rows

RAW, SPLITS, ALL = "raw", "splits", "all"
ADJUSTMENTS = (RAW, SPLITS, ALL)
SYMBOL, DATE, SPLIT, DIVIDEND = ("symbol", "ticker"), ("date", "ex_date"), ("split",), ("dividend",)
MOST_SHARES_FOR_ONE = 10_000


@dataclass(frozen=True, slots=True, order=True)
class Action:
    """From `date` on a symbol trades without what its holders of the day before were given.

    `split` new shares for one old (4.0, or 0.1 where ten become one), and `dividend` dollars a share.
    """

    symbol: str
    date: dt.date
    split: float = 1.0
    dividend: float = 0.0


def read_actions(path: Path) -> list[Action]:
    """The actions of a CSV `symbol,date,split,dividend`; an empty split or dividend is none. Raises BadInput."""
    actions: dict[tuple[str, dt.date], Action] = {}
    for place, (symbol, date, split, dividend) in rows(path, SYMBOL, DATE, SPLIT, DIVIDEND, optional=[SPLIT, DIVIDEND]):
        action = Action(
            symbol,
            parse_date(f"{place}: date", date),
            _number(f"{place}: split", split or "1", least=1 / MOST_SHARES_FOR_ONE, most=MOST_SHARES_FOR_ONE),
            _number(f"{place}: dividend", dividend or "0", least=0.0, most=1e6),
        )
        if actions.setdefault((symbol, action.date), action) != action:
            raise BadInput(f"{place}: date: {symbol} has another split or dividend on {date} already")
    return sorted(actions.values())


def _number(where: str, text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise BadInput(f"{where}: {text!r} is not a number from {least:g} to {most:g}")
    return number


def as_csv(actions: Iterable[Action]) -> str:
    """As `read_actions` reads it."""
    lines = (f"{one.symbol},{one.date},{one.split!r},{one.dividend!r}" for one in sorted(actions))
    return "\n".join(("symbol,date,split,dividend", *lines, ""))


def adjusted(bars: Bars, actions: Sequence[Action], adjustment: str, as_of: dt.date | None = None) -> Bars:
    """The raw `bars` as they looked at the end of a day (default: the last they have): later ones are left out.

    `adjustment` splits: prices before a split are divided by it and volumes multiplied. all: prices before a dividend
    are lowered too, in the proportion of the dividend to the close before it. Raises BadInput when nothing is left.
    """
    rows_left = len(bars) if as_of is None else int(np.searchsorted(bars.dates, np.datetime64(as_of), side="right"))
    if not rows_left:
        raise BadInput(f"--as-of {as_of}: there are no bars until then")
    bars = bars.rows(0, rows_left)
    if adjustment == RAW:
        return bars
    last = as_of or bars.dates[-1].item()
    shares, money = np.ones(bars.present.shape), np.ones(bars.present.shape)
    columns = {symbol: number for number, symbol in enumerate(bars.symbols)}
    for action in actions:
        if action.symbol in columns and action.date <= last:
            column = columns[action.symbol]
            before = int(np.searchsorted(bars.dates, np.datetime64(action.date)))
            if not before or not bars.close[before - 1, column]:
                continue  # it has no bar before, and nothing to adjust
            shares[:before, column] *= action.split
            if adjustment == ALL and action.dividend:
                money[:before, column] *= _kept(action, bars.close[:before, column] / bars.price_scale[column])
    touched = np.flatnonzero((shares != 1.0).any(axis=0) | (money != 1.0).any(axis=0))
    return replace(_applied(bars, touched, money / shares, shares), adjustment=f"{adjustment} as of {last}")


def _kept(action: Action, closes: Floats) -> float:
    """What a dividend leaves of the price."""
    if action.dividend >= closes[-1]:
        raise BadInput(
            f"{action.symbol}: a dividend of {action.dividend:g} on {action.date} is no less than the price"
            f" before it, {closes[-1]:g}"
        )
    return 1.0 - action.dividend / float(closes[-1])


def _applied(bars: Bars, touched: Ints, factor: Floats, shares: Floats) -> Bars:
    """Prices of the `touched` columns times `factor`, in units that leave six digits; volumes times `shares`."""
    factor, shares, present = factor[:, touched], shares[:, touched], bars.present[:, touched]
    old = bars.price_scale[touched]
    lowest = np.where(present, bars.low[:, touched] * factor, np.inf).min(axis=0, initial=np.inf) / old
    scale = np.maximum(adjusted_scale(lowest), old)

    def price(column: Ints) -> Ints:
        # Rounded twice, as when raw bars are read: what is meant as a tie is one.
        units = np.rint(np.round(column[:, touched] * factor * (scale / old), 4))
        return np.where(present, units, 0).astype(np.int64)

    def put(grid: Ints, values: Ints) -> Ints:
        changed = grid.copy()
        changed[:, touched] = values
        return changed

    closes = carry_forward(price(bars.close), present)
    scales = bars.price_scale.copy()
    scales[touched] = scale
    return replace(
        bars,
        open=put(bars.open, np.where(present, price(bars.open), closes)),
        high=put(bars.high, np.where(present, price(bars.high), closes)),
        low=put(bars.low, np.where(present, price(bars.low), closes)),
        close=put(bars.close, closes),
        volume=put(bars.volume, np.rint(bars.volume[:, touched] * shares).astype(np.int64)),
        price_scale=scales,
    )
