"""What lies ahead of a position in prices that are already known."""

from typing import NamedTuple

import numpy as np

from strategies.bars import Bars
from strategies.lab.book import Position
from strategies.lab.fills import NO_STOP, gapped, touched
from strategies.lab.trades import Reason

_FIRST_LOOK = 32  # bars scanned at first; each further look is four times as long


class Touch(NamedTuple):
    """A stop or target is reached in the bar of `row`, at its open or inside it, at a price before costs."""

    row: int
    at_open: bool
    reason: Reason
    reference: float


def first_touch(bars: Bars, position: Position, row: int, end: int, *, entered_here: bool) -> Touch | None:
    """The first of rows [row, end) in which a stop or the target of `position` is reached.

    With `entered_here` the position was bought at the open of `row`, which therefore cannot be a gap.
    """
    exits, symbol, begin, length = position.exits, position.symbol, row, _FIRST_LOOK
    if not exits.touches:
        return None
    scale, stop, target = int(bars.price_scale[symbol]), position.stop, position.target
    high_water, trailing = position.high_water, np.array([NO_STOP])
    while row < end:
        look = slice(row, min(row + length, end))
        low = bars.low[look, symbol] / scale
        hit = low <= stop
        if exits.take_profit is not None:
            hit |= bars.high[look, symbol] / scale >= target
        if exits.trailing_stop is not None:
            marks = np.maximum.accumulate(np.concatenate(([high_water], bars.high[look, symbol] / scale)))
            high_water, trailing = marks[-1].item(), marks[:-1] * (1.0 - exits.trailing_stop)
            hit |= low <= trailing
        if not bars.complete:
            hit &= bars.present[look, symbol]
        ahead = int(hit.argmax())
        if hit[ahead]:
            level = trailing[min(ahead, len(trailing) - 1)].item()
            return _touch(bars, position, row + ahead, level, fresh=entered_here and row + ahead == begin)
        row, length = look.stop, 4 * length
    return None


def _touch(bars: Bars, position: Position, row: int, trailing: float, *, fresh: bool) -> Touch | None:
    scale, levels = int(bars.price_scale[position.symbol]), (position.stop, trailing, position.target)
    open_, high, low = (prices.item(row, position.symbol) / scale for prices in (bars.open, bars.high, bars.low))
    reason = None if fresh else gapped(open_, *levels)
    if reason:
        return Touch(row, at_open=True, reason=reason, reference=open_)
    inside = touched(open_, high, low, *levels)
    return Touch(row, at_open=False, reason=inside[1], reference=inside[0]) if inside else None
