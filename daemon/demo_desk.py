"""The trading side of the demo: ten strategies on a made-up market, whose darlings fall on its third day."""

from collections.abc import Callable
from typing import Any

import anyio
import numpy as np

from actors.kernel.clock import io_sleep, monotonic
from actors.simulated.exchange.generator import Synthetic
from actors.simulated.exchange.venue import Venue
from actors.simulated.time_lapse import TimeLapse
from actors.store.alarm import Alarm
from actors.store.protocol import Store
from config.settings import Trading
from daemon.desk_plan import plan
from daemon.trading import TradingDesk, on_venue
from strategies.sessions import DAY, HOUR, MINUTE, sessions_between

SYMBOLS = tuple("AAPL AMD AMZN COST DIS GOOGL HD JPM KO META MSFT NVDA TSLA WMT XOM".split())
CAPITAL = 100_000.0
TRADING = {
    "enabled": True,
    "broker": "simulated",
    "universe": {"symbols": SYMBOLS},
    "capital_per_strategy": CAPITAL,
    # Few and large positions: in a minute there is time for one lesson, and it should be seen.
    "fraction": 0.3,
    "max_positions": 3,
    "risk": {
        "max_symbol": 1.0,
        "max_sector": 1.0,
        "daily_loss": 1.0,
        "max_orders_per_minute": 10_000,
        "cooldown_after_stop": "1h",
        "stale_after": "1h",
    },
}
BAR = 15 * MINUTE
FASTER = 16
"""Than the shop: a trading day should be over in seconds."""
FASTEST = 10_000.0
NIGHT = 40
"""How much faster than a day a night passes."""
BEFORE_THE_OPEN = 8 * HOUR
"""Strategies look at the past first; the market opens once they have."""
DAWDLING = 600.0
LOOK_EVERY_S = 0.002
QUIET_S = 0.02
"""Without a new entry in the desk's log; by then what follows from the last one has followed."""
PATIENCE_S = 30.0
WEEKS_AGO = 2
QUARTER = 63  # sessions: the time over which darlings are made
DARLINGS = 3
FALL = -0.3


class DemoDesk:
    """An exchange of its own with a clock of its own, and what opens the desk that trades there."""

    def __init__(self, trading: Trading, seed: int, speed: float, now: int) -> None:
        start, crash = a_monday(now)
        pace = min(speed * FASTER, FASTEST)
        self.clock = TimeLapse(
            start - BEFORE_THE_OPEN, dawdling_speed=min(speed, DAWDLING), speed=pace, night_speed=pace * NIGHT
        )
        self.day_s = 390 * 60 / pace
        shocks = dict.fromkeys(darlings(seed, start), (crash, FALL))
        tape = Synthetic(SYMBOLS, seed, timeframe=BAR, shocks=shocks)
        desk_plan = plan(trading)
        cash = CAPITAL * len(desk_plan.strategies)
        venue = Venue(tape, self.clock, seed=seed, cash=cash, costs=desk_plan.costs)
        self._on_venue = on_venue(desk_plan, trading, venue)
        self._desk: TradingDesk | None = None

    def open(self, store: Store, alarm: Callable[[Alarm], object]) -> TradingDesk:
        """As `Daemon` takes it."""
        self._desk = self._on_venue(self.clock, store, alarm)
        return self._desk

    async def begin(self) -> None:
        """Return once everyone has seen what was before the market opens."""
        with anyio.move_on_after(PATIENCE_S):
            while not self._is_ready():
                await io_sleep(LOOK_EVERY_S)

    async def pace(self) -> None:
        """Let the days pass, but not while the desk is at work: what takes it a moment here would be minutes there."""
        read, since = set[int](), monotonic()
        while True:
            await io_sleep(LOOK_EVERY_S)
            before, read = read, self._read()
            if len(read) > 1 or read != before:
                since = monotonic()
                self.clock.dawdle()
            elif monotonic() - since > QUIET_S:
                self.clock.hurry()

    def _is_ready(self) -> bool:
        """Whether no bar is missing, the broker agrees with the books, and everyone has read all there is."""
        desk = self._desk
        return desk is not None and desk.board.trusted and desk.standing.clear and len(self._read()) == 1

    def _read(self) -> set[int]:
        """How far each has read in the desk's log."""
        desk = self._desk
        if desk is None or len(desk.runners) < len(desk.plan.strategies):
            return set()
        return {reader.position for reader in (desk.risk, desk.broker, *desk.runners.values())}


def a_monday(now: int) -> tuple[int, str]:
    """When the session of a Monday some weeks ago opened, and the date (YYYY-MM-DD) of the second session after it."""
    until = np.datetime64(now - WEEKS_AGO * 7 * DAY, "us").astype("datetime64[D]")
    sessions = sessions_between(until - 60, until + 10)
    mondays = np.flatnonzero((sessions.dates <= until) & np.is_busday(sessions.dates, weekmask="Mon"))
    return int(sessions.opens[mondays[-1]]), str(sessions.dates[mondays[-1] + 2])


def darlings(seed: int, start: int) -> list[str]:
    """What has risen most in the quarter before `start`."""
    market = Synthetic(SYMBOLS, seed)

    def risen(symbol: str) -> float:
        return market.close_before(symbol, start) / market.close_before(symbol, start, QUARTER)

    return sorted(SYMBOLS, key=risen)[-DARLINGS:]


def leaderboard(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As `demo --json` promises, the richest first."""
    board = [
        {
            "name": row["name"],
            "trades": row["trades"] or 0,
            "equity": None if row["equity"] is None else round(row["equity"], 2),
            "verdict": row["verdict"],
            "killed": row["state"] == "killed",
        }
        for row in rows
    ]
    return sorted(board, key=lambda row: -(row["equity"] or 0.0))
