from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Micros = NDArray[np.int64]  # microseconds since 1970, UTC
Indices = NDArray[np.intp]


class Reason(StrEnum):
    """Why a position was closed."""

    SIGNAL = "signal"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TRAILING_STOP = "trailing_stop"
    MAX_HOLDING = "max_holding"
    SESSION_END = "session_end"
    KILL_SWITCH = "kill_switch"
    END_OF_DATA = "end_of_data"


REASONS = tuple(Reason)


@dataclass(frozen=True, slots=True)
class Trades:
    """Closed trades as columns of equal length, in the order they were closed.

    `symbol` indexes the run's symbols and `reason` indexes `REASONS`. Times are bar starts. `fees` are those of both
    fills and `pnl` is after them; `slippage` is what spread, slippage and worse fills cost on both fills, in dollars.
    """

    symbol: Indices
    entry_time: Micros
    entry_price: Floats
    exit_time: Micros
    exit_price: Floats
    quantity: Floats
    fees: Floats
    slippage: Floats
    pnl: Floats
    reason: Indices

    def __len__(self) -> int:
        return self.pnl.size

    def __getitem__(self, which: slice | Indices) -> "Trades":
        """Some of the trades, or all in another order."""
        return Trades(*(getattr(self, name)[which] for name in self.__slots__))
