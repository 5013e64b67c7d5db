"""The trading branch: the feed, the broker and risk desks, and an actor for each strategy; made from a plan.

Imports numpy, and with Alpaca its client: only where trading is on.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import orjson

from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock, ScaledClock
from actors.kernel.mailbox import Mailbox
from actors.kernel.tree import Branch, Child, Failed, Quarantined, Strategy, SupervisionEvent, child, supervisor
from actors.simulated.exchange.generator import Synthetic
from actors.simulated.exchange.venue import Venue
from actors.store.alarm import Alarm
from actors.store.protocol import Store
from actors.trading import summary
from actors.trading.accounts import PRICE_UNITS
from actors.trading.archive import Archive
from actors.trading.broker import BrokerDesk
from actors.trading.caretaker import Caretaker, Caretakers, Custody, Nobody
from actors.trading.feed import Feed, feed_box
from actors.trading.hours import Hours
from actors.trading.nightly import Parity
from actors.trading.parity import Replay
from actors.trading.ports import Broker, MarketData
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import desk_mailbox
from actors.trading.risk import RiskDesk
from actors.trading.runner import Quoted, Runner
from actors.trading.standing import Standing
from actors.trading.trader import Trader
from actors.trading.warmup import Need
from config import settings as said
from config.paths import BARS
from daemon.alarms import STRATEGY
from daemon.desk_plan import Chosen, DeskPlan, plan
from daemon.own_exchange import OwnExchange
from strategies import base
from strategies.bar_store import BarStore
from strategies.calendar_file import CalendarFile
from strategies.sessions import DAY

OWN_CAPITAL = 100_000.0
"""Dollars that a strategy begins with on the simulated exchange, where none are said."""

SETTLING_BARS = 100
"""Beyond a strategy's warm-up: averages that never forget begin somewhere, and by then it hardly matters where."""

FOLD_S = 300.0
"""Folding a long log again is one turn."""


