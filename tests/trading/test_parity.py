"""What was decided live is what the lab decides on the same bars; where it is not, bar, symbol and values are named."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from actors.kernel.clock import ScaledClock
from actors.store.alarm import Alarm
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind, NewDeskEntry
from actors.trading.blocks import block_of
from actors.trading.journal import KINDS, decode, encode
from actors.trading.nightly import Parity
from actors.trading.parity import Difference, Night, Replay
from actors.trading.ports import Bar
from actors.trading.trader import Rules, Trader
from actors.trading.words import Decided, Funded, WarmedUp
from strategies.bars import Bars, parse_timeframe
from strategies.base import Strategy, Value
from strategies.registry import load
from strategies.resample import resample
from tests.store.running import running
from tests.strategies.market import random_bars

MINUTES = 5
LOOSE: dict[str, dict[str, Value]] = {
    "vwap_reversion": {"distance": 0.002},
    "bollinger_reversion": {"period": 10, "width": 1.0, "relative_volume": 1.0},
}
NAMES = ("vwap_reversion", "bollinger_reversion", "momentum_basic")


def log_of(trader: Trader, blocks: Sequence[NewDeskEntry]) -> list[DeskEntry]:
    """The log as it is when a trader has been shown these blocks, one by one."""
    log: list[DeskEntry] = []

    def commit(entry: NewDeskEntry) -> None:
        log.append(DeskEntry(len(log) + 1, entry.kind, entry.at, entry.data))
        trader.fold(log[-1])

    commit(encode(Funded(trader.name, 10_000, 0)))
    for block in blocks:
        commit(block)
        for decided in list(trader.unsaid):
            commit(encode(decided))
    return log


def blocks_of(bars: Bars) -> list[NewDeskEntry]:
    blocks = []
    for row, time in enumerate(bars.times.tolist()):
        here = {
            symbol: Bar(
                symbol,
                time,
                int(bars.open[row, n]),
                int(bars.high[row, n]),
                int(bars.low[row, n]),
                int(bars.close[row, n]),
                float(bars.volume[row, n] / bars.volume_scale[n]),
            )
            for n, symbol in enumerate(bars.symbols)
            if bars.present[row, n]
        }
        blocks.append(
            NewDeskEntry(DeskKind.BLOCK, time + bars.timeframe, block_of("iex", "stream", bars.timeframe, time, here))
        )
    return blocks


def make(name: str, bars: Bars) -> Strategy:
    return load(name)(bars.symbols, [LOOSE.get(name, {})])


def trader(name: str, bars: Bars) -> Trader:
    strategy = make(name, bars)
    return Trader(
        name, lambda: make(name, bars), Rules(), base=bars.timeframe, timeframe=parse_timeframe(strategy.timeframe)
    )


def replay(name: str, bars: Bars) -> Replay:
    strategy = make(name, bars)
    return Replay(name, lambda: make(name, bars), parse_timeframe(strategy.timeframe))


def found(log: Sequence[DeskEntry], replays: Sequence[Replay], base: int) -> list[Difference]:
    night = Night(replays, base)
    told = [differences for entry in log for differences in night.fold(entry)]
    return [one for differences in [*told, *night.finish()] for one in differences]


@pytest.fixture(scope="module")
def bars() -> Bars:
    return random_bars(default_rng(7), f"{MINUTES}m", rows=78 * 30, symbols=5, missing=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_live_resampled_bar_by_bar_and_in_the_lab_the_decisions_are_the_same(name: str, bars: Bars) -> None:
    log = log_of(trader(name, bars), blocks_of(bars))
    decided = [one for entry in log if isinstance(one := decode(entry), Decided)]
    assert any(one.enter for one in decided)
    assert found(log, [replay(name, bars)], bars.timeframe) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_past_that_came_through_the_log_is_the_labs_past_too(name: str, bars: Bars) -> None:
    """The strategy's own bars until the twentieth day, then the market's."""
    at = int(np.flatnonzero(bars.dates == np.unique(bars.dates)[20])[0])
    own = resample(bars.rows(0, at), load(name).timeframe)
    until = int(bars.times[at])
    warm = [encode(WarmedUp((name,), own.timeframe, until, until)), *blocks_of(own)]
    log = log_of(trader(name, bars), [*warm, *blocks_of(bars.rows(at, len(bars)))])
    decided = [one for entry in log if isinstance(one := decode(entry), Decided)]
    assert any(one.enter for one in decided)
    assert min(one.bar_time for one in decided) >= until
    assert found(log, [replay(name, bars)], bars.timeframe) == []


def test_a_past_that_comes_in_the_middle_of_a_day_leaves_its_minutes_and_other_strategies_alone(bars: Bars) -> None:
    """The slot in progress has minutes from before; who is not named goes on as if nothing had happened."""
    day = np.flatnonzero(bars.dates == np.unique(bars.dates)[20])
    at = int(day[0]) + 28  # two hours and twenty minutes after the open
    own = resample(bars.rows(0, int(day[0]) + 24), load("bollinger_reversion").timeframe)
    warm = encode(WarmedUp(("bollinger_reversion",), own.timeframe, int(bars.times[at]), int(bars.times[at])))
    blocks = [*blocks_of(bars.rows(0, at)), warm, *blocks_of(own), *blocks_of(bars.rows(at, len(bars)))]
    for name in ("bollinger_reversion", "vwap_reversion"):
        replays = [replay("bollinger_reversion", bars), replay("vwap_reversion", bars)]
        assert found(log_of(trader(name, bars), blocks), replays, bars.timeframe) == []


def test_a_decision_that_is_not_the_labs_is_named_with_bar_symbol_and_values(bars: Bars) -> None:
    log = log_of(trader("vwap_reversion", bars), blocks_of(bars))
    place, decided = next(
        (place, one) for place, entry in enumerate(log) if isinstance(one := decode(entry), Decided) and one.enter
    )
    symbol, score = decided.enter[0]
    forged = encode(replace(decided, enter=((symbol, score + 0.5), *decided.enter[1:])))
    log[place] = replace(log[place], data=forged.data)
    [difference] = found(log, [replay("vwap_reversion", bars)], bars.timeframe)
    assert (difference.bar_time, difference.symbol) == (decided.bar_time, symbol)
    assert str(difference).endswith(f"Z {symbol}: entry: score {score + 0.5} live, score {score} in the lab")


def test_what_other_code_has_decided_is_not_held_against_a_strategy(bars: Bars) -> None:
    """Its file was mended at noon, or nobody was there for a while: the bars were seen, and that is all."""
    log = log_of(trader("vwap_reversion", bars), blocks_of(bars))
    for place, entry in enumerate(log):
        if isinstance(said := decode(entry), Decided) and place % 3:
            log[place] = replace(entry, data=encode(replace(said, enter=(), by="another")).data)
    assert found(log, [replay("vwap_reversion", bars)], bars.timeframe) == []


def test_a_bar_that_was_not_decided_on_is_named(bars: Bars) -> None:
    log = log_of(trader("vwap_reversion", bars), blocks_of(bars))
    places = [place for place, entry in enumerate(log) if entry.kind == KINDS[Decided]]
    missing = decode(log.pop(places[30]))
    assert isinstance(missing, Decided)
    [difference] = found(log, [replay("vwap_reversion", bars)], bars.timeframe)
    assert difference.bar_time == missing.bar_time
    assert difference.live == "nothing was decided on"


async def test_every_night_goes_on_from_the_night_before_and_tells_what_it_found(tmp_path: Path, bars: Bars) -> None:
    """Three nights: in the second something is wrong, in the third all is well again."""
    log = log_of(trader("vwap_reversion", bars), blocks_of(bars))
    ends = [entry.seq for entry in log if isinstance(entry.data, BarBlock) and entry.data.time in _last_of_days(bars)]
    alarms: list[Alarm] = []
    async with running(tmp_path) as store:
        parity = Parity(lambda: [replay("vwap_reversion", bars)], bars.timeframe, store, ScaledClock(0), alarms.append)
        begin = 0
        for night, end in enumerate((ends[5] + 1, ends[15] + 1, len(log))):
            entries = [NewDeskEntry(one.kind, one.at, one.data) for one in log[begin:end]]
            if night == 1:
                place, one = next(
                    (n, said)
                    for n, entry in enumerate(log[begin:end])
                    if isinstance(said := decode(entry), Decided) and said.enter
                )
                entries[place] = encode(replace(one, enter=()))
            await store.desk.append(entries)
            differences = await parity.compare()
            assert (len(differences) > 0) == (night == 1)
            begin = end
    assert [alarm.title is None for alarm in alarms] == [True, False, True]
    assert {alarm.signal for alarm in alarms} == {"parity_mismatch"}
    assert ": entry: none live, score " in (alarms[1].title or "")


@pytest.mark.parametrize("behind", [0, 40])
async def test_a_day_that_is_not_over_in_the_log_is_compared_the_night_after(
    tmp_path: Path, bars: Bars, behind: int
) -> None:
    """Its last bars come late, or it has only begun. What there is of a slot of two hours is not the slot."""
    log = log_of(trader("bollinger_reversion", bars), blocks_of(bars))
    last = next(time for time in sorted(_last_of_days(bars)) if time > bars.times[800]) - behind * bars.timeframe
    missing = next(n for n, entry in enumerate(log) if isinstance(entry.data, BarBlock) and entry.data.time == last)
    place = max(n for n, entry in enumerate(log[:missing]) if entry.kind == KINDS[Decided])
    said = decode(log[place])
    assert isinstance(said, Decided)
    log[place] = replace(log[place], data=encode(replace(said, enter=(*said.enter, ("FORGED", 0.5)))).data)
    nights = []
    async with running(tmp_path) as store:
        parity = Parity(
            lambda: [replay("bollinger_reversion", bars)], bars.timeframe, store, ScaledClock(0), lambda _: None
        )
        for entries in (log[:missing], log[missing:]):
            await store.desk.append([NewDeskEntry(one.kind, one.at, one.data) for one in entries])
            nights.append(await parity.compare())
    assert [[(one.bar_time, one.symbol) for one in found] for found in nights] == [[], [(said.bar_time, "FORGED")]]


async def test_who_was_away_for_a_night_is_shown_what_it_has_missed(tmp_path: Path, bars: Bars) -> None:
    """Its averages are those of all bars, the ones of that night included."""
    log = log_of(trader("bollinger_reversion", bars), blocks_of(bars))
    ends = [entry.seq for entry in log if isinstance(entry.data, BarBlock) and entry.data.time in _last_of_days(bars)]
    there: list[Callable[[], list[Replay]]] = [lambda: [replay("bollinger_reversion", bars)], list]
    async with running(tmp_path) as store:
        begin = 0
        for replays, end in zip([*there, there[0]], (ends[5] + 1, ends[6] + 1, ends[15] + 1), strict=True):
            await store.desk.append([NewDeskEntry(one.kind, one.at, one.data) for one in log[begin:end]])
            assert await Parity(replays, bars.timeframe, store, ScaledClock(0), lambda _: None).compare() == []
            begin = end


def _last_of_days(bars: Bars) -> set[int]:
    last = np.append(bars.dates[1:] != bars.dates[:-1], True)
    return set(bars.times[last].tolist())
