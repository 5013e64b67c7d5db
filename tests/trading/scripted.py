"""A market that says what the test has it say, and the feed that listens to it, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from actors.kernel.clock import SECOND, ScaledClock, io_sleep
from actors.kernel.mailbox import Drained
from actors.store.alarm import Alarm
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind, Gap
from actors.store.driver import InlineDriver
from actors.store.store import SqliteStore
from actors.trading.feed import Feed, feed_box
from actors.trading.hours import sessions_by_rule
from actors.trading.journal import decode
from actors.trading.ports import Bar, BarSeen, Link, MarketMessage, Quote, QuoteSeen, Session, SplitDay, Unreachable
from actors.trading.quotes import QuoteBoard
from strategies.sessions import MINUTE
from tests.simulation.loop import run_virtual
from tests.store.running import running

OPEN = 1_790_602_200_000_000  # Monday 2026-09-28, 09:30 in New York
SYMBOLS = ("AAPL", "MSFT", "SPY")


def bar(symbol: str, minute: int, price: int = 1_000_000, **changes: Any) -> Bar:
    """The bar of the minute that begins so many minutes after the open."""
    columns = {"open": price, "high": price + 200, "low": price - 200, "close": price + 100, "volume": 1200.5}
    return Bar(symbol, OPEN + minute * MINUTE, **columns | changes)


class ScriptedMarket:
    """Streams what `say` is given, and answers from `past` (and with `troubles`, as long as there are any)."""

    feed = "iex"
    timeframe = MINUTE

    def __init__(self) -> None:
        self.past: list[Bar] = []
        self.long_past: list[Bar] = []  # of half an hour
        self.split_days: list[SplitDay] = []
        self.split_troubles: list[Exception] = []
        self.asked: list[tuple[int, int]] = []
        self.troubles: list[Exception] = []
        self.sink: Callable[[MarketMessage], None] = lambda _: None
        self.refusal: asyncio.Future[None]

    async def run(self, symbols: Collection[str], sink: Callable[[MarketMessage], None]) -> None:
        assert list(symbols) == list(SYMBOLS)
        self.sink = sink
        self.refusal = asyncio.get_running_loop().create_future()
        sink(Link(up=True))
        await self.refusal

    async def history(self, symbols: Collection[str], timeframe: int, start: int, end: int) -> list[Bar]:
        self.asked.append((start, end))
        await io_sleep(0.2)
        if self.troubles:
            raise self.troubles.pop(0)
        past = self.past if timeframe == MINUTE else self.long_past
        return sorted(
            (one for one in past if one.symbol in symbols and start <= one.time < end),
            key=lambda one: (one.time, one.symbol),
        )

    async def quotes(self, symbols: Collection[str]) -> list[Quote]:
        return [Quote(symbol, OPEN - MINUTE, 999_900, 1_000_100) for symbol in symbols]

    async def sessions(self, first: str, last: str) -> list[Session]:
        if self.troubles:
            raise Unreachable("no calendar today")
        return sessions_by_rule(first, last)

    async def splits(self, symbols: Collection[str], first: str, last: str) -> list[SplitDay]:
        assert list(symbols) == list(SYMBOLS)
        if self.split_troubles:
            raise self.split_troubles.pop(0)
        return [one for one in self.split_days if first <= one.date <= last]

    def say(self, *bars: Bar, revised: bool = False) -> None:
        for one in bars:
            self.sink(BarSeen(one, revised))

    def quote(self, symbol: str, time: int, bid: int = 1_000_000, ask: int = 1_000_200) -> None:
        self.sink(QuoteSeen(Quote(symbol, time, bid, ask)))


class Desk:
    """A feed on a market, and what it wrote."""

    def __init__(self, store: SqliteStore, clock: ScaledClock, market: ScriptedMarket) -> None:
        self.store, self.clock, self.market = store, clock, market
        self.board = QuoteBoard()
        self.wakes = 0
        self.alarms: list[Alarm] = []
        self.options: dict[str, Any] = {}

    def _wake(self) -> None:
        self.wakes += 1

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Feed]:
        feed = Feed(
            self.market,
            self.store,
            self.clock,
            self.board,
            SYMBOLS,
            self._wake,
            alarm=self.alarms.append,
            **self.options,
        )
        feed.name, feed.mailbox = "feed", feed_box()

        async def live() -> None:
            with suppress(Drained):
                await feed.run()

        await feed.start()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(live)
                yield feed
                tasks.cancel_scope.cancel()
        finally:
            await feed.stop()

    async def until(self, minute: float) -> None:
        """Let time pass until so many minutes after the open."""
        await self.clock.sleep_until(OPEN + int(minute * MINUTE))

    def trusted(self) -> bool:
        return self.board.trusted

    async def log(self) -> list[DeskEntry]:
        return await self.store.desk.read(0, 10_000)

    async def told(self) -> list[str]:
        """The log in short: `block +3 AAPL MSFT`, `gap`, `refilled`."""
        return [_short(entry) for entry in await self.log()]


def _short(entry: DeskEntry) -> str:
    match entry.data:
        case BarBlock(time=time, symbols=symbols, source=source):
            name = "block" if entry.kind == DeskKind.BLOCK else "revision"
            mark = " (asked for)" if source == "rest" else ""
            return f"{name} {(time - OPEN) // MINUTE:+d} {' '.join(symbols)}{mark}"
        case Gap():
            return DeskKind(entry.kind).name.lower()
    return str(decode(entry))


def story(
    folder: Path, tell: Callable[[Desk], Coroutine[Any, Any, None]], *, begins: float = -1.0, seed: int = 0
) -> None:
    """Run `tell` in virtual time, from so many minutes after the open on."""

    async def main() -> None:
        clock = ScaledClock(OPEN + int(begins * 60) * SECOND)
        clock.now()
        async with running(folder, driver=InlineDriver()) as store:
            await tell(Desk(store, clock, ScriptedMarket()))

    run_virtual(main, seed)
