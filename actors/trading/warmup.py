"""The past that strategies begin with, and again after a split: asked of the market, put together, committed once."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

from actors.kernel.frozen import frozen
from actors.store.desk_records import BarBlock
from actors.trading.blocks import SHARE, block_of
from actors.trading.hours import date_of, sessions_by_rule
from actors.trading.ports import Bar, Session, SplitDay
from actors.trading.resampling import Resampler
from strategies.sessions import DAY, MINUTE

READ_LENGTHS = (30 * MINUTE, 15 * MINUTE, 5 * MINUTE, MINUTE)
"""Bars that begin with a session's open wherever the clock's hours lie, longest first."""
SESSION = 390 * MINUTE
MOST_DAYS = 3 * 365


@frozen
class Need:
    """What a strategy has to have seen; with another fingerprint (code, parameters, symbols) it has seen nothing."""

    strategy: str
    timeframe: int
    bars: int
    fingerprint: str


@frozen
class Past:
    """What is to be asked for: bars of `length` from `since` on, for blocks of `timeframe` that end by `until`."""

    length: int
    timeframe: int
    since: int
    until: int


def past(timeframe: int, own_length: int, bars: int, now: int) -> Past:
    """So many bars of `timeframe`, up to the last slot that is over; `own_length` is that of the market's bars."""
    days = bars if timeframe >= DAY else -(-bars * timeframe // SESSION)
    calendar_days = min(days * 3 // 2 + 10, MOST_DAYS)  # five sessions a week, and holidays
    sessions = [one for one in sessions_by_rule(date_of(now, -calendar_days), date_of(now)) if one.open <= now]
    length = own_length if timeframe == own_length else next(one for one in READ_LENGTHS if timeframe % one == 0)
    since = sessions[-min(days + 1, len(sessions))].open
    return Past(length, timeframe, since, _last_end(sessions[-1], timeframe, now))


def _last_end(session: Session, timeframe: int, now: int) -> int:
    if now >= session.close:
        return session.close
    return session.open + (now - session.open) // timeframe * timeframe


class PastBlocks:
    """Puts the bars together, page after page in the order of time, as of the shares of today."""

    def __init__(self, wanted: Past, feed: str, splits: Collection[SplitDay]) -> None:
        self._wanted = wanted
        self._feed = feed
        self._splits = list(splits)
        self._resampler = Resampler(wanted.length, wanted.timeframe)

    def fold(self, bars: Sequence[Bar]) -> Iterator[BarBlock]:
        """The blocks that are whole with these bars."""
        for time, of_one_time in groupby(bars, key=attrgetter("time")):
            known = {bar.symbol: self._as_of_today(bar) for bar in of_one_time}
            block = block_of(self._feed, "rest", self._wanted.length, time, known)
            yield from (whole for whole in self._resampler.fold(block) if whole.time < self._wanted.until)

    def _as_of_today(self, bar: Bar) -> Bar:
        date = date_of(bar.time)  # a session lies in one date of UTC, too
        ratio = 1.0
        for split in self._splits:
            if split.symbol == bar.symbol and date < split.date:
                ratio *= split.ratio
        return bar if ratio == 1.0 else _split(bar, ratio)


def _split(bar: Bar, ratio: float) -> Bar:
    prices = {name: max(round(getattr(bar, name) / ratio), 1) for name in ("open", "high", "low", "close")}
    volume = round(bar.volume * ratio * SHARE) / SHARE
    return replace(bar, **prices, vwap=round(bar.vwap / ratio), volume=volume)


def by_timeframe(needs: Iterable[Need]) -> Iterator[tuple[int, int, list[Need]]]:
    """Timeframe, bars that are enough for all of its strategies, and these."""
    for timeframe, group in groupby(sorted(needs, key=attrgetter("timeframe")), key=attrgetter("timeframe")):
        several = list(group)
        yield timeframe, max(need.bars for need in several), several
