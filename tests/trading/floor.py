"""The desk's risk and broker actors on the simulated exchange, in virtual time, with a broker that may be unlucky."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from actors.kernel.clock import SECOND, Random, ScaledClock, chance, io_sleep
from actors.kernel.mailbox import Drained
from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.paper import PaperExchange
from actors.simulated.exchange.ports import SimulatedBroker
from actors.store.alarm import Alarm
from actors.store.desk_records import DeskEntry, DeskKind, NewDeskEntry
from actors.store.driver import InlineDriver
from actors.store.store import SqliteStore
from actors.trading.blocks import block_of
from actors.trading.broker import BrokerDesk
from actors.trading.journal import Word, decode, encode
from actors.trading.ports import (
    AccountState,
    Bar,
    BrokerMessage,
    Execution,
    Holding,
    InDoubt,
    Order,
    OrderReport,
    Quote,
    Unreachable,
)
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import DeskReader, desk_mailbox
from actors.trading.risk import RiskDesk
from actors.trading.risk_rules import Limits
from actors.trading.standing import Standing
from actors.trading.words import Intent, Purpose
from strategies.lab.costs import Costs
from tests.simulation.loop import run_virtual
from tests.store.running import running

OPEN = 1_790_602_200_000_000  # Monday 2026-09-28, 09:30 in New York
MINUTE = 60 * SECOND
SYMBOLS = ("AAPL", "JPM", "MSFT", "SPY", "XOM")
FREE = Costs(spread_bps=4.0)
LOOSE = Limits(
    daily_loss=1.0, max_gross=1e6, max_symbol=1e6, max_sector=1e6, max_orders_per_minute=10**6, price_collar=10.0,
    cooldown_after_stop_s=0.0,
)  # fmt: skip


class UnluckyBroker:
    """The exchange's own port, whose answers and updates are lost with some chance, and which may be down."""

    triggers_inside = False

    def __init__(self, broker: SimulatedBroker, rng: Random, lost: float = 0.0) -> None:
        self.down = False
        self.posts: list[str] = []
        self._broker, self._rng, self._lost = broker, rng, lost

    def _unlucky(self) -> bool:
        return self._rng.random() < self._lost

    async def _call(self) -> None:
        await io_sleep(self._rng.uniform(0.001, 0.2))
        if self.down or self._unlucky():
            raise Unreachable("no answer")

    async def run(self, sink: Callable[[BrokerMessage], None]) -> None:
        def unreliable(message: BrokerMessage) -> None:
            for _ in range(self._rng.choice([1, 1, 1, 2]) if self._lost else 1):
                if not self._unlucky():
                    sink(message)

        await self._broker.run(unreliable)

    async def submit(self, order: Order) -> OrderReport:
        self.posts.append(order.client_order_id)
        await io_sleep(self._rng.uniform(0.001, 0.2))
        if self.down or self._unlucky():
            raise InDoubt("it never arrived")
        report = await self._broker.submit(order)
        await io_sleep(self._rng.uniform(0.001, 0.2))
        if self._unlucky():
            raise InDoubt("the answer was lost")
        return report

    async def order(self, client_order_id: str) -> OrderReport | None:
        await self._call()
        return await self._broker.order(client_order_id)

    async def open_orders(self) -> list[OrderReport]:
        await self._call()
        return await self._broker.open_orders()

    async def cancel(self, client_order_id: str) -> None:
        await self._call()
        await self._broker.cancel(client_order_id)

    async def account(self) -> AccountState:
        await self._call()
        return await self._broker.account()

    async def holdings(self) -> list[Holding]:
        await self._call()
        return await self._broker.holdings()

    async def executions(self, after: int) -> Sequence[Execution]:
        await self._call()
        return await self._broker.executions(after)


