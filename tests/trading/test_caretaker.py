"""Books whose strategy is not there: their stops are kept, instructions reach them, and they are handed back whole."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import numpy as np

from actors.kernel.clock import ScaledClock
from actors.kernel.mailbox import reject
from actors.store.alarm import Alarm
from actors.store.desk_records import DeskKind, NewDeskEntry
from actors.store.driver import InlineDriver
from actors.store.store import SqliteStore
from actors.trading import trader_state
from actors.trading.blocks import block_of
from actors.trading.caretaker import Caretaker, Caretakers, Custody, Nobody
from actors.trading.journal import decode, encode
from actors.trading.ports import Bar, Side
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import desk_mailbox
from actors.trading.runner import Runner
from actors.trading.trader import Rules, Trader
from actors.trading.words import Booked, Funded, Instruction, Intent, IntentOver, Purpose, Told
from strategies.bars import Block
from strategies.base import Signals, Strategy, param
from strategies.sessions import MINUTE
from tests.simulation.loop import run_virtual
from tests.store.running import running

OPEN = 1_790_602_200_000_000  # Monday 2026-09-28, 09:30 in New York


class Buyer(Strategy):
    """Wants everything, always, with a stop; remembers how many bars it has seen."""

    timeframe = "1m"
    stop: float = param(0.05, low=0.01, high=0.5)

    def setup(self, _: object) -> None:
        self.bars = 0

    def step(self, bars: Block) -> Signals:
        self.bars += len(bars.times)
        return Signals(np.ones(bars.close.shape, np.bool_), leave=False, score=1.0, stop_loss=self.stop)


class Scene:
    """A store, and who is at work over it; minutes pass one by one."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.clock = ScaledClock(OPEN)
        self.custody = Custody()
        self.alarms: list[Alarm] = []
        self.kept: list[Caretaker] = []
        self.minute = 0

    def trader(self, make: type[Strategy] = Buyer) -> Trader:
        return Trader("mine", lambda: make(("A", "B")), Rules(), base=MINUTE, timeframe=MINUTE)

    def _caretaker(self, _: str, why: str) -> Caretaker:
        board = QuoteBoard()
        caretaker = Caretaker(
            lambda _: self.trader(Nobody), why, self.store, self.clock, board, lambda _: OPEN, self.alarms.append
        )
        self.kept.append(caretaker)
        return caretaker

    @asynccontextmanager
    async def strategy(self) -> AsyncIterator[Runner]:
        """It is there."""
        runner = Runner(
            self.trader, self.store, self.clock, QuoteBoard(), lambda _: OPEN, self.alarms.append,
            book_is_free=lambda: self.custody.give_back("mine"),
        )  # fmt: skip
        runner.name, runner.mailbox = "mine", desk_mailbox()
        async with self._at_work(runner):
            yield runner

    @asynccontextmanager
    async def caretakers(self, *, traded: Sequence[str] = ()) -> AsyncIterator[None]:
        actor = Caretakers(
            self.custody, self.store, self._caretaker, traded=traded, booked=lambda: (), alarm=self.alarms.append
        )
        actor.name, actor.mailbox = "caretakers", reject(1)
        async with self._at_work(actor):
            yield

    @asynccontextmanager
    async def _at_work(self, actor: Runner | Caretakers) -> AsyncIterator[None]:
        await actor.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(actor.run)
            await anyio.wait_all_tasks_blocked()
            yield
            tasks.cancel_scope.cancel()
        await actor.stop()

    async def say(self, *entries: NewDeskEntry) -> None:
        await self.store.desk.append(entries)
        await anyio.wait_all_tasks_blocked()

    async def bar(self, price: float, low: float | None = None) -> None:
        """A minute of A at that price."""
        time, self.minute = OPEN + self.minute * MINUTE, self.minute + 1
        units, lowest = round(price * 10_000), round((price if low is None else low) * 10_000)
        block = block_of("iex", "stream", MINUTE, time, {"A": Bar("A", time, units, units, lowest, units, 1_000.0)})
        await self.say(NewDeskEntry(DeskKind.BLOCK, time + MINUTE, block))

    async def buy(self) -> None:
        """Ten shares of A for 100 dollars each."""
        now = OPEN + self.minute * MINUTE
        await self.say(
            encode(Intent("in", "mine", "A", now, Purpose.ENTER, 1, now, "signal", 100.0, budget=1_000.0)),
            encode(Booked("e1", "mine", "in", "A", Side.BUY, 10.0, 100.0, 0.0, 0.0, now, "signal", now)),
            encode(IntentOver("in", "mine", "filled", now)),
        )

    async def exits(self) -> list[tuple[str, float | None]]:
        """Reason and quantity of what is to be sold; nothing but `buy` has ever wanted anything else."""
        words = [decode(entry) for entry in await self.store.desk.read(0, 1_000)]
        intents = [word for word in words if isinstance(word, Intent) and word.id != "in"]
        assert {one.purpose for one in intents} <= {Purpose.LEAVE}
        return [(one.reason, one.quantity) for one in intents]


