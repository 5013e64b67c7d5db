"""Short bars to longer ones, aligned to the exchange's sessions."""

from dataclasses import replace

import numpy as np

from config.errors import BadInput
from strategies.bars import Bars, carry_forward, parse_timeframe
from strategies.sessions import DAY, MINUTE

NONE_LOWER = np.iinfo(np.int64).min
NONE_HIGHER = np.iinfo(np.int64).max


def resample(bars: Bars, timeframe: str) -> Bars:
    """Bars of the new length, counted from each session's open; what lies outside the sessions is left out.

    A bar carries the start of its slot, a daily bar the session's open. The last bar of a session may be shorter. A
    slot in which a symbol has no bar is missing for it. Raises BadInput when the bars cannot be put together that long.
    """
    length = parse_timeframe(timeframe)
    if length == bars.timeframe:
        return bars
    if length > DAY or length < bars.timeframe or (length != DAY and length % bars.timeframe):
        raise BadInput(f"timeframe {timeframe}: cannot be made of bars of {bars.timeframe / MINUTE:g} minutes")
    # A bar that runs across the open belongs to the session: bars of a clock's hour begin half an hour before it.
    rows = np.flatnonzero((bars.times + bars.timeframe > bars.session_open) & (bars.times < bars.session_close))
    if not rows.size:
        raise BadInput(f"timeframe {timeframe}: no bar lies inside a session of the exchange")

    opens, present = bars.session_open[rows], bars.present[rows]
    slots = opens + np.maximum(bars.times[rows] - opens, 0) // length * length
    times, starts = np.unique(slots, return_index=True)
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
