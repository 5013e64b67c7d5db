"""Draws depend on what they are for, and on nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strategies.lab.chance import Purpose, run_key, symbol_key, uniform, uniforms

KEYS = st.integers(0, 2**64 - 1)
TIMES = st.integers(0, 2**62)


@given(st.lists(st.tuples(KEYS, KEYS, TIMES), min_size=1, max_size=20), st.sampled_from(Purpose))
def test_one_draw_and_many_at_once_give_the_same_bits(draws: list[tuple[int, int, int]], purpose: Purpose) -> None:
    runs, symbols, times = zip(*draws, strict=True)
    together = uniforms(np.array(runs, np.uint64), np.array(symbols, np.uint64), np.array(times, np.int64), purpose)
    assert together.tolist() == [uniform(*draw, purpose) for draw in draws]


@given(KEYS, KEYS, TIMES, st.sampled_from(Purpose))
def test_a_draw_is_at_least_nought_and_below_one(run: int, symbol: int, time: int, purpose: Purpose) -> None:
    assert 0.0 <= uniform(run, symbol, time, purpose) < 1.0


def test_draws_of_neighbouring_bars_are_uniform_and_unrelated() -> None:
    """100,000 daily bars: ten equal bins within four standard errors, no correlation of one bar with the next."""
    times = np.arange(100_000) * 86_400_000_000
    run = np.array(run_key(1, "any", {"period": 20}), np.uint64)
    drawn = uniforms(run, np.array(symbol_key("AAPL"), np.uint64), times, Purpose.REJECT_ENTRY)
    counts = np.histogram(drawn, 10, (0, 1))[0]
    assert np.abs(counts - 10_000).max() < 4 * np.sqrt(9_000)
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 4 / np.sqrt(100_000)


def test_every_part_of_the_question_changes_the_answer() -> None:
    base = (run_key(1, "a", {"n": 1}), symbol_key("A"), 7, Purpose.REJECT_ENTRY)
    others = [
        (run_key(2, "a", {"n": 1}), *base[1:]),
        (run_key(1, "b", {"n": 1}), *base[1:]),
        (run_key(1, "a", {"n": 2}), *base[1:]),
        (base[0], symbol_key("B"), *base[2:]),
        (*base[:2], 8, base[3]),
        (*base[:3], Purpose.WORSE_ENTRY),
    ]
    assert len({uniform(*question) for question in [base, *others]}) == 7


def test_the_order_of_parameters_does_not_matter() -> None:
    assert run_key(1, "a", {"n": 1, "w": 2.0}) == run_key(1, "a", {"w": 2.0, "n": 1})
