"""Strategies begin with a past: as much as they need, of whole bars, as of the shares of today, once."""

from dataclasses import replace
from pathlib import Path

import pytest

from actors.store.desk_records import BarBlock
from actors.trading.hours import sessions_by_rule
from actors.trading.journal import decode
from actors.trading.ports import Bar, Link, SplitDay, Unreachable
from actors.trading.warmup import Need, past
from actors.trading.words import Split, WarmedUp
from strategies.sessions import DAY, HOUR, MINUTE
from tests.trading.scripted import OPEN, SYMBOLS, Desk, bar, story

TWO_HOURS = Need("breakout", 2 * HOUR, 8, "v1")
DAILY = Need("momentum", DAY, 5, "v1")
HALF = 30 * MINUTE
THIS_MORNING = "2026-09-28"


def half_hours(price: int = 1_000_000) -> list[Bar]:
    """Bars of half an hour of all symbols, in all sessions of the month before, and in this one so far."""
    days = sessions_by_rule("2026-08-28", THIS_MORNING)
    starts = [time for day in days for time in range(day.open, day.close, HALF)]
    return [replace(bar(symbol, 0, price), time=time) for time in starts for symbol in SYMBOLS]


async def pasts(desk: Desk) -> list[tuple[WarmedUp, list[BarBlock]]]:
    """Every word that a past follows, with the blocks that do."""
    found: list[tuple[WarmedUp, list[BarBlock]]] = []
    for entry in await desk.log():
        word = decode(entry)
        if isinstance(word, WarmedUp):
            found.append((word, []))
        elif found and isinstance(entry.data, BarBlock) and entry.data.timeframe == found[-1][0].timeframe:
            found[-1][1].append(entry.data)
    return found


@pytest.mark.parametrize(
    ("timeframe", "bars", "minute", "length", "sessions", "until"),
    [
        (DAY, 5, -60, HALF, 6, -(2 * 24 + 17.5) * 60),  # Monday before the open: until Friday's close
        (DAY, 5, 100, HALF, 6, 0),  # the day is not over
        (2 * HOUR, 8, 250, HALF, 4, 240),
        (15 * MINUTE, 60, 100, 15 * MINUTE, 4, 90),
        (MINUTE, 60, 100, MINUTE, 2, 100),
    ],
)
def test_as_many_bars_as_are_needed_end_with_the_last_whole_one(
    timeframe: int, bars: int, minute: int, length: int, sessions: int, until: float
) -> None:
    wanted = past(timeframe, MINUTE, bars, OPEN + minute * MINUTE)
    assert (wanted.length, wanted.until) == (length, OPEN + int(until * MINUTE))
    days = [one for one in sessions_by_rule("2026-08-01", THIS_MORNING) if one.open <= OPEN + minute * MINUTE]
    assert wanted.since == days[-sessions].open


