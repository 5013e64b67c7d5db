"""When an order fills, at what price and how much of it: one bar, one order, no memory.

The backtest, the simulated exchange and the live books share these functions. Prices are dollars, times the
microseconds (UTC) of a bar's start. A level that is not set is one that no price reaches: a
stop of 0, a target of infinity.
"""

import math
from typing import NamedTuple

from strategies.lab.chance import Purpose, symbol_key, uniform
from strategies.lab.costs import Costs
from strategies.lab.trades import Reason

NO_STOP = 0.0
NO_TARGET = math.inf
SMALLEST_ORDER = 1.0  # dollars; brokers refuse less
_ROUNDS = 64  # each round of sizing at least halves what is left of the error


class Fill(NamedTuple):
    """What was done: shares, dollars a share, commission, and what the worsened price cost against the reference."""

    quantity: float
    price: float
    fee: float
    slippage: float

    @property
    def notional(self) -> float:
        """Dollars that changed hands, without the fee."""
        return self.quantity * self.price


def gapped(open_: float, stop: float, trailing: float, target: float) -> Reason | None:
    """Why a position carried over the night leaves at the open: the open is beyond a level."""
    if open_ <= stop or open_ <= trailing:
        return _stop_reason(stop, trailing)
    if open_ >= target:
        return Reason.TAKE_PROFIT
    return None


def touched(
    open_: float, high: float, low: float, stop: float, trailing: float, target: float
) -> tuple[float, Reason] | None:
    """Reference price and reason of an exit inside the bar; of a stop and a target both touched, the stop."""
    floor = max(stop, trailing)
    if low <= floor:
        return min(open_, floor), _stop_reason(stop, trailing)
    if high >= target:
        return max(open_, target), Reason.TAKE_PROFIT
    return None


def _stop_reason(stop: float, trailing: float) -> Reason:
    return Reason.TRAILING_STOP if trailing > stop else Reason.STOP_LOSS


def capacity(volume: float, participation: float, lot: float) -> float:
    """The shares that one bar of `volume` fills at most; whole lots when `lot` is not 0."""
    return math.inf if math.isinf(participation) else whole_lots(volume * participation, lot)


def whole_lots(quantity: float, lot: float) -> float:
    """`quantity` rounded down to whole lots; a lot of 0 is unrounded."""
    return quantity if lot == 0 or math.isinf(quantity) else math.floor(quantity / lot) * lot


class Market:
    """The orders of one run in one symbol: its spread, its share of chance, its rules of size."""

    def __init__(self, costs: Costs, symbol: str, run: int, lot: float = 0.0) -> None:
        """`run` is the `chance.run_key` of the strategy, its parameters and the seed."""
        self._costs = costs
        self._run = run
        self._symbol = symbol_key(symbol)
        self._lot = lot
        spread = costs.spread(symbol)
        slippage = {"percent": costs.slippage_amount, "spread": costs.slippage_amount * spread}
        self._fraction = spread / 2 + slippage.get(costs.slippage_type, 0.0)
        self._dollars = costs.slippage_amount if costs.slippage_type == "fixed" else 0.0

    def buy(self, time: int, reference: float, volume: float, budget: float, cash: float) -> Fill | None:
        """Spend `budget` dollars, less where `cash` does not cover it with its fee. None: rejected, or too small.

        What the bar's volume does not fill is gone.
        """
        if self._happens(time, Purpose.REJECT_ENTRY, self._costs.reject_rate):
            return None
        worse = self._worse(time, Purpose.WORSE_ENTRY)
        spendable = min(cash / (1.0 + self._costs.commission_bps / 10_000), cash - self._costs.commission_min)
        spend = min(budget, spendable)
        most = self._capacity(volume)
        price = self._bought_at(reference, worse, 0.0, volume)
        if self._costs.depends_on_quantity:
            price = self._settled_price(reference, worse, spend, most, volume)
        ordered = whole_lots(spend / price, self._lot)
        if ordered * price < SMALLEST_ORDER or most <= 0:
            return None
        quantity = min(ordered, most)
        if self._costs.depends_on_quantity:
            price = self._bought_at(reference, worse, quantity, volume)
        return self._fill(quantity, price, reference)

    def sell(self, time: int, reference: float, volume: float, quantity: float, already_filled: float) -> Fill | None:
        """Sell what the bar's volume still takes after `already_filled` shares of it. None: rejected, or no volume."""
        if self._happens(time, Purpose.REJECT_EXIT, self._costs.reject_rate):
            return None
        most = self._capacity(volume) - already_filled
        return self._sold(time, reference, volume, min(quantity, most)) if most > 0 else None

    def close_out(self, time: int, reference: float, volume: float, quantity: float) -> Fill:
        """Sell all of it at the last close there is: no later bar could take a rest."""
        return self._sold(time, reference, volume, quantity)

    def _capacity(self, volume: float) -> float:
        if self._costs.depends_on_quantity and volume <= 0:
            return 0.0  # a share of no volume has no price
        return capacity(volume, self._costs.participation, self._lot)

    def _sold(self, time: int, reference: float, volume: float, quantity: float) -> Fill:
        fraction = self._fraction + self._impact(quantity, volume) + self._worse(time, Purpose.WORSE_EXIT)
        price = max(reference * (1.0 - fraction) - self._dollars, 0.0)
        return self._fill(quantity, price, reference)

    def _bought_at(self, reference: float, worse: float, quantity: float, volume: float) -> float:
        return reference * (1.0 + (self._fraction + self._impact(quantity, volume) + worse)) + self._dollars

    def _settled_price(self, reference: float, worse: float, spend: float, most: float, volume: float) -> float:
        """The price at which the order that `spend` pays for moves the price to exactly there."""
        price = self._bought_at(reference, worse, 0.0, volume)
        for _ in range(_ROUNDS):
            before, price = price, self._bought_at(reference, worse, min(max(spend, 0.0) / price, most), volume)
            if price == before:
                break
        return price

    def _impact(self, quantity: float, volume: float) -> float:
        if not self._costs.depends_on_quantity:
            return 0.0
        # Only the closing at the end of the data trades without volume: as if it were the whole bar's.
        return self._costs.slippage_amount * math.sqrt(quantity / volume if volume > 0 else 1.0)

    def _fill(self, quantity: float, price: float, reference: float) -> Fill:
        return Fill(quantity, price, self._costs.commission(quantity * price), abs(price - reference) * quantity)

    def _happens(self, time: int, purpose: Purpose, rate: float) -> bool:
        return rate > 0 and uniform(self._run, self._symbol, time, purpose) < rate

    def _worse(self, time: int, purpose: Purpose) -> float:
        """How much worse this fill is, as a fraction of the price: 0, or uniform up to the maximum."""
        rate = self._costs.worse_fill_rate
        if rate == 0:
            return 0.0
        drawn = uniform(self._run, self._symbol, time, purpose)
        return drawn / rate * self._costs.worse_fill_max if drawn < rate else 0.0
