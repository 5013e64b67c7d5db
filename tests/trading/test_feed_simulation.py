"""An hour of a market with everything that goes wrong, by seed: afterwards every bar is in the log, once, in order."""

import sqlite3
from collections.abc import Collection, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from actors.kernel.clock import Clock, Random, chance
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind
from actors.trading.ports import Bar, BarSeen, Link, Refused, Unreachable
from strategies.sessions import MINUTE
from tests.simulation.loop import seeds
from tests.trading.scripted import OPEN, SYMBOLS, Desk, ScriptedMarket, bar, story

MINUTES = 60
CALM = 4
"""Minutes at the end in which nothing goes wrong."""

Told = dict[tuple[int, str], tuple[int, int]]


class Recording(ScriptedMarket):
    """Its history has every bar from the moment on at which its minute is over."""

    def __init__(self, clock: Clock, rng: Random) -> None:
        super().__init__()
        self._clock = clock
        every = [
            bar(symbol, minute, rng.randrange(10_000, 2_000_000)) for minute in range(MINUTES) for symbol in SYMBOLS
        ]
        self.past = [one for one in every if rng.random() < 0.8]

    async def history(self, symbols: Collection[str], timeframe: int, start: int, end: int) -> list[Bar]:
        asked_at = self._clock.now()
        bars = await super().history(symbols, timeframe, start, end)
        return [one for one in bars if one.time + timeframe <= asked_at]


class World:
    """What happens in each minute, drawn from the seed."""

    def __init__(self, desk: Desk, rng: Random) -> None:
        self._desk, self._rng = desk, rng
        self._up = True

    def strikes(self, probability: float, minute: int) -> bool:
        return minute < MINUTES - CALM and self._rng.random() < probability

    async def minute(self, minute: int) -> None:
        """Its bars are streamed when it is over, if the stream is up and not deaf."""
        bars = [one for one in self._desk.market.past if one.time == OPEN + minute * MINUTE]
        await self._desk.until(minute + 1 + self._rng.random() * 0.04)
        if self.strikes(0.1, minute):
            self._desk.market.troubles += [self._rng.choice([Unreachable("503"), Refused("403")])] * 3
        self._move_link(minute)
        if not self._up or self.strikes(0.08, minute):
            return
        late = [one for one in bars if self.strikes(0.1, minute)]
        on_time = [one for one in bars if one not in late]
        self._rng.shuffle(on_time)
        self._desk.market.say(*on_time)
        if late:
            await self._desk.clock.sleep(self._rng.choice([1.0, 20.0]))
            self._desk.market.say(*late)
        if on_time and self.strikes(0.1, minute):
            self._desk.market.sink(BarSeen(self._rng.choice(on_time), revised=True))

    def _move_link(self, minute: int) -> None:
        if self._up and self.strikes(0.1, minute):
            self._up = False
            self._desk.market.sink(Link(up=False, reason="broke"))
        elif not self._up and (self._rng.random() < 0.5 or minute >= MINUTES - CALM):
            self.came_up()
            self._desk.market.sink(Link(up=True))

    def came_up(self) -> None:
        self._up = True


def told(entries: Iterable[DeskEntry], kind: DeskKind) -> Told:
    """Close and volume by time and symbol."""
    found: Told = {}
    for entry in entries:
        if entry.kind == kind and isinstance(entry.data, BarBlock):
            block = entry.data
            for n, symbol in enumerate(block.symbols):
                found[block.time, symbol] = block.close[n], block.volume[n]
    return found


@pytest.mark.parametrize("seed", seeds(25))
def test_every_bar_is_in_a_block_or_a_revision_and_blocks_are_in_order(seed: int, tmp_path: Path) -> None:
    """Broken links, deaf minutes, late bars, refused requests, a store that is away, and restarts of the feed."""
    rng = chance(seed)

    async def tell(desk: Desk) -> None:
        desk.market = Recording(desk.clock, rng)
        world = World(desk, rng)

        def faulty(when: str) -> None:
            if when == "before" and desk.clock.now() < OPEN + (MINUTES - CALM) * MINUTE and rng.random() < 0.1:
                raise sqlite3.OperationalError("database is locked")

        desk.store._driver._faults = faulty  # type: ignore[attr-defined]
        async with AsyncExitStack() as lives:
            await lives.enter_async_context(desk.listening())
            for minute in range(MINUTES):
                await world.minute(minute)
                if world.strikes(0.06, minute):
                    await desk.clock.sleep(rng.uniform(1, 5))
                    await lives.aclose()
                    await desk.clock.sleep(rng.uniform(0, 25))
                    world.came_up()
                    await lives.enter_async_context(desk.listening())
            await desk.until(MINUTES + 2)
            while desk.market.troubles or not desk.trusted():
                assert desk.clock.now() < OPEN + 2 * MINUTES * MINUTE
                await desk.clock.sleep(10)
        check(desk.market.past, await desk.log())

    story(tmp_path, tell, begins=-0.5, seed=seed)


def check(past: list[Bar], entries: list[DeskEntry]) -> None:
    expected = {(one.time, one.symbol): (one.close, round(one.volume * 10_000)) for one in past}
    blocks, revisions = told(entries, DeskKind.BLOCK), told(entries, DeskKind.REVISION)
    missing = {((time - OPEN) // MINUTE, symbol) for time, symbol in expected.keys() - blocks.keys() - revisions.keys()}
    assert missing == set()
    assert blocks | revisions == expected
    times = [entry.data.time for entry in entries if entry.kind == DeskKind.BLOCK and isinstance(entry.data, BarBlock)]
    assert times == sorted(set(times))
    assert {time for time, _ in expected} <= set(times)
    in_gap = False
    for entry in entries:
        assert in_gap or entry.kind != DeskKind.REFILLED
        in_gap = entry.kind == DeskKind.GAP or (in_gap and entry.kind != DeskKind.REFILLED)
    assert not in_gap