def test_a_past_is_committed_before_the_first_bar_of_the_day_and_only_once(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        desk.options["needs"] = [TWO_HOURS, DAILY]
        desk.market.long_past = half_hours()
        desk.market.past = [bar("SPY", minute) for minute in range(200)]
        for minute in (131, 140):
            async with desk.listening():
                await desk.until(minute)
        (two_hours, blocks), (daily, days) = await pasts(desk)
        assert (two_hours.strategies, two_hours.until) == (("breakout",), OPEN + 120 * MINUTE)
        assert blocks[-1].time == OPEN
        assert {block.source for block in blocks} == {"rest"}
        assert blocks[0].volume[0] == 4 * 12_005_000
        assert len(blocks) >= TWO_HOURS.bars
        assert (daily.strategies, daily.until) == (("momentum",), OPEN)
        assert len(days) == DAILY.bars
        told = await desk.told()
        assert told[0] == "gap"
        assert told.index("block +0 SPY (asked for)") > told.index(str(daily))

    story(tmp_path, tell, begins=130)


def test_a_strategy_that_has_changed_or_is_new_is_warmed_up_alone(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        desk.market.long_past = half_hours()
        for needs in ([DAILY], [DAILY, TWO_HOURS], [replace(DAILY, fingerprint="v2"), TWO_HOURS]):
            desk.options["needs"] = needs
            async with desk.listening():
                await desk.clock.sleep(60)
        assert [word.strategies for word, _ in await pasts(desk)] == [("momentum",), ("breakout",), ("momentum",)]

    story(tmp_path, tell, begins=-60)


def test_after_a_split_shares_are_told_once_and_the_past_begins_anew_as_of_today(tmp_path: Path) -> None:
    """The daemon was off over the weekend: bars of before come first, then the split, then the past, then the day."""

    async def tell(desk: Desk) -> None:
        desk.options["needs"] = [DAILY]
        desk.market.split_days = [SplitDay("AAPL", THIS_MORNING, 4.0)]
        friday = OPEN - 3 * DAY
        desk.market.long_past = [one for one in half_hours(2_000_000) if one.time < OPEN]
        desk.market.past = [replace(bar("AAPL", 0), time=friday + minute * MINUTE) for minute in range(390)]
        await desk.clock.sleep_until(friday + 100 * MINUTE)
        async with desk.listening():
            await desk.clock.sleep(60)
        desk.market.past += [bar("AAPL", minute, 500_000) for minute in range(5)]
        for minute in (5, 6):
            await desk.until(minute)
            async with desk.listening():
                await desk.until(minute + 0.5)
        words = [word for entry in await desk.log() if isinstance(word := decode(entry), Split)]
        assert [(word.symbol, word.ratio, word.time) for word in words] == [("AAPL", 4.0, OPEN - 570 * MINUTE)]
        told = await desk.told()
        place = told.index(str(words[0]))
        friday_close = f"block {(friday - OPEN) // MINUTE + 389:+d} AAPL (asked for)"
        assert told.index(friday_close) < place < told.index("block +0 AAPL (asked for)")
        before, after = await pasts(desk)
        assert [block.open[0] for block in before[1]] == [2_000_000] * len(before[1])
        assert [(block.open[0], block.open[1]) for block in after[1]] == [(500_000, 2_000_000)] * len(after[1])
        assert after[1][0].volume[0] == 4 * after[1][0].volume[1]

    story(tmp_path, tell, begins=-3 * 24 * 60)


def test_a_split_is_told_over_night_while_the_daemon_runs(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        desk.options["needs"] = [DAILY]
        desk.market.split_days = [SplitDay("SPY", "2026-09-29", 0.1)]
        desk.market.long_past = half_hours()
        desk.market.past = [bar("SPY", minute) for minute in range(390)]
        async with desk.listening():
            await desk.until(24 * 60 - 60)
        words = [word for entry in await desk.log() if isinstance(word := decode(entry), Split)]
        assert [(word.symbol, word.ratio) for word in words] == [("SPY", 0.1)]
        assert [word.strategies for word, _ in await pasts(desk)] == [("momentum",)] * 2

    story(tmp_path, tell, begins=389)


def test_bars_wait_until_it_is_known_whose_shares_were_split(tmp_path: Path) -> None:
    """All night nobody could be asked: a fourth of the price of yesterday is no loss, and is not told as one."""

    async def tell(desk: Desk) -> None:
        desk.market.split_days = [SplitDay("AAPL", "2026-09-29", 4.0)]
        tuesday = 24 * 60
        desk.market.past = [bar("AAPL", minute) for minute in range(390)]
        async with desk.listening():
            await desk.until(800)
            desk.market.split_troubles = [Unreachable("503")] * 10_000
            await desk.until(960)
            desk.market.sink(Link(up=False, reason="a bad night"))
            desk.market.sink(Link(up=True))
            for minute in range(tuesday, tuesday + 6):
                await desk.until(minute + 1.05)
                desk.market.say(*(bar(symbol, minute, 250_000) for symbol in SYMBOLS))
            assert not desk.trusted()
            assert [alarm.title is not None for alarm in desk.alarms] == [True]
            desk.market.split_troubles.clear()
            await desk.until(tuesday + 8)
            told = await desk.told()
            [split] = [str(word) for entry in await desk.log() if isinstance(word := decode(entry), Split)]
            assert told.index("block +389 AAPL (asked for)") < told.index(split)
            assert told.index(split) < told.index(f"block {tuesday:+d} AAPL MSFT SPY")
            assert desk.trusted()

    story(tmp_path, tell, begins=389)
