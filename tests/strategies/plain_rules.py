"""The rules of the ten strategies in the plainest Python: one symbol, one bar after the other, nothing carried along.

Each rule gets the symbol's own bars up to now and says (enter, leave, score). What is undefined is NaN, and a
comparison with NaN is False. Sums are whole numbers, so these are the exact answers.
"""

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from strategies.bars import Bars

Numbers = Sequence[float]
Parameters = Mapping[str, Any]
Verdict = tuple[bool, bool, float]
NAN = math.nan


@dataclass
class Own:
    """The bars one symbol has, up to and with the current one; prices in units."""

    symbol: str
    open: list[int] = field(default_factory=list)
    high: list[int] = field(default_factory=list)
    low: list[int] = field(default_factory=list)
    close: list[int] = field(default_factory=list)
    volume: list[int] = field(default_factory=list)
    date: list[dt.date] = field(default_factory=list)
    after_open: list[float] = field(default_factory=list)
    before_close: list[float] = field(default_factory=list)
    notes: dict[object, float] = field(default_factory=dict)


def average(values: Numbers, n: int) -> float:
    return sum(values[-n:]) / n if len(values) >= n else NAN


def deviation_squared(values: Sequence[int], n: int) -> int:
    """n² times the population variance of the last n, exactly."""
    last = values[-n:]
    return n * sum(x * x for x in last) - sum(last) ** 2


def below_band(price: int, values: Sequence[int], n: int, width: float) -> bool:
    """Whether the price is below mean - width · deviation, decided without a root."""
    if len(values) < n:
        return False
    short_of_mean = sum(values[-n:]) - n * price
    return short_of_mean > 0 and short_of_mean**2 > Fraction(width) ** 2 * deviation_squared(values, n)


def above_band(price: int, values: Sequence[int], n: int, width: float) -> bool:
    return below_band(-price, [-x for x in values], n, width)


def emas(values: Numbers, n: int) -> list[float]:
    first = sum(math.isnan(x) for x in values)
    result = [NAN] * len(values)
    for t in range(first + n - 1, len(values)):
        if t == first + n - 1:
            result[t] = sum(values[first : t + 1]) / n
        else:
            result[t] = result[t - 1] + 2 / (n + 1) * (values[t] - result[t - 1])
    return result


def rsis(close: Sequence[int], n: int) -> list[float]:
    result = [NAN] * len(close)
    gain = loss = 0.0
    for t in range(1, len(close)):
        up, down = max(close[t] - close[t - 1], 0), max(close[t - 1] - close[t], 0)
        if t < n:
            gain, loss = gain + up, loss + down
        elif t == n:
            gain, loss = (gain + up) / n, (loss + down) / n
        else:
            gain, loss = (gain * (n - 1) + up) / n, (loss * (n - 1) + down) / n
        if t >= n:
            result[t] = 50.0 if gain == loss == 0 else 100.0 if loss == 0 else 100 * (gain / (gain + loss))
    return result


def roc(close: Sequence[int], n: int) -> float:
    return (close[-1] - close[-1 - n]) / close[-1 - n] if len(close) > n else NAN


def bollinger_reversion(own: Own, p: Parameters) -> Verdict:
    n, v, close = int(p["period"]), int(p["volume_period"]), own.close[-1]
    middle = average(own.close, n)
    before = own.volume[-v - 1 : -1]
    # volume / mean >= threshold; with no volume before, 0/0 is undefined and anything else infinite.
    ratio = own.volume[-1] * v / sum(before) if sum(before) else (math.inf if own.volume[-1] else NAN)
    busy = len(before) == v and ratio >= p["relative_volume"]
    spread = p["width"] * math.sqrt(deviation_squared(own.close, n)) / n
    score = (middle - spread - close) / spread if spread else NAN
    return below_band(close, own.close, n, p["width"]) and busy, close >= middle, score


def rsi_macd_confluence(own: Own, p: Parameters) -> Verdict:
    rsi = rsis(own.close, int(p["rsi_period"]))[-1]
    fast, slow = emas(own.close, int(p["fast"])), emas(own.close, int(p["slow"]))
    line = [f - s for f, s in zip(fast, slow, strict=True)]
    signal = emas(line, int(p["signal"]))
    (a0, a1), (b0, b1) = ([NAN, *line][-2:], [NAN, *signal][-2:])
    up, down = a0 <= b0 and a1 > b1, a0 >= b0 and a1 < b1
    return rsi < p["oversold"] and up, rsi > p["overbought"] or down, p["oversold"] - rsi


def breakout_20d(own: Own, p: Parameters) -> Verdict:
    entry, exit_ = int(p["entry"]), int(p["exit"])
    close = own.close[-1]
    highest = max(own.high[-entry - 1 : -1]) if len(own.high) > entry else NAN
    lowest = min(own.low[-exit_ - 1 : -1]) if len(own.low) > exit_ else NAN
    return close > highest, close < lowest, close / highest - 1


def vwap_reversion(own: Own, p: Parameters) -> Verdict:
    first = own.date.index(own.date[-1])
    today = range(first, len(own.date))
    traded = sum(own.volume[t] for t in today)
    if not traded:
        return False, False, NAN
    vwap = Fraction(sum((own.high[t] + own.low[t] + own.close[t]) * own.volume[t] for t in today), 3 * traded)
    in_hours = own.after_open[-1] >= p["after_open"] and own.before_close[-1] >= p["before_close"]
    score = float((vwap - own.close[-1]) / vwap)
    return score >= p["distance"] and in_hours, own.close[-1] >= vwap, score


