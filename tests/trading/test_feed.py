"""What the market sends is in the log as blocks, complete or closed in time, and nothing is traded across a gap."""

import sqlite3
from pathlib import Path

import pytest

from actors.store.desk_records import BarBlock, DeskKind, Gap
from actors.trading.ports import Halted, Link, Refused, Unreachable
from strategies.sessions import MINUTE
from tests.trading.scripted import OPEN, SYMBOLS, Desk, bar, story

FRESH = ["gap", "refilled"]


def test_a_block_is_closed_as_soon_as_all_symbols_are_there(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1.001)
            desk.market.say(*[bar(symbol, 0) for symbol in SYMBOLS])
            await desk.until(1.002)
            assert await desk.told() == [*FRESH, "block +0 AAPL MSFT SPY"]
            block = (await desk.log())[-1].data
            assert isinstance(block, BarBlock)
            assert (block.feed, block.source, block.timeframe) == ("iex", "stream", MINUTE)
            assert (block.close[0], block.volume[0]) == (1_000_100, 12_005_000)

    story(tmp_path, tell)


def test_a_block_without_all_symbols_is_closed_at_its_deadline_and_what_comes_later_is_a_revision(
    tmp_path: Path,
) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1.01)
            desk.market.say(bar("SPY", 0), bar("AAPL", 0))
            await desk.until(1.08)
            assert await desk.told() == FRESH
            await desk.until(1.1)
            assert await desk.told() == [*FRESH, "block +0 AAPL SPY"]
            desk.market.say(bar("MSFT", 0))
            desk.market.say(bar("AAPL", 0, 2_000_000), revised=True)
            await desk.until(1.2)
            assert (await desk.told())[3:] == ["revision +0 AAPL MSFT"]

    story(tmp_path, tell)


def test_a_bar_that_is_revised_before_its_block_is_closed_is_the_revised_one(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            desk.market.say(bar("AAPL", 0))
            desk.market.say(bar("AAPL", 0, 2_000_000), revised=True)
            await desk.until(2)
            block = (await desk.log())[-1].data
            assert isinstance(block, BarBlock)
            assert list(block.open) == [2_000_000]

    story(tmp_path, tell)


def test_with_a_clock_that_runs_ahead_bars_are_not_late_and_blocks_are_whole(tmp_path: Path) -> None:
    """The exchange's minute ends twenty seconds after ours: long after the deadline counted from ours."""

    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1 + 20 / 60)
            desk.market.say(bar("AAPL", 0))
            await desk.until(1 + 22 / 60)
            desk.market.say(bar("MSFT", 0))
            await desk.until(2)
            assert await desk.told() == [*FRESH, "block +0 AAPL MSFT"]

    story(tmp_path, tell)