class Floor:
    """Everything of the desk but the feed and the strategies, for which the test speaks."""

    def __init__(
        self, store: SqliteStore, clock: ScaledClock, *, strategies: Sequence[str], limits: Limits, faults: FaultPlan,
        rng: Random, lost: float, capital: float | None, sectors: dict[str, str],
    ) -> None:  # fmt: skip
        self.store, self.clock, self.strategies, self.limits, self.rng = store, clock, strategies, limits, rng
        self.capital, self.sectors = capital, sectors
        self.exchange = PaperExchange(SYMBOLS, FREE, cash=100_000.0 * len(strategies), faults=faults)
        self.broker = UnluckyBroker(SimulatedBroker(self.exchange, clock), rng, lost)
        self.board = QuoteBoard()
        self.open = True
        self.alarms: list[Alarm] = []
        self.prices = dict.fromkeys(SYMBOLS, 100.0)
        self._life = anyio.CancelScope()
        self._ends = anyio.Event()

    def hire(self) -> tuple[BrokerDesk, RiskDesk]:
        """Both desks, as after a start of the process."""
        standing = Standing()
        self.standing = standing
        self.risk = RiskDesk(
            self.limits, self.store, self.clock, self.board, standing,
            is_open=lambda _: self.open, sectors=self.sectors, alarm=self.alarms.append,
        )  # fmt: skip
        self.desk = BrokerDesk(
            self.broker, self.store, self.clock, self.board, standing,
            strategies=self.strategies, capital=self.capital, stale_after_s=180.0, price_collar=0.05,
            alarm=self.alarms.append, changed=lambda: self.risk.mailbox.offer(object()),
        )  # fmt: skip
        for name, actor in (("broker", self.desk), ("risk", self.risk)):
            actor.name, actor.mailbox = name, desk_mailbox()
        return self.desk, self.risk

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator["Floor"]:
        """One life of the process; leaving is a kill: nobody stops in order."""
        actors = self.hire()
        async with anyio.create_task_group() as tasks:
            for actor in actors:
                await actor.start()
                tasks.start_soon(_live, actor)
            yield self
            tasks.cancel_scope.cancel()
        for actor in actors:
            self.store.desk.unfollow(actor.mailbox)

    async def say(self, *words: Word) -> None:
        """Into the log."""
        await self.store.desk.append([encode(word) for word in words])

    async def tick(self, **prices: float) -> None:
        """A minute passes: prices move, waiting orders fill, a block is closed."""
        self.prices |= prices
        time = self.clock.now()
        bars = [_bar(symbol, time, price) for symbol, price in self.prices.items()]
        self.exchange.open_bars(time, bars)
        self.quote()
        block = block_of("synthetic", "stream", MINUTE, time, {bar.symbol: bar for bar in bars})
        await self.store.desk.append([NewDeskEntry(DeskKind.BLOCK, time, block)])
        await self.clock.sleep(60)

    def quote(self, **prices: float) -> None:
        """What shares can be had for."""
        self.board.trusted = True
        for symbol, price in (self.prices | prices).items():
            units = round(price * 10_000)
            self.board.show(Quote(symbol, self.clock.now(), units - 100, units + 100))

    async def words(self) -> list[Word]:
        """Everything that was said."""
        return [word for entry in await self.log() if (word := decode(entry)) is not None]

    async def log(self) -> list[DeskEntry]:
        return await self.store.desk.read(0, 1_000_000)

    def entry(self, strategy: str, symbol: str, budget: float, **more: Any) -> Intent:
        """As a strategy would say it now."""
        return self._intent(strategy, symbol, Purpose.ENTER, budget=budget, **more)

    def exit(self, strategy: str, symbol: str, **more: Any) -> Intent:
        """Of all that it holds."""
        quantity = self.desk.accounts.purses[strategy].stakes[symbol].quantity
        return self._intent(strategy, symbol, Purpose.LEAVE, quantity=quantity, **more)

    def _intent(self, strategy: str, symbol: str, purpose: Purpose, **more: Any) -> Intent:
        now = self.clock.now()
        number = more.pop("attempt", 1)
        fields: dict[str, Any] = {"reason": "signal", "mid": self.prices[symbol]} | more
        name = f"{strategy}/{symbol}/{now}/{purpose}/{number}"
        return Intent(name, strategy, symbol, now, purpose, number, now, **fields)


async def _live(actor: DeskReader) -> None:
    with suppress(Drained):
        await actor.run()


def _bar(symbol: str, time: int, price: float) -> Bar:
    units = round(price * 10_000)
    return Bar(symbol, time, units, units, units, units, 10_000_000.0)


def story(
    folder: Path, tell: Callable[[Floor], Any], *, seed: int = 0, strategies: Sequence[str] = ("alone",),
    limits: Limits = LOOSE, faults: FaultPlan | None = None, lost: float = 0.0, capital: float | None = 100_000.0,
    sectors: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Run `tell` in virtual time."""

    async def main() -> None:
        clock = ScaledClock(OPEN)
        clock.now()
        async with running(folder, driver=InlineDriver()) as store:
            floor = Floor(
                store, clock, strategies=strategies, limits=limits, faults=faults or FaultPlan(), rng=chance(seed),
                lost=lost, capital=capital, sectors=sectors or {},
            )  # fmt: skip
            await tell(floor)

    run_virtual(main, seed)
