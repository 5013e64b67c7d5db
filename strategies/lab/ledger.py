"""Fills of many lanes, noted as they come and matched into trades at the end."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.lab.result import as_columns
from strategies.lab.trades import Trades

Floats = NDArray[np.float64]
Lanes = NDArray[np.intp]


class Ledger:
    """Entries and exits of lanes (set * symbols + symbol); in each lane they alternate."""

    def __init__(self, symbols: int, sets: int, times: NDArray[np.int64]) -> None:
        self._symbols, self._sets, self._times = symbols, sets, times
        self._entries: list[tuple[Lanes, Lanes, Floats, Floats, Floats, Floats]] = []
        self._exits: list[tuple[Lanes, Lanes, Floats, Floats, Floats, Floats, NDArray[np.int8]]] = []
        self._entered = 0
        self._number = np.zeros(symbols * sets, np.intp)  # of the last entry of each lane

    def enter(self, lanes: Lanes, row: int, price: Floats, quantity: Floats, fee: Floats, slippage: Floats) -> None:
        """Positions were opened at bar time `row`."""
        rows = np.full(len(lanes), row)
        self._number[lanes] = np.arange(self._entered, self._entered + len(lanes))
        self._entered += len(lanes)
        self._entries.append((lanes, rows, price, quantity, fee, slippage))

    def leave(
        self,
        lanes: Lanes,
        rows: Lanes,
        price: Floats,
        proceeds: Floats,
        fees: Floats,
        slippage: Floats,
        reason: NDArray[np.int8],
    ) -> None:
        """Positions were closed: the (average) price and the sums over the fills of the exit."""
        self._exits.append((self._number[lanes], rows, price, proceeds, fees, slippage, reason))

    def trades(self) -> list[Trades]:
        """The trades of each set, in the order of their exit time, then of symbols."""
        if not self._entries:
            return [as_columns([])] * self._sets
        number, exit_row, exit_price, proceeds, fees, slippage, reason = _joined(self._exits)
        lane, entry_row, entry_price, quantity, entry_fee, entry_slippage = (
            column[number] for column in _joined(self._entries)
        )
        set_, symbol = np.divmod(lane, self._symbols)
        order = np.argsort((set_ * len(self._times) + exit_row) * self._symbols + symbol)
        trades = Trades(
            symbol=symbol,
            entry_time=self._times[entry_row],
            entry_price=entry_price,
            exit_time=self._times[exit_row],
            exit_price=exit_price,
            quantity=quantity,
            fees=entry_fee + fees,
            slippage=entry_slippage + slippage,
            pnl=(proceeds - fees) - (quantity * entry_price + entry_fee),
            reason=reason.astype(np.intp),
        )
        trades, ends = trades[order], np.searchsorted(set_[order], np.arange(self._sets + 1))
        return [trades[start:stop] for start, stop in pairwise(ends.tolist())]


def _joined(notes: Sequence[tuple[NDArray[Any], ...]]) -> list[NDArray[Any]]:
    return [np.concatenate(column) for column in zip(*notes, strict=True)]
