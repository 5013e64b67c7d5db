"""From bars as they come to blocks: all bars of one time together, closed once and for good."""

from array import array
from collections.abc import Collection, Iterable, Mapping

from actors.store.desk_records import BarBlock, DeskKind, NewDeskEntry
from actors.trading.ports import Bar

SHARE = 10_000
"""Units of volume in a share."""

NEVER = -1


class Blocks:
    """Collects the bars of each time until all symbols are there or its deadline has passed, and closes it then.

    The deadline is `grace` microseconds after the bar's end, or after the first bar of that time when that comes later:
    a clock that runs ahead of the exchange's must not make every bar a late one. A bar of a later time closes all
    earlier ones. What comes for a time that is closed is a revision: recorded, and never decided on.
    """

    def __init__(self, feed: str, timeframe: int, symbols: Collection[str], grace: int) -> None:
        self.closed = NEVER
        """Start of the newest bars that were closed."""
        self._feed = feed
        self._timeframe = timeframe
        self._symbols = frozenset(symbols)
        self._grace = grace
        self._open: dict[int, dict[str, Bar]] = {}
        self._deadlines: dict[int, int] = {}
        self._late: list[Bar] = []

    def add(self, bar: Bar, at: int) -> None:
        """A bar has come, at `at`; one of the same symbol and time is replaced while its block is open."""
        if bar.symbol not in self._symbols:
            return
        if bar.time <= self.closed:
            self._late.append(bar)
            return
        self._open.setdefault(bar.time, {})[bar.symbol] = bar
        self._deadlines.setdefault(bar.time, max(bar.time + self._timeframe, at) + self._grace)

    @property
    def due(self) -> int | None:
        """When the next block is to be closed at the latest."""
        return min(self._deadlines.values(), default=None)

    @property
    def oldest(self) -> int | None:
        """The first time that is open."""
        return min(self._open, default=None)

    def close_oldest(self, at: int) -> NewDeskEntry | None:
        """The first open block, if it is complete or due, or a later one is open, too."""
        if (time := self.oldest) is None:
            return None
        over = len(self._open) > 1 or self._deadlines[time] <= at or self._open[time].keys() == self._symbols
        return self._close(time, "stream", at) if over else None

    def close_empty(self, time: int, at: int) -> NewDeskEntry:
        """The block of a time at which nobody traded: it says that it has passed."""
        self._open.setdefault(time, {})
        return self._close(time, "rest", at)

    def refill(self, bars: Iterable[Bar], until: int, at: int) -> list[NewDeskEntry]:
        """All times before `until` are closed, with these bars that were asked for beside those that have come."""
        entries = self.revisions(at)
        asked = set()
        for bar in bars:
            if bar.time > self.closed and bar.symbol in self._symbols:
                self._open.setdefault(bar.time, {}).setdefault(bar.symbol, bar)
                asked.add(bar.time)
        for time in sorted(time for time in self._open if time < until):
            entries.append(self._close(time, "rest" if time in asked else "stream", at))
        return entries

    def _close(self, time: int, source: str, at: int) -> NewDeskEntry:
        self.closed = time
        self._deadlines.pop(time, None)
        block = block_of(self._feed, source, self._timeframe, time, self._open.pop(time))
        return NewDeskEntry(DeskKind.BLOCK, at, block)

    def revisions(self, at: int) -> list[NewDeskEntry]:
        """What has come for times that are closed."""
        late: dict[int, dict[str, Bar]] = {}
        for bar in self._late:
            late.setdefault(bar.time, {})[bar.symbol] = bar
        self._late.clear()
        blocks = (block_of(self._feed, "stream", self._timeframe, time, late[time]) for time in sorted(late))
        return [NewDeskEntry(DeskKind.REVISION, at, block) for block in blocks]


def block_of(feed: str, source: str, timeframe: int, time: int, bars: Mapping[str, Bar]) -> BarBlock:
    """Bars of one time as a block, by symbol."""
    ordered = [bars[symbol] for symbol in sorted(bars)]

    def column(values: Iterable[int]) -> "array[int]":
        return array("q", values)

    return BarBlock(
        feed,
        source,
        timeframe,
        time,
        tuple(sorted(bars)),
        column(bar.open for bar in ordered),
        column(bar.high for bar in ordered),
        column(bar.low for bar in ordered),
        column(bar.close for bar in ordered),
        column(round(bar.volume * SHARE) for bar in ordered),
        column(bar.vwap for bar in ordered),
        column(bar.trades for bar in ordered),
    )