def story(folder: Path, tell: Callable[[Scene], Awaitable[None]]) -> None:
    """Of a strategy that has bought, and then is not there any more."""

    async def main() -> None:
        async with running(folder, driver=InlineDriver()) as store:
            scene = Scene(store)
            await scene.say(encode(Funded("mine", 10_000.0, OPEN)))
            async with scene.strategy():
                await scene.bar(100.0)
                await scene.buy()
                await scene.bar(100.0)
            await tell(scene)

    run_virtual(main)


async def _its_stop_is_kept(scene: Scene) -> None:
    async with scene.caretakers():
        await scene.bar(100.0, low=95.5)
        assert await scene.exits() == []
        await scene.bar(96.0, low=94.9)
        assert await scene.exits() == [("stop_loss", 10.0)]
        [alarm] = scene.alarms[1:]  # the first: it had not failed
        assert str(alarm.title) == "mine is not traded any more and still holds A"
        now = OPEN + scene.minute * MINUTE
        [intent] = scene.kept[0].trader.book.flights
        sold = Booked("e2", "mine", intent, "A", Side.SELL, 10.0, 95.0, 0.0, 0.0, now, "stop_loss", now)
        await scene.say(encode(sold), encode(IntentOver(intent, "mine", "filled", now)))
        assert scene.kept[0].trader.book.book.cash == 9_950.0
        assert scene.alarms[-1] == Alarm("strategy_failed", "mine", None)
        await scene.bar(100.0)
    assert len(await scene.exits()) == 1


def test_the_stop_of_a_strategy_that_the_config_names_no_more_is_kept(tmp_path: Path) -> None:
    """Bought at 100 with a stop of five per cent: 95.50 is above it, 94.90 below. Nothing is ever entered."""
    story(tmp_path, _its_stop_is_kept)


async def _everything_is_sold(scene: Scene) -> None:
    async with scene.caretakers():
        await scene.say(encode(Told(Instruction.FLATTEN, "", OPEN, "kill_switch")))
        assert await scene.exits() == [("kill_switch", 10.0)]


def test_the_kill_switch_of_the_account_sells_what_a_missing_strategy_holds(tmp_path: Path) -> None:
    story(tmp_path, _everything_is_sold)


async def _handed_over_and_back(scene: Scene) -> None:
    scene.custody.take("mine", "it hung")
    async with scene.caretakers(traded=["mine"]):
        await scene.bar(101.0)
        [caretaker] = scene.kept
        assert caretaker.trader.failure == "it hung"
        async with scene.strategy() as runner:
            assert not scene.custody.posts
            await scene.bar(102.0)
            assert runner.trader.failure == ""
            assert runner.trader.strategy.state()["bars"] == 4
            expected = scene.trader()
            for entry in await scene.store.desk.read(0, 1_000):
                expected.fold(entry)
            whole, handed = trader_state.save(expected), trader_state.save(runner.trader)
            assert handed["strategy"] == whole["strategy"]
            assert runner.trader.book.save() == expected.book.save()
        scene.custody.take("mine", "it failed too often")
        await anyio.wait_all_tasks_blocked()
        await scene.bar(103.0)
        assert scene.kept[-1].trader.book.book.equity == 10_000.0 + 10 * 3.0
    assert await scene.exits() == []


def test_a_strategy_that_comes_back_goes_on_as_if_it_had_never_been_away(tmp_path: Path) -> None:
    """Its signals are those of one that saw every bar; its book is the caretaker's; one has it at a time."""
    story(tmp_path, _handed_over_and_back)


async def _the_log_can_be_pruned(scene: Scene) -> None:
    await scene.bar(100.0)
    last = await scene.store.desk.last_seq()
    assert await scene.store.desk.prune(2**62, 1_000) < last
    async with scene.caretakers():
        pass
    await scene.store.desk.prune(2**62, 1_000)
    assert await scene.store.desk.read(0, 10) == []


def test_a_strategy_that_is_traded_no_more_does_not_hold_up_pruning(tmp_path: Path) -> None:
    story(tmp_path, _the_log_can_be_pruned)
