"""Bars that nobody traded: a seeded market with regimes, gaps, bursts of volume and the exchange's real days.

Every day can be made on its own, from the seed, the symbol and the date alone, so history and the present are one tape
of which nothing is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import count

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from actors.simulated.exchange.tape import Moment
from actors.trading.ports import Bar
from strategies.bars import RAW_UNITS_PER_DOLLAR
from strategies.sessions import MINUTE, Sessions, sessions_between

Floats = NDArray[np.float64]
Columns = NDArray[np.int64]
"""Bars as rows: open, high, low, close, volume, vwap, trades. A volume of 0 is no bar."""
VOLUME = 4

FIRST, LAST = np.datetime64("2018-01-01"), np.datetime64("2032-12-31")  # where the paths of days begin and end
CENT = RAW_UNITS_PER_DOLLAR // 100
SYMBOLS = ("AAPL", "AMD", "AMZN", "GOOGL", "JPM", "META", "MSFT", "NVDA", "SPY", "TSLA")

# Regimes of the whole market: drift and volatility of a day, and how many days one lasts on average.
DRIFTS = np.array([0.0008, -0.0012, 0.0001, -0.002])
VOLATILITIES = np.array([0.009, 0.014, 0.006, 0.03])
REGIME_DAYS = 30
OVERNIGHT = 0.35  # of a day's variance comes between close and open
JUMPS = 0.02  # of the nights bring news of one symbol, a move of JUMP
JUMP = 0.06
REVERSION = 0.01  # of the distance from its level that a price loses in a day: nothing runs away in fifteen years
BURSTS = 2.0  # a day, on average: minutes in which volume and moves are several times the usual
SILENT = 0.01  # of the minutes without a trade


@dataclass(frozen=True, slots=True)
class Character:
    """What a symbol is like: its level in dollars, its volatility beside the market's, its shares a minute."""

    level: float
    beta: float
    own: float
    volume: float


