"""A tape played as a market is lived: prices move inside the minute, and orders fill where they arrive."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from actors.kernel.clock import Clock, io_sleep
from actors.simulated.exchange import wire
from actors.simulated.exchange.core import dollars
from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.paper import PaperExchange
from actors.simulated.exchange.ports import SimulatedMarket
from actors.simulated.exchange.tape import Moment, Tape
from actors.trading.ports import Bar, BarSeen, Halted, Quote, QuoteSeen, Session
from strategies.bars import RAW_UNITS_PER_DOLLAR
from strategies.lab.costs import Costs
from strategies.sessions import DAY, MINUTE, sessions_between

CENT = RAW_UNITS_PER_DOLLAR // 100
STEPS = 4  # quotes a minute and symbol
AT_ONCE = 64  # symbols, that is a tenth of a millisecond
HALT_CHANCE_EVERY = 5 * MINUTE
HALT_LASTS = 5 * MINUTE
REVISED_VOLUME = 0.8  # of the volume is in the bar that is sent first


class Ticker:
    """Plays the regular hours of a tape of minute bars on `clock`; missing, wrong and halted where `faults` say so."""

    def __init__(
        self,
        exchange: PaperExchange,
        market: SimulatedMarket,
        tape: Tape,
        costs: Costs,
        clock: Clock,
        faults: FaultPlan,
    ) -> None:
        self._exchange, self._market, self._tape = exchange, market, tape
        self._costs, self._clock, self._faults = costs, clock, faults
        self._today: Session | None = None
        self._halted: dict[str, int] = {}  # until when
        self._to_revise: list[Bar] = []
        self._next = clock.now() - tape.timeframe + 1  # the bar that has begun is joined
        market.complete_until(self._next)

    async def play(self) -> None:
        """From the clock's time, or from where it stopped when it was played before, to the end of the tape."""
        self._next = max(self._next, self._clock.now() - self._tape.timeframe + 1)
        self._market.complete_until(self._next)
        for moment in self._tape.moments(self._next):
            self._next = moment.time + 1
            if await self._is_open(moment.time):
                await self._play(moment)
        await self._close_day()

    async def _is_open(self, time: int) -> bool:
        if self._today is None or time >= self._today.close:
            await self._close_day()
            self._today = self._session_of(time)
        return self._today is not None and self._today.open <= time < self._today.close

    def _session_of(self, time: int) -> Session | None:
        """The one that `time` lies in, or that comes first after it within a week."""
        date = wire.utc_date(time - DAY)
        return next((day for day in self._market.days(date, wire.utc_date(time + 7 * DAY)) if day.close > time), None)

    async def _close_day(self) -> None:
        if self._today is not None:
            await self._clock.sleep_until(self._today.close)
            self._exchange.end_day(self._today.close)
            self._today = None

    async def _play(self, moment: Moment) -> None:
        await self._clock.sleep_until(moment.time)
        self._halt_and_resume(moment)
        bars = [bar for bar in moment.bars if bar.symbol not in self._halted]
        self._exchange.open_bars(moment.time, bars)
        await io_sleep(0)
        for step in range(STEPS):
            at = moment.time + step * self._tape.timeframe // STEPS
            await self._clock.sleep_until(at)
            for some in _slices(bars):
                for bar in some:
                    self._tick(bar, _path(bar)[step], at)
                await io_sleep(0)
        await self._clock.sleep_until(moment.time + self._tape.timeframe)
        self._exchange.close_bars()
        self._market.complete_until(moment.time + 1)
        await self._publish(bars)

    def _tick(self, bar: Bar, price: int, at: int) -> None:
        half = max(price * self._costs.spread(bar.symbol) / 2, CENT / 2)
        bid, ask = math.floor((price - half) / CENT) * CENT, math.ceil((price + half) / CENT) * CENT
        self._market.publish(bar.symbol, QuoteSeen(Quote(bar.symbol, at, bid, ask)))
        self._exchange.move(bar.symbol, dollars(price), at)

    async def _publish(self, bars: Sequence[Bar]) -> None:
        """Where it is faulty, a bar is missing, or at first without its last trades; the history has the right one."""
        revised, self._to_revise = self._to_revise, []
        for bar in revised:
            self._market.publish(bar.symbol, BarSeen(bar, revised=True))
        sent = [bar for bar in bars if not self._faults.holds("gap")]
        for number, bar in enumerate(sent):
            if self._faults.holds("revised"):
                self._to_revise.append(bar)
                sent[number] = replace(bar, volume=math.floor(bar.volume * REVISED_VOLUME), close=_path(bar)[-2])
        for some in _slices(sent):
            self._market.publish_bars(some)
            await io_sleep(0)

    def _halt_and_resume(self, moment: Moment) -> None:
        for symbol in [symbol for symbol, until in self._halted.items() if moment.time >= until]:
            del self._halted[symbol]
            self._say(symbol, moment.time, halted=False)
        if moment.time % HALT_CHANCE_EVERY == 0 and moment.bars and self._faults.holds("halt"):
            symbol = self._faults.chance("halt").choice(moment.bars).symbol
            if symbol not in self._halted:
                self._halted[symbol] = moment.time + HALT_LASTS
                self._market.halt(symbol, moment.time, moment.time + HALT_LASTS)
                self._say(symbol, moment.time, halted=True)
        self._exchange.halted = set(self._halted)

    def _say(self, symbol: str, at: int, *, halted: bool) -> None:
        self._market.publish(symbol, Halted(symbol, halted, at))


def _slices(bars: Sequence[Bar]) -> Iterator[Sequence[Bar]]:
    """Between them others get their turn, who share the process: an exchange does not hold up its members."""
    return (bars[first : first + AT_ONCE] for first in range(0, len(bars), AT_ONCE))


def _path(bar: Bar) -> tuple[int, int, int, int]:
    """Prices inside the bar: against the way it goes first, as most bars do."""
    first, second = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    return bar.open, first, second, bar.close


def last_open(now: int) -> int:
    """When the newest session that has begun did so."""
    opens = sessions_between(np.datetime64(wire.utc_date(now - 14 * DAY)), np.datetime64(wire.utc_date(now))).opens
    return int(opens[np.searchsorted(opens, now, side="right") - 1])
