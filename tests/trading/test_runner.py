"""A strategy's actor: its restart, its strategy changed meanwhile, and what people hear when it fails."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import numpy as np
from numpy.random import default_rng

from actors.kernel.clock import ScaledClock
from actors.store.alarm import Alarm
from actors.store.driver import InlineDriver
from actors.store.store import SqliteStore
from actors.trading import trader_state
from actors.trading.journal import KINDS, decode, encode
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import desk_mailbox
from actors.trading.runner import Runner
from actors.trading.trader import Rules, Trader
from actors.trading.words import Decided, Funded, Passed
from strategies.bars import Bars
from strategies.base import Strategy
from strategies.registry import load
from tests.simulation.loop import nothing_left_to_do, run_virtual
from tests.store.running import running
from tests.strategies.market import random_bars
from tests.trading.test_parity import blocks_of

BARS = random_bars(default_rng(3), "1d", rows=120, symbols=4)


def of(period: int) -> Callable[[], Strategy]:
    return lambda: load("breakout_20d")(BARS.symbols, [{"entry": period}])


@asynccontextmanager
async def working(
    store: SqliteStore, make: Callable[[], Strategy], alarms: list[Alarm] | None = None
) -> AsyncIterator[Runner]:
    """A runner at work, as the supervisor would have it."""

    def trader() -> Trader:
        return Trader("mine", make, Rules(), base=BARS.timeframe, timeframe=BARS.timeframe)

    told = [] if alarms is None else alarms
    runner = Runner(trader, store, ScaledClock(0), QuoteBoard(), lambda _: None, told.append)
    runner.name, runner.mailbox = "mine", desk_mailbox()
    await runner.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        await nothing_left_to_do()
        yield runner
        await nothing_left_to_do()
        tasks.cancel_scope.cancel()
    await runner.stop()


async def show(store: SqliteStore, bars: Bars) -> None:
    for block in blocks_of(bars):
        await store.desk.append([block])
        await nothing_left_to_do()


def signals_of(trader: Trader) -> bytes:
    return trader_state.save(trader)["strategy"][1]


async def _restarted_with_another_parameter(folder: Path) -> None:
    async with running(folder, driver=InlineDriver()) as store:
        await store.desk.append([encode(Funded("mine", 10_000, 0))])
        async with working(store, of(20)) as runner:
            await show(store, BARS.rows(0, 80))
            before = runner.trader.record.times
        async with working(store, of(30)) as runner:
            await show(store, BARS.rows(80, 120))
            assert runner.trader.record.times[:80] == before
            changed = signals_of(runner.trader)
        expected = Trader("mine", of(30), Rules(), base=BARS.timeframe, timeframe=BARS.timeframe)
        for entry in await store.desk.read(0, 10_000):
            expected.fold(entry)
        assert changed == signals_of(expected)


def test_a_strategy_whose_parameters_changed_is_folded_again_from_its_first_bar(tmp_path: Path) -> None:
    """Its signals are those of a strategy that always had them; its book is the old one."""
    run_virtual(lambda: _restarted_with_another_parameter(tmp_path))


async def _decisions_of_two_lives(folder: Path) -> None:
    async with running(folder, driver=InlineDriver()) as store:
        await store.desk.append([encode(Funded("mine", 10_000, 0))])
        for begin in range(0, 120, 30):
            async with working(store, of(20)):
                await show(store, BARS.rows(begin, begin + 30))
        said = [word for entry in await store.desk.read(0, 10_000) if isinstance(word := decode(entry), Decided)]
    assert [one.bar_time for one in said] == BARS.times.tolist()


def test_every_bar_is_decided_on_once_through_restarts(tmp_path: Path) -> None:
    run_virtual(lambda: _decisions_of_two_lives(tmp_path))


def written(file: Path, limit: int) -> Callable[[], Strategy]:
    file.write_text(
        "from strategies.base import Signals, Strategy\n"
        "class Mine(Strategy):\n"
        "    def setup(self, shape):\n"
        "        self.bars = 0\n"
        "    def step(self, bars):\n"
        "        self.bars += 1\n"
        f"        assert self.bars < {limit}, 'enough'\n"
        "        return Signals(bars.close < 0, False, 0.0)\n"
    )
    return lambda: load(str(file))(BARS.symbols)


async def _broken_and_mended(folder: Path) -> None:
    alarms: list[Alarm] = []
    async with running(folder, driver=InlineDriver()) as store:
        async with working(store, written(folder / "mine.py", 10), alarms):
            await show(store, BARS.rows(0, 20))
        async with working(store, written(folder / "mine.py", 10_000), alarms) as runner:
            await show(store, BARS.rows(20, 30))
            assert not runner.trader.failure
            assert runner.trader.strategy.state()["bars"] == np.array(30)
    assert [alarm.title is None for alarm in alarms] == [True, False, True]
    assert alarms[1].signal == "strategy_failed"
    assert alarms[1].scope == "mine"
    assert f"{folder / 'mine.py'}:7: AssertionError: enough" in str(alarms[1].title)


def test_a_broken_strategy_is_told_with_its_line_and_a_mended_one_goes_on_with_all_its_bars(tmp_path: Path) -> None:
    run_virtual(lambda: _broken_and_mended(tmp_path))


async def _entries_whose_open_passed(folder: Path) -> None:
    alarms: list[Alarm] = []
    async with running(folder, driver=InlineDriver()) as store:
        await store.desk.append([encode(Funded("mine", 10_000, 0))])
        async with working(store, of(20), alarms):
            await show(store, BARS)
        words = [decode(entry) for entry in await store.desk.read(0, 10_000, (KINDS[Passed],))]
    passed = [word for word in words if isinstance(word, Passed)]
    assert passed
    told = [(one.signal, one.scope, one.title) for one in alarms if one.title]
    why = "bars are missing, or the feed is silent"
    assert told[0] == ("risk_refusals", "mine", f"mine may not enter {passed[0].symbol}: {why}")
    assert {alarm.evidence["rule"] for alarm in alarms if alarm.title} == {"stale_after"}
    assert sum(alarm.evidence["refused"] for alarm in alarms if alarm.title) == len(passed)


def test_an_entry_whose_open_passed_is_told_as_what_risk_refuses(tmp_path: Path) -> None:
    """Here nobody trusts the board."""
    run_virtual(lambda: _entries_whose_open_passed(tmp_path))
