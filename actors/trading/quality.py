"""How well orders are executed: what a fill cost against the mid it was decided on, and against the lab's model."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from actors.trading.ports import Side
from strategies.lab.costs import Costs

BPS = 10_000


@dataclass(slots=True)
class Quality:
    """Sums over all fills whose mid is known; a cost is positive where the price was worse than the mid."""

    fills: int = 0
    cost: float = 0.0  # Σ basis points against the mid
    model: float = 0.0  # Σ basis points that the model says
    squares: float = 0.0  # Σ of the squares of cost less model

    def filled(self, side: Side, price: float, mid: float, model: float) -> None:
        """One fill; `model` as of `model_cost`."""
        cost = (price / mid - 1.0) * BPS * (1 if side is Side.BUY else -1)
        self.fills += 1
        self.cost += cost
        self.model += model
        self.squares += (cost - model) ** 2

    @property
    def cost_bps(self) -> float | None:
        """What a fill cost on average."""
        return self.cost / self.fills if self.fills else None

    @property
    def model_bps(self) -> float | None:
        """What the backtest would have charged on average."""
        return self.model / self.fills if self.fills else None

    @property
    def tracking_error_bps(self) -> float | None:
        """Root mean square of what fills cost beyond the model: how far live and backtest are apart."""
        return math.sqrt(self.squares / self.fills) if self.fills else None

    def save(self) -> dict[str, Any]:
        """As JSON can say it; its constructor reads it."""
        return asdict(self)


def model_cost(costs: Costs, symbol: str, price: float) -> float:
    """Basis points that a fill is expected to cost: half the spread, the slippage, and chance as it is on average.

    The impact of size is left out: live nobody knows the volume of a bar before it is over.
    """
    spread = costs.spread(symbol)
    slippage = {
        "percent": costs.slippage_amount,
        "spread": costs.slippage_amount * spread,
        "fixed": costs.slippage_amount / price,
    }
    chance = costs.worse_fill_rate * costs.worse_fill_max / 2
    return (spread / 2 + slippage.get(costs.slippage_type, 0.0) + chance) * BPS
