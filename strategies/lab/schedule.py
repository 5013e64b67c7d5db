"""Exits that the calendar and the universe order, whatever the strategy thinks."""

import numpy as np
from numpy.typing import NDArray

from strategies.bars import Bars
from strategies.lab.trades import REASONS, Indices, Micros, Reason, Trades


def session_over(bars: Bars) -> NDArray[np.bool_]:
    """Bars at whose open a strategy that ends with its session must be flat, shape (time,).

    They are the last of their session; also the first of a date, for where the last bar of the day before is missing.
    """
    over = bars.last_of_session.copy()
    over[1:] |= bars.dates[1:] != bars.dates[:-1]
    return over


def delisted(bars: Bars) -> NDArray[np.bool_] | None:
    """The last bar time of each symbol's membership where it ends within the bars, shape (time, symbols).

    None where no membership ends.
    """
    if bars.members is None:
        return None
    ends = np.zeros_like(bars.members)
    ends[:-1] = bars.members[:-1] & ~bars.members[1:]
    return ends if ends.any() else None


def rows_left(times: Micros, trades: Trades, delisted: NDArray[np.bool_] | None) -> Indices:
    """The row at which each trade's position leaves the book, from whose close on it is no longer held.

    That is the row of its exit, except for a symbol whose bars end early: it is sold at its last close, but it stays
    in the book until its membership (see `delisted`) or the data ends.
    """
    rows = np.searchsorted(times, trades.exit_time)
    for number in np.flatnonzero(trades.reason == REASONS.index(Reason.END_OF_DATA)):
        row, rows[number] = rows[number], times.size - 1
        if delisted is not None and (later := delisted[row:, trades.symbol[number]]).any():
            rows[number] = row + later.argmax()
    return rows


def next_own_rows(bars: Bars, start: int, stop: int) -> NDArray[np.int64]:
    """For each of rows [start, stop] the first from it on that has a bar of the symbol, shape (rows, symbols).

    `stop` where there is none before it.
    """
    rows = np.full((stop - start + 1, len(bars.symbols)), stop)
    own = np.arange(start, stop)[:, None]
    rows[:-1] = np.where(bars.present[start:stop], own, stop)
    return np.minimum.accumulate(rows[::-1], axis=0)[::-1]
