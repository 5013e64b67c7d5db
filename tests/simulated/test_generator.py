"""Made-up minutes: the same from the same seed, whoever asks for what part, and like a market in what matters."""

from dataclasses import replace
from functools import cache
from itertools import islice, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.simulated.exchange.generator import SYMBOLS, Synthetic
from actors.simulated.exchange.past import longer
from actors.simulated.exchange.wire import micros
from actors.trading.ports import Bar
from strategies.sessions import DAY, HOUR, MINUTE

START = micros("2026-01-02T00:00:00Z")
MARKET = Synthetic(seed=1)
THREE = SYMBOLS[:3]


@cache
def year(symbol: str) -> list[Bar]:
    return MARKET.history([symbol], START, START + 365 * DAY)


def by_day(bars: list[Bar]) -> list[list[Bar]]:
    days: dict[int, list[Bar]] = {}
    for bar in bars:
        days.setdefault(bar.time // DAY, []).append(bar)
    return list(days.values())


def test_it_is_labelled() -> None:
    assert MARKET.feed == "synthetic"


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(0, 300 * DAY), st.integers(0, 3 * DAY))
def test_any_part_is_the_same_part_of_the_same_market(seed: int, since: int, length: int) -> None:
    begin, end = START + since, START + since + length
    tape = Synthetic(("A", "B"), seed)
    bars = tape.history(("B", "A"), begin, end)
    assert all(begin <= bar.time < end for bar in bars)
    assert bars == sorted(bars, key=lambda bar: (bar.time, bar.symbol))
    alone = Synthetic(("A",), seed).history(["A"], begin - DAY, end + DAY)
    assert [bar for bar in bars if bar.symbol == "A"] == [bar for bar in alone if begin <= bar.time < end]
    played = [bar for moment in islice(tape.moments(begin), 100) for bar in moment.bars]
    assert played[: len(bars)] == bars[: len(played)]


def test_another_seed_is_another_market_and_two_symbols_are_not_one_path() -> None:
    first, other = year("AAPL")[:1_000], Synthetic(seed=2).history(["AAPL"], START, START + 5 * DAY)
    assert [bar.close for bar in first] != [bar.close for bar in other[:1_000]]
    one, two = (np.diff(np.log([day[-1].close for day in by_day(year(symbol))])) for symbol in SYMBOLS[:2])
    assert 0.1 < np.corrcoef(one, two)[0, 1] < 0.95


def test_bars_are_possible_and_their_prices_are_cents() -> None:
    for bars in map(year, THREE):
        for bar in bars:
            assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
            assert bar.low <= bar.vwap <= bar.high
            assert bar.volume > 0
            assert bar.open % 100 == bar.high % 100 == bar.low % 100 == bar.close % 100 == 0


def test_there_are_bars_in_sessions_only_and_early_closes_are_early() -> None:
    days = {bars[0].time // DAY: bars for bars in by_day(year("AAPL"))}
    assert len(days) == 251
    short = days[micros("2026-11-27T00:00:00Z") // DAY]
    assert short[0].time >= micros("2026-11-27T14:30:00Z")
    assert micros("2026-11-27T17:50:00Z") < short[-1].time < micros("2026-11-27T18:00:00Z")
    assert micros("2026-12-25T00:00:00Z") // DAY not in days
    assert all(bars[-1].time - bars[0].time < 6.5 * HOUR for bars in days.values())


def test_some_minutes_are_silent_some_are_bursts_and_the_day_is_busy_at_its_ends() -> None:
    days = by_day(year("AAPL"))
    minutes = sum(len(day) for day in days)
    assert 0.002 < 1 - minutes / (390 * len(days)) < 0.03
    volume = [np.array([bar.volume for bar in day]) for day in days]
    assert np.mean([day.max() / np.median(day) for day in volume]) > 4
    ends = np.mean([(day[:30].mean() + day[-30:].mean()) / 2 for day in volume])
    assert ends > 1.5 * np.mean([day[150:240].mean() for day in volume])


def test_prices_gap_over_night_more_than_from_minute_to_minute() -> None:
    for bars in map(year, THREE):
        days = by_day(bars)
        nights = np.array([abs(after[0].open / before[-1].close - 1) for before, after in pairwise(days)])
        minutes = np.array([abs(after.open / before.close - 1) for before, after in pairwise(days[0])])
        assert np.median(nights) > 0.002
        assert nights.max() > 0.02
        assert np.median(minutes) == 0  # within the day a bar opens where the last one closed


def test_calm_and_wild_weeks_follow_each_other() -> None:
    """Regimes: the range of a day is like that of the day before."""
    ranges = np.array(
        [np.log(max(bar.high for bar in day) / min(bar.low for bar in day)) for day in by_day(year("AMZN"))]
    )
    assert ranges.max() > 3 * ranges.min()
    assert np.corrcoef(ranges[:-1], ranges[1:])[0, 1] > 0.1


def test_nothing_runs_away_in_fifteen_years() -> None:
    for opens, closes in Synthetic(seed=5)._opens_and_closes.values():
        assert closes.max() / closes.min() < 60
        assert min(opens.min(), closes.min()) > 1


def test_longer_bars_are_the_minutes_put_together() -> None:
    tape = Synthetic(SYMBOLS[:2], seed=1, timeframe=15 * MINUTE)
    quarters = tape.history(SYMBOLS[:1], START, START + 30 * DAY)
    minutes = [bar for bar in year(SYMBOLS[0]) if bar.time < START + 30 * DAY]
    whole = {bar.time: bar for bar in longer(iter(minutes), 15 * MINUTE)}
    assert [bar.time for bar in quarters] == list(whole)
    for bar in quarters:
        assert replace(bar, vwap=0, trades=0) == replace(whole[bar.time], vwap=0, trades=0)
        assert abs(bar.vwap - whole[bar.time].vwap) <= 1
    played = [bar for moment in islice(tape.moments(START), 26) for bar in moment.bars]
    assert [bar for bar in played if bar.symbol == SYMBOLS[0]] == quarters[:26]


def test_a_shock_falls_on_its_day_and_what_was_before_is_as_it_was() -> None:
    shocked = Synthetic(SYMBOLS, seed=1, shocks={"AAPL": ("2026-01-15", -0.3)}).history(
        ["AAPL"], START, START + 20 * DAY
    )
    calm = [bar for bar in year("AAPL") if bar.time < START + 20 * DAY]
    news = micros("2026-01-15T00:00:00Z")
    assert [bar for bar in shocked if bar.time < news] == [bar for bar in calm if bar.time < news]
    fallen = next(bar for bar in shocked if bar.time >= news).open / next(bar for bar in calm if bar.time >= news).open
    assert abs(fallen - 0.7) < 0.001
