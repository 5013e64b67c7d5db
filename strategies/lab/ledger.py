"""Fills of many lanes, noted as they come and matched into trades at the end."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.lab.trades import Trades

Floats = NDArray[np.float64]
Lanes = NDArray[np.intp]


class Ledger:
    """Entries and exits of lanes (symbol * sets + set); in each lane they alternate."""

    def __init__(self, sets: int, times: NDArray[np.int64]) -> None:
        self._sets, self._times = sets, times
        self._entries: list[tuple[Lanes, int, Floats, Floats, Floats, Floats]] = []
        self._exits: list[tuple[Lanes, Lanes | int, Floats, Floats, Floats, Floats, NDArray[np.int8]]] = []

    def enter(self, lanes: Lanes, row: int, price: Floats, quantity: Floats, fee: Floats, slippage: Floats) -> None:
        """Positions were opened at bar time `row`."""
        self._entries.append((lanes, row, price, quantity, fee, slippage))

    def leave(
        self,
        lanes: Lanes,
        row: Lanes | int,
        price: Floats,
        proceeds: Floats,
        fees: Floats,
        slippage: Floats,
        reason: NDArray[np.int8],
    ) -> None:
        """Positions were closed: the (average) price and the sums over the fills of the exit."""
        self._exits.append((lanes, row, price, proceeds, fees, slippage, reason))

    def trades(self) -> list[Trades]:
        """The trades of each set, in the order of their exit time, then of symbols."""
        lane, entry_row, entry_price, quantity, entry_fee, entry_slippage = _by_lane(self._entries, 6)
        _, exit_row, exit_price, proceeds, fees, slippage, reason = _by_lane(self._exits, 7)
        symbol, set_ = np.divmod(lane, self._sets)
        columns = {
            "symbol": symbol,
            "entry_time": self._times[entry_row],
            "entry_price": entry_price,
            "exit_time": self._times[exit_row],
            "exit_price": exit_price,
            "quantity": quantity,
            "fees": entry_fee + fees,
            "slippage": entry_slippage + slippage,
            "pnl": (proceeds - fees) - (quantity * entry_price + entry_fee),
            "reason": reason.astype(np.intp),
        }
        order = np.lexsort((symbol, exit_row, set_))
        ends = np.searchsorted(set_[order], np.arange(self._sets + 1))
        return [
            Trades(**{name: column[order[start:end]] for name, column in columns.items()})
            for start, end in pairwise(ends)
        ]


def _by_lane(notes: Sequence[tuple[Any, ...]], width: int) -> list[NDArray[Any]]:
    """The notes as columns, lane by lane, each lane in the order of time."""
    sizes = [len(note[0]) for note in notes]
    columns = [_column([note[place] for note in notes], sizes) for place in range(width)]
    order = np.argsort(columns[0], kind="stable")
    return [column[order] for column in columns]


def _column(parts: list[Any], sizes: list[int]) -> NDArray[Any]:
    if any(isinstance(part, int) for part in parts):
        parts = [
            np.full(size, part) if isinstance(part, int) else part for part, size in zip(parts, sizes, strict=True)
        ]
    return np.concatenate(parts) if parts else np.zeros(0, np.intp)
