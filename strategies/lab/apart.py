"""The fast backtest of accounts that hold one symbol each: what one lane does, no other lane feels.

Without rejections, limits of volume and shared cash, where a trade ends depends on where it began and on nothing else.
So the end that signals and time would bring is found for every possible trade at once. Then each end leads to the next
beginning, and only on that path are stops looked for and is money added up. The bits are those of the plain engine;
where money would change the story (a kill switch falls, an order is too small) a general engine takes over.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from strategies.bars import Bars
from strategies.base import Decisions
from strategies.lab.ahead import first_touch
from strategies.lab.book import Exits, Position
from strategies.lab.costs import Costs
from strategies.lab.fills import SMALLEST_ORDER, Fill, whole_lots
from strategies.lab.result import Account
from strategies.lab.trades import REASONS, Reason, Trades
from strategies.lab.venue import Venue

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Places = NDArray[np.intp]
_CODE = {reason: code for code, reason in enumerate(REASONS)}


class Curve(NamedTuple):
    """What an account did: equity (time,) and its trades."""

    equity: Floats
    trades: Trades


class _Paths(NamedTuple):
    """Trades, or what would be one. A place is lane * bars + row, a lane set * symbols + symbol.

    What is still open at the end leaves at the place after its lane's last.
    """

    entry: Places
    exit: Places
    reason: Places
    reference: Floats  # of the exit, before costs
    price: Floats  # of the entry


class _Money(NamedTuple):
    """Each trade in dollars: price of its exit, shares, both fees, and the account's cash within and after it."""

    price: Floats
    quantity: Floats
    fee: Floats
    exit_fee: Floats
    invested: Floats
    cash: Floats


def suits(bars: Bars, costs: Costs, decisions: Decisions) -> bool:
    """Whether the lanes of a run are independent of chance, volume and calendar."""
    free = costs.reject_rate == 0 and np.isinf(costs.participation) and not costs.depends_on_quantity
    return free and bars.complete and bars.members is None and not decisions.session_end