def rsi_divergence(own: Own, p: Parameters) -> Verdict:
    rsi = rsis(own.close, int(p["rsi_period"]))
    now, lookback, recent = len(rsi) - 1, int(p["lookback"]), int(p["recent"])
    if now < lookback:
        return False, rsi[now] > p["recovered"], NAN
    earlier = range(now - lookback, now - recent + 1)
    at = min(earlier, key=lambda t: (own.low[t], t))
    confirms = rsi[now] > rsi[at] + p["divergence"]
    enter = own.low[now] < own.low[at] and confirms and rsi[now] < p["oversold"]
    return enter, rsi[now] > p["recovered"], rsi[now] - rsi[at]


def momentum_basic(own: Own, p: Parameters) -> Verdict:
    change, rsi = roc(own.close, int(p["period"])), rsis(own.close, int(p["rsi_period"]))[-1]
    return change > p["rise"] and rsi < p["overbought"], change < -p["fall"], change


def mean_reversion_rsi(own: Own, p: Parameters) -> Verdict:
    rsi = rsis(own.close, int(p["period"]))[-1]
    return rsi < p["oversold"], rsi > p["recovered"], p["oversold"] - rsi


def bollinger_squeeze(own: Own, p: Parameters) -> Verdict:
    n, lookback, within, width = int(p["period"]), int(p["lookback"]), int(p["within"]), p["width"]

    def bandwidth(t: int) -> float:
        if t not in own.notes:
            window = own.close[: t + 1]
            spread = width * math.sqrt(deviation_squared(window, n)) / n
            own.notes[t] = 2 * spread / average(window, n)
        return own.notes[t]

    def was_narrow(t: int) -> bool:
        if t < lookback + n - 1:
            return False
        before = sorted(bandwidth(k) for k in range(t - lookback, t))
        place = p["percent"] / 100 * (lookback - 1)
        low, high = before[math.floor(place)], before[math.ceil(place)]
        limit: float = low + (high - low) * (place - math.floor(place))
        return bandwidth(t) <= limit

    now, close = len(own.close) - 1, own.close[-1]
    squeezed = any(was_narrow(t) for t in range(max(now - within + 1, 0), now + 1))
    if now + 1 < n:
        return False, False, NAN
    middle = Fraction(sum(own.close[-n:]), n)
    upper = float(middle) + width * math.sqrt(deviation_squared(own.close, n)) / n
    return squeezed and above_band(close, own.close, n, width), close < middle, close / upper - 1


def earnings_momentum(own: Own, p: Parameters, calendar: Sequence[tuple[str, dt.date, str]]) -> Verdict:
    if len(own.close) < 2:
        return False, False, NAN
    before, today = own.date[-2:]
    reacts = False
    for symbol, date, timing in calendar:
        first = date if timing == "bmo" else date + dt.timedelta(days=1)
        reacts = reacts or (symbol == own.symbol and before < first <= today)
    gap = Fraction(own.open[-1] - own.close[-2], own.close[-2])
    enter = reacts and float(gap) >= p["gap"] and own.close[-1] > own.open[-1]
    if enter:
        own.notes["before the gap"] = own.close[-2]
    return enter, own.close[-1] < own.notes.get("before the gap", NAN), float(gap)


def relative_strength(here: Mapping[int, Own], first_of_week: bool, p: Parameters) -> dict[int, Verdict]:
    """The verdicts on the symbols that have a bar now, by their place in the universe."""
    strength = {n: roc(own.close, int(p["period"])) for n, own in here.items()}
    ranked = sorted((n for n in here if not math.isnan(strength[n])), key=lambda n: (-strength[n], n))
    verdicts = {}
    for n in here:
        place = ranked.index(n) + 1 if n in ranked else NAN
        enter = first_of_week and place <= p["enter_best"] and strength[n] > 0
        leave = first_of_week and (place > p["leave_beyond"] or strength[n] <= 0)
        verdicts[n] = (enter, leave, strength[n])
    return verdicts


def strong_sectors(here: Mapping[int, Own], sectors: Mapping[str, str], period: int, best: int) -> set[str]:
    """The sectors whose members' mean rate of change is highest."""
    by_sector: dict[str, list[float]] = {}
    for _, own in sorted(here.items()):
        change = roc(own.close, period)
        if own.symbol in sectors and not math.isnan(change):
            by_sector.setdefault(sectors[own.symbol], []).append(change)
    return set(sorted(by_sector, key=lambda sector: (-sum(by_sector[sector]) / len(by_sector[sector]), sector))[:best])


def walk(bars: Bars) -> Iterator[tuple[int, bool, dict[int, Own]]]:
    """Bar time by bar time: its row, whether an ISO week begins, and the symbols that have a bar, up to then."""
    owns = [Own(symbol) for symbol in bars.symbols]
    week = None
    for row in range(len(bars)):
        block = bars.block(row, row + 1)
        date = block.dates[0].astype(object)
        here = {}
        for n in range(len(owns)):
            if bars.present[row, n]:
                own = here[n] = owns[n]
                for name in ("open", "high", "low", "close", "volume"):
                    getattr(own, name).append(int(getattr(bars, name)[row, n]))
                own.date.append(date)
                own.after_open.append(float(block.minutes_after_open[0, 0, 0]))
                own.before_close.append(float(block.minutes_before_close[0, 0, 0]))
        yield row, date.isocalendar()[:2] != week, here
        week = date.isocalendar()[:2]
