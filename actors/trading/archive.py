"""Every night the feed's bars move from the database into the column store, where history is."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Never

import anyio.to_thread
import numpy as np
import structlog

from actors.kernel.actor import Actor
from actors.kernel.clock import Clock
from actors.store.desk_log import DeskLog
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind
from actors.store.protocol import StoreUnavailable
from actors.trading.hours import BEHIND_DAYS, date_of
from actors.trading.ports import MarketData, Refused, Unreachable
from config.errors import UserError
from strategies.adjustments import Action
from strategies.bar_columns import NAMES, Series
from strategies.bar_store import BarStore, Source
from strategies.sessions import DAY, HOUR, utc_offset

READER = "archive"
AT = 1 * HOUR  # New York's time: after the evening's trading, before the tournament reads what there is
BARS = (DeskKind.BLOCK, DeskKind.REVISION)
AT_ONCE = 400  # a day of minutes: of 500 symbols some 12 MB
KEEP_DAYS = 30
PRUNED_AT_ONCE = 500
AGAIN_S = 600.0

log = structlog.get_logger()


class Archive(Actor[Never]):
    """Moves the bars at one in the morning, New York's time, and lets go of inputs that nobody needs any more.

    Splits of the last days come along: without them the bars of before and after do not fit together.
    """

    def __init__(
        self, desk: DeskLog, bars: BarStore, clock: Clock, market: MarketData, symbols: Collection[str]
    ) -> None:
        self._desk = desk
        self._bars = bars
        self._clock = clock
        self._market = market
        self._symbols = symbols

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep_until(next_time(self._clock.now()))
            while not await self._moved():
                await self._clock.sleep(AGAIN_S)

    async def _moved(self) -> bool:
        try:
            splits = await self._note_splits()  # first: bars from after a split that is not known look like a crash
            # Blocks of other lengths than the feed's are made of its bars, or adjusted.
            bars = await move_bars(self._desk, self._bars, self._market.timeframe)
            pruned = await self._prune()
        except (StoreUnavailable, UserError, OSError, Unreachable) as error:
            log.warning("archive_postponed", reason=str(error))
            return False
        log.info("archived", bars=bars, splits=splits, pruned=pruned)
        return True

    async def _note_splits(self) -> int:
        today = self._clock.now()
        try:
            told = await self._market.splits(self._symbols, date_of(today, -BEHIND_DAYS), date_of(today))
        except Refused as error:
            log.warning("splits_unknown", reason=str(error))
            return 0
        known = {(one.symbol, one.date) for one in self._bars.actions()}
        actions = [Action(one.symbol, dt.date.fromisoformat(one.date), one.ratio) for one in told]
        fresh = [one for one in actions if (one.symbol, one.date) not in known]
        if fresh:
            self._bars.add_actions(fresh)
        return len(fresh)

    async def _prune(self) -> int:
        before, pruned = self._clock.now() - KEEP_DAYS * DAY, 0
        while some := await self._desk.prune(before, PRUNED_AT_ONCE):
            pruned += some
        return pruned


def next_time(now: int) -> int:
    """The next one o'clock of a New York morning after `now`."""
    offset = int(utc_offset(np.array([now]))[0])
    midnight = (now + offset) // DAY * DAY
    today = midnight + AT - offset
    return today if today > now else today + DAY


async def move_bars(desk: DeskLog, store: BarStore, timeframe: int) -> int:
    """Merge what the log has gained since the last time into the store; returns how many bars.

    A kill leaves the store as it was or as it will be, and the cursor behind it: the same bars once more change
    nothing. Raises StoreUnavailable, and UserError when another process writes into the store.
    """
    moved, end = 0, await desk.last_seq()
    after = (await desk.load(READER)).cursor
    while entries := await desk.read(after, AT_ONCE, BARS):
        moved += await anyio.to_thread.run_sync(_merge, store, entries, timeframe)
        after = entries[-1].seq
        await desk.append([], cursor=(READER, after))
    await desk.append([], cursor=(READER, max(after, end)))
    return moved


def _merge(store: BarStore, entries: Iterable[DeskEntry], timeframe: int) -> int:
    blocks = [one.data for one in entries if isinstance(one.data, BarBlock) and one.data.timeframe == timeframe]
    moved = 0
    for feed in sorted({block.feed for block in blocks}):
        series = series_of([block for block in blocks if block.feed == feed])
        store.add(feed, timeframe, series, Source("live"))
        moved += sum(len(bars) for bars in series.values())
    return moved


def series_of(blocks: Sequence[BarBlock]) -> dict[str, Series]:
    """The bars of each symbol in order of time; of those of one time the last."""
    symbols = sorted({symbol for block in blocks for symbol in block.symbols})
    number_of = {symbol: number for number, symbol in enumerate(symbols)}
    codes = np.array([number_of[symbol] for block in blocks for symbol in block.symbols], np.int64)
    columns = {name: np.concatenate([np.array(getattr(block, name)) for block in blocks]) for name in NAMES[1:]}
    columns["time"] = np.repeat([block.time for block in blocks], [len(block.symbols) for block in blocks])
    order = np.lexsort((columns["time"], codes))  # of equal ones the last stays last
    keys = codes[order], columns["time"][order]
    last = order[np.append((keys[0][1:] != keys[0][:-1]) | (keys[1][1:] != keys[1][:-1]), True)]
    runs = np.split(last, np.searchsorted(codes[last], np.arange(1, len(symbols))))
    return {symbol: Series(*(columns[name][run] for name in NAMES)) for symbol, run in zip(symbols, runs, strict=True)}
