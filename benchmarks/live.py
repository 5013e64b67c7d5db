"""How quickly the desk decides: a block of bars closed to the intents committed, a whole day, and a restart.

python -m benchmarks.live [--symbols 500] [--blocks 300]

The ten strategies all decide on every block, as if it were the bar of each: live that happens once a day. Blocks are
committed to a real database on this disk; whoever waits for the last intents waits for the disk too, so a bare commit
of as many bytes is measured in the same run. `ratio` is measured over budget.
"""

import argparse
import asyncio
import gc
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from time import process_time

import anyio
import numpy as np
import structlog
from numpy.typing import NDArray

from actors.kernel.clock import SECOND, ScaledClock, chance, io_sleep, monotonic
from actors.kernel.mailbox import reject
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Restart, Strategy, child, supervisor
from actors.simulated.exchange.generator import Synthetic
from actors.simulated.exchange.ports import SimulatedMarket
from actors.simulated.exchange.venue import Venue
from actors.store.desk_records import BarBlock, DeskCommitted, DeskKind, NewDeskEntry
from actors.store.driver import InlineDriver
from actors.store.store import SqliteStore
from actors.trading.journal import decode, encode
from actors.trading.ports import Quote
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import desk_mailbox
from actors.trading.runner import Runner
from actors.trading.trader import Rules, Trader
from actors.trading.words import Decided, Funded, Intent, IntentOver
from benchmarks.machine import machine, percentile
from benchmarks.pastless import nothing
from config.settings import Trading
from daemon.app import GC_ALLOCATIONS
from daemon.desk_plan import plan
from daemon.trading import on_venue
from strategies.registry import NAMES, load
from strategies.sessions import MINUTE, sessions_between
from tests.simulation.loop import run_virtual

DAY = np.datetime64("2025-11-03")
WARM_UP = 150  # blocks, until every strategy's indicators are defined


class Answers:
    """In the place of risk and broker: every entry is turned away before the next block, which brings new ones."""

    def __init__(self, store: SqliteStore) -> None:
        self.mailbox = desk_mailbox()
        self.decided: dict[int, int] = {}  # bar time → how many strategies have decided on it
        self.last_at: dict[int, float] = {}  # bar time → when the last word of it was known to be committed
        self.intents = 0
        self.unanswered: list[Intent] = []
        self._store = store
        store.desk.follow(self.mailbox)

    async def run(self) -> None:
        """For ever."""
        while True:
            messages = await self.mailbox.take()
            now = monotonic()
            for message in messages:
                assert isinstance(message, DeskCommitted)
                for entry in message.entries:
                    match decode(entry):
                        case Decided(bar_time=time):
                            self.decided[time] = self.decided.get(time, 0) + 1
                            self.last_at[time] = now
                        case Intent() as intent:
                            self.last_at[intent.bar_time] = now
                            self.intents += 1
                            self.unanswered.append(intent)

    async def turn_away(self) -> None:
        """All that were not answered yet."""
        intents, self.unanswered = self.unanswered, []
        overs = [IntentOver(one.id, one.strategy, "rejected", one.at) for one in intents]
        await self._store.desk.append([encode(one) for one in overs])


def blocks(symbols: Sequence[str], count: int) -> Iterator[BarBlock]:
    """Random walks in cents, minute after minute of regular sessions."""
    table = sessions_between(np.datetime64("2025-01-01"), np.datetime64("2025-12-31"))
    times = np.concatenate([np.arange(*day, MINUTE) for day in zip(table.opens, table.closes, strict=True)])[:count]
    rng = np.random.default_rng(1)
    close = np.full(len(symbols), 1_000_000)
    for time in times.tolist():
        before, close = close, (close + 100 * rng.integers(-60, 61, len(symbols))).clip(100_000)
        columns = (before, np.maximum(before, close), np.minimum(before, close), close)
        volume = rng.integers(100, 20_000, len(symbols)) * 10_000
        rest = np.zeros_like(volume)
        yield BarBlock(
            "iex",
            "stream",
            MINUTE,
            time,
            tuple(symbols),
            *map(packed, (*columns, volume, rest, rest)),
        )


def packed(column: NDArray[np.int64]) -> "array[int]":
    """As the log has it."""
    return array("q", column.tobytes())


def trader_of(name: str, symbols: Sequence[str]) -> Trader:
    """At most ten positions, as usual, and no kill switch."""
    kind = load(name)
    return Trader(name, lambda: kind(symbols), Rules(kill_switch_drawdown=1e9), base=MINUTE, timeframe=MINUTE)


def runner_of(name: str, symbols: Sequence[str], store: SqliteStore, board: QuoteBoard) -> Runner:
    """On the wall clock, with the exchange always open."""
    return Runner(lambda: trader_of(name, symbols), store, ScaledClock(0), board, lambda _: 0, lambda _: None)


