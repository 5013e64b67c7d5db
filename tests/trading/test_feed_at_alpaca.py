"""The feed at Alpaca, through everything that goes wrong there: afterwards the log has every bar, once, in order."""

import gc
import threading
from contextlib import suppress
from pathlib import Path

import anyio

from actors.kernel.clock import io_sleep
from actors.kernel.mailbox import Drained
from actors.simulated.exchange.faults import FaultPlan
from actors.store.desk_records import BarBlock, DeskKind, Gap
from actors.store.store import SqliteStore
from actors.trading.feed import Feed, feed_box
from actors.trading.quotes import QuoteBoard
from strategies.sessions import MINUTE
from tests.store.running import running
from tests.trading.exchanges import OPEN, SYMBOLS, World, over_alpaca

SPELLS = ("deaf", "restart", "406", "stalled", "429", "auth-refused")


async def listen(feed: Feed) -> None:
    feed.name, feed.mailbox = "feed", feed_box()
    await feed.start()
    with suppress(Drained):
        await feed.run()


async def lived_through(world: World, store: SqliteStore, spells: tuple[str, ...]) -> None:
    """The feed while one thing after the other goes wrong, and a while of calm at the end."""
    board = QuoteBoard()
    feed = Feed(world.market, store, world.clock, board, SYMBOLS, lambda: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen, feed)
        await world.until(lambda: board.trusted)
        for spell in spells:
            world.faults.force(spell)
            await io_sleep(0.4)
            world.faults.lift(spell)
            await io_sleep(0.3)
        calm = world.clock.now() + 5 * MINUTE
        await world.until(lambda: world.clock.now() > calm and board.trusted)
        tasks.cancel_scope.cancel()


async def test_after_every_kind_of_spell_the_log_has_every_bar_once_and_in_order(tmp_path: Path) -> None:
    """Deaf streams, restarts, crowded connections, stalled and refused requests: bars that were missed are there."""
    async with over_alpaca(FaultPlan(), silent_s=60, deadline_s=1.0) as world, running(tmp_path) as store:
        await lived_through(world, store, SPELLS)
        entries = await store.desk.read(0, 100_000)
        blocks = [entry.data for entry in entries if entry.kind == DeskKind.BLOCK and isinstance(entry.data, BarBlock)]
        times = [block.time for block in blocks]
        assert times == sorted(set(times))
        logged = [
            (block.time, symbol, block.close[n], block.volume[n])
            for block in blocks
            for n, symbol in enumerate(block.symbols)
        ]
        recorded = world.tape.history(SYMBOLS, OPEN, times[-1] + 1)
        assert logged == [(bar.time, bar.symbol, bar.close, round(bar.volume * 10_000)) for bar in recorded]
        gaps = [entry for entry in entries if isinstance(entry.data, Gap)]
        assert [entry.kind for entry in gaps] == [DeskKind.GAP, DeskKind.REFILLED] * (len(gaps) // 2)
        assert len(gaps) >= 8


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_faults_leave_no_thread_no_socket_and_no_task_behind(tmp_path: Path) -> None:
    """As many after two rounds of everything as after one."""
    counts = []
    async with over_alpaca(FaultPlan(), silent_s=60, deadline_s=1.0) as world, running(tmp_path) as store:
        for _ in range(2):
            await lived_through(world, store, ("deaf", "restart", "406"))
            await world.until(lambda: not [one for one in threading.enumerate() if one.name.startswith("alpaca")])
            world.market.close()  # type: ignore[attr-defined]
            gc.collect()
            await io_sleep(0.3)
            counts.append((threading.active_count(), open_files()))
    assert counts[1][0] <= counts[0][0]
    assert counts[1][1] <= counts[0][1] + 2
