"""The fast backtest of many parameter sets: all accounts move one bar at a time, each rule one array operation.

A lane is one symbol in one parameter set; its number is set * symbols + symbol. Arrays over lanes are flat, and seen as
grids (sets, symbols) where a bar's prices meet them. The results are those of the plain engine, to the bit.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.bars import Bars
from strategies.base import Decisions
from strategies.lab.chance import Purpose
from strategies.lab.costs import Costs
from strategies.lab.fills import NO_STOP, NO_TARGET, SMALLEST_ORDER
from strategies.lab.ledger import Ledger
from strategies.lab.result import Account
from strategies.lab.schedule import delisted, session_over
from strategies.lab.trades import REASONS, Reason
from strategies.lab.venue import Venue

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Lanes = NDArray[np.intp]
Codes = NDArray[np.int8]
_CODE = {reason: np.int8(code) for code, reason in enumerate(REASONS)}
_STAYING = np.int8(-1)
_HARDLY_A_DOLLAR = 0.99 * SMALLEST_ORDER  # an account with less to spend buys nothing, however it is rounded
_NONE = np.zeros(0, np.intp)


class WideBacktest:
    """Two accounts or more, one for each parameter set."""

    def __init__(self, bars: Bars, account: Account, costs: Costs, runs: list[int]) -> None:
        """`runs` are the `chance.run_key`s of the sets. Costs must not depend on the quantity."""
        sets, symbols = len(runs), len(bars.symbols)
        lanes = sets * symbols
        self.equity = np.empty((len(bars), sets))
        self.alive = np.ones(sets, np.bool_)
        self.killed_at = np.zeros(sets, np.int64)  # where not alive
        self.ledger = Ledger(symbols, sets, bars.times)
        self._bars, self._account, self._costs = bars, account, costs
        self._sets, self._grid = sets, (sets, symbols)
        self._venue = Venue(bars, costs, np.array(runs, np.uint64), account.lot)
        self._delisted = delisted(bars)
        self._session_over: Bools | None = None
        self._set_of, self._symbol_of = np.divmod(np.arange(lanes), symbols)
        self._small_set_of = self._set_of.astype(np.min_scalar_type(sets))  # sorts faster
        # By set.
        self._cash = np.full(sets, account.capital, np.float64)
        self._worth = self._cash.copy()
        self._peak = self._cash.copy()
        self._open_positions = np.zeros(sets, np.intp)
        # By lane.
        self._wanted = np.zeros(lanes, np.bool_)
        self._wish = np.zeros(lanes)  # the score of what is wanted
        self._held = np.zeros(lanes, np.bool_)
        self._leaving = np.full(lanes, _STAYING)
        self._quantity = np.zeros(lanes)
        self._stop = np.full(lanes, NO_STOP)
        self._target = np.full(lanes, NO_TARGET)
        self._high_water = np.zeros(lanes)
        self._age = np.zeros(lanes, np.intp)
        self._entry_row = np.zeros(lanes, np.intp)
        self._bought = np.zeros(lanes)
        self._sold = np.zeros((4, lanes))  # fills, proceeds, fees and slippage of exits under way
        self._last_row = np.zeros(symbols, np.intp)

    def block(self, start: int, decisions: Decisions) -> None:
        """Trade through the bar times from `start` on, as many as `decisions` has."""
        bars, stop = self._bars, start + len(decisions.enter)
        flat = (stop - start, -1)
        self._enters, self._leaves = decisions.enter.reshape(flat), decisions.leave.reshape(flat)
        self._scores = decisions.score.reshape(flat)
        self._prices = [
            prices[start:stop] / bars.price_scale for prices in (bars.open, bars.high, bars.low, bars.close)
        ]
        self._volumes = bars.volume[start:stop] / bars.volume_scale
        self._stop_loss, self._take_profit, self._trailing, self._longest = (
            None if values is None else values[:, 0]
            for values in (decisions.stop_loss, decisions.take_profit, decisions.trailing_stop, decisions.max_holding)
        )
        self._protected = any(x is not None for x in (self._stop_loss, self._take_profit, self._trailing))
        if decisions.session_end and self._session_over is None:
            self._session_over = session_over(bars)
        for row in range(start, stop):
            self._bar(row, row - start)
        self._wish = self._wish.copy()  # of the block only its last row is needed any more

    def finish(self) -> None:
        """Close what is open at its symbol's last close."""
        if self.equity.size:
            self._close_out(self._held.nonzero()[0])
            self.equity[-1] = self._cash

    def _bar(self, row: int, here: int) -> None:
        """One bar time: row `row` of the bars, row `here` of the block."""
        self._row, self._time = row, self._bars.times[row]
        self._open, self._high, self._low, self._close = (prices[here] for prices in self._prices)
        self._volume = self._volumes[here]
        self._fresh: list[Lanes] = []
        present = None if self._bars.complete else self._bars.present[row][self._symbol_of]
        if present is None:
            self._last_row[:] = row
        else:
            self._last_row[self._bars.present[row]] = row
        if self._session_over is not None and self._session_over[row]:
            self._order_exits(self._held.nonzero()[0], Reason.SESSION_END)
            self._wanted.fill(False)
        touched = self._leave_at_open(present)
        self._enter_at_open(present)
        if self._protected:
            self._leave_inside(touched)
        if self._delisted is not None and self._delisted[row].any():
            self._close_out((self._held & self._delisted[row][self._symbol_of]).nonzero()[0])
        self._complete_bar(present, self._leaves[here])
        self._mark()
        self._take_wishes(present, self._enters[here], self._scores[here])

    # ----------------------------------------------------------------------------------------------------------- exits

    def _leave_at_open(self, present: Bools | None) -> Lanes:
        """Fill the exits of the open. Returns the lanes whose stop or target this bar reaches only inside."""
        due, inside = self._leaving != _STAYING, _NONE
        if present is not None:
            due &= present
        if self._protected:
            mask = self._touched() & (self._leaving == _STAYING)
            touched = (mask if present is None else mask & present).nonzero()[0]
            if touched.size:
                open_ = self._open[self._symbol_of[touched]]
                stopped = open_ <= self._floor(touched)
                gapped = stopped | (open_ >= self._target[touched])
                at_open, inside = touched[gapped], touched[~gapped]
                self._leaving[at_open] = self._reason(at_open, stopped[gapped])
                due[at_open] = True
        lanes = due.nonzero()[0]
        if lanes.size:
            self._sell(lanes, self._open[self._symbol_of[lanes]], self._leaving[lanes])
        return inside

    def _touched(self) -> Bools:
        """Lanes held since before this bar whose stop or target lies within its range."""
        floor = self._stop
        if self._trailing is not None:
            trailing = self._high_water.reshape(self._grid) * (1.0 - self._trailing[:, None])
            floor = np.maximum(floor, trailing.ravel())
        mask: Bools = self._low <= floor.reshape(self._grid)
        if self._take_profit is not None:
            mask |= self._high >= self._target.reshape(self._grid)
        return mask.ravel()

    def _leave_inside(self, touched: Lanes) -> None:
        """Stops and targets inside the bar, also of what was bought at its open."""
        if self._fresh:
            fresh = np.concatenate(self._fresh)
            symbols = self._symbol_of[fresh]
            hit = (self._low[symbols] <= self._floor(fresh)) | (self._high[symbols] >= self._target[fresh])
            touched = np.sort(np.concatenate((touched, fresh[hit])))
        if not touched.size:
            return
        symbols, floor = self._symbol_of[touched], self._floor(touched)
        open_, stopped = self._open[symbols], self._low[symbols] <= floor
        reference = np.where(stopped, np.minimum(open_, floor), np.maximum(open_, self._target[touched]))
        self._sell(touched, reference, self._reason(touched, stopped))

    def _floor(self, lanes: Lanes) -> Floats:
        """The price at or below which each lane is stopped out."""
        if self._trailing is None:
            return self._stop[lanes]
        trailing = self._high_water[lanes] * (1.0 - self._trailing[self._set_of[lanes]])
        floor: Floats = np.maximum(self._stop[lanes], trailing)
        return floor

    def _reason(self, lanes: Lanes, stopped: Bools) -> Codes:
        stop: Codes | np.int8 = _CODE[Reason.STOP_LOSS]
        if self._trailing is not None:
            stop = np.where(self._floor(lanes) > self._stop[lanes], _CODE[Reason.TRAILING_STOP], stop)
        return np.where(stopped, stop, _CODE[Reason.TAKE_PROFIT])

    def _order_exits(self, lanes: Lanes, reason: Reason) -> None:
        """Leave at the next open. An exit that was ordered before keeps its reason."""
        self._leaving[lanes[self._leaving[lanes] == _STAYING]] = _CODE[reason]

    def _sell(self, lanes: Lanes, reference: Floats, reason: Codes) -> None:
        """Send exits; where one is rejected or fills in part, the rest is sent again for the next open."""
        self._leaving[lanes] = reason
        symbols, sets = self._symbol_of[lanes], self._set_of[lanes]
        if self._costs.reject_rate:
            taken = ~self._venue.rejected(symbols, sets, self._time, Purpose.REJECT_EXIT)
            lanes, symbols, sets, reference, reason = _only(taken, lanes, symbols, sets, reference, reason)
        quantity = self._quantity[lanes]
        if self._venue.limited:
            bought_now = np.where(self._entry_row[lanes] == self._row, self._bought[lanes], 0.0)
            most = self._venue.capacity(self._volume[symbols]) - bought_now
            taken = most > 0
            lanes, symbols, sets, reference, reason = _only(taken, lanes, symbols, sets, reference, reason)
            quantity = np.minimum(quantity[taken], most[taken])
        price = self._venue.sold_at(reference, symbols, sets, self._time)
        self._settle(lanes, np.full(len(lanes), self._row), quantity, price, reference, reason)

    def _close_out(self, lanes: Lanes) -> None:
        """Sell at the symbols' last closes, in their last bars."""
        symbols, sets = self._symbol_of[lanes], self._set_of[lanes]
        rows, close = self._last_row[symbols], self._close[symbols]
        price = self._venue.sold_at(close, symbols, sets, self._bars.times[rows])
        self._settle(lanes, rows, self._quantity[lanes], price, close, np.full(len(lanes), _CODE[Reason.END_OF_DATA]))

    def _settle(
        self, lanes: Lanes, rows: Lanes, quantity: Floats, price: Floats, reference: Floats, reason: Codes
    ) -> None:
        """Sales have filled."""
        proceeds = quantity * price
        fees = self._venue.commission(proceeds)
        slippage = np.abs(price - reference) * quantity
        np.add.at(self._cash, self._set_of[lanes], proceeds - fees)
        if self._venue.limited:
            self._quantity[lanes] -= quantity
            self._sold[:, lanes] += (np.ones(len(lanes)), proceeds, fees, slippage)
            done = self._quantity[lanes] <= 0
            lanes, rows, price, reason = _only(done, lanes, rows, price, reason)
            fills, proceeds, fees, slippage = self._sold[:, lanes]
            price = np.where(fills == 1, price, proceeds / self._bought[lanes])
            self._sold[:, lanes] = 0.0
        self.ledger.leave(lanes, rows, price, proceeds, fees, slippage, reason)
        self._open_positions -= np.bincount(self._set_of[lanes], minlength=self._sets)
        self._quantity[lanes] = 0.0
        self._held[lanes] = False
        self._leaving[lanes] = _STAYING
        if self._protected:
            self._stop[lanes] = NO_STOP
            self._target[lanes] = NO_TARGET
            self._high_water[lanes] = 0.0

    # --------------------------------------------------------------------------------------------------------- entries

    def _enter_at_open(self, present: Bools | None) -> None:
        """The best scores first, then in the order of symbols; what does not fit is dropped."""
        mask = self._wanted.copy()
        if present is not None:
            mask &= present
        if self._bars.members is not None:
            mask &= self._bars.members[self._row][self._symbol_of]
        if self._costs.reject_rate:
            lanes = mask.nonzero()[0]
            symbols, sets = self._symbol_of[lanes], self._set_of[lanes]
            refused = self._venue.rejected(symbols, sets, self._time, Purpose.REJECT_ENTRY)
            mask[lanes[refused]] = False
        budget = self._account.fraction * self._worth
        while not self._buy(*self._ranked(mask, self._able(budget)), budget, mask):
            pass

    def _able(self, budget: Floats) -> Bools:
        """Accounts with a position and a dollar to spare."""
        spend = np.minimum(budget, self._venue.spendable(self._cash))
        return (self._open_positions < self._account.max_positions) & (spend >= _HARDLY_A_DOLLAR)

    def _ranked(self, mask: Bools, able: Bools) -> tuple[Lanes, list[int]]:
        """The first choice of every able account, then the second, as far as positions are free; each turn's end."""
        lanes = (mask.reshape(self._grid) & able[:, None]).ravel().nonzero()[0]
        if not lanes.size:
            return lanes, []
        lanes = self._by_score(lanes)
        sets, turn = self._set_of[lanes], np.arange(len(lanes))
        first = np.ones(len(lanes), np.bool_)
        np.not_equal(sets[1:], sets[:-1], out=first[1:])
        turn -= np.maximum.accumulate(turn * first)
        chosen = (turn < (self._account.max_positions - self._open_positions)[sets]).nonzero()[0]
        turn = turn[chosen]
        ends: list[int] = np.bincount(turn).cumsum().tolist()
        return lanes[chosen[np.argsort(turn, kind="stable")]], ends

    def _by_score(self, lanes: Lanes) -> Lanes:
        """Set by set, the best scores first, then in the order of symbols."""
        score = self._wish[lanes]
        # Two sorts that processors and numpy do fast; only among equal scores they may have lost the order of symbols.
        order = np.argsort(-score)
        sets = self._small_set_of[lanes[order]]
        order = order[np.argsort(sets, kind="stable")]
        ranked = score[order]
        if (ranked[1:] == ranked[:-1]).any():
            order = np.lexsort((-score, self._set_of[lanes]))
        return lanes[order]

    def _buy(self, lanes: Lanes, ends: list[int], budget: Floats, mask: Bools) -> bool:
        """Buy at the open, turn by turn, each at most one lane of an account. Whether every order has filled.

        Where one has not, the lanes that had their turn are struck from `mask`.
        """
        if not ends:
            return True
        symbols, sets = self._symbol_of[lanes], self._set_of[lanes]
        reference = self._open[symbols]
        price = self._venue.bought_at(reference, symbols, sets, self._time)
        most = self._venue.capacity(self._volume[symbols]) if self._venue.limited else None
        quantity, fee, wealth = np.empty(len(lanes)), np.empty(len(lanes)), budget[sets]
        for start, end in pairwise([0, *ends]):
            turn = slice(start, end)
            at, account = price[turn], sets[turn]
            cash = self._cash[account]
            shares = self._venue.whole_lots(np.minimum(wealth[turn], self._venue.spendable(cash)) / at)
            nothing = shares * at < SMALLEST_ORDER
            if most is not None:
                shares = np.minimum(shares, most[turn])
                nothing |= most[turn] <= 0
            notional = shares * at
            commission = self._venue.commission(notional)
            if nothing.any():
                shares[nothing] = notional[nothing] = commission[nothing] = 0.0
            quantity[turn], fee[turn] = shares, commission
            self._cash[account] = cash - (notional + commission)
        filled = quantity > 0
        all_filled = bool(filled.all())
        if not all_filled:
            mask[lanes] = False
            lanes, sets, reference, price, quantity, fee = _only(filled, lanes, sets, reference, price, quantity, fee)
        self._open_positions += np.bincount(sets, minlength=self._sets)
        self._open_lanes(lanes, price, quantity, fee, np.abs(price - reference) * quantity)
        return all_filled

    def _open_lanes(self, lanes: Lanes, price: Floats, quantity: Floats, fee: Floats, slippage: Floats) -> None:
        self.ledger.enter(lanes, self._row, price, quantity, fee, slippage)
        self._quantity[lanes] = quantity
        self._held[lanes] = True
        if self._protected:
            sets = self._set_of[lanes]
            self._fresh.append(lanes)
            self._high_water[lanes] = price
            if self._stop_loss is not None:
                self._stop[lanes] = price * (1.0 - self._stop_loss[sets])
            if self._take_profit is not None:
                self._target[lanes] = price * (1.0 + self._take_profit[sets])
        if self._longest is not None:
            self._age[lanes] = 0
        if self._venue.limited:
            self._entry_row[lanes] = self._row
            self._bought[lanes] = quantity

    # ------------------------------------------------------------------------------------------------------- the close

    def _complete_bar(self, present: Bools | None, leave: Bools) -> None:
        """Order the exits that the bar's close asks for."""
        self._order_exits((leave & self._held).nonzero()[0], Reason.SIGNAL)
        if self._trailing is not None:
            water = self._high_water.reshape(self._grid)
            np.maximum(water, self._high, out=water, where=self._held.reshape(self._grid))
        if self._longest is not None:
            self._age += self._held if present is None else self._held & present
            full = self._age.reshape(self._grid) >= self._longest[:, None]
            self._order_exits((full.ravel() & self._held).nonzero()[0], Reason.MAX_HOLDING)

    def _mark(self) -> None:
        """Equity at the close; the kill switch of each account."""
        # (symbols, sets) in memory, so that the sum takes one symbol after the other, as the plain engine does.
        worth = np.multiply(self._quantity.reshape(self._grid).T, self._close[:, None], order="C")
        self._worth = self._cash + np.add.reduce(worth, axis=0)
        self.equity[self._row] = self._worth
        np.maximum(self._peak, self._worth, out=self._peak)
        fallen = (self._peak - self._worth) / self._account.capital >= self._account.kill_switch_drawdown
        if fallen.any():
            fallen &= self.alive
            self.alive[fallen] = False
            self.killed_at[fallen] = self._time
            self._order_exits((self._held & fallen[self._set_of]).nonzero()[0], Reason.KILL_SWITCH)

    def _take_wishes(self, present: Bools | None, enter: Bools, score: Floats) -> None:
        """Entries for the next open of what is not held; wishes without a bar since then wait."""
        wanted = enter > self._held
        if present is None:
            self._wanted, self._wish = wanted, score
        else:
            self._wanted = np.where(present, wanted, self._wanted)
            self._wish = np.where(wanted, score, self._wish)
        if not self.alive.all():
            self._wanted &= self.alive[self._set_of]


def _only(taken: Bools, *columns: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    return tuple(column[taken] for column in columns)
