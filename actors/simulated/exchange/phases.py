"""A recording played in the phases of the lab's bar, so that a desk can be compared with a backtest to the cent."""

from collections.abc import Iterator

from actors.kernel.clock import SECOND, Clock
from actors.simulated.exchange.core import Exchange
from actors.simulated.exchange.ports import SimulatedMarket
from actors.simulated.exchange.tape import Moment, Tape
from actors.trading.ports import Quote, QuoteSeen


class Phases:
    """Plays each bar time of `tape` as open, quotes, inside, close, and after each waits until the desk is quiet.

    At the open what is to be sold fills; then quotes (bid = ask = open) are published in one burst, on which the
    desk's entries fill as they arrive; stops and targets follow; then the bars are published. Quiet is a pause of
    `quiet_s` of the clock in which no order came: on a virtual clock everything that can run has run by then.
    `close_pause_s` is how much longer the desk is given to close its block of bars.
    """

    def __init__(
        self,
        exchange: Exchange,
        market: SimulatedMarket,
        tape: Tape,
        clock: Clock,
        *,
        quiet_s: float = 0.01,
        close_pause_s: float = 0.0,
    ) -> None:
        self._exchange, self._market, self._clock = exchange, market, clock
        self._moments: Iterator[Moment] = tape.moments(clock.now())
        self._timeframe = tape.timeframe
        self._quiet_s, self._close_pause_s = quiet_s, close_pause_s
        self._next = next(self._moments, None)
        market.complete_until(clock.now())

    async def play(self) -> None:
        """All of it, from the clock's time on."""
        while await self.play_bar():
            pass

    async def play_bar(self) -> bool:
        """The next bar time; False when there was none."""
        if self._next is None:
            return False
        moment, self._next = self._next, next(self._moments, None)
        await self._clock.sleep_until(moment.time)
        await self._quiet()  # what is due at this time, such as leaving before the session's last bar, is in time
        self._exchange.open_bars(moment.time, moment.bars)
        await self._quiet()
        now = self._clock.now()
        for bar in moment.bars:
            self._market.publish(bar.symbol, QuoteSeen(Quote(bar.symbol, now, bar.open, bar.open)))
        await self._quiet()
        self._exchange.trade_inside()
        await self._quiet()
        await self._clock.sleep_until(self._end(moment))
        self._exchange.close_bars()
        self._market.complete_until(moment.time + 1)
        self._market.publish_bars(moment.bars)
        await self._clock.sleep(self._close_pause_s)
        await self._quiet()
        return True

    def _end(self, moment: Moment) -> int:
        """Daily bars in local time are 23 hours apart once a year; none lasts into the next."""
        end = moment.time + self._timeframe
        return end if self._next is None else min(end, self._next.time - round(self._quiet_s * SECOND))

    async def _quiet(self) -> None:
        orders = -1
        while orders < self._exchange.taken:
            orders = self._exchange.taken
            await self._clock.sleep(self._quiet_s)
