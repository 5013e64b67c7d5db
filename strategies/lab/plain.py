"""The reference backtest: one parameter set, one bar after the other, each rule in one place.

It is written to be read and to be right. `backtest.py` runs faster engines, which are tested to give the same bits.
"""

from collections.abc import Callable

import numpy as np

from strategies.bars import Bars
from strategies.base import Decisions, Strategy
from strategies.lab.book import Book, Exits
from strategies.lab.chance import run_key
from strategies.lab.costs import Costs
from strategies.lab.fills import Market, gapped, touched
from strategies.lab.result import Account
from strategies.lab.schedule import delisted, session_over
from strategies.lab.trades import Reason


class PlainBacktest:
    """One parameter set on the bars of many symbols that share its cash."""

    def __init__(self, bars: Bars, account: Account, costs: Costs, run: int) -> None:
        """`run` is the `chance.run_key` of the strategy, its parameters and the seed."""
        self.book = Book(account.capital)
        self.equity: list[float] = []
        self.killed_at: int | None = None
        self._bars, self._account = bars, account
        self._markets = [Market(costs, symbol, run, account.lot) for symbol in bars.symbols]
        self._wanted: dict[int, float] = {}  # symbols to buy at their own next open, with their scores
        self._exits = Exits()
        self._flat_by_session = False
        self._last_bar = [0] * len(bars.symbols)
        self._times: list[int] = bars.times.tolist()
        self._session_over = session_over(bars)
        self._delisted = delisted(bars)

    def bar(self, t: int, signals: Decisions, parameter_set: int) -> None:
        """Trade through bar time `t`; `signals` are those of its close, (1, sets, symbols)."""
        self._read_bar(t)
        if self._flat_by_session and self._session_over[t]:
            self._end_session()
        self._leave_at_open()
        self._enter_at_open()
        self._leave_inside()
        self._close_delisted(t)
        self._take_signals(signals, parameter_set)
        self.equity.append(self.book.mark(self._close))
        self._check_kill_switch()

    def finish(self) -> None:
        """Close what is open at its symbol's last close."""
        for symbol in sorted(self.book.positions):
            self._close_out(symbol)
        if self.equity:
            self.equity[-1] = self.book.mark(self._close)

    def _read_bar(self, t: int) -> None:
        bars = self._bars
        self._time = self._times[t]
        self._present: list[int] = np.flatnonzero(bars.present[t]).tolist()
        self._open: list[float] = (bars.open[t] / bars.price_scale).tolist()
        self._high: list[float] = (bars.high[t] / bars.price_scale).tolist()
        self._low: list[float] = (bars.low[t] / bars.price_scale).tolist()
        self._close: list[float] = (bars.close[t] / bars.price_scale).tolist()
        self._volume: list[float] = (bars.volume[t] / bars.volume_scale).tolist()
        for symbol in self._present:
            self._last_bar[symbol] = t
        self._member = [True] * len(bars.symbols) if bars.members is None else bars.members[t].tolist()

    def _end_session(self) -> None:
        """The session is at its last bar, or over: everything leaves at the open, nothing more enters."""
        for position in self.book.positions.values():
            position.order_exit(Reason.SESSION_END)
        self._wanted.clear()

    def _leave_at_open(self) -> None:
        for symbol in self._held_with_a_bar():
            position = self.book.positions[symbol]
            reason = position.leaving or gapped(self._open[symbol], position.stop, position.trailing, position.target)
            if reason:
                self._leave(symbol, self._open[symbol], reason)

    def _enter_at_open(self) -> None:
        """The best scores first, then in the order of symbols; what does not fit is dropped."""
        due = [symbol for symbol in self._present if symbol in self._wanted]
        for symbol in sorted(due, key=lambda symbol: (-self._wanted[symbol], symbol)):
            if self._member[symbol] and len(self.book.positions) < self._account.max_positions:
                self._enter(symbol)
        for symbol in due:
            del self._wanted[symbol]

    def _enter(self, symbol: int) -> None:
        budget = self._account.fraction * self.book.equity
        fill = self._markets[symbol].buy(self._time, self._open[symbol], self._volume[symbol], budget, self.book.cash)
        if fill:
            self.book.open(symbol, self._time, fill, self._exits)

    def _leave_inside(self) -> None:
        """Stops and targets; not for a position whose order was already out at the open of this bar."""
        for symbol in self._held_with_a_bar():
            position = self.book.positions[symbol]
            if position.leaving is None:
                hit = touched(
                    self._open[symbol],
                    self._high[symbol],
                    self._low[symbol],
                    position.stop,
                    position.trailing,
                    position.target,
                )
                if hit:
                    self._leave(symbol, *hit)

    def _leave(self, symbol: int, reference: float, reason: Reason) -> None:
        """Send the exit; where it is rejected or fills in part, the rest is sent again for the next open."""
        position = self.book.positions[symbol]
        reason = position.order_exit(reason)
        bought_now = position.entry.quantity if position.entry_time == self._time else 0.0
        fill = self._markets[symbol].sell(
            self._time, reference, self._volume[symbol], position.quantity, already_filled=bought_now
        )
        if fill:
            self.book.reduce(symbol, self._time, fill, reason)

    def _close_delisted(self, t: int) -> None:
        if self._delisted is not None:
            for symbol in sorted(self.book.positions):
                if self._delisted[t, symbol]:
                    self._close_out(symbol)

    def _close_out(self, symbol: int) -> None:
        """Sell at the symbol's last close, in its last bar."""
        bars, last = self._bars, self._last_bar[symbol]
        volume = float(bars.volume[last, symbol] / bars.volume_scale[symbol])
        quantity = self.book.positions[symbol].quantity
        time = self._times[last]
        fill = self._markets[symbol].close_out(time, self._close[symbol], volume, quantity)
        self.book.reduce(symbol, time, fill, Reason.END_OF_DATA)

    def _take_signals(self, signals: Decisions, parameter_set: int) -> None:
        """The bar is complete: order exits, then entries of what is not held."""
        self._exits = Exits.wanted(signals, parameter_set)
        self._flat_by_session = signals.session_end
        leave, enter, score = (block[0, parameter_set] for block in (signals.leave, signals.enter, signals.score))
        for symbol in self._held_with_a_bar():
            position = self.book.positions[symbol]
            if leave[symbol]:
                position.order_exit(Reason.SIGNAL)
            position.complete_bar(self._high[symbol])
        if self.killed_at is None:
            for symbol in self._present:
                if enter[symbol] and symbol not in self.book.positions:
                    self._wanted[symbol] = float(score[symbol])

    def _check_kill_switch(self) -> None:
        if self.killed_at is None and self.book.drawdown() >= self._account.kill_switch_drawdown:
            self.killed_at = self._time
            self._wanted.clear()
            for position in self.book.positions.values():
                position.order_exit(Reason.KILL_SWITCH)

    def _held_with_a_bar(self) -> list[int]:
        return [symbol for symbol in self._present if symbol in self.book.positions]


def plain_backtest(
    strategy: Strategy,
    bars: Bars,
    account: Account,
    costs: Costs,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[PlainBacktest]:
    """All parameter sets of a fresh `strategy`, which is shown one bar time after the other, as it would be live."""
    runs = [PlainBacktest(bars, account, costs, run_key(seed, strategy.name, values)) for values in strategy.values]
    for t in range(len(bars)):
        signals = strategy.advance(bars.block(t, t + 1))
        for parameter_set, run in enumerate(runs):
            run.bar(t, signals, parameter_set)
        if progress:
            progress(t + 1, len(bars))
    for run in runs:
        run.finish()
    return runs
