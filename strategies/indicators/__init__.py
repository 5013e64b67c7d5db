"""Indicators that carry their own state from block to block: any cut of a series gives the same bits."""

from strategies.indicators.earnings import Announced
from strategies.indicators.events import Cross, NewWeek, Previous, Recently, ValueWhen, rank
from strategies.indicators.recursive import ATR, EMA, MACD, RSI
from strategies.indicators.session import VWAP
from strategies.indicators.windows import ROC, SMA, Bollinger, Highest, Lowest, Percentile, RelativeVolume, Trough

__all__ = [
    "ATR",
    "EMA",
    "MACD",
    "ROC",
    "RSI",
    "SMA",
    "VWAP",
    "Announced",
    "Bollinger",
    "Cross",
    "Highest",
    "Lowest",
    "NewWeek",
    "Percentile",
    "Previous",
    "Recently",
    "RelativeVolume",
    "Trough",
    "ValueWhen",
    "rank",
]
