"""The cost model and its text form."""

import math

import pytest

from config.errors import BadInput
from strategies.lab.costs import Costs, parse_costs


def test_the_default_is_four_basis_points_of_spread_with_three_exceptions() -> None:
    costs = parse_costs("default")
    assert [round(costs.spread(symbol) * 10_000, 9) for symbol in ("AAPL", "SPY", "TSLA", "F")] == [3, 1, 8, 4]
    assert (costs.slippage_type, costs.slippage_amount) == ("percent", 0.0005)
    assert (costs.reject_rate, costs.worse_fill_rate, costs.worse_fill_max) == (0.03, 0.05, 0.001)
    assert costs.participation == 0.1
    assert costs.commission(10_000) == 0


def test_keys_start_from_none() -> None:
    costs = parse_costs("spread_bps=5, commission_bps=10,commission_min=1")
    assert costs == Costs(spread_bps=5, commission_bps=10, commission_min=1)
    assert costs.spread("TSLA") == 0.0005
    assert math.isinf(costs.participation)


def test_the_commission_is_at_least_its_minimum() -> None:
    costs = Costs(commission_bps=10, commission_min=1)
    assert (costs.commission(500), costs.commission(5_000)) == (1, 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("reject_rate=1.5", "reject_rate: '1.5' is not a number between 0 and 1"),
        ("spread_bps=-1", "spread_bps: '-1' is not a number between 0 and 10000"),
        ("worse_fill_max=nan", "worse_fill_max: 'nan' is not a number"),
        ("participation=0", "participation: '0' is not a number between 0 and 1"),
        ("commission_bps=x", "commission_bps: 'x' is not a number"),
        ("slippage_type=often", "slippage_type: 'often' is not one of none fixed percent spread volume"),
        ("slippage_type=percent,slippage_amount=2", "slippage_amount: 2 is not between 0 and 1"),
        ("slippage_amount=0.1", "slippage_amount: needs slippage_type"),
        ("worse_fill_rate=0.1", "worse_fill_rate: needs worse_fill_max"),
        ("worse_fill_max=0.1", "worse_fill_max: needs worse_fill_rate"),
        ("spread_bps=4,reject_rate=0.1,spread_bps=8", "spread_bps: is given twice"),
        ("fees=1", "fees: unknown"),
        ("cheap", "cheap: unknown"),
        ("", "--costs: : unknown"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_key_and_range(text: str, says: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_costs(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