class ApartBacktest:
    """Each lane, one symbol in one parameter set, has an account of its own."""

    def __init__(self, bars: Bars, account: Account, costs: Costs, runs: list[int], decisions: Decisions) -> None:
        """`decisions` are those of all bars; `runs` the `chance.run_key`s of the sets."""
        self._bars, self._account, self._costs, self._decisions = bars, account, costs, decisions
        self._sets, self._symbols, self._length = len(runs), len(bars.symbols), len(bars)
        self._venue = Venue(bars, costs, np.array(runs, np.uint64), account.lot)
        self._open, self._close = _by_symbol(bars.open, bars), _by_symbol(bars.close, bars)

    def run(self) -> list[list[Curve | None]]:
        """A curve for each symbol of each set; None where a general engine is needed."""
        paths = self._taken(self._paths())
        money, passed = self._money(paths)
        trades = self._trades(paths, money)
        ends = np.searchsorted(paths.entry, np.arange(self._sets + 1) * len(self._close))
        curves = []
        for number, (start, stop) in enumerate(pairwise(ends)):
            mine = slice(start, stop)
            equity, fallen = self._equity(number, _Paths(*_cut(paths, mine)), _Money(*_cut(money, mine)))
            lanes = range(number * self._symbols, (number + 1) * self._symbols)
            curves.append(
                [
                    None if lane in passed or fell else Curve(line, trades[lane])
                    for lane, line, fell in zip(lanes, equity, fallen.tolist(), strict=True)
                ]
            )
        return curves

    # ------------------------------------------------------------------------------------------------ possible trades

    def _paths(self) -> _Paths:
        """The trade that would follow from every signal to enter."""
        length, decisions = self._length, self._decisions
        enter, leave = (
            np.ascontiguousarray(mask.transpose(1, 2, 0)).ravel() for mask in (decisions.enter, decisions.leave)
        )
        entry = np.flatnonzero(enter) + 1
        entry = entry[entry % length != 0]  # no next bar, no fill
        end = (entry // length + 1) * length
        leaves = np.append(np.flatnonzero(leave) + 1, enter.size + 1)
        exit_ = np.minimum(leaves[np.searchsorted(leaves, entry, side="right")], end)
        reason = np.where(exit_ < end, _CODE[Reason.SIGNAL], _CODE[Reason.END_OF_DATA])
        if decisions.max_holding is not None:
            held = entry + decisions.max_holding[self._set_of(entry), 0]
            sooner = held < exit_
            exit_[sooner], reason[sooner] = held[sooner], _CODE[Reason.MAX_HOLDING]
        last = exit_ == end
        reference = self._at(self._open, np.where(last, entry, exit_))
        reference[last] = self._at(self._close, exit_[last] - 1)
        return _Paths(entry, exit_, reason, reference, self._bought_at(entry))

    def _taken(self, paths: _Paths) -> _Paths:
        """The trades that happen: after an exit, the next signal is the first at or after its bar's close."""
        following = np.searchsorted(paths.entry, paths.exit, side="right").tolist()
        exits = [Exits.wanted(self._decisions, number) for number in range(self._sets)]
        protected = any(asked.touches for asked in exits)
        taken, number = [], 0
        while number < len(following):
            taken.append(number)
            if protected and self._shorten(paths, number, exits):
                number = int(np.searchsorted(paths.entry, paths.exit[number], side="right"))
            else:
                number = following[number]
        return _Paths(*_cut(paths, np.array(taken, np.intp)))

    def _shorten(self, paths: _Paths, number: int, exits: list[Exits]) -> bool:
        """End this path at the first stop or target it reaches, if it does."""
        entry, price = int(paths.entry[number]), float(paths.price[number])
        lane, row = divmod(entry, self._length)
        set_, symbol = divmod(lane, self._symbols)
        position = Position(symbol, 0, Fill(1.0, price, 0.0, 0.0), exits[set_], 1.0, high_water=price)
        end = int(paths.exit[number]) - lane * self._length
        touch = first_touch(self._bars, position, row, end, entered_here=True)
        if touch is None:
            return False
        paths.exit[number] = lane * self._length + touch.row
        paths.reason[number], paths.reference[number] = _CODE[touch.reason], touch.reference
        return True

    # ----------------------------------------------------------------------------------------------------------- money

    def _money(self, paths: _Paths) -> tuple[_Money, set[int]]:
        """Follow the cash of each lane from trade to trade; and the lanes in which an order is too small."""
        account, price = self._account, self._sold_at(paths)
        rate, least, lot = self._costs.commission_bps / 10_000, self._costs.commission_min, account.lot
        quantity, invested, after, passed, lane, cash = [], [], [], set[int](), -1, account.capital
        lanes = (paths.entry // self._length).tolist()
        for here, bought, sold in zip(lanes, paths.price.tolist(), price.tolist(), strict=True):
            if here != lane:
                lane, cash = here, account.capital
            shares = min(account.fraction * cash, cash / (1.0 + rate), cash - least) / bought
            if lot:
                shares = whole_lots(shares, lot)
            cost, proceeds = shares * bought, shares * sold
            if cost < SMALLEST_ORDER:
                passed.add(lane)
            cash -= cost + max(cost * rate, least)
            invested.append(cash)
            cash += proceeds - max(proceeds * rate, least)
            quantity.append(shares)
            after.append(cash)
        held = np.array(quantity, np.float64)
        fee, exit_fee = (self._venue.commission(held * x) for x in (paths.price, price))
        return _Money(price, held, fee, exit_fee, np.array(invested), np.array(after)), passed

    def _equity(self, number: int, paths: _Paths, money: _Money) -> tuple[Floats, Bools]:
        """Equity of one set's lanes, (symbols, time), and where a kill switch falls, (symbols,)."""
        capital, length, base = self._account.capital, self._length, number * len(self._close)
        starts = base + np.arange(self._symbols) * length
        places = np.concatenate((paths.entry, paths.exit, starts))
        # At one place an entry comes before its exit, and an exit at the end before the next lane's start.
        order = np.argsort(places, kind="stable")
        lengths = np.diff(places[order], append=base + len(self._close))
        nothing, begin = np.zeros(len(starts)), np.full(len(starts), capital)
        cash = np.concatenate((money.invested, money.cash, begin))[order]
        quantity = np.concatenate((money.quantity, np.zeros(len(paths.exit)), nothing))[order]
        equity = np.repeat(cash, lengths) + np.repeat(quantity, lengths) * self._close
        equity = equity.reshape(self._symbols, length)
        peaks = np.maximum(np.maximum.accumulate(equity, axis=1), capital)
        fallen = np.any((peaks - equity) / capital >= self._account.kill_switch_drawdown, axis=1)
        open_ = paths.reason == _CODE[Reason.END_OF_DATA]
        equity[(paths.entry[open_] - base) // length, -1] = money.cash[open_]
        return equity, fallen

    def _trades(self, paths: _Paths, money: _Money) -> list[Trades]:
        """The trades of each lane."""
        length, times = self._length, self._bars.times
        reference = self._at(self._open, paths.entry)
        bought, sold = money.quantity * paths.price, money.quantity * money.price
        trades = Trades(
            symbol=np.zeros(len(paths.entry), np.intp),  # the only one of its account
            entry_time=times[paths.entry % length],
            entry_price=paths.price,
            exit_time=times[self._exit_place(paths) % length],
            exit_price=money.price,
            quantity=money.quantity,
            fees=money.fee + money.exit_fee,
            slippage=np.abs(paths.price - reference) * money.quantity
            + np.abs(money.price - paths.reference) * money.quantity,
            pnl=(sold - money.exit_fee) - (bought + money.fee),
            reason=paths.reason,
        )
        ends = np.searchsorted(paths.entry, np.arange(self._sets * self._symbols + 1) * length).tolist()
        return [trades[start:stop] for start, stop in pairwise(ends)]

    # --------------------------------------------------------------------------------------------------------- places

    def _set_of(self, place: Places) -> Places:
        number: Places = place // len(self._close)
        return number

    def _symbol_of(self, place: Places) -> Places:
        symbol: Places = place // self._length % self._symbols
        return symbol

    def _at(self, prices: Floats, place: Places) -> Floats:
        return prices[place if self._sets == 1 else place % len(prices)]

    def _exit_place(self, paths: _Paths) -> Places:
        """Where the bar of the exit is: what is open at the end is closed in the last bar."""
        place: Places = paths.exit - (paths.reason == _CODE[Reason.END_OF_DATA])
        return place

    def _bought_at(self, place: Places) -> Floats:
        time = self._bars.times[place % self._length]
        return self._venue.bought_at(self._at(self._open, place), self._symbol_of(place), self._set_of(place), time)

    def _sold_at(self, paths: _Paths) -> Floats:
        place = self._exit_place(paths)
        time = self._bars.times[place % self._length]
        return self._venue.sold_at(paths.reference, self._symbol_of(place), self._set_of(place), time)


def _by_symbol(prices: NDArray[np.int64], bars: Bars) -> Floats:
    """Dollars, flat, symbol by symbol."""
    dollars: Floats = np.ascontiguousarray(prices.T) / bars.price_scale[:, None]
    return dollars.ravel()


def _cut(columns: Iterable[NDArray[Any]], which: slice | Places) -> Iterator[Any]:
    return (column[which] for column in columns)