def test_a_bar_of_a_later_minute_closes_the_earlier_one(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            desk.market.say(bar("AAPL", 0), bar("MSFT", 1))
            await desk.until(1.01)
            assert await desk.told() == [*FRESH, "block +0 AAPL"]

    story(tmp_path, tell)


def test_bars_missed_during_a_disconnect_are_asked_for_before_the_stream_goes_on(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            desk.market.say(*[bar(symbol, 0) for symbol in SYMBOLS])
            await desk.until(1.5)
            assert desk.trusted()
            desk.market.sink(Link(up=False, reason="the stream broke"))
            await desk.until(4.2)
            assert not desk.trusted()
            desk.market.past = [bar("AAPL", minute) for minute in range(6)]
            desk.market.troubles = [Unreachable("504")] * 2
            desk.market.sink(Link(up=True))
            desk.market.say(bar("MSFT", 3))
            await desk.until(5)
            desk.market.say(bar("AAPL", 4))
            await desk.until(5.2)
        assert await desk.told() == [
            *FRESH,
            "block +0 AAPL MSFT SPY",
            "gap",
            "block +1 AAPL (asked for)",
            "block +2 AAPL (asked for)",
            "block +3 AAPL MSFT (asked for)",
            "refilled",
            "block +4 AAPL",
        ]
        gap, refilled = [entry.data for entry in await desk.log() if isinstance(entry.data, Gap)][2:]
        assert isinstance(gap, Gap)
        assert gap.reason == "the stream broke"
        assert gap.since == OPEN + 1
        assert isinstance(refilled, Gap)
        assert OPEN + 3 * MINUTE < refilled.until <= OPEN + 4 * MINUTE

    story(tmp_path, tell)


def test_a_disconnect_during_the_refill_begins_it_anew_and_the_gap_stays_one(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        desk.market.past = [bar("AAPL", minute) for minute in range(10)]
        async with desk.listening():
            await desk.until(3.01)
            desk.market.sink(Link(up=False, reason="again"))
            await desk.until(4.01)
            desk.market.sink(Link(up=True))
            await desk.until(5)
        asked_for = [f"block +{minute} AAPL (asked for)" for minute in range(4)]
        assert await desk.told() == ["gap", *asked_for, "refilled"]

    story(tmp_path, tell, begins=2.95)


def test_after_a_restart_the_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            desk.market.say(*[bar(symbol, 0) for symbol in SYMBOLS])
            await desk.until(1.5)
        assert not desk.trusted()
        desk.market.past = [bar("SPY", minute) for minute in range(3)]
        await desk.until(3.5)
        async with desk.listening():
            await desk.until(4)
        assert (await desk.told())[3:] == ["gap", "block +1 SPY (asked for)", "block +2 SPY (asked for)", "refilled"]

    story(tmp_path, tell)


def test_at_the_very_first_start_the_session_in_progress_is_read_from_its_open(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        desk.market.past = [bar("SPY", minute) for minute in range(-3, 9)]
        async with desk.listening():
            await desk.until(3)
        assert await desk.told() == ["gap", "block +0 SPY (asked for)", "block +1 SPY (asked for)", "refilled"]

    story(tmp_path, tell, begins=2.5)


def test_a_flood_that_finds_no_room_is_a_gap_and_refilled(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening() as feed:
            await desk.until(1)
            desk.market.past = [bar(symbol, 0) for symbol in SYMBOLS]
            for _ in range(2):
                desk.market.say(*[bar("AAPL", 0, 3_000_000)] * feed.mailbox.capacity)
            await desk.until(2)
        told = await desk.told()
        assert told[2] == "gap"
        assert told[3] == "block +0 AAPL MSFT SPY (asked for)"
        assert told[4] == "refilled"

    story(tmp_path, tell)


def test_quotes_are_on_the_board_at_once_and_many_wake_once(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            before = desk.wakes
            for n in range(500):
                desk.market.quote("AAPL", OPEN + n, bid=1_000_000 + n, ask=1_000_000 + n)
            desk.market.quote("AAPL", OPEN + 3, bid=1, ask=1)
            newest = desk.board.newest("AAPL")
            assert newest is not None
            assert newest.bid == 1_000_499
            await desk.until(1.1)
            assert desk.wakes - before == 1
            assert desk.board.fresh("AAPL", OPEN) is newest
            assert desk.board.fresh("AAPL", OPEN + 500) is None
            desk.market.quote("AAPL", OPEN + 600, bid=1_000_000, ask=0)
            desk.market.quote("SPY", OPEN + 600, bid=1_000_001, ask=1_000_000)
            assert desk.board.fresh("AAPL", OPEN) is None
            assert desk.board.fresh("SPY", OPEN) is None

    story(tmp_path, tell)


def test_what_is_stamped_tomorrow_hides_nothing_of_today(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1.001)
            desk.market.quote("AAPL", OPEN + 86_400_000_000, bid=1, ask=1)
            desk.market.say(*[bar(symbol, 1440) for symbol in SYMBOLS])
            desk.market.quote("AAPL", OPEN, bid=1_000_000, ask=1_000_000)
            desk.market.say(*[bar(symbol, 0) for symbol in SYMBOLS])
            await desk.until(1.002)
            assert await desk.told() == [*FRESH, "block +0 AAPL MSFT SPY"]
            quote = desk.board.newest("AAPL")
            assert quote is not None
            assert quote.bid == 1_000_000

    story(tmp_path, tell)


def test_a_halt_is_on_the_board_until_it_is_over(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            desk.market.sink(Halted("AAPL", halted=True, time=OPEN))
            await desk.until(1.1)
            assert desk.board.halted == {"AAPL"}
            desk.market.sink(Halted("AAPL", halted=False, time=OPEN))
            await desk.until(1.2)
            assert desk.board.halted == set()

    story(tmp_path, tell)


def test_a_halt_whose_end_may_have_been_missed_holds_nobody_up(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            desk.market.sink(Halted("AAPL", halted=True, time=OPEN))
            desk.market.sink(Link(up=False, reason="the stream broke"))
            await desk.until(2)
            assert desk.board.halted == {"AAPL"}
            desk.market.sink(Link(up=True))
            await desk.until(2.1)
            assert desk.board.halted == set()

    story(tmp_path, tell)


def _feed_stale(desk: Desk) -> list[bool]:
    """Every word on the matter: True where it was raised."""
    assert {alarm.signal for alarm in desk.alarms} <= {"feed_stale"}
    return [alarm.title is not None for alarm in desk.alarms]


def test_silence_while_the_exchange_is_open_is_told_and_so_is_its_end(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(2)
            desk.market.say(bar("AAPL", 1))
            await desk.until(4.9)
            assert desk.trusted()
            await desk.until(5.1)
            assert not desk.trusted()
            assert _feed_stale(desk) == [True]
            await desk.until(20)
            desk.market.quote("AAPL", OPEN + 20 * MINUTE)
            await desk.until(20.1)
            assert desk.trusted()
            assert _feed_stale(desk) == [True, False]

    story(tmp_path, tell)


def test_who_wants_quotes_of_seconds_is_not_told_of_silence_between_two_bars(tmp_path: Path) -> None:
    """The stream has nothing but a bar a minute: that is what it is like, and a missing bar is what is told."""

    async def tell(desk: Desk) -> None:
        desk.options["stale_after_s"] = 20.0
        async with desk.listening():
            for minute in range(1, 11):
                await desk.until(minute + 0.05)
                desk.market.say(*(bar(symbol, minute - 1) for symbol in SYMBOLS))
            assert _feed_stale(desk) == []
            await desk.until(11.7)  # 99 seconds after the last
            assert _feed_stale(desk) == []
            await desk.until(11.9)
            assert _feed_stale(desk) == [True]

    story(tmp_path, tell)


def test_silence_outside_the_sessions_is_nothing(tmp_path: Path) -> None:
    """From Friday's close over a weekend until three minutes after Monday's open."""

    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(2.9)
            assert desk.trusted()
            assert _feed_stale(desk) == []
            await desk.until(3.1)
            assert _feed_stale(desk) == [True]

    story(tmp_path, tell, begins=-65 * 60)


def test_a_market_that_streams_but_cannot_be_asked_is_stale_too(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        desk.market.troubles = [Unreachable("503")] * 100
        async with desk.listening():
            for minute in range(2, 10):
                await desk.until(minute)
                desk.market.quote("AAPL", OPEN + minute * MINUTE)
            assert not desk.trusted()
            assert _feed_stale(desk) == [True]
            assert await desk.told() == ["gap"]

    story(tmp_path, tell, begins=1)


def test_a_market_that_refuses_ends_the_feed_with_its_words(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            desk.market.refusal.set_exception(Refused("auth failed"))
            await desk.until(2)

    with pytest.raises(ExceptionGroup) as raised:
        story(tmp_path, tell)
    assert raised.group_contains(Refused, match="auth failed")


@pytest.mark.parametrize("seed", range(3))
def test_blocks_wait_in_order_for_a_store_that_is_away(tmp_path: Path, seed: int) -> None:
    """Every bar that was sent is in the log once, in the order of time, whatever the store does meanwhile."""

    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            desk.store._driver._faults = _fail_before  # type: ignore[attr-defined]
            for minute in range(5):
                await desk.until(minute + 1)
                desk.market.say(*[bar(symbol, minute) for symbol in SYMBOLS])
            await desk.until(6)
            desk.store._driver._faults = lambda _: None  # type: ignore[attr-defined]
            await desk.until(6.7)
        kinds = [entry.kind for entry in await desk.log()]
        assert kinds == [DeskKind.GAP, DeskKind.REFILLED, *[DeskKind.BLOCK] * 5]
        assert (await desk.told())[2:] == [f"block +{minute} AAPL MSFT SPY" for minute in range(5)]

    story(tmp_path, tell, seed=seed)


def _fail_before(when: str) -> None:
    if when == "before":
        raise sqlite3.OperationalError("disk I/O error")


def test_a_minute_in_which_nobody_traded_is_closed_when_the_market_confirms_it(tmp_path: Path) -> None:
    """So a longer bar whose last minute is silent is whole a minute later, not on the next day."""

    async def tell(desk: Desk) -> None:
        async with desk.listening():
            await desk.until(1)
            desk.market.say(*[bar(symbol, 0) for symbol in SYMBOLS])
            desk.market.past = [bar(symbol, 0) for symbol in SYMBOLS]
            await desk.until(2.74)
            assert await desk.told() == [*FRESH, "block +0 AAPL MSFT SPY"]
            await desk.until(2.8)
            desk.market.say(bar("SPY", 2))
            await desk.until(3.5)
        assert (await desk.told())[3:] == ["block +1  (asked for)", "block +2 SPY"]
        assert desk.trusted() is False

    story(tmp_path, tell)


def test_bars_that_the_open_stream_does_not_bring_are_a_gap_and_refilled(tmp_path: Path) -> None:
    """The stream is deaf to bars, and says nothing about it."""

    async def tell(desk: Desk) -> None:
        desk.market.past = [bar(symbol, minute) for symbol in SYMBOLS for minute in range(5)]
        async with desk.listening():
            await desk.until(1)
            desk.market.say(*[bar(symbol, 0) for symbol in SYMBOLS])
            await desk.until(3.5)
        told = (await desk.told())[3:]
        assert told == ["gap", "block +1 AAPL MSFT SPY (asked for)", "refilled"]

    story(tmp_path, tell)


def test_after_the_close_nothing_is_asked_but_about_the_last_minute(tmp_path: Path) -> None:
    async def tell(desk: Desk) -> None:
        desk.market.past = [bar("SPY", minute) for minute in range(388)]
        async with desk.listening():
            await desk.until(390 + 12 * 60)
        told = await desk.told()
        assert told[-3:] == ["refilled", "block +388  (asked for)", "block +389  (asked for)"]

    story(tmp_path, tell, begins=388.5)
