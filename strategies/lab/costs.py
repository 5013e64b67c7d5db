"""What trading costs: commission, spread, slippage, and an exchange that sometimes says no."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Literal, get_args

from config.errors import BadInput

SlippageType = Literal["none", "fixed", "percent", "spread", "volume"]


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost model of one run; without arguments trading is free and every order fills.

    Spread and commission are in basis points of the price, `commission_min` in dollars a fill. `slippage_amount` is
    dollars a share (`fixed`), a fraction of the price (`percent`), multiples of the spread (`spread`), or the fraction
    of the price that trading a whole bar's volume would cost (`volume`, square-root law). Rates are probabilities.
    `participation` is the share of a bar's volume that fills; infinity: no limit.
    """

    commission_bps: float = 0.0
    commission_min: float = 0.0
    spread_bps: float = 0.0
    slippage_type: SlippageType = "none"
    slippage_amount: float = 0.0
    reject_rate: float = 0.0
    worse_fill_rate: float = 0.0
    worse_fill_max: float = 0.0
    participation: float = math.inf
    spread_table: Mapping[str, float] = field(default_factory=dict)

    def spread(self, symbol: str) -> float:
        """The full spread of `symbol` as a fraction of its price."""
        return self.spread_table.get(symbol, self.spread_bps) / 10_000

    def commission(self, notional: float) -> float:
        """The commission, in dollars, of one fill that moves `notional` dollars."""
        return max(notional * (self.commission_bps / 10_000), self.commission_min)

    @property
    def depends_on_quantity(self) -> bool:
        """Whether a larger order gets a worse price."""
        return self.slippage_type == "volume"


DEFAULT = Costs(
    spread_bps=4.0,
    slippage_type="percent",
    slippage_amount=0.0005,
    reject_rate=0.03,
    worse_fill_rate=0.05,
    worse_fill_max=0.001,
    participation=0.1,
    spread_table={"AAPL": 3.0, "SPY": 1.0, "TSLA": 8.0},
)

# Highest sensible value of each key; the lowest is 0. Beyond a spread of 100 % a sale would pay nothing.
_HIGHEST = {
    "commission_bps": 1_000.0,
    "commission_min": 1_000.0,
    "spread_bps": 10_000.0,
    "slippage_amount": 1_000.0,
    "reject_rate": 1.0,
    "worse_fill_rate": 1.0,
    "worse_fill_max": 1.0,
    "participation": 1.0,
}
_HIGHEST_FRACTION = 1.0  # slippage of the price or by volume; a fixed one is in dollars


def parse_costs(text: str) -> Costs:
    """`default`, `none`, or `key=value,…` starting from none. BadInput names the key and its range."""
    if text == "default":
        return DEFAULT
    if text == "none":
        return Costs()
    costs, given = Costs(), set[str]()
    for pair in text.split(","):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or (key not in _HIGHEST and key != "slippage_type"):
            known = " ".join(["slippage_type", *_HIGHEST])
            raise BadInput(f"--costs: {key or text}: unknown; give default, none, or key=value with keys {known}")
        if key in given:
            raise BadInput(f"--costs: {key}: is given twice")
        given.add(key)
        costs = replace(costs, **{key: _slippage_type(value) if key == "slippage_type" else _number(key, value)})  # type: ignore[arg-type]  # keys were checked above
    if costs.slippage_type == "percent" and costs.slippage_amount > _HIGHEST_FRACTION:
        raise BadInput(f"--costs: slippage_amount: {costs.slippage_amount:g} is not between 0 and 1 of the price")
    if costs.slippage_amount and costs.slippage_type == "none":
        raise BadInput("--costs: slippage_amount: needs slippage_type=fixed, percent, spread or volume")
    for key, other in permutations(("worse_fill_rate", "worse_fill_max")):
        if key in given and other not in given:
            raise BadInput(f"--costs: {key}: needs {other}")
    return costs


def _slippage_type(value: str) -> str:
    if value not in get_args(SlippageType):
        raise BadInput(f"--costs: slippage_type: {value!r} is not one of {' '.join(get_args(SlippageType))}")
    return value


def _number(key: str, value: str) -> float:
    highest = _HIGHEST[key]
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    # A participation of nothing would never fill anything, so it is an error, not a limit.
    if not 0 <= number <= highest or (key == "participation" and number == 0):
        raise BadInput(f"--costs: {key}: {value!r} is not a number between 0 and {highest:g}")
    return number
