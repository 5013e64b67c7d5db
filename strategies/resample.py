"""Short bars to longer ones, aligned to the exchange's sessions."""

from dataclasses import replace

import numpy as np

from config.errors import BadInput
from strategies.bars import Bars, carry_forward, parse_timeframe
from strategies.sessions import DAY, MINUTE, Micros, exchange_dates, sessions_of

NONE_LOWER = np.iinfo(np.int64).min
NONE_HIGHER = np.iinfo(np.int64).max
OUTSIDE = np.iinfo(np.int64).min


def can_make(timeframe: int, length: int) -> bool:
    """Whether bars of `length` µs can be put together from those of `timeframe`."""
    return timeframe <= length <= DAY and (length == DAY or length % timeframe == 0)


def slots(times: Micros, timeframe: int, length: int) -> Micros:
    """The start of the longer bar that each bar time belongs to, (time,); OUTSIDE where there is no session.

    Longer bars are counted from their session's open; a day's is the session.
    """
    opens, closes = sessions_of(exchange_dates(times, timeframe))
    # A bar that runs across the open belongs to the session: bars of a clock's hour begin half an hour before it.
    inside = (times + timeframe > opens) & (times < closes)
    return np.where(inside, opens + np.maximum(times - opens, 0) // length * length, OUTSIDE)


def resample(bars: Bars, timeframe: str) -> Bars:
    """Bars of the new length, counted from each session's open; what lies outside the sessions is left out.

    A bar carries the start of its slot, a daily bar the session's open. The last bar of a session may be shorter. A
    slot in which a symbol has no bar is missing for it. Raises BadInput when the bars cannot be put together that long.
    """
    length = parse_timeframe(timeframe)
    if length == bars.timeframe:
        return bars
    if not can_make(bars.timeframe, length):
        raise BadInput(f"timeframe {timeframe}: cannot be made of bars of {bars.timeframe / MINUTE:g} minutes")
    slot = slots(bars.times, bars.timeframe, length)
    rows = np.flatnonzero(slot != OUTSIDE)
    if not rows.size:
        raise BadInput(f"timeframe {timeframe}: no bar lies inside a session of the exchange")

    present = bars.present[rows]
    times, starts = np.unique(slot[rows], return_index=True)
    has_bar = np.logical_or.reduceat(present, starts)
    place = np.arange(len(rows))[:, None]
    last = np.maximum.reduceat(np.where(present, place, 0), starts)
    first = np.minimum.reduceat(np.where(present, place, len(rows) - 1), starts)
    close = carry_forward(np.take_along_axis(bars.close[rows], last, axis=0), has_bar)
    high = np.maximum.reduceat(np.where(present, bars.high[rows], NONE_LOWER), starts)
    low = np.minimum.reduceat(np.where(present, bars.low[rows], NONE_HIGHER), starts)
    return replace(
        bars,
        times=times,
        open=np.where(has_bar, np.take_along_axis(bars.open[rows], first, axis=0), close),
        high=np.where(has_bar, high, close),
        low=np.where(has_bar, low, close),
        close=close,
        volume=np.add.reduceat(bars.volume[rows], starts),
        present=has_bar,
        timeframe=length,
        members=None if bars.members is None else bars.members[rows][starts],
    )
