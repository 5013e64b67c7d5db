"""What a strategy is shown live is what it would be shown of the same bars in the lab."""

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.store.desk_records import BarBlock
from actors.trading.resampling import Resampler
from strategies.bars import FRACTIONAL_SHARE, Bars, parse_timeframe
from strategies.resample import resample
from strategies.sessions import HOUR, MINUTE, sessions_between

SYMBOLS = ("AAPL", "MSFT", "SPY")
# Around Thanksgiving 2026: a holiday, a short day, a weekend, and days on which nothing special happens.
SESSIONS = sessions_between(np.datetime64("2026-11-25"), np.datetime64("2026-12-02"))
FIRST = int(np.searchsorted(SESSIONS.dates, np.datetime64("2026-11-25")))
DAYS = list(zip(SESSIONS.opens[FIRST : FIRST + 5].tolist(), SESSIONS.closes[FIRST : FIRST + 5].tolist(), strict=True))


@st.composite
def minutes(draw: Any) -> Bars:
    """Bars of some minutes, also before and after hours, with holes: times, symbols and prices drawn."""
    offset = draw(st.sampled_from([0, 0, 30]))
    length = draw(st.sampled_from([1, 5, 15])) * MINUTE
    starts = [t for opens, closes in DAYS for t in range(opens - HOUR - offset * MINUTE, closes + HOUR, length)]
    times = np.array(sorted(draw(st.sets(st.sampled_from(starts), min_size=1, max_size=80))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (len(times), len(SYMBOLS))
    present = rng.random(shape) < draw(st.sampled_from([0.3, 1.0]))
    present[~present.any(axis=1), 0] = True
    rows, symbol = np.nonzero(present)
    low = rng.integers(1_000, 2_000_000, len(rows))
    high = low + rng.integers(0, 5_000, len(rows))
    opens, close = (rng.integers(low, high + 1) for _ in range(2))
    volume = rng.integers(1, 10**9, len(rows)) / FRACTIONAL_SHARE
    columns = (opens / 10_000, high / 10_000, low / 10_000, close / 10_000, volume)
    return Bars.from_columns(SYMBOLS, symbol, times[rows], *columns, timeframe=length)


def blocks(bars: Bars) -> Iterator[BarBlock]:
    """As the feed would have committed them, with symbols in an order of its own, and last what ends the last slot."""
    for t, time in enumerate(bars.times.tolist()):
        here = np.flatnonzero(bars.present[t])[::-1]
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume * (FRACTIONAL_SHARE // bars.volume_scale))
        values = [array("q", column[t, here].tolist()) for column in columns] + [array("q", [0] * len(here))] * 2
        yield BarBlock("iex", "stream", bars.timeframe, time, tuple(SYMBOLS[n] for n in here), *values)
    yield nothing(DAYS[-1][1] + 2 * HOUR, bars.timeframe)


def nothing(time: int, length: int) -> BarBlock:
    return BarBlock("iex", "rest", length, time, (), *[array("q")] * 7)


def same(live: list[BarBlock], lab: Bars) -> None:
    assert [block.time for block in live] == lab.times.tolist()
    for t, block in enumerate(live):
        here = np.flatnonzero(lab.present[t])
        assert set(block.symbols) == {SYMBOLS[n] for n in here}
        here = np.array([SYMBOLS.index(symbol) for symbol in block.symbols])
        for name in ("open", "high", "low", "close"):
            assert list(getattr(block, name)) == getattr(lab, name)[t, here].tolist(), name
        volume = lab.volume[t, here] * (FRACTIONAL_SHARE // lab.volume_scale[here])
        assert list(block.volume) == volume.tolist()


@settings(max_examples=150)
@given(minutes(), st.sampled_from(["15m", "30m", "2h", "1d"]), st.randoms())
def test_live_bars_are_those_of_the_lab_also_across_restarts(bars: Bars, timeframe: str, rng: Any) -> None:
    """After any block the daemon may be killed, and is then shown that block once more."""
    live: list[BarBlock] = []
    resampler = Resampler(bars.timeframe, parse_timeframe(timeframe))
    for block in blocks(bars):
        live += resampler.fold(block)
        if rng.random() < 0.2:
            state = resampler.state()
            resampler = Resampler(bars.timeframe, parse_timeframe(timeframe))
            resampler.restore(state)
            assert resampler.fold(block) == []
    inside = (bars.times + bars.timeframe > bars.session_open) & (bars.times < bars.session_close)
    if inside.any() or bars.timeframe == parse_timeframe(timeframe):
        same(live, resample(bars, timeframe))
    else:
        assert live == []


@pytest.mark.parametrize(("timeframe", "closes_at"), [("15m", 15), ("2h", 120), ("1d", 210)])
def test_a_bar_is_whole_at_its_last_minute_and_not_when_the_next_one_comes(timeframe: str, closes_at: int) -> None:
    """On the short day after Thanksgiving, 210 minutes long."""
    opens = DAYS[1][0]
    resampler = Resampler(MINUTE, parse_timeframe(timeframe))
    whole: list[BarBlock] = []
    for minute in range(closes_at):
        one = BarBlock("iex", "stream", MINUTE, opens + minute * MINUTE, ("AAPL",), *[array("q", [minute + 1])] * 7)
        whole += resampler.fold(one)
        assert len(whole) == (minute == closes_at - 1)
    [block] = whole
    assert (block.timeframe, block.time) == (parse_timeframe(timeframe), opens)
    assert (block.open[0], block.low[0], block.close[0], block.high[0]) == (1, 1, closes_at, closes_at)
    volumes = range(1, closes_at + 1)
    assert (block.volume[0], block.trades[0]) == (sum(volumes), sum(volumes))
    assert block.vwap[0] == sum(n * n for n in volumes) // sum(volumes)


def test_a_block_without_bars_ends_a_slot_and_is_no_bar() -> None:
    opens, closes = DAYS[0]
    resampler = Resampler(MINUTE, parse_timeframe("1d"))
    assert resampler.fold(BarBlock("iex", "stream", MINUTE, opens, ("AAPL",), *[array("q", [7])] * 7)) == []
    [block] = resampler.fold(nothing(closes - MINUTE, MINUTE))
    assert block.close[0] == 7
    assert resampler.fold(nothing(closes, MINUTE)) == []
