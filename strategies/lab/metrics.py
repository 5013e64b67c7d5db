"""What a backtest is judged by. Undefined is None, never NaN, infinity or a made-up zero.

Returns are those of exchange days, intraday bars included, so that strategies of any timeframe compare.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import e, sqrt
from statistics import NormalDist

import numpy as np

from strategies.lab.trades import Floats, Indices, Micros, Trades
from strategies.sessions import Dates

TRADING_DAYS = 252
MICROS = 1_000_000  # in a second
MIN_TRADES = 30  # fewer say nothing: at 30 the standard error of a 50 % win rate is still 9 points
NORMAL = NormalDist()
EULER_GAMMA = 0.5772156649015329


class Verdict(StrEnum):
    """Whether a strategy deserves to go on living."""

    KEEP = "keep"
    WATCH = "watch"
    SHELVE = "shelve"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


@dataclass(frozen=True, slots=True)
class Metrics:
    """One run in numbers. Rates, returns and drawdowns are fractions (0.05 is 5 %), money is dollars.

    A trade with zero P&L is neither win nor loss, but counts as a trade. `average_loss` is positive. `expectancy` is
    the mean net P&L of a trade. `exposure` is the share of bars at whose close anything was held, `turnover` the
    value bought and sold over the mean equity. `gross_return` leaves out fees and slippage.
    """

    trades: int
    win_rate: float | None
    expectancy: float | None
    average_win: float | None
    average_loss: float | None
    reward_risk: float | None
    profit_factor: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    max_drawdown_of_initial: float
    average_duration_s: float | None
    exposure: float
    turnover: float
    cagr: float | None
    total_fees: float
    total_slippage: float
    gross_return: float
    net_return: float

    @property
    def verdict(self) -> Verdict:
        """Sharpe of at least 1 keeps a strategy, under 0.5 shelves it; too few trades prove nothing."""
        if self.sharpe is None or self.trades < MIN_TRADES:
            return Verdict.NOT_ENOUGH_EVIDENCE
        if self.sharpe >= 1.0:
            return Verdict.KEEP
        return Verdict.SHELVE if self.sharpe < 0.5 else Verdict.WATCH


def measure(
    initial_capital: float, times: Micros, dates: Dates, equity: Floats, trades: Trades, left: Indices | None = None
) -> Metrics:
    """The metrics of one run.

    `times`, `dates` and `equity` have one element a bar time: its start, its exchange date and the equity at its
    close, the last after the positions still open were closed. `left` are the rows at which the trades' positions left
    the book, None: those of their exits.
    """
    if left is None:
        left = np.searchsorted(times, trades.exit_time)
    returns = daily_returns(initial_capital, dates, equity)
    wins, losses = trades.pnl[trades.pnl > 0], -trades.pnl[trades.pnl < 0]
    average_win, average_loss = mean(wins), mean(losses)
    fees, slippage = float(trades.fees.sum()), float(trades.slippage.sum())
    net_return = float(equity[-1]) / initial_capital - 1 if equity.size else 0.0
    traded = float((trades.quantity * (trades.entry_price + trades.exit_price)).sum())
    return Metrics(
        trades=len(trades),
        win_rate=ratio(wins.size, len(trades)),
        expectancy=mean(trades.pnl),
        average_win=average_win,
        average_loss=average_loss,
        reward_risk=None if average_win is None or average_loss is None else average_win / average_loss,
        profit_factor=ratio(float(wins.sum()), float(losses.sum())),
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        max_drawdown=float(drawdown(initial_capital, equity).max(initial=0.0)),
        max_drawdown_of_initial=float((peaks(initial_capital, equity) - equity).max(initial=0.0)) / initial_capital,
        average_duration_s=mean((trades.exit_time - trades.entry_time) / MICROS),
        exposure=exposure(times.size, np.searchsorted(times, trades.entry_time), left),
        turnover=traded / float(equity.mean()) if equity.size else 0.0,
        cagr=cagr(net_return, returns.size),
        total_fees=fees,
        total_slippage=slippage,
        gross_return=net_return + (fees + slippage) / initial_capital,
        net_return=net_return,
    )


def mean(values: Floats) -> float | None:
    """Of nothing there is none."""
    return float(values.mean()) if values.size else None


def ratio(part: float, whole: float) -> float | None:
    """Over nothing there is none."""
    return part / whole if whole else None


def daily_returns(initial_capital: float, dates: Dates, equity: Floats) -> Floats:
    """One return an exchange day, the first included: it starts from the initial capital."""
    last_of_day = np.append(dates[1:] != dates[:-1], True)[: dates.size]
    closes = np.concatenate(([initial_capital], equity[last_of_day]))
    return closes[1:] / closes[:-1] - 1


def sharpe(returns: Floats) -> float | None:
    """Annualised mean over standard deviation (ddof 1) of daily returns; the risk-free rate is zero."""
    per_day = daily_sharpe(returns)
    return None if per_day is None else per_day * sqrt(TRADING_DAYS)


def daily_sharpe(returns: Floats) -> float | None:
    """The Sharpe ratio of one day; undefined for fewer than two returns or returns that are all the same."""
    if returns.size < 2 or returns.min() == returns.max():
        return None
    return float(returns.mean() / returns.std(ddof=1))


def sortino(returns: Floats) -> float | None:
    """Annualised mean over the downside deviation √mean(min(r, 0)²) over *all* days; undefined without a loss."""
    downside = float(np.square(np.minimum(returns, 0.0)).sum())
    if not downside:
        return None
    return float(returns.mean()) / sqrt(downside / returns.size) * sqrt(TRADING_DAYS)


def peaks(initial_capital: float, equity: Floats) -> Floats:
    """The highest equity so far; the initial capital is the first peak."""
    return np.maximum(np.maximum.accumulate(equity), initial_capital)


def drawdown(initial_capital: float, equity: Floats) -> Floats:
    """How far each point is below its peak, as a positive fraction of the peak."""
    return 1 - equity / peaks(initial_capital, equity)


def cagr(total_return: float, days: int) -> float | None:
    """The yearly return that compounds to the total over that many exchange days, 252 of them a year."""
    if not days or total_return < -1:
        return None
    try:
        return float((1 + total_return) ** (TRADING_DAYS / days) - 1)
    except OverflowError:  # one very good day, compounded for a year
        return None


def exposure(size: int, entered: Indices, left: Indices) -> float:
    """The share of `size` bars at whose close anything was held: from the row of an entry to before that of its end."""
    held = np.cumsum(np.bincount(entered, minlength=size) - np.bincount(left, minlength=size))
    return float((held > 0).mean()) if size else 0.0


def probabilistic_sharpe(returns: Floats, benchmark: float = 0.0) -> float | None:
    """The probability that the true daily Sharpe ratio is above `benchmark`, given length, skew and fat tails."""
    observed = daily_sharpe(returns)
    if observed is None:
        return None
    standard = (returns - returns.mean()) / returns.std()
    return sharpe_probability(
        observed, benchmark, returns.size, skew=float((standard**3).mean()), kurtosis=float((standard**4).mean())
    )


def sharpe_probability(observed: float, benchmark: float, size: int, skew: float, kurtosis: float) -> float | None:
    """The probability that a Sharpe ratio observed over `size` returns is truly above `benchmark`; kurtosis is raw.

    Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier" (2012).
    """
    variance = 1 - skew * observed + (kurtosis - 1) / 4 * observed**2
    return NORMAL.cdf((observed - benchmark) * sqrt((size - 1) / variance)) if variance > 0 else None


def deflated_sharpe(returns: Floats, trial_sharpes: Floats) -> float | None:
    """The probability that the Sharpe ratio is truly above what the best of this many worthless trials would show.

    `trial_sharpes` holds the daily Sharpe ratio of every trial ever run, this one included; one trial deflates nothing.
    """
    if trial_sharpes.size < 2:
        return probabilistic_sharpe(returns)
    return probabilistic_sharpe(returns, best_of_worthless(trial_sharpes.size, float(trial_sharpes.std(ddof=1))))


def best_of_worthless(trials: int, deviation: float) -> float:
    """The Sharpe ratio expected of the best of `trials` strategies that are worth nothing and scatter by `deviation`.

    Bailey and López de Prado, "The Deflated Sharpe Ratio" (2014).
    """
    best, second = NORMAL.inv_cdf(1 - 1 / trials), NORMAL.inv_cdf(1 - 1 / (trials * e))
    return deviation * ((1 - EULER_GAMMA) * best + EULER_GAMMA * second)