async def decide(folder: Path, symbols: Sequence[str], count: int) -> dict[str, list[float]]:
    """Milliseconds of each block, by what was measured; and those of each strategy's restart."""
    store = SqliteStore(folder)
    clock = ScaledClock(0)
    board = QuoteBoard()
    board.trusted = True
    for symbol in symbols:
        board.show(Quote(symbol, 2**62, 1_000_000, 1_000_000))
    tree = supervisor(
        "bench",
        Strategy.ONE_FOR_ONE,
        child("store", lambda: store, mailbox=reject(64), restart=Restart.NEVER, stop_s=10),
        *(child(name, partial(runner_of, name, symbols, store, board), mailbox=desk_mailbox()) for name in NAMES),
    )
    tenders = Supervisor(tree, clock=clock, rng=chance(1))
    taken: dict[str, list[float]] = {"decided": [], "bare": [], "cpu": [], "restart": []}
    async with anyio.create_task_group() as tasks:
        answers = Answers(store)  # follows before the strategies, as risk and broker do
        tasks.start_soon(answers.run)
        tasks.start_soon(tenders.run)
        await tenders.ready.wait()
        gc.freeze()  # as the daemon when it is ready
        gc.set_threshold(GC_ALLOCATIONS)
        await store.desk.append([encode(Funded(name, 1e9, 0)) for name in NAMES])
        for number, block in enumerate(blocks(symbols, WARM_UP + count)):
            board.trusted = False  # what was not taken of the block before is not taken now
            await answers.turn_away()
            await io_sleep(0.02)
            board.trusted = True
            began, cpu = monotonic(), process_time()
            await store.desk.append([NewDeskEntry(DeskKind.BLOCK, block.time + MINUTE, block)])
            while answers.decided.get(block.time, 0) < len(NAMES):
                await io_sleep(0.002)
            await io_sleep(0.05)  # for the last intents
            if number >= WARM_UP:
                taken["decided"].append((answers.last_at[block.time] - began) * 1000)
                taken["cpu"].append((process_time() - cpu) * 1000)
        for _ in range(50):
            began = monotonic()
            await store.desk.append([NewDeskEntry(DeskKind.REVISION, 0, block)])
            taken["bare"].append((monotonic() - began) * 1000)
        for name in NAMES:
            runner = runner_of(name, symbols, store, board)
            runner.mailbox, runner.name = desk_mailbox(), name
            began = monotonic()
            await runner.start()
            taken["restart"].append((monotonic() - began) * 1000)
            store.desk.unfollow(runner.mailbox)
        taken["intents"] = [float(answers.intents)]
        tenders.stop()
        tasks.cancel_scope.cancel()
    return taken


async def day(folder: Path, symbols: Sequence[str]) -> tuple[float, int]:
    """CPU seconds of a day of minutes on the virtual clock, with the whole desk; and how many blocks it had.

    The made-up market has no past: to make a year of its minutes would take longer than all the rest.
    """
    SimulatedMarket.history = nothing  # type: ignore[method-assign,assignment]  # in this process only
    [session] = sessions_of_day()
    clock = ScaledClock(session[0] - 60 * SECOND)
    store = SqliteStore(folder, driver=InlineDriver(), ballast_bytes=0)
    settings = Trading(enabled=True, broker="simulated", universe={"symbols": list(symbols)})  # type: ignore[arg-type]
    desk_plan = plan(settings)
    venue = Venue(Synthetic(symbols), clock, cash=100_000.0 * len(desk_plan.strategies), costs=desk_plan.costs)
    desk = on_venue(desk_plan, settings, venue)(clock, store, lambda _: None)
    tree = supervisor(
        "bench",
        Strategy.ONE_FOR_ONE,
        child("store", lambda: store, mailbox=reject(256), restart=Restart.NEVER, stop_s=10),
        desk.tree(),
    )
    tenders = Supervisor(tree, clock=clock, rng=chance(1))
    began = process_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tenders.run)
        await clock.sleep_until(session[1] + 120 * SECOND)
        seen = await store.desk.bars(session[0], session[1])
        tenders.stop()
        tasks.cancel_scope.cancel()
    return process_time() - began, len(seen)


def sessions_of_day() -> list[tuple[int, int]]:
    """Open and close of DAY."""
    table = sessions_between(DAY, DAY)
    return [(int(o), int(c)) for date, o, c in zip(table.dates, table.opens, table.closes, strict=True) if date == DAY]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500, help="how many (500)")
    parser.add_argument("--blocks", type=int, default=300, help="blocks to be decided on (300)")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    symbols = [f"S{n:03}" for n in range(arguments.symbols)]
    with tempfile.TemporaryDirectory() as folder:
        taken = asyncio.run(decide(Path(folder), symbols, arguments.blocks))
    with tempfile.TemporaryDirectory() as folder:
        seconds, seen = run_virtual(lambda: day(Path(folder), symbols))
    print(machine())
    intents = taken["intents"][0] / (WARM_UP + arguments.blocks)
    print(f"{arguments.symbols} symbols, {len(NAMES)} strategies, {arguments.blocks} blocks of {intents:.0f} intents")
    bare = [percentile(taken["bare"], share) for share in (0.5, 0.99)]
    print(f"a bare commit of a block: p50 {bare[0]:.2f} ms, p99 {bare[1]:.2f} ms")
    print(f"{'figure':<52}{'measured':>10}{'budget':>9}{'ratio':>7}")
    for name, value, budget in (
        ("block closed to intents committed, p50, ms", percentile(taken["decided"], 0.5), 8.0),
        ("block closed to intents committed, p99, ms", percentile(taken["decided"], 0.99), 25.0),
        ("CPU of a block, all strategies, p50, ms", percentile(taken["cpu"], 0.5), 8.0),
        ("restart of a strategy, slowest, ms", max(taken["restart"]), 200.0),
        (f"a day of {seen} blocks on the virtual clock, CPU s", seconds, 60.0),
    ):
        print(f"{name:<52}{value:>10.2f}{budget:>9.0f}{value / budget:>7.2f}")


if __name__ == "__main__":
    main()
