"""A market, an account and the prices they live by, wired together: one exchange, in the process."""

from dataclasses import replace
from typing import Never

from actors.kernel.actor import Actor
from actors.kernel.clock import Clock
from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.paper import PaperExchange
from actors.simulated.exchange.ports import SimulatedBroker, SimulatedMarket
from actors.simulated.exchange.tape import Tape
from actors.simulated.exchange.ticker import Ticker
from strategies.lab.costs import DEFAULT, Costs


class Venue:
    """One account on one market, at `tape`'s prices and `clock`'s time; `faults` say what goes wrong."""

    def __init__(
        self,
        tape: Tape,
        clock: Clock,
        *,
        seed: int = 0,
        cash: float = 100_000.0,
        costs: Costs = DEFAULT,
        faults: FaultPlan | None = None,
    ) -> None:
        self.symbols = frozenset(tape.symbols)
        self.faults = faults or FaultPlan()
        costs = replace(costs, reject_rate=0.0)  # who is rejected is for the plan to say
        self.exchange = PaperExchange(tape.symbols, costs, seed=seed, cash=cash, faults=self.faults)
        self.market = SimulatedMarket(tape, half_days=self.faults.holds("half-day"))
        self.broker = SimulatedBroker(self.exchange, clock)
        self._ticker = Ticker(self.exchange, self.market, tape, costs, clock, self.faults)

    async def play(self) -> None:
        """Let it trade, to the end of the tape."""
        await self._ticker.play()


class Floor(Actor[Never]):
    """Plays a venue. One that starts again goes on at the clock's time."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    async def run(self) -> None:
        """To the end of the tape."""
        await self._venue.play()
