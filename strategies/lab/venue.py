"""Fills of many lanes at once. The formulas are those of `fills.Market`, and so are the results, to the bit."""

import numpy as np
from numpy.typing import NDArray

from strategies.bars import Bars
from strategies.lab.chance import Purpose, symbol_key, uniforms
from strategies.lab.costs import Costs

Floats = NDArray[np.float64]
Lanes = NDArray[np.intp]


class Venue:
    """Prices, fees, limits and chance for orders of many symbols and parameter sets."""

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
        return np.minimum(spendable, cash - self._costs.commission_min) if self._costs.commission_min else spendable

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