class TradingDesk:
    """The parts of the branch that outlive their actors, and who is at work at the moment."""

    def __init__(
        self,
        desk_plan: DeskPlan,
        trading: said.Trading,
        ports: tuple[MarketData, Broker],
        *,
        store: Store,
        clock: Clock,
        alarm: Callable[[Alarm], object],
        exchange: Callable[[], Actor[Any]] | None = None,
        history: BarStore | None = None,
    ) -> None:
        """`exchange` makes what plays the market, where that is in the process.

        Into `history` go every night's bars, and what the broker's calendar says; without it they stay in the log.
        """
        self.plan = desk_plan
        self.board, self.standing = QuoteBoard(), Standing()
        self.runners: dict[str, Runner] = {}
        self.custody = Custody()
        self._chosen = {chosen.name: chosen for chosen in desk_plan.strategies}
        self._trading = trading
        self._market, self._broker = ports
        self._store, self.clock, self._alarm = store, clock, alarm
        self._exchange, self._history = exchange, history
        self._hours = Hours(self._market, CalendarFile(history.folder).heed if history else None)
        self._mailboxes: dict[str, Mailbox[Any]] = {name: desk_mailbox() for name in ("broker", "risk", *self._chosen)}
        self.risk, self.broker = self._make_risk(), self._make_broker()

    def tree(self) -> Branch:
        """Whoever falls is started again alone: all they know of each other is in the log."""
        return supervisor("trading", Strategy.ONE_FOR_ONE, *self._children())

    def lines(self, since: int, until: int, ours: Clock) -> list[str]:
        """What it did from one moment of our clock to another, for the digest."""
        there = self.clock
        if there is not ours:
            speed = there.speed if isinstance(there, ScaledClock) else 1.0
            now, now_there = ours.now(), there.now()
            since, until = (now_there - round((now - at) * speed) for at in (since, until))
        return summary.lines([runner.trader for runner in self.runners.values()], since, until)

    def heed(self, event: SupervisionEvent) -> None:
        """Who hung or was given up needs somebody to look after what it holds."""
        if isinstance(event, Failed | Quarantined) and event.name.startswith(STRATEGY):
            why = "it failed too often" if isinstance(event, Failed) else "it hung"
            self.custody.take(event.name.removeprefix(STRATEGY), why)

    def examine(self, actor: str) -> None:
        """Raises BadInput where a strategy could not be started as its file is now."""
        if actor.startswith(STRATEGY):
            self._chosen[actor.removeprefix(STRATEGY)].renewed()

    def price(self, symbol: str) -> float | None:
        """Dollars a share: between bid and ask where that is fresh, else the last close."""
        quote = self.board.fresh(symbol, self.clock.now() - round(self.plan.limits.stale_after_s * SECOND))
        return self.broker.accounts.closes.get(symbol) if quote is None else (quote.bid + quote.ask) / 2 / PRICE_UNITS

    def _children(self) -> Iterator[Child]:
        if self._exchange is not None:
            yield child("exchange", self._exchange)
        yield child("feed", self._make_feed, mailbox=feed_box())
        yield child("broker", self._make_broker, mailbox=self._mailboxes["broker"], stop_s=5, stuck_s=FOLD_S)
        yield child("risk", self._make_risk, mailbox=self._mailboxes["risk"], stuck_s=FOLD_S)
        if (history := self._history) is not None:
            symbols = self.plan.symbols
            yield child("archive", lambda: Archive(self._store.desk, history, self.clock, self._market, symbols))
        yield child("parity", self._make_parity, stuck_s=FOLD_S)
        yield child("caretakers", self._make_caretakers)
        for name in self._chosen:
            yield child(
                f"strategy:{name}",
                lambda name=name: self._make_runner(name),  # type: ignore[misc]
                mailbox=self._mailboxes[name],
                stop_s=1,
                stuck_s=FOLD_S,
            )

    def _make_feed(self) -> Feed:
        return Feed(
            self._market,
            self._store,
            self.clock,
            self.board,
            self.plan.symbols,
            self._wake_all,
            hours=self._hours,
            stale_after_s=self._trading.risk.stale_after,
            needs=[self._need(chosen) for chosen in self._chosen.values()],
            alarm=self._alarm,
        )

    def _need(self, chosen: Chosen) -> Need:
        strategy = chosen.make()
        parts = (strategy, *strategy.overlays)
        depends = [[part.code_hash() for part in parts], strategy.values, self.plan.symbols, self._market.feed]
        fingerprint = hashlib.sha256(orjson.dumps(depends)).hexdigest()
        return Need(chosen.name, chosen.timeframe, strategy.warmup + SETTLING_BARS, fingerprint)

    def _make_broker(self) -> BrokerDesk:
        self.broker = BrokerDesk(
            self._broker,
            self._store,
            self.clock,
            self.board,
            self.standing,
            strategies=[*self._chosen],
            capital=self._trading.capital_per_strategy,
            stale_after_s=self.plan.limits.stale_after_s,
            price_collar=self.plan.limits.price_collar,
            alarm=self._alarm,
            changed=self._wake_all,
        )
        return self.broker

    def _make_risk(self) -> RiskDesk:
        self.risk = RiskDesk(
            self.plan.limits,
            self._store,
            self.clock,
            self.board,
            self.standing,
            is_open=lambda at: self._hours.current(at) is not None,
            sectors=self.plan.sectors,
            alarm=self._alarm,
        )
        return self.risk

    def _make_parity(self) -> Parity:
        def replays() -> list[Replay]:
            membership = self.plan.membership
            # One that hung would hang here too.
            there = (one for one in self._chosen.values() if one.name not in self.custody.absent)
            return [Replay(one.name, one.make, one.timeframe, membership) for one in there]

        return Parity(replays, self._market.timeframe, self._store, self.clock, self._alarm)

    def _make_runner(self, name: str) -> Runner:
        """Of the strategy as its file says by now: a start takes what its owner has mended."""
        chosen = self._chosen[name] = self._chosen[name].renewed()
        self.runners[name] = Runner(
            lambda: self._trader(name, chosen.make, chosen.timeframe),
            self._store,
            self.clock,
            self.board,
            self._session_open,
            self._alarm,
            book_is_free=lambda: self.custody.give_back(name),
        )
        return self.runners[name]

    def _make_caretaker(self, name: str, why: str) -> Caretaker:
        known = self._chosen[name].timeframe if name in self._chosen else DAY
        caretaker = Caretaker(
            lambda timeframe: self._trader(name, lambda: Nobody(self.plan.symbols), timeframe or known),
            why,
            self._store,
            self.clock,
            self.board,
            self._session_open,
            self._alarm,
        )
        self.runners[name] = caretaker
        return caretaker

    def _make_caretakers(self) -> Caretakers:
        return Caretakers(
            self.custody,
            self._store,
            self._make_caretaker,
            traded=self._chosen,
            booked=lambda: self.broker.accounts.purses,
            alarm=self._alarm,
        )

    def _trader(self, name: str, make: Callable[[], base.Strategy], timeframe: int) -> Trader:
        return Trader(
            name,
            make,
            self.plan.rules,
            base=self._market.timeframe,
            timeframe=timeframe,
            costs=self.plan.costs,
            membership=self.plan.membership,
            triggers_inside=self._broker.triggers_inside,
        )

    def _session_open(self, at: int) -> int | None:
        session = self._hours.current(at)
        return None if session is None else session.open

    def _wake_all(self) -> None:
        for mailbox in (*self._mailboxes.values(), *self.custody.mailboxes):
            mailbox.offer(Quoted())


