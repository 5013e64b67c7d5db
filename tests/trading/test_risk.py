"""Every limit, told as a trader would meet it: entries are cut or refused with the numbers, exits always go out."""

from pathlib import Path

import pytest

from actors.trading.ports import Quote
from actors.trading.words import IntentOver, Verdict
from tests.trading.asking_risk import budget, buy, limits, refusal, sell, verdict
from tests.trading.floor import SYMBOLS, Floor, story


def test_an_entry_is_cut_to_what_a_symbol_may_have_and_refused_beyond(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 12_000.0, "one")
            assert await budget(floor, floor.entry("two", "AAPL", 15_000.0)) == 15_000.0  # 27,000 of 200,000
            await floor.tick()
            assert await budget(floor, floor.entry("three", "AAPL", 25_000.0)) == pytest.approx(20_000.0)
            await floor.tick()
            why = await refusal(floor, floor.entry("one", "AAPL", 100_000.0))
            assert why.startswith("max_symbol: one has 11,99")
            assert why.endswith("in AAPL; the limit is 20%")

    story(tmp_path, tell, strategies=("one", "two", "three"), limits=limits(max_symbol=0.2))


def test_sectors_and_the_whole_have_their_ceilings(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 40_000.0)
            assert await budget(floor, floor.entry("alone", "MSFT", 20_000.0)) == pytest.approx(10_000.0, rel=0.01)
            assert (await refusal(floor, floor.entry("alone", "MSFT", 20_000.0))).startswith("max_sector: ")
            assert await budget(floor, floor.entry("alone", "JPM", 40_000.0)) == pytest.approx(30_000.0, rel=0.01)
            assert (await refusal(floor, floor.entry("alone", "SPY", 40_000.0))).startswith("max_gross: ")

    story(tmp_path, tell, limits=limits(max_gross=0.8, max_sector=0.5), sectors={"AAPL": "tech", "MSFT": "tech"})


def test_nobody_spends_what_another_entry_was_promised(tmp_path: Path) -> None:
    """Two entries of one moment: the second gets what the first leaves of the cash."""

    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            first, second = floor.entry("alone", "AAPL", 70_000.0), floor.entry("alone", "MSFT", 70_000.0)
            await floor.say(first, second)
            await floor.clock.sleep(5)
            said = {word.intent: word.budget for word in await floor.words() if isinstance(word, Verdict)}
            assert said == {first.id: 70_000.0, second.id: pytest.approx(30_000.0)}
            third = await refusal(floor, floor.entry("alone", "SPY", 70_000.0))
            assert third.startswith("buying_power: alone has ")

    story(tmp_path, tell)


def test_a_minute_s_orders_are_counted_and_who_is_too_many_waits(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            entries = [floor.entry("alone", symbol, 1_000.0) for symbol in SYMBOLS]
            await floor.say(*entries)
            await floor.clock.sleep(30)
            allowed = [word for word in await floor.words() if isinstance(word, Verdict)]
            assert len(allowed) == 3
            await sell(floor, allowed[0].intent.split("/")[1])  # exits are counted, and never wait
            floor.quote()
            await floor.clock.sleep(29)
            floor.quote()
            await floor.clock.sleep(3)
            assert len([word for word in await floor.words() if isinstance(word, Verdict) and word.allowed]) == 6

    story(tmp_path, tell, limits=limits(max_orders_per_minute=3))


@pytest.mark.parametrize(
    ("bid", "ask", "rule"),
    [
        (0, 1_000_000, "price_collar: bid 0.0 and ask 100.0"),
        (1_000_100, 1_000_000, "price_collar: bid 100.01 and ask 100.0"),
    ],
)
def test_a_quote_that_cannot_be_is_no_price(tmp_path: Path, bid: int, ask: int, rule: str) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            floor.board.show(Quote("AAPL", floor.clock.now(), bid, ask))
            assert await verdict(floor, intent := floor.entry("alone", "AAPL", 1_000.0)) is None  # it may yet come
            await floor.clock.sleep(60)
            assert [w.why for w in await floor.words() if isinstance(w, IntentOver) and w.intent == intent.id] == [rule]

    story(tmp_path, tell)


def test_a_price_far_from_where_it_was_decided_is_refused(tmp_path: Path) -> None:
    """105 is not more than 5 % above 100, though 105 / 100 - 1 is more than 0.05 in binary."""

    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            floor.quote(AAPL=104.99)
            await buy(floor, "AAPL", 1_000.0)
            intent = floor.entry("alone", "AAPL", 1_000.0)
            floor.quote(AAPL=106.0)
            assert await refusal(floor, intent) == (
                "price_collar: ask 106.0100 is +6.01% from decided at 100.0000; 5% is the limit"
            )

    story(tmp_path, tell, limits=limits(price_collar=0.05))


def test_an_old_quote_waits_for_a_new_one_and_is_refused_when_none_comes(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await floor.clock.sleep(240)
            assert await verdict(floor, first := floor.entry("alone", "AAPL", 1_000.0)) is None
            floor.quote()
            await floor.clock.sleep(2)
            assert [w.allowed for w in await floor.words() if isinstance(w, Verdict) and w.intent == first.id] == [True]
            await floor.clock.sleep(240)
            why = await refusal(floor, floor.entry("alone", "MSFT", 1_000.0), within_s=65)
            assert why.startswith("stale_after: the last quote is 30")
            assert why.endswith("s old; the limit is 180 s")

    story(tmp_path, tell)


def test_a_closed_exchange_and_a_halt_stop_entries_and_no_exit(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 10_000.0)
            floor.board.halt("MSFT", halted=True)
            assert await refusal(floor, floor.entry("alone", "MSFT", 1.0)) == "halt: trading in MSFT is halted"
            floor.open = False
            why = await refusal(floor, floor.entry("alone", "SPY", 1_000.0), within_s=65)
            assert why == "session: the exchange is closed"
            floor.board.halt("AAPL", halted=True)
            await sell(floor, "AAPL")

    story(tmp_path, tell)


def test_a_strategy_does_not_go_back_where_it_was_stopped_out(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 10_000.0, "one")
            await sell(floor, "AAPL", "one", reason="stop_loss")
            await floor.clock.sleep(7200)
            await floor.tick()
            why = await refusal(floor, floor.entry("one", "AAPL", 1_000.0))
            assert why == "cooldown_after_stop: stopped out of AAPL 2.0 h ago; 168 h must pass"
            await buy(floor, "AAPL", 1_000.0, "two")
        await floor.clock.sleep(7 * 86_400)
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 1_000.0, "one")

    story(tmp_path, tell, strategies=("one", "two"), limits=limits(cooldown_after_stop_s=7 * 86_400.0))
