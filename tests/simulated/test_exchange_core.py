"""A desk that orders what a backtest would gets the backtest's fills from the exchange, to the bit."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from actors.simulated.exchange.core import Exchange
from actors.simulated.exchange.tape import Recorded
from actors.trading.ports import Bar, Order, OrderUpdate, Protection, Side
from strategies.bars import Bars
from strategies.base import Decisions, Strategy
from strategies.lab.book import Book, Exits
from strategies.lab.chance import run_key
from strategies.lab.costs import Costs
from strategies.lab.fills import Fill
from strategies.lab.plain import PlainBacktest
from strategies.lab.result import Account
from strategies.lab.schedule import session_over
from strategies.lab.trades import Reason
from tests.strategies.lab.test_engines_agree import random_account, random_bars, random_costs, random_script


class Desk:
    """Sends the orders of one strategy by the rules of the lab; its book knows only what the exchange reports."""

    def __init__(self, bars: Bars, account: Account, costs: Costs, run: int) -> None:
        self.book = Book(account.capital)
        self.equity: list[float] = []
        self.killed = False
        self._account, self._tape = account, Recorded(bars)
        self._exchange = Exchange(bars.symbols, costs, run=run, cash=account.capital, lot=account.lot, sink=self._book)
        self._place = {symbol: n for n, symbol in enumerate(bars.symbols)}
        self._symbols = bars.symbols
        self._closes = [0.0] * len(bars.symbols)
        self._wanted: dict[int, float] = {}
        self._leaving: dict[str, Reason] = {}  # by client_order_id
        self._exits, self._session_end = Exits(), False
        self._orders = 0

    def play(self, strategy: Strategy, bars: Bars) -> None:
        over = session_over(bars)
        for t, moment in enumerate(self._tape.moments()):
            if self._session_end and over[t]:
                self._wanted.clear()
                for position in self.book.positions.values():
                    position.order_exit(Reason.SESSION_END)
            self._send_exits()
            self._exchange.open_bars(moment.time, moment.bars)
            self._enter([self._place[bar.symbol] for bar in moment.bars])
            self._exchange.trade_inside()
            self._exchange.close_bars()
            self._decide(strategy.advance(bars.block(t, t + 1)), moment.bars)

    def _send_exits(self) -> None:
        waiting = {ticket.order.symbol for ticket in self._exchange.tickets() if ticket.state == "accepted"}
        for place, position in self.book.positions.items():
            symbol = self._symbols[place]
            if position.leaving and symbol not in waiting:
                order = Order(self._name(), symbol, Side.SELL, quantity=position.quantity)
                self._leaving[order.client_order_id] = position.leaving
                self._exchange.submit(order, 0)

    def _enter(self, present: list[int]) -> None:
        due = [place for place in present if place in self._wanted]
        budget = self._account.fraction * self.book.equity
        protection = Protection(self._exits.stop_loss, self._exits.take_profit, self._exits.trailing_stop)
        for place in sorted(due, key=lambda place: (-self._wanted[place], place)):
            if len(self.book.positions) < self._account.max_positions:
                order = Order(self._name(), self._symbols[place], Side.BUY, notional=budget, protection=protection)
                self._exchange.submit(order, 0)
        for place in due:
            del self._wanted[place]

    def _book(self, update: OrderUpdate) -> None:
        report, done = update.report, update.execution
        place = self._place[report.symbol]
        if report.parent:
            self.book.positions[place].order_exit(Reason(report.reason))
        if done is None:
            return
        assert done.reference is not None
        slippage = abs(done.price - done.reference) * done.quantity
        fill = Fill(done.quantity, done.price, done.fee, slippage)
        if report.side is Side.BUY:
            self.book.open(place, done.time, fill, self._exits)
        else:
            reason = Reason(report.reason) if report.parent else self._leaving[report.client_order_id]
            self.book.reduce(place, done.time, fill, reason)

    def _decide(self, signals: Decisions, bars: Sequence[Bar]) -> None:
        self._exits, self._session_end = Exits.wanted(signals, 0), signals.session_end
        for bar in bars:
            place = self._place[bar.symbol]
            self._closes[place] = bar.close / 10_000
            if position := self.book.positions.get(place):
                if signals.leave[0, 0, place]:
                    position.order_exit(Reason.SIGNAL)
                position.complete_bar(bar.high / 10_000)
            elif signals.enter[0, 0, place] and not self.killed:
                self._wanted[place] = float(signals.score[0, 0, place])
        self.equity.append(self.book.mark(self._closes))
        if not self.killed and self.book.drawdown() >= self._account.kill_switch_drawdown:
            self.killed = True
            self._wanted.clear()
            for position in self.book.positions.values():
                position.order_exit(Reason.KILL_SWITCH)

    def _name(self) -> str:
        self._orders += 1
        return f"order-{self._orders}"


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1))
def test_orders_a_backtest_would_send_get_the_backtests_fills(seed: int) -> None:
    """Random bars, signals, costs and accounts: every trade, every equity, every rejection, to the bit."""
    rng = default_rng(seed)
    bars = random_bars(rng, 60, int(rng.integers(1, 6)), intraday=bool(rng.random() < 0.5), missing=0.1)
    account, costs = random_account(rng, len(bars.symbols)), random_costs(rng)
    strategy = random_script(rng, bars, 1)
    run = run_key(seed, "scripted", {})

    plain = PlainBacktest(bars, account, costs, run)
    backtested = type(strategy)(bars.symbols, strategy.values)
    for t in range(len(bars)):
        plain.bar(t, backtested.advance(bars.block(t, t + 1)), 0)
    desk = Desk(bars, account, costs, run)
    desk.play(type(strategy)(bars.symbols, strategy.values), bars)

    assert desk.book.trades == plain.book.trades
    assert desk.equity == plain.equity
    assert desk.book.cash == plain.book.cash == desk._exchange.cash
    assert {place: p.quantity for place, p in desk.book.positions.items()} == {
        place: p.quantity for place, p in plain.book.positions.items()
    }
