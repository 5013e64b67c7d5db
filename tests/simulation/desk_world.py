"""The whole desk in virtual time: the real actors over a real database, and an exchange that outlives every life.

The seed decides when the process dies and in which order everything runs. The market waits for a desk that is down:
each phase of a bar goes on where the last life left it, so that in the end the desk must have traded what the backtest
trades, however often it died.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import anyio

from actors.kernel.clock import SECOND, Clock, ScaledClock, chance, io_sleep
from actors.kernel.mailbox import reject
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Branch, Crashed, Restart, Strategy, SupervisionEvent, child, supervisor
from actors.simulated.exchange.core import Exchange
from actors.simulated.exchange.ports import SimulatedBroker, SimulatedMarket
from actors.simulated.exchange.tape import Recorded
from actors.store.alarm import Alarm
from actors.store.driver import InlineDriver
from actors.store.store import SqliteStore
from actors.trading.broker import BrokerDesk
from actors.trading.feed import Feed, feed_box
from actors.trading.ports import Quote, QuoteSeen
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import desk_mailbox
from actors.trading.risk import RiskDesk
from actors.trading.risk_rules import Limits
from actors.trading.runner import Quoted, Runner
from actors.trading.standing import Standing
from actors.trading.trader import Trader
from strategies.bars import Bars
from strategies.lab.costs import Costs
from strategies.lab.result import Account
from strategies.sessions import MINUTE
from tests.simulation.mortal import Killed, MortalLoop, drop_files, live

QUIET_S = 1.0
"""Longer than anybody pauses who was not refused anything."""

PATIENCE_S = 400.0
WIDE = Limits(
    kill_switch_drawdown=math.inf,
    daily_loss=math.inf,
    max_gross=math.inf,
    max_symbol=math.inf,
    max_sector=math.inf,
    max_orders_per_minute=1_000_000,
    price_collar=math.inf,
    stale_after_s=1e9,
    cooldown_after_stop_s=0.0,
)


class Phase(IntEnum):
    """What happens next to the bar in hand."""

    BEFORE = 0
    OPEN = 1
    QUOTES = 2
    INSIDE = 3
    CLOSE = 4


@dataclass(frozen=True)
class Setup:
    """What the desk trades with."""

    bars: Bars
    account: Account
    costs: Costs
    run: int
    make: Callable[[], Trader]


class DeskWorld:
    """What outlives every life: the files, the exchange, and how far the market has come."""

    def __init__(self, setup: Setup, seed: int, folder: Path, *, lives: int = 1) -> None:
        self.setup = setup
        self.folder = folder
        self.rng = chance(seed)
        self.deaths = 0
        self.alarms: list[Alarm] = []
        self.crashes: list[BaseException] = []
        self.moments = list(Recorded(setup.bars).moments())
        self.exchange = Exchange(
            setup.bars.symbols, setup.costs, run=setup.run, cash=setup.account.capital, lot=setup.account.lot
        )
        self.place, self.phase = 0, Phase.BEFORE
        self.now = self.moments[0].time - 60 * SECOND
        self.trader: Trader | None = None
        """As the last life left it."""
        self.speed = setup.bars.timeframe / MINUTE
        """Every bar takes a minute: the supervisor looks after its actors once a second."""
        self._lives = lives

    def observe(self, event: SupervisionEvent) -> None:
        """Nothing fails here but the process itself."""
        if isinstance(event, Crashed):
            self.crashes.append(event.error)

    def live_through(self) -> Trader:
        """Life after life until the market has shown all its bars; the trader as it then is."""
        while not self._one_life():
            self.deaths += 1
        assert self.trader is not None
        return self.trader

    def _one_life(self) -> bool:
        steps = None if self.deaths + 1 >= self._lives else int(self.rng.expovariate(1 / 3000))
        loop = MortalLoop(self.rng.randrange(1 << 30), steps)
        try:
            live(loop, DeskLife(self))
        except Killed:
            return False
        else:
            return True
        finally:
            self.now += round(loop.time() * self.speed * SECOND)


class DeskLife:
    """One process, from start to kill or end."""

    def __init__(self, world: DeskWorld) -> None:
        self._world = world
        self._driver = InlineDriver()
        self._store = SqliteStore(world.folder, driver=self._driver, ballast_bytes=0)
        self._market = SimulatedMarket(Recorded(world.setup.bars))
        self._runner: Runner

    async def run(self) -> None:
        world = self._world
        clock = ScaledClock(world.now, world.speed)
        board, standing = QuoteBoard(), Standing()
        self._market.complete_until(self._complete_until())
        tenders = Supervisor(self._tree(clock, board, standing), clock=clock, rng=world.rng, observe=world.observe)

        async def play() -> None:
            await tenders.ready.wait()
            await self._play(clock, board, standing)
            tenders.stop()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(play)
            await tenders.run()
            world.trader = self._runner.trader
            tasks.cancel_scope.cancel()

    def _tree(self, clock: Clock, board: QuoteBoard, standing: Standing) -> Branch:
        world, setup, store = self._world, self._world.setup, self._store
        strategy_box, risk_box, broker_box = boxes = desk_mailbox(), desk_mailbox(), desk_mailbox()

        def wake() -> None:
            for box in boxes:
                box.offer(Quoted())

        def feed() -> Feed:
            symbols = setup.bars.symbols
            return Feed(self._market, store, clock, board, symbols, wake, grace_s=0, stale_after_s=math.inf)

        def broker() -> BrokerDesk:
            return BrokerDesk(
                SimulatedBroker(world.exchange, clock),
                store,
                clock,
                board,
                standing,
                strategies=[self._name],
                capital=setup.account.capital,
                stale_after_s=1e9,
                price_collar=math.inf,
                alarm=world.alarms.append,
                changed=wake,
            )

        def risk() -> RiskDesk:
            alarm = world.alarms.append
            return RiskDesk(WIDE, store, clock, board, standing, is_open=lambda _: True, sectors={}, alarm=alarm)

        def runner() -> Runner:
            self._runner = Runner(setup.make, store, clock, board, lambda _: 0, world.alarms.append)
            return self._runner

        return supervisor(
            "desk",
            Strategy.ONE_FOR_ONE,
            child("store", lambda: store, mailbox=reject(64), restart=Restart.NEVER, stop_s=10),
            child("feed", feed, mailbox=feed_box()),
            child("broker", broker, mailbox=broker_box),
            child("risk", risk, mailbox=risk_box),
            child("strategy", runner, mailbox=strategy_box),
        )

    @property
    def _name(self) -> str:
        return self._world.setup.make().name

    def _complete_until(self) -> int:
        """Bars of earlier moments are over; of the one in hand when it was closed."""
        world = self._world
        moment = world.moments[min(world.place, len(world.moments) - 1)]
        over = world.place >= len(world.moments) or world.phase > Phase.CLOSE
        return moment.time + over

    async def _play(self, clock: Clock, board: QuoteBoard, standing: Standing) -> None:
        world = self._world
        with anyio.fail_after(PATIENCE_S):
            while not (board.trusted and standing.clear):
                await io_sleep(1)
        # What was published to a life that ended there is published again.
        if world.phase in (Phase.INSIDE, Phase.BEFORE) and (world.place or world.phase is Phase.INSIDE):
            self._publish_again(clock)
        await self._quiet()
        while world.place < len(world.moments):
            await self._step(clock)
            await self._quiet()

    def _publish_again(self, clock: Clock) -> None:
        world = self._world
        if world.phase is Phase.INSIDE:
            self._publish_quotes(clock)
        else:
            self._market.publish_bars(world.moments[world.place - 1].bars)

    async def _step(self, clock: Clock) -> None:
        """One phase; that it is done is known at the same instant."""
        world = self._world
        moment = world.moments[world.place]
        match world.phase:
            case Phase.BEFORE:
                await clock.sleep_until(moment.time)
                world.phase = Phase.OPEN
            case Phase.OPEN:
                world.exchange.open_bars(moment.time, moment.bars)
                world.phase = Phase.QUOTES
            case Phase.QUOTES:
                self._publish_quotes(clock)
                world.phase = Phase.INSIDE
            case Phase.INSIDE:
                world.exchange.trade_inside()
                world.phase = Phase.CLOSE
            case Phase.CLOSE:
                await clock.sleep_until(self._end())
                world.exchange.close_bars()
                self._market.complete_until(moment.time + 1)
                world.place, world.phase = world.place + 1, Phase.BEFORE
                self._market.publish_bars(moment.bars)

    def _publish_quotes(self, clock: Clock) -> None:
        for bar in self._world.moments[self._world.place].bars:
            self._market.publish(bar.symbol, QuoteSeen(Quote(bar.symbol, clock.now(), bar.open, bar.open)))

    def _end(self) -> int:
        return self._world.moments[self._world.place].time + self._world.setup.bars.timeframe

    async def _quiet(self) -> None:
        before = (-1, -1)
        while (now := (await self._store.desk.last_seq(), self._world.exchange.taken)) != before:
            before = now
            await io_sleep(QUIET_S)

    def drop(self) -> None:
        """It was killed."""
        drop_files(self._store, self._driver)