class Synthetic:
    """A tape of made-up bars; the same seed gives the same market, whoever asks for what part of it.

    Regular hours only; early closes and holidays are the real ones. Labelled by its feed, `synthetic`.
    """

    feed = "synthetic"

    def __init__(
        self,
        symbols: Sequence[str] = SYMBOLS,
        seed: int = 0,
        *,
        timeframe: int = MINUTE,
        shocks: Mapping[str, tuple[str, float]] | None = None,
    ) -> None:
        """`timeframe`: microseconds of a bar, put together of minutes; a divisor of half an hour.

        `shocks`: the date (YYYY-MM-DD) on which a symbol opens so much (a fraction) away from where it would.
        """
        self.symbols = tuple(symbols)
        self.timeframe = timeframe
        self._shocks = shocks or {}
        self._seed = seed
        self._sessions: Sessions = sessions_between(FIRST, LAST)
        self._regime = self._regimes()
        self._characters = {symbol: self._character(symbol) for symbol in symbols}
        self._opens_and_closes = {symbol: self._days(symbol) for symbol in symbols}
        self._day = lru_cache(maxsize=2 * len(self.symbols))(self._make_day)

    def moments(self, since: int = 0) -> Iterator[Moment]:
        """The bar times from `since` on, to the end of 2032."""
        for number in range(self._first_session(since), len(self._sessions.dates)):
            day = np.stack([self._day(symbol, number) for symbol in self.symbols])
            for slot in range(day.shape[1]):
                time = int(self._sessions.opens[number]) + slot * self.timeframe
                if time >= since:
                    rows = zip(self.symbols, day[:, slot].tolist(), strict=True)
                    yield Moment(time, [_bar(symbol, time, row) for symbol, row in rows if row[VOLUME]])

    def history(self, symbols: Sequence[str], start: int, end: int) -> list[Bar]:
        """Bars with start <= time < end, by time, then in the order of the tape's symbols."""
        wanted = [symbol for symbol in self.symbols if symbol in symbols]
        found: list[Bar] = []
        for number in range(self._first_session(start), len(self._sessions.dates)):
            if not wanted or self._sessions.opens[number] >= end:
                break
            slots = zip(*(self._day(symbol, number).tolist() for symbol in wanted), strict=True)
            for time, rows in zip(count(int(self._sessions.opens[number]), self.timeframe), slots, strict=False):
                if start <= time < end:
                    found += [_bar(symbol, time, row) for symbol, row in zip(wanted, rows, strict=True) if row[VOLUME]]
        return found

    def close_before(self, symbol: str, time: int, sessions: int = 0) -> float:
        """Dollars at the close of the last session that was over by then, or of so many before it."""
        return float(self._opens_and_closes[symbol][1][self._first_session(time) - 1 - sessions])

    def _first_session(self, since: int) -> int:
        """The first that closes after `since`."""
        return int(np.searchsorted(self._sessions.closes, since, side="right"))

    def _chance(self, *what: object) -> Generator:
        text = "/".join(str(part) for part in (self._seed, *what))
        return default_rng(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little"))

    def _regimes(self) -> NDArray[np.intp]:
        """The regime of each session."""
        rng, days = self._chance("market"), len(self._sessions.dates)
        changes = rng.random(days) < 1 / REGIME_DAYS
        drawn = rng.choice(len(DRIFTS), days, p=(0.4, 0.2, 0.3, 0.1))
        return drawn[np.maximum.accumulate(np.where(changes, np.arange(days), 0))]

    def _character(self, symbol: str) -> Character:
        rng = self._chance("character", symbol)
        return Character(
            level=float(np.exp(rng.uniform(np.log(20), np.log(400)))),
            beta=float(rng.uniform(0.5, 1.6)),
            own=float(rng.uniform(0.006, 0.018)),
            volume=float(np.exp(rng.uniform(np.log(2e3), np.log(5e4)))),
        )

    def _days(self, symbol: str) -> tuple[NDArray[np.float32], ...]:
        """Opens and closes of all sessions in dollars, before rounding."""
        character, rng, days = self._characters[symbol], self._chance("days", symbol), len(self._sessions.dates)
        all_of_them = self._chance("market", "days").standard_normal(days)
        market = DRIFTS[self._regime] + VOLATILITIES[self._regime] * all_of_them
        moves = character.beta * market + character.own * rng.standard_normal(days)
        nights = np.sqrt(OVERNIGHT) * np.roll(moves, 1) + np.where(
            rng.random(days) < JUMPS, rng.normal(0, JUMP, days), 0.0
        )
        if symbol in self._shocks:
            date, move = self._shocks[symbol]
            nights[np.searchsorted(self._sessions.dates, np.datetime64(date))] += np.log1p(move)
        hours = np.sqrt(1 - OVERNIGHT) * moves
        opens, closes = np.empty(days), np.empty(days)
        away = 0.0  # logarithm of price / level
        for day in range(days):
            opens[day] = away = away * (1 - REVERSION) + nights[day]
            closes[day] = away = away + hours[day]
        # Half the memory: where days begin and end, before that is rounded to cents.
        return tuple((character.level * np.exp(column)).astype(np.float32) for column in (opens, closes))

    def _make_day(self, symbol: str, number: int) -> Columns:
        """The bars of a session."""
        character, rng = self._characters[symbol], self._chance("day", symbol, number)
        opens, closes = (float(column[number]) for column in self._opens_and_closes[symbol])
        minutes = int(self._sessions.closes[number] - self._sessions.opens[number]) // MINUTE
        busy = _usual(minutes) * np.exp(0.4 * rng.standard_normal(minutes)) * _bursts(rng, minutes)
        scale = VOLATILITIES[self._regime[number]] * character.beta + character.own
        steps = rng.standard_normal((minutes, 4)) * (scale / np.sqrt(4 * minutes)) * np.sqrt(busy)[:, None]
        walk = steps.ravel().cumsum()
        # A bridge: whatever the minutes do, the day begins and ends where the path of days says.
        walk += (np.log(closes / opens) - walk[-1]) * np.linspace(0, 1, walk.size)
        path = np.concatenate([[opens], opens * np.exp(walk)])
        ticks = np.maximum(np.rint(path * 100), 1).astype(np.int64) * CENT
        inside = np.stack([ticks[n : n + 4 * minutes : 4] for n in range(5)], axis=1)
        volume = np.rint(character.volume * busy) + 1
        return self._columns(inside, np.where(rng.random(minutes) < SILENT, 0, volume))

    def _columns(self, inside: NDArray[np.int64], volume: Floats) -> Columns:
        """Of each slot; `inside` are the prices in each minute, (minutes, 5), `volume` its shares: none, no trade."""
        slots = len(volume) * MINUTE // self.timeframe
        prices, shares = inside.reshape(slots, -1, 5), volume.reshape(slots, -1)
        traded = shares > 0
        opens = traded.argmax(axis=1)
        closes = traded.shape[1] - 1 - traded[:, ::-1].argmax(axis=1)
        slot = np.arange(slots)
        highs = np.where(traded, prices.max(axis=2), 0).max(axis=1)
        lows = np.where(traded, prices.min(axis=2), highs[:, None]).min(axis=1)
        total = shares.sum(axis=1)
        vwap = np.rint((prices.mean(axis=2) * shares).sum(axis=1) / np.maximum(total, 1)).astype(np.int64)
        columns = (prices[slot, opens, 0], highs, lows, prices[slot, closes, 4], total, vwap, total // 90 + 1)
        return np.stack([column.astype(np.int64) for column in columns], axis=1)


def _bar(symbol: str, time: int, row: Sequence[int]) -> Bar:
    open_, high, low, close, volume, vwap, trades = row
    return Bar(symbol, time, open_, high, low, close, float(volume), vwap, trades)


@lru_cache
def _usual(minutes: int) -> Floats:
    """How busy each minute of a session is: the first and the last most of all."""
    busy: Floats = 0.6 + 1.2 * np.linspace(-1, 1, minutes) ** 2
    return busy


def _bursts(rng: Generator, minutes: int) -> Floats:
    """How many times the usual is traded in each minute: 1, and now and then several for a quarter of an hour."""
    times = np.ones(minutes)
    for _ in range(rng.poisson(BURSTS)):
        begins = int(rng.integers(minutes))
        length = min(int(rng.integers(5, 16)), minutes - begins)
        times[begins : begins + length] *= rng.uniform(3, 10) * np.exp(-np.arange(length) / 6)
    return np.maximum(times, 1.0)
