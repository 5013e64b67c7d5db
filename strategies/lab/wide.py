"""The fast backtest of many parameter sets: all accounts move one bar at a time, each rule one array operation.

A lane is one symbol in one parameter set. Lanes lie (symbols, sets) in memory, so that adding up over symbols takes
them in their order, as the plain engine does; the results are the same to the bit. Sparse steps (fills) name lanes by
their flat number, symbol * sets + set.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.bars import Bars
from strategies.base import Decisions
from strategies.lab.chance import Purpose, symbol_key, uniforms
from strategies.lab.costs import Costs
from strategies.lab.fills import NO_STOP, NO_TARGET, SMALLEST_ORDER
from strategies.lab.ledger import Ledger
from strategies.lab.result import Account
from strategies.lab.schedule import delisted, session_over
from strategies.lab.trades import REASONS, Reason

Floats = NDArray[np.float64]
Lanes = NDArray[np.intp]
Codes = NDArray[np.int8]
_CODE = {reason: np.int8(code) for code, reason in enumerate(REASONS)}
_STAYING = np.int8(-1)
_LEAST = np.finfo(np.float64).min
_HARDLY_A_DOLLAR = 0.99 * SMALLEST_ORDER  # an account with less to spend buys nothing, however it is rounded


class Venue:
    """`fills.Market` for all lanes at once: the same prices and the same chance, to the bit."""

    def __init__(self, bars: Bars, costs: Costs, runs: NDArray[np.uint64], lot: float) -> None:
        """`runs` (sets,) are the `chance.run_key`s. Costs must not depend on the quantity."""
        self._costs, self._lot = costs, lot
        self._runs = runs
        self._symbols = np.array([symbol_key(symbol) for symbol in bars.symbols], np.uint64)
        spread = np.array([costs.spread(symbol) for symbol in bars.symbols])
        slippage = {"percent": np.full_like(spread, costs.slippage_amount), "spread": costs.slippage_amount * spread}
        self._fraction = spread / 2 + slippage.get(costs.slippage_type, np.zeros_like(spread))
        self._dollars = costs.slippage_amount if costs.slippage_type == "fixed" else 0.0
        self.limited = not np.isinf(costs.participation)

    def rejected(self, symbols: Lanes, sets: Lanes, time: NDArray[np.int64], purpose: Purpose) -> NDArray[np.bool_]:
        """Which orders are refused; `time` broadcasts."""
        return uniforms(self._runs[sets], self._symbols[symbols], time, purpose) < self._costs.reject_rate

    def bought_at(self, reference: Floats, symbols: Lanes, sets: Lanes, time: NDArray[np.int64]) -> Floats:
        """Prices of buying, dollars a share."""
        fraction = self._fraction[symbols]
        if self._costs.worse_fill_rate:
            fraction = fraction + self._worse(symbols, sets, time, Purpose.WORSE_ENTRY)
        price: Floats = reference * (1.0 + fraction) + self._dollars
        return price

    def sold_at(self, reference: Floats, symbols: Lanes, sets: Lanes, time: NDArray[np.int64]) -> Floats:
        """Prices of selling, dollars a share."""
        fraction = self._fraction[symbols]
        if self._costs.worse_fill_rate:
            fraction = fraction + self._worse(symbols, sets, time, Purpose.WORSE_EXIT)
        price: Floats = np.maximum(reference * (1.0 - fraction) - self._dollars, 0.0)
        return price

    def commission(self, notional: Floats) -> Floats:
        """Of each fill, in dollars."""
        fee = notional * (self._costs.commission_bps / 10_000)
        return np.maximum(fee, self._costs.commission_min) if self._costs.commission_min else fee

    def spendable(self, cash: Floats) -> Floats:
        """What an order may cost so that the cash covers it with its fee."""
        spendable = cash / (1.0 + self._costs.commission_bps / 10_000)
        return np.minimum(spendable, cash - self._costs.commission_min)

    def capacity(self, volume: Floats) -> Floats:
        """Shares that bars of these volumes fill at most."""
        return self.whole_lots(volume * self._costs.participation)

    def whole_lots(self, quantity: Floats) -> Floats:
        """Rounded down to whole lots; a lot of 0 is unrounded."""
        return np.floor(quantity / self._lot) * self._lot if self._lot else quantity

    def _worse(self, symbols: Lanes, sets: Lanes, time: NDArray[np.int64], purpose: Purpose) -> Floats:
        drawn = uniforms(self._runs[sets], self._symbols[symbols], time, purpose)
        rate = self._costs.worse_fill_rate
        return np.where(drawn < rate, drawn / rate * self._costs.worse_fill_max, 0.0)


class WideBacktest:
    """As many accounts as parameter sets, or with `separate_cash` as lanes."""

    def __init__(
        self, bars: Bars, account: Account, costs: Costs, runs: list[int], *, separate_cash: bool = False
    ) -> None:
        """`runs` are the `chance.run_key`s of the sets. Costs must not depend on the quantity."""
        sets, symbols = len(runs), len(bars.symbols)
        lanes = (symbols, sets)
        accounts = lanes if separate_cash else (sets,)
        self.equity = np.empty((len(bars), *accounts))
        self.alive = np.ones(accounts, np.bool_)
        self.killed_at = np.zeros(accounts, np.int64)  # where not alive
        self.ledger = Ledger(sets, bars.times)
        self._bars, self._account, self._costs = bars, account, costs
        self._sets, self._separate = sets, separate_cash
        self._venue = Venue(bars, costs, np.array(runs, np.uint64), account.lot)
        self._cash = np.full(accounts, account.capital, np.float64)
        self._worth = np.full(accounts, account.capital, np.float64)
        self._peak = np.full(accounts, account.capital, np.float64)
        self._open_positions = np.zeros(accounts, np.intp)
        self._quantity = np.zeros(lanes)
        self._held = np.zeros(lanes, np.bool_)
        self._wanted = np.zeros(lanes, np.bool_)
        self._wish = np.zeros((sets, symbols))  # the score of what is wanted
        self._leaving = np.full(lanes, _STAYING)
        self._stop = np.full(lanes, NO_STOP)
        self._target = np.full(lanes, NO_TARGET)
        self._high_water = np.zeros(lanes)
        self._age = np.zeros(lanes, np.intp)
        self._entry_row = np.zeros(lanes, np.intp)
        self._bought = np.zeros(lanes)
        self._sold = np.zeros((4, *lanes))  # fills, proceeds, fees and slippage of exits under way
        self._last_row = np.zeros(symbols, np.intp)
        self._session_over: NDArray[np.bool_] | None = None
        self._delisted = delisted(bars)

    def block(self, start: int, decisions: Decisions) -> None:
        """Trade through the bar times from `start` on, as many as `decisions` has."""
        bars, stop = self._bars, start + len(decisions.enter)
        self._enter, self._leave = (
            np.ascontiguousarray(mask.transpose(0, 2, 1)) for mask in (decisions.enter, decisions.leave)
        )
        self._score = decisions.score
        self._open, self._high, self._low, self._close = (
            (prices[start:stop] / bars.price_scale)[:, :, None]
            for prices in (bars.open, bars.high, bars.low, bars.close)
        )
        self._volume = bars.volume[start:stop] / bars.volume_scale
        self._stop_loss, self._take_profit, self._trailing, self._longest = (
            None if values is None else values[:, 0]
            for values in (decisions.stop_loss, decisions.take_profit, decisions.trailing_stop, decisions.max_holding)
        )
        if decisions.session_end and self._session_over is None:
            self._session_over = session_over(bars)
        for row in range(start, stop):
            self._bar(row, row - start)
        self._wish = self._wish.copy()  # of the block only its last row is needed any more

    def finish(self) -> None:
        """Close what is open at its symbol's last close."""
        if self.equity.size:
            self._close_out(np.flatnonzero(self._held))
            self.equity[-1] = self._cash

    def _bar(self, row: int, here: int) -> None:
        """One bar time: row `row` of the bars, row `here` of the block."""
        self._row, self._here = row, here
        present = None if self._bars.complete else self._bars.present[row][:, None]
        if present is None:
            self._last_row[:] = row
        else:
            self._last_row[present[:, 0]] = row
        if self._session_over is not None and self._session_over[row]:
            self._order_exits(np.flatnonzero(self._held), Reason.SESSION_END)
            self._wanted.fill(False)
        self._leave_at_open(present)
        self._enter_at_open(present)
        self._leave_inside(present)
        if self._delisted is not None and self._delisted[row].any():
            self._close_out(np.flatnonzero(self._held & self._delisted[row][:, None]))
        self._complete_bar(present)
        self._mark()
        self._take_wishes(present)

    # ----------------------------------------------------------------------------------------------------------- exits

    def _leave_at_open(self, present: NDArray[np.bool_] | None) -> None:
        open_ = self._open[self._here]
        mask = self._leaving != _STAYING
        if self._stop_loss is not None or self._trailing is not None:
            mask |= open_ <= self._floor()
        if self._take_profit is not None:
            mask |= open_ >= self._target
        if present is not None:
            mask &= present
        lanes = np.flatnonzero(mask)
        if not lanes.size:
            return
        reference = open_.ravel()[lanes // self._sets]
        reason = self._leaving.ravel()[lanes]
        gapped = np.where(
            reference <= self._floor().ravel()[lanes], self._stop_reason(lanes), _CODE[Reason.TAKE_PROFIT]
        )
        self._sell(lanes, reference, np.where(reason == _STAYING, gapped, reason))

    def _leave_inside(self, present: NDArray[np.bool_] | None) -> None:
        """Stops and targets; not for a position whose order was already out at the open of this bar."""
        protected = self._stop_loss is not None or self._trailing is not None
        if not protected and self._take_profit is None:
            return
        floor = self._floor()
        mask = self._low[self._here] <= floor
        if self._take_profit is not None:
            mask |= self._high[self._here] >= self._target
        mask &= self._leaving == _STAYING
        if present is not None:
            mask &= present
        lanes = np.flatnonzero(mask)
        if not lanes.size:
            return
        symbols = lanes // self._sets
        open_, floor = self._open[self._here].ravel()[symbols], floor.ravel()[lanes]
        stopped = self._low[self._here].ravel()[symbols] <= floor
        target = np.maximum(open_, self._target.ravel()[lanes])
        reference = np.where(stopped, np.minimum(open_, floor), target)
        self._sell(lanes, reference, np.where(stopped, self._stop_reason(lanes), _CODE[Reason.TAKE_PROFIT]))

    def _floor(self) -> Floats:
        """The price at or below which each lane is stopped out."""
        if self._trailing is None:
            return self._stop
        trailing: Floats = np.maximum(self._stop, self._high_water * (1.0 - self._trailing))
        return trailing

    def _stop_reason(self, lanes: Lanes) -> Codes | np.int8:
        if self._trailing is None:
            return _CODE[Reason.STOP_LOSS]
        trails = self._floor().ravel()[lanes] > self._stop.ravel()[lanes]
        return np.where(trails, _CODE[Reason.TRAILING_STOP], _CODE[Reason.STOP_LOSS])

    def _order_exits(self, lanes: Lanes, reason: Reason) -> None:
        """Leave at the next open. An exit that was ordered before keeps its reason."""
        leaving = self._leaving.ravel()
        leaving[lanes[leaving[lanes] == _STAYING]] = _CODE[reason]

    def _sell(self, lanes: Lanes, reference: Floats, reason: Codes) -> None:
        """Send exits; where one is rejected or fills in part, the rest is sent again for the next open."""
        time = self._bars.times[self._row]
        self._leaving.ravel()[lanes] = reason
        symbols, sets = np.divmod(lanes, self._sets)
        if self._costs.reject_rate:
            taken = ~self._venue.rejected(symbols, sets, time, Purpose.REJECT_EXIT)
            lanes, symbols, sets, reference, reason = _only(taken, lanes, symbols, sets, reference, reason)
        quantity = self._quantity.ravel()[lanes]
        if self._venue.limited:
            bought_now = np.where(self._entry_row.ravel()[lanes] == self._row, self._bought.ravel()[lanes], 0.0)
            most = self._venue.capacity(self._volume[self._here][symbols]) - bought_now
            taken = most > 0
            lanes, symbols, sets, reference, reason = _only(taken, lanes, symbols, sets, reference, reason)
            quantity = np.minimum(quantity[taken], most[taken])
        price = self._venue.sold_at(reference, symbols, sets, time)
        self._settle(lanes, self._row, quantity, price, reference, reason)

    def _close_out(self, lanes: Lanes) -> None:
        """Sell at the symbols' last closes, in their last bars."""
        symbols, sets = np.divmod(lanes, self._sets)
        rows = self._last_row[symbols]
        close = self._close[self._here].ravel()[symbols]
        price = self._venue.sold_at(close, symbols, sets, self._bars.times[rows])
        reason = np.full(len(lanes), _CODE[Reason.END_OF_DATA])
        self._settle(lanes, rows, self._quantity.ravel()[lanes], price, close, reason)

    def _settle(
        self, lanes: Lanes, rows: Lanes | int, quantity: Floats, price: Floats, reference: Floats, reason: Codes
    ) -> None:
        """Sales have filled."""
        proceeds = quantity * price
        fees = self._venue.commission(proceeds)
        slippage = np.abs(price - reference) * quantity
        np.add.at(self._cash.ravel(), self._accounts(lanes), proceeds - fees)
        if self._venue.limited:
            self._quantity.ravel()[lanes] -= quantity
            sold = self._sold.reshape(4, -1)
            sold[:, lanes] += (np.ones(len(lanes)), proceeds, fees, slippage)
            done = self._quantity.ravel()[lanes] <= 0
            lanes, price, reason = lanes[done], price[done], reason[done]
            rows = rows if isinstance(rows, int) else rows[done]
            fills, proceeds, fees, slippage = sold[:, lanes]
            price = np.where(fills == 1, price, proceeds / self._bought.ravel()[lanes])
            sold[:, lanes] = 0.0
        self.ledger.leave(lanes, rows, price, proceeds, fees, slippage, reason)
        np.subtract.at(self._open_positions.ravel(), self._accounts(lanes), 1)
        self._quantity.ravel()[lanes] = 0.0
        self._held.ravel()[lanes] = False
        self._leaving.ravel()[lanes] = _STAYING
        self._stop.ravel()[lanes] = NO_STOP
        self._target.ravel()[lanes] = NO_TARGET
        self._high_water.ravel()[lanes] = 0.0

    def _accounts(self, lanes: Lanes) -> Lanes:
        return lanes if self._separate else lanes % self._sets

    # --------------------------------------------------------------------------------------------------------- entries

    def _enter_at_open(self, present: NDArray[np.bool_] | None) -> None:
        """The best scores first, then in the order of symbols; what does not fit is dropped."""
        able = (self._open_positions < self._account.max_positions) & (self._spend() >= _HARDLY_A_DOLLAR)
        mask = self._wanted & able
        if present is not None:
            mask &= present
        if self._bars.members is not None:
            mask &= self._bars.members[self._row][:, None]
        if self._costs.reject_rate:
            lanes = np.flatnonzero(mask)
            time = self._bars.times[self._row]
            refused = self._venue.rejected(*np.divmod(lanes, self._sets), time, Purpose.REJECT_ENTRY)
            mask.ravel()[lanes[refused]] = False
        if self._separate:
            self._buy(np.flatnonzero(mask))
            return
        accounts = np.flatnonzero(mask.any(axis=0))
        # A score of minus infinity is a score; here minus infinity means that nothing is left to choose.
        choice = np.where(mask[:, accounts].T, np.maximum(self._wish[accounts], _LEAST), -np.inf)
        while accounts.size:
            best = choice.argmax(axis=1)
            turn = np.arange(len(accounts))
            left = choice[turn, best] > -np.inf
            self._buy(best[left] * self._sets + accounts[left])
            choice[turn, best] = -np.inf
            left &= (self._open_positions < self._account.max_positions)[accounts]
            left &= (self._spend() >= _HARDLY_A_DOLLAR)[accounts]
            accounts, choice = accounts[left], choice[left]

    def _spend(self) -> Floats:
        """What the next order of each account may cost."""
        return np.minimum(self._account.fraction * self._worth, self._venue.spendable(self._cash))

    def _buy(self, lanes: Lanes) -> None:
        """Buy at the open, one lane of an account at most."""
        symbols, sets = np.divmod(lanes, self._sets)
        accounts = self._accounts(lanes)
        reference = self._open[self._here].ravel()[symbols]
        price = self._venue.bought_at(reference, symbols, sets, self._bars.times[self._row])
        quantity = self._venue.whole_lots(self._spend().ravel()[accounts] / price)
        filled = quantity * price >= SMALLEST_ORDER
        if self._venue.limited:
            most = self._venue.capacity(self._volume[self._here][symbols])
            filled &= most > 0
            quantity = np.minimum(quantity, most)
        if not filled.all():
            lanes, accounts, reference, price, quantity = _only(filled, lanes, accounts, reference, price, quantity)
        notional = quantity * price
        fee = self._venue.commission(notional)
        self._cash.ravel()[accounts] -= notional + fee
        self._open_positions.ravel()[accounts] += 1
        self._open_lanes(lanes, price, quantity, fee, np.abs(price - reference) * quantity)

    def _open_lanes(self, lanes: Lanes, price: Floats, quantity: Floats, fee: Floats, slippage: Floats) -> None:
        self.ledger.enter(lanes, self._row, price, quantity, fee, slippage)
        self._quantity.ravel()[lanes] = quantity
        self._held.ravel()[lanes] = True
        sets = lanes % self._sets
        if self._stop_loss is not None:
            self._stop.ravel()[lanes] = price * (1.0 - self._stop_loss[sets])
        if self._take_profit is not None:
            self._target.ravel()[lanes] = price * (1.0 + self._take_profit[sets])
        if self._trailing is not None:
            self._high_water.ravel()[lanes] = price
        if self._longest is not None:
            self._age.ravel()[lanes] = 0
        if self._venue.limited:
            self._entry_row.ravel()[lanes] = self._row
            self._bought.ravel()[lanes] = quantity

    # ------------------------------------------------------------------------------------------------------- the close

    def _complete_bar(self, present: NDArray[np.bool_] | None) -> None:
        """Order the exits that the bar's close asks for."""
        self._order_exits(np.flatnonzero(self._leave[self._here] & self._held), Reason.SIGNAL)
        if self._trailing is not None:
            np.maximum(self._high_water, self._high[self._here], out=self._high_water, where=self._held)
        if self._longest is not None:
            self._age += self._held if present is None else self._held & present
            self._order_exits(np.flatnonzero(self._held & (self._age >= self._longest)), Reason.MAX_HOLDING)

    def _mark(self) -> None:
        """Equity at the close; the kill switch of each account."""
        worth = self._quantity * self._close[self._here]
        self._worth = self._cash + (worth if self._separate else np.add.reduce(worth, axis=0))
        self.equity[self._row] = self._worth
        np.maximum(self._peak, self._worth, out=self._peak)
        fallen = (self._peak - self._worth) / self._account.capital >= self._account.kill_switch_drawdown
        if fallen.any():
            fallen &= self.alive
            self.alive[fallen] = False
            self.killed_at[fallen] = self._bars.times[self._row]
            self._order_exits(np.flatnonzero(self._held & fallen), Reason.KILL_SWITCH)

    def _take_wishes(self, present: NDArray[np.bool_] | None) -> None:
        """Entries for the next open of what is not held; wishes without a bar since then wait."""
        wanted = self._enter[self._here] > self._held
        if present is None:
            self._wanted, self._wish = wanted, self._score[self._here]
        else:
            self._wanted = np.where(present, wanted, self._wanted)
            self._wish = np.where(wanted.T, self._score[self._here], self._wish)
        if not self.alive.all():
            self._wanted &= self.alive


def _only(taken: NDArray[np.bool_], *columns: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    return tuple(column[taken] for column in columns)
