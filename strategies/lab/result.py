"""What a backtest is given besides bars and costs, and what it hands back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from strategies.lab.book import Trade
from strategies.lab.costs import Costs
from strategies.lab.metrics import Metrics, measure
from strategies.lab.schedule import rows_left
from strategies.lab.trades import REASONS, Trades
from strategies.sessions import Dates

_REASON_CODE = {reason: code for code, reason in enumerate(REASONS)}


@dataclass(frozen=True, slots=True)
class Account:
    """The money of one parameter set and the rules of its size.

    A position is `fraction` of equity, at most `max_positions` at once, in whole multiples of `lot` shares (0:
    unrounded). A fall of `kill_switch_drawdown` from the highest equity, in fractions of `capital`, stops the strategy.
    """

    capital: float = 100_000.0
    fraction: float = 0.1
    max_positions: int = 10
    lot: float = 0.0
    kill_switch_drawdown: float = 0.15


@dataclass(frozen=True, slots=True)
class Result:
    """One parameter set's backtest.

    `times` are bar starts in microseconds UTC, `dates` their exchange dates and `equity` the dollars at each close.
    `params` are the strategy's, and its overlays' as `overlay.name`. `delisted` are the ends of memberships, as of
    `schedule.delisted`.
    """

    strategy: str
    params: Mapping[str, object]
    symbols: Sequence[str]
    times: NDArray[np.int64]
    dates: Dates
    equity: NDArray[np.float64]
    trades: Trades
    killed_at: int | None
    account: Account
    costs: Costs
    seed: int
    fingerprint: str
    delisted: NDArray[np.bool_] | None = None

    @property
    def initial_capital(self) -> float:
        """Dollars at the start."""
        return self.account.capital

    @property
    def final_equity(self) -> float:
        """Dollars after everything is closed."""
        return float(self.equity[-1]) if self.equity.size else self.account.capital

    def metrics(self) -> Metrics:
        """What it is judged by."""
        left = rows_left(self.times, self.trades, self.delisted)
        return measure(self.initial_capital, self.times, self.dates, self.equity, self.trades, left)


def as_columns(trades: Sequence[Trade]) -> Trades:
    """Trades as columns, in the order of their exit time, then of symbols."""
    rows = sorted(trades, key=lambda trade: (trade.exit_time, trade.symbol))
    return Trades(
        symbol=np.array([row.symbol for row in rows], np.intp),
        entry_time=np.array([row.entry_time for row in rows], np.int64),
        entry_price=np.array([row.entry_price for row in rows], np.float64),
        exit_time=np.array([row.exit_time for row in rows], np.int64),
        exit_price=np.array([row.exit_price for row in rows], np.float64),
        quantity=np.array([row.quantity for row in rows], np.float64),
        fees=np.array([row.fees for row in rows], np.float64),
        slippage=np.array([row.slippage for row in rows], np.float64),
        pnl=np.array([row.pnl for row in rows], np.float64),
        reason=np.array([_REASON_CODE[row.reason] for row in rows], np.intp),
    )
