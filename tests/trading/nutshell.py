"""The desk in a nutshell: one trader and the exchange, hand in hand, without actors, a store or a risk manager.

What a broker desk does for one strategy alone is short: every intent is an order, every execution is booked whole.
"""

from collections.abc import Iterable

import numpy as np

from actors.simulated.exchange.core import Exchange
from actors.simulated.exchange.tape import Moment, Recorded
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind, NewDeskEntry
from actors.trading.accounts import DUST
from actors.trading.blocks import block_of
from actors.trading.journal import Word, encode
from actors.trading.ports import Order, OrderUpdate, Quote
from actors.trading.quotes import QuoteBoard
from actors.trading.trader import Rules, Trader
from actors.trading.wishes import Wishes
from actors.trading.words import Booked, Funded, Intent, IntentOver, Purpose
from strategies.bars import Bars
from strategies.base import Strategy
from strategies.lab.chance import run_key
from strategies.lab.costs import Costs
from strategies.lab.fills import Market
from strategies.lab.plain import PlainBacktest
from strategies.lab.result import Account, as_columns
from strategies.lab.trades import Reason, Trades


def trader_of(strategy: Strategy, bars: Bars, account: Account, costs: Costs, name: str = "s") -> Trader:
    """A trader of the first parameter set, at an exchange that triggers inside the bar."""

    def make() -> Strategy:
        return type(strategy)(bars.symbols, strategy.values[:1])

    rules = Rules(account.fraction, account.max_positions, account.kill_switch_drawdown)
    return Trader(name, make, rules, base=bars.timeframe, timeframe=bars.timeframe, costs=costs, triggers_inside=True)


class Nutshell:
    """Plays bars through a trader; `log` is what a store would hold."""

    def __init__(self, trader: Trader, bars: Bars, account: Account, costs: Costs, run: int) -> None:
        self.trader = trader
        self.log: list[DeskEntry] = []
        self.now = 0
        self.board = QuoteBoard()
        self.board.trusted = True
        self._bars = bars
        self._exchange = Exchange(
            bars.symbols, costs, run=run, cash=account.capital, lot=account.lot, sink=self._updated
        )
        self._intents: dict[str, Intent] = {}
        self._updates: list[OrderUpdate] = []
        self._wishes = Wishes(trader, self.board, lambda _: 0)
        self.commit([encode(Funded(trader.name, account.capital, 0))])

    def adopt(self, trader: Trader) -> None:
        """Another takes the trader's place, as after a restart."""
        self.trader = trader
        self._wishes = Wishes(trader, self.board, lambda _: 0)

    def play(self, moments: Iterable[Moment]) -> None:
        for moment in moments:
            self.play_bar(moment)

    def play_bar(self, moment: Moment) -> None:
        self.now = moment.time
        self.settle()
        self._exchange.open_bars(moment.time, moment.bars)
        self.settle()
        for bar in moment.bars:
            self.board.show(Quote(bar.symbol, moment.time, bar.open, bar.open))
        self.settle()
        self._exchange.trade_inside()
        self.settle()
        self._exchange.close_bars()
        self.now = moment.time + self._bars.timeframe
        self.commit([NewDeskEntry(DeskKind.BLOCK, self.now, _block(moment, self._bars.timeframe))])
        self.settle()

    def settle(self) -> None:
        """Until nobody has anything more to say."""
        while words := [*self._answers(), *self._wishes.now(self.now)]:
            self.say(words)

    def say(self, words: Iterable[Word]) -> None:
        words = list(words)
        self.commit([encode(word) for word in words])
        for intent in (word for word in words if isinstance(word, Intent)):
            assert intent.id not in self._intents, "the same intent twice"
            self._intents[intent.id] = intent
            buys = intent.purpose is Purpose.ENTER
            self._exchange.submit(
                Order(intent.id, intent.symbol, intent.side, intent.quantity, intent.budget, intent.protection)
                if buys
                else Order(intent.id, intent.symbol, intent.side, quantity=intent.quantity),
                self.now,
            )

    def commit(self, entries: Iterable[NewDeskEntry]) -> None:
        for entry in entries:
            self.log.append(DeskEntry(len(self.log) + 1, entry.kind, entry.at, entry.data))
            self.trader.fold(self.log[-1])

    def _updated(self, update: OrderUpdate) -> None:
        self._updates.append(update)

    def _answers(self) -> list[Word]:
        updates, self._updates = self._updates, []
        words: list[Word] = []
        for update in updates:
            report, execution = update.report, update.execution
            intent = self._intents[report.parent or report.client_order_id]
            reason = report.reason if report.parent else intent.reason
            if execution is not None:
                reference = execution.reference
                assert reference is not None
                words.append(
                    Booked(
                        execution.execution_id,
                        intent.strategy,
                        intent.id,
                        execution.symbol,
                        execution.side,
                        execution.quantity,
                        execution.price,
                        execution.fee,
                        abs(execution.price - reference) * execution.quantity,
                        execution.time,
                        reason,
                        self.now,
                    )
                )
            if report.over:
                words.append(IntentOver(intent.id, intent.strategy, report.state, self.now, reason))
        return words


def _block(moment: Moment, timeframe: int) -> BarBlock:
    return block_of("synthetic", "stream", timeframe, moment.time, {bar.symbol: bar for bar in moment.bars})


def played(strategy: Strategy, bars: Bars, account: Account, costs: Costs, seed: int) -> Nutshell:
    """All of the bars, through the desk."""
    run = run_key(seed, strategy.name, strategy.values[0])
    nutshell = Nutshell(trader_of(strategy, bars, account, costs), bars, account, costs, run)
    nutshell.play(Recorded(bars).moments())
    return nutshell


def closed_out(trader: Trader, bars: Bars, costs: Costs, run: int) -> tuple[Trades, list[float]]:
    """What the backtest reports at the end: what is open is sold at its last close, as `end_of_data`."""
    book = trader.book.book.copy()
    names = trader.book.symbols
    for place in sorted(book.positions):
        column = bars.symbols.index(names[place])
        last = int(np.flatnonzero(bars.present[:, column])[-1])
        close = float(bars.close[last, column] / bars.price_scale[column])
        volume = float(bars.volume[last, column] / bars.volume_scale[column])
        time = int(bars.times[last])
        fill = Market(costs, names[place], run).close_out(time, close, volume, book.positions[place].quantity)
        book.reduce(place, time, fill, Reason.END_OF_DATA)
    places = {symbol: place for place, symbol in enumerate(bars.symbols)}
    trades = [trade._replace(symbol=places[symbol]) for symbol, trade in trader.record.trades] + book.trades
    equity = trader.record.equity.tolist()
    if equity:
        equity[-1] = book.mark(trader.book.closes)
    return as_columns(trades), equity


def leaves_dust(strategy: Strategy, bars: Bars, account: Account, costs: Costs, seed: int) -> bool:
    """Whether the backtest somewhere keeps a rest that only the rounding of sums has left, 0.00000000000001 shares.

    It occupies a place until the next bar takes it. No broker knows such a position, so live there is none.
    """
    run = PlainBacktest(bars, account, costs, run_key(seed, strategy.name, strategy.values[0]))
    for row in range(len(bars)):
        run.bar(row, strategy.advance(bars.block(row, row + 1)), 0)
        if any(position.quantity <= DUST for position in run.book.positions.values()):
            return True
    return False
