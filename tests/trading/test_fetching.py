"""History comes into the bar store whole: once, in order, through faults, and on from where it was after a kill."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actors.simulated.exchange.faults import FaultPlan
from actors.trading.alpaca.market import AlpacaMarket
from actors.trading.fetching import FROM, fetch, missing
from actors.trading.hours import sessions_by_rule
from actors.trading.ports import Bar
from strategies.adjustments import Action
from strategies.bar_store import BarStore, Source
from strategies.sessions import DAY, MINUTE
from strategies.stored_bars import read_store
from tests.trading.exchanges import SYMBOLS, World, over_alpaca

SESSIONS = sessions_by_rule("2026-08-20", "2026-09-10")  # two months, and Labor Day
QUARTER = 15 * MINUTE
SOURCE = Source(f"{FROM} iex", "2026-09-28T09:00:00Z", "test")


def market_of(world: World) -> AlpacaMarket:
    assert isinstance(world.market, AlpacaMarket)
    return world.market


async def fetched(world: World, store: BarStore, timeframe: int = QUARTER, symbols: Sequence[str] = SYMBOLS) -> int:
    steps = missing(store, "synthetic", timeframe, symbols, SESSIONS)
    return await fetch(market_of(world), store, timeframe, steps, SOURCE, lambda _: None)


def recorded(world: World) -> list[tuple[str, int, int, int]]:
    """Of each quarter of an hour: symbol, start, close, volume in 1/10,000 share."""
    bars: dict[tuple[str, int], tuple[int, int]] = {}
    for bar in world.tape.history(SYMBOLS, SESSIONS[0].open, SESSIONS[-1].close):
        place = bar.symbol, bar.time // QUARTER * QUARTER
        bars[place] = bar.close, bars.get(place, (0, 0))[1] + round(bar.volume * 10_000)
    return sorted((symbol, time, close, volume) for (symbol, time), (close, volume) in bars.items())


def stored(store: BarStore) -> list[tuple[str, int, int, int]]:
    opened = store.opened("synthetic", QUARTER)
    rows = []
    for symbol in opened.symbols:
        series = opened.series(symbol)
        rows += [
            (symbol, *row)
            for row in zip(series.time.tolist(), series.close.tolist(), series.volume.tolist(), strict=True)
        ]
    return sorted(rows)


async def test_all_sessions_are_there_once_and_nothing_is_fetched_again(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    async with over_alpaca(FaultPlan()) as world:
        count = await fetched(world, store)
        assert stored(store) == recorded(world)
        assert count == len(stored(store))
        assert missing(store, "synthetic", QUARTER, SYMBOLS, SESSIONS) == []
        assert await fetched(world, store) == 0


async def test_a_symbol_or_a_session_that_is_new_is_fetched_alone(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    async with over_alpaca(FaultPlan()) as world:
        await fetch(
            market_of(world), store, QUARTER, missing(store, "synthetic", QUARTER, ["SPY"], SESSIONS[:3]), SOURCE, print
        )
        august, september = missing(store, "synthetic", QUARTER, ["SPY"], SESSIONS)
        assert august.sessions == tuple(day for day in SESSIONS[3:] if day.date < "2026-09")
        assert september.sessions[0].date == "2026-09-01"
        first, *_ = missing(store, "synthetic", QUARTER, ["AAPL", "SPY"], SESSIONS[:3])
        assert (first.symbols, first.sessions) == (("AAPL",), tuple(SESSIONS[:3]))


class Dying:
    """The market, until it has given so many pages."""

    def __init__(self, market: AlpacaMarket, pages: int) -> None:
        self.feed = market.feed
        self._market, self._left = market, pages

    async def pages(
        self, symbols: Collection[str], timeframe: int, start: int, end: int
    ) -> AsyncIterator[Sequence[Bar]]:
        async for page in self._market.pages(symbols, timeframe, start, end):
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
            yield page

    async def actions(self, symbols: Collection[str], first: str, last: str) -> list[Action]:
        return await self._market.actions(symbols, first, last)


@pytest.mark.parametrize("pages", [0, 1])
async def test_after_a_kill_the_same_command_ends_with_the_same_store(tmp_path: Path, pages: int) -> None:
    store = BarStore(tmp_path)
    async with over_alpaca(FaultPlan()) as world:
        steps = missing(store, "synthetic", QUARTER, SYMBOLS, SESSIONS)
        with pytest.raises(KeyboardInterrupt):
            await fetch(Dying(market_of(world), pages), store, QUARTER, steps, SOURCE, lambda _: None)
        left = missing(store, "synthetic", QUARTER, SYMBOLS, SESSIONS)
        assert left == steps[pages:]
        await fetched(world, store)
        assert stored(store) == recorded(world)


async def test_the_holes_of_the_nightly_archive_are_filled(tmp_path: Path) -> None:
    """What came from elsewhere does not count as fetched, and is replaced."""
    store = BarStore(tmp_path / "here")
    async with over_alpaca(FaultPlan()) as world:
        opened = BarStore(tmp_path / "elsewhere")
        await fetched(world, opened)
        holes = {symbol: opened.opened("synthetic", QUARTER).series(symbol).rows(np.s_[::7]) for symbol in SYMBOLS}
        store.add("synthetic", QUARTER, holes, replace(SOURCE, text="the desk's feed"))
        await fetched(world, store)
        assert stored(store) == recorded(world)


async def test_daily_bars_are_of_the_sessions_and_read_by_the_lab(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    async with over_alpaca(FaultPlan()) as world:
        await fetched(world, store, DAY)
    bars = read_store(store)
    assert bars.dates.astype(str).tolist() == [day.date for day in SESSIONS]
    assert bars.complete
    assert (bars.feed, bars.timeframe) == ("synthetic", DAY)
    assert missing(store, "synthetic", DAY, SYMBOLS, SESSIONS) == []


async def test_requests_that_are_refused_for_a_while_only_take_longer(tmp_path: Path) -> None:
    plan = FaultPlan(["429", "stalled"], seed=3)
    store = BarStore(tmp_path)
    async with over_alpaca(plan, deadline_s=1.0, per_minute=30) as world:
        await fetched(world, store)
        assert stored(store) == recorded(world)


def test_many_symbols_are_fetched_in_groups_that_fit_the_memory(tmp_path: Path) -> None:
    """A month of minutes of 500 symbols is four million bars."""
    symbols = [f"S{n:03}" for n in range(500)]
    steps = missing(BarStore(tmp_path), "iex", MINUTE, symbols, SESSIONS)
    assert sorted({symbol for step in steps for symbol in step.symbols}) == symbols
    assert max(len(step.symbols) * len(step.sessions) * 390 for step in steps) <= 250_000
    covered = {(symbol, day) for step in steps for symbol in step.symbols for day in step.sessions}
    assert len(covered) == 500 * len(SESSIONS) == sum(len(step.symbols) * len(step.sessions) for step in steps)