OpenDeskAt: TypeAlias = Callable[[Clock, Store, Callable[[Alarm], object]], TradingDesk]
"""Makes the branch, with the clock that it is to live by: the exchange's, which need not be the daemon's."""


def opener_of(settings: said.Settings, only: Sequence[str]) -> OpenDeskAt:
    """What opens the desk that the settings describe. Raises BadInput where they cannot be traded."""
    trading = settings.trading
    desk_plan, history = plan(trading, only), BarStore(settings.data_dir / BARS)
    CalendarFile(history.folder).apply()

    def open_desk(clock: Clock, store: Store, alarm: Callable[[Alarm], object]) -> TradingDesk:
        if trading.broker == "simulated":
            cash = (trading.capital_per_strategy or OWN_CAPITAL) * len(desk_plan.strategies)
            # Its seed is in the ids of its executions, which must not be those of an earlier life.
            venue = Venue(Synthetic(desk_plan.symbols), clock, seed=clock.now(), cash=cash, costs=desk_plan.costs)
            return on_venue(desk_plan, trading, venue, history)(clock, store, alarm)
        ports = _alpaca(trading, clock)
        return TradingDesk(desk_plan, trading, ports, store=store, clock=clock, alarm=alarm, history=history)

    return open_desk


def on_venue(desk_plan: DeskPlan, trading: said.Trading, venue: Venue, history: BarStore | None = None) -> OpenDeskAt:
    """What opens a desk that trades on an exchange in the process."""

    def open_desk(clock: Clock, store: Store, alarm: Callable[[Alarm], object]) -> TradingDesk:
        return TradingDesk(
            desk_plan,
            trading,
            (venue.market, venue.broker),
            store=store,
            clock=clock,
            alarm=alarm,
            exchange=lambda: OwnExchange(venue, store),
            history=history,
        )

    return open_desk


def _alpaca(trading: said.Trading, clock: Clock) -> tuple[MarketData, Broker]:
    """Alpaca's data and trading, spoken to by its own client."""
    from daemon.desk_check import ports  # noqa: PLC0415 - alpaca-py, for Alpaca only

    return ports(trading, clock)
