"""The fast backtest of one parameter set: it looks ahead for the next fill and jumps there.

Between two fills nothing happens that later arithmetic could not tell: whether a stop was touched is found in the
prices, equity is marked for a whole block at once. What is done at a fill is the plain engine's own code, and the
results are the same to the bit.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from strategies.bars import Bars
from strategies.base import Decisions
from strategies.lab.ahead import first_touch
from strategies.lab.book import Book, Exits, Position
from strategies.lab.costs import Costs
from strategies.lab.fills import Market
from strategies.lab.result import Account
from strategies.lab.schedule import delisted, next_own_rows, session_over
from strategies.lab.trades import Reason

_AT_OPEN, _INSIDE, _DELISTED = range(3)  # the order within a bar; entries come after the exits at the open


class _Exit(NamedTuple):
    """A position leaves at this place, unless its order is rejected or fills in part."""

    row: int
    phase: int
    symbol: int
    reason: Reason
    reference: float


class _Wish(NamedTuple):
    """An entry that waits for its symbol's next bar: the row of its signal, and its score."""

    row: int
    score: float


class _Holding(NamedTuple):
    """So many shares were held at the closes of rows [since, until)."""

    symbol: int
    since: int
    until: int
    quantity: float


class JumpBacktest:
    """As `PlainBacktest`, but fed with blocks of any length."""

    def __init__(self, bars: Bars, account: Account, costs: Costs, run: int) -> None:
        """`run` is the `chance.run_key` of the strategy, its parameters and the seed."""
        self.book = Book(account.capital)
        self.equity = np.empty(len(bars))
        self.killed_at: int | None = None
        self._bars, self._account, self._costs, self._run = bars, account, costs, run
        self._markets: dict[int, Market] = {}
        self._wanted: dict[int, _Wish] = {}
        self._entered: dict[int, int] = {}  # row of the entry of what is held
        self._closed_out: dict[int, int] = {}  # row at which a symbol was last delisted
        self._delisted = delisted(bars)
        self._session_over: NDArray[np.bool_] | None = None
        self._sessions_before: NDArray[np.int64] | None = None
        self._volume_scale: list[int] = bars.volume_scale.tolist()
        self._scale: list[int] = bars.price_scale.tolist()
        self._times: list[int] = bars.times.tolist()

    def block(self, start: int, decisions: Decisions, parameter_set: int) -> None:
        """Trade through the bar times from `start` on, as many as `decisions` has."""
        stop = start + len(decisions.enter)
        self._block_start = start
        self._exits = Exits.wanted(decisions, parameter_set)
        if decisions.session_end and self._session_over is None:
            self._session_over = session_over(self._bars)
            self._sessions_before = self._session_over.cumsum()
        self._leave = np.ascontiguousarray(decisions.leave[:, parameter_set].T)
        self._enter, self._score = decisions.enter[:, parameter_set], decisions.score[:, parameter_set]
        self._next_own = None if self._bars.complete else next_own_rows(self._bars, start, stop)
        while start < stop:
            start = self._trade_until_killed(start, stop)

    def finish(self) -> None:
        """Close what is open at its symbol's last close."""
        for symbol in sorted(self.book.positions):
            self._close_out(symbol, len(self._bars) - 1)
        if self.equity.size:
            self.equity[-1] = self.book.cash

    # ------------------------------------------------------------------------------------------ stretches of bar times

    def _trade_until_killed(self, first: int, stop: int) -> int:
        """Trade rows [first, stop); should the kill switch fall, up to its bar. Returns the row to go on from."""
        if self.killed_at is not None:
            self._trade(first, stop)
            self._mark(first, stop)
            return stop
        saved = self._saved()
        self._trade(first, stop)
        fall = self._mark(first, stop)
        if fall is None:
            return stop
        # What was done after the fall never happened: once more, up to its bar.
        self.book, self._wanted, self._entered, self._closed_out = saved
        self._trade(first, fall + 1)
        self._mark(first, fall + 1)
        self.killed_at = self._times[fall]
        self._wanted.clear()
        for position in self.book.positions.values():
            position.order_exit(Reason.KILL_SWITCH)
        return fall + 1

    def _saved(self) -> tuple[Book, dict[int, _Wish], dict[int, int], dict[int, int]]:
        return self.book.copy(), dict(self._wanted), dict(self._entered), dict(self._closed_out)

    def _trade(self, first: int, stop: int) -> None:
        """All fills of rows [first, stop); afterwards positions, wishes and the kept records are those of stop - 1."""
        self._first, self._stop, self._peak = first, stop, self.book.peak
        self._queue: list[_Exit] = []
        self._holdings: list[_Holding] = []
        self._since = dict.fromkeys(self.book.positions, first)
        self._cash: list[tuple[int, float]] = [(first, self.book.cash)]
        for position in self.book.positions.values():
            self._plan_exit(position, first, entered_here=False)
        self._read_wishes()
        place = 0
        while True:
            row = self._queue[0].row if self._queue else stop
            if place < len(self._fill_rows) and self._has_room():
                row = min(row, self._fill_rows[place])
            if row >= stop:
                break
            place = bisect_left(self._fill_rows, row, place)
            after = bisect_right(self._fill_rows, row, place)
            self._trade_bar(row, place, after)
            place = after
        self._complete_bars()

    def _trade_bar(self, row: int, place: int, after: int) -> None:
        """The fills of one bar, with the wishes [place, after) that are due at its open."""
        held, wished = set(self.book.positions), after > place
        if wished and (self._has_room() or self._queue[0].phase == _AT_OPEN):
            self._mark_book(row - 1)
        self._run_exits(row, _AT_OPEN)
        if wished and self._has_room():
            self._enter_best(row, place, after, held)
        self._run_exits(row, _INSIDE)
        self._run_exits(row, _DELISTED)
        self._cash.append((row, self.book.cash))

    def _has_room(self) -> bool:
        return len(self.book.positions) < self._account.max_positions

    def _complete_bars(self) -> None:
        """The stretch is over: what its bars mean for positions and wishes that live on."""
        bars = self._bars
        for symbol, position in self.book.positions.items():
            rows = slice(max(self._first, self._entered[symbol]), self._stop)
            position.bars_held += int(np.count_nonzero(bars.present[rows, symbol]))
            highest = bars.high[rows, symbol].max().item() / self._scale[symbol]
            position.high_water = max(position.high_water, highest)
        rest = slice(len(self._fill_rows), None)
        columns = (column[rest].tolist() for column in (self._symbols, self._signal_rows, self._scores))
        self._wanted = {
            symbol: _Wish(row, score)
            for symbol, row, score in zip(*columns, strict=True)
            if symbol not in self.book.positions and row >= self._closed_out.get(symbol, -1)
        }

    # --------------------------------------------------------------------------------------------------------- entries

    def _read_wishes(self) -> None:
        """The entries that fill in this stretch, by the row of their fill, and then those that wait beyond it."""
        offset, first, stop = self._block_start, self._first, self._stop
        here = slice(first - offset, stop - offset)
        signal_rows, symbols = np.nonzero(self._enter[here])
        scores = self._score[here][signal_rows, symbols]
        signal_rows = signal_rows + first
        fill_rows = signal_rows + 1
        if self._wanted:
            signal_rows = np.concatenate([[wish.row for wish in self._wanted.values()], signal_rows])
            symbols = np.concatenate([list(self._wanted), symbols])
            scores = np.concatenate([[wish.score for wish in self._wanted.values()], scores])
            fill_rows = np.concatenate([np.full(len(self._wanted), first), fill_rows])
        kept = np.full(len(fill_rows), self.killed_at is None)
        if self._next_own is not None:
            fill_rows = self._next_own[fill_rows - offset, symbols]
        if self._sessions_before is not None:
            kept &= self._sessions_before[np.minimum(fill_rows, stop - 1)] == self._sessions_before[signal_rows]
        order = np.flatnonzero(kept)
        if self._next_own is not None:
            order = order[np.argsort(fill_rows[order], kind="stable")]
        self._signal_rows, self._symbols, self._scores = signal_rows[order], symbols[order], scores[order]
        fill_rows = fill_rows[order]
        self._fill_rows: list[int] = fill_rows[: np.searchsorted(fill_rows, stop)].tolist()

    def _enter_best(self, row: int, place: int, after: int, held: set[int]) -> None:
        """The best scores first, then in the order of symbols; what does not fit is dropped."""
        symbols = self._symbols[place:after]
        members = self._bars.members
        for number in np.lexsort((symbols, -self._scores[place:after])).tolist():
            symbol = int(symbols[number])
            if symbol in held or self._signal_rows[place + number] < self._closed_out.get(symbol, -1):
                continue  # it was held at the close of its signal
            if members is None or members[row, symbol]:
                self._buy(row, symbol)
                if not self._has_room():
                    break

    def _buy(self, row: int, symbol: int) -> None:
        time, budget = self._times[row], self._account.fraction * self.book.equity
        market = self._market(symbol)
        fill = market.buy(time, self._open(row, symbol), self._volume(row, symbol), budget, self.book.cash)
        if fill:
            self.book.open(symbol, time, fill, self._exits)
            self._since[symbol] = self._entered[symbol] = row
            self._plan_exit(self.book.positions[symbol], row, entered_here=True)

    # ----------------------------------------------------------------------------------------------------------- exits

    def _plan_exit(self, position: Position, row: int, *, entered_here: bool) -> None:
        """Queue how `position`, held from `row` on, leaves within the stretch, if it does."""
        if position.leaving:
            self._queue_order(position, position.leaving, row, row)
            return
        orders = list(self._orders(position, row, entered_here=entered_here))
        sent, reason = self._stop, None
        if orders:
            _, _, reason, earliest = min(orders)
            sent = self._own_row(earliest, position.symbol)
        end = min(sent, self._delisting(position.symbol, row) + 1, self._stop)
        touch = first_touch(self._bars, position, row, end, entered_here=entered_here)
        if touch:
            phase = _AT_OPEN if touch.at_open else _INSIDE
            heappush(self._queue, _Exit(touch.row, phase, position.symbol, touch.reason, touch.reference))
        elif reason:
            self._queue_order(position, reason, sent, row)
        else:
            self._queue_delisting(position.symbol, row)

    def _orders(self, position: Position, row: int, *, entered_here: bool) -> Iterator[tuple[int, int, Reason, int]]:
        """Orders to leave given in the stretch: (row, turn within the bar, reason, first row to send it at)."""
        symbol, stop = position.symbol, self._stop
        leave = self._leave[symbol, row - self._block_start : stop - self._block_start]
        ahead = int(leave.argmax())
        if leave[ahead]:
            yield row + ahead, 1, Reason.SIGNAL, row + ahead + 1
        if position.exits.max_holding is not None:
            left = position.exits.max_holding - position.bars_held
            own = np.flatnonzero(
                self._bars.present[row : min(stop, row + left) if self._bars.complete else stop, symbol]
            )
            if len(own) >= left:
                last = row + int(own[left - 1])
                yield last, 2, Reason.MAX_HOLDING, last + 1
        if self._session_over is not None:
            over = self._session_over[row + entered_here : stop]
            if over.any():
                last = row + entered_here + int(over.argmax())
                yield last, 0, Reason.SESSION_END, last

    def _queue_order(self, position: Position, reason: Reason, row: int, delisted_from: int) -> None:
        """The exit is sent at the symbol's first bar from `row` on, if it is still listed then."""
        row = self._own_row(row, position.symbol)
        if self._queue_delisting(position.symbol, delisted_from, before=row):
            return
        if row < self._stop:
            heappush(self._queue, _Exit(row, _AT_OPEN, position.symbol, reason, self._open(row, position.symbol)))
        else:
            position.leaving = reason

    def _queue_delisting(self, symbol: int, row: int, before: int | None = None) -> bool:
        delisting = self._delisting(symbol, row)
        if delisting >= (self._stop if before is None else min(before, self._stop)):
            return False
        heappush(self._queue, _Exit(delisting, _DELISTED, symbol, Reason.END_OF_DATA, 0.0))
        return True

    def _delisting(self, symbol: int, row: int) -> int:
        """The first row from `row` on at whose close the symbol is delisted; the end of the stretch if none."""
        if self._delisted is None:
            return self._stop
        ahead = np.flatnonzero(self._delisted[row : self._stop, symbol])
        return row + int(ahead[0]) if ahead.size else self._stop

    def _run_exits(self, row: int, phase: int) -> None:
        while self._queue and self._queue[0][:2] == (row, phase):
            leaving = heappop(self._queue)
            if phase == _DELISTED:
                self._close_out(leaving.symbol, row)
                self._closed_out[leaving.symbol] = row
            else:
                self._sell(leaving)

    def _sell(self, leaving: _Exit) -> None:
        """Send the exit; where it is rejected or fills in part, the rest is sent again for the next open."""
        row, _, symbol, reason, reference = leaving
        position = self.book.positions[symbol]
        bought_now = position.entry.quantity if self._entered[symbol] == row else 0.0
        fill = self._market(symbol).sell(
            self._times[row], reference, self._volume(row, symbol), position.quantity, already_filled=bought_now
        )
        if fill:
            self._end_holding(symbol, row)
            self.book.reduce(symbol, self._times[row], fill, reason)
        if symbol in self.book.positions:
            position.leaving = reason
            self._queue_order(position, reason, row + 1, row)

    def _close_out(self, symbol: int, row: int) -> None:
        """Sell at the symbol's last close, in its last bar."""
        self._end_holding(symbol, row)
        while not self._bars.present[row, symbol]:
            row -= 1
        quantity = self.book.positions[symbol].quantity
        market, time = self._market(symbol), self._times[row]
        fill = market.close_out(time, self._close(row, symbol), self._volume(row, symbol), quantity)
        self.book.reduce(symbol, time, fill, Reason.END_OF_DATA)

    # -------------------------------------------------------------------------------------------------- equity, prices

    def _end_holding(self, symbol: int, row: int) -> None:
        """The quantity held so far was held at the closes up to, but not including, that of `row`."""
        quantity = self.book.positions[symbol].quantity
        self._holdings.append(_Holding(symbol, self._since[symbol], row, quantity))
        self._since[symbol] = row

    def _mark_book(self, row: int) -> None:
        if row >= 0:
            self.book.mark({symbol: self._close(row, symbol) for symbol in self.book.positions})

    def _mark(self, first: int, stop: int) -> int | None:
        """Equity at the closes of rows [first, stop). Returns the first at which the kill switch falls."""
        for symbol, position in self.book.positions.items():
            self._holdings.append(_Holding(symbol, self._since[symbol], stop, position.quantity))
        worth = np.zeros(stop - first)
        quantity = np.empty(stop - first)
        self._holdings.sort()
        for symbol, holdings in groupby(self._holdings, key=itemgetter(0)):
            quantity.fill(0.0)
            for _, since, until, held in holdings:
                quantity[since - first : until - first] = held
            worth += quantity * (self._bars.close[first:stop, symbol] / self._scale[symbol])
        rows, cash = zip(*self._cash, (stop, math.nan), strict=True)
        equity = np.repeat(cash[:-1], np.diff(rows)) + worth
        self.equity[first:stop] = equity
        peaks = np.maximum(np.maximum.accumulate(equity), self._peak)
        fallen = (peaks - equity) / self.book.capital >= self._account.kill_switch_drawdown
        self.book.equity, self.book.peak = equity[-1].item(), peaks[-1].item()
        return first + int(fallen.argmax()) if fallen.any() else None

    def _own_row(self, row: int, symbol: int) -> int:
        """The first row from `row` on at which the symbol has a bar; the end of the block if there is none."""
        return row if self._next_own is None else int(self._next_own[row - self._block_start, symbol])

    def _market(self, symbol: int) -> Market:
        if symbol not in self._markets:
            self._markets[symbol] = Market(self._costs, self._bars.symbols[symbol], self._run, self._account.lot)
        return self._markets[symbol]

    def _open(self, row: int, symbol: int) -> float:
        return self._bars.open.item(row, symbol) / self._scale[symbol]

    def _close(self, row: int, symbol: int) -> float:
        return self._bars.close.item(row, symbol) / self._scale[symbol]

    def _volume(self, row: int, symbol: int) -> float:
        return self._bars.volume.item(row, symbol) / self._volume_scale[symbol]
