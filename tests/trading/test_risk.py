"""Every limit, told as a trader would meet it: entries are cut or refused with the numbers, exits always go out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.store.records import Severity
from actors.trading.ports import Link, Order, Quote, Side
from actors.trading.risk_rules import Limits
from actors.trading.words import (
    Booked,
    Instruction,
    Intent,
    IntentOver,
    OrderPlaced,
    Split,
    Told,
    Verdict,
)
from tests.trading.floor import LOOSE, MINUTE, OPEN, SYMBOLS, Floor, story

HOUR = 60 * MINUTE


async def verdict(floor: Floor, intent: Intent, within_s: float = 5.0) -> Verdict | None:
    """What risk says to it within that time."""
    await floor.say(intent)
    await floor.clock.sleep(within_s)
    found = [word for word in await floor.words() if isinstance(word, Verdict) and word.intent == intent.id]
    assert len(found) <= 1
    return found[0] if found else None


async def refusal(floor: Floor, intent: Intent, within_s: float = 5.0) -> str:
    """The rule and its numbers; and the intent is over."""
    said = await verdict(floor, intent, within_s)
    assert said is not None
    assert not said.allowed
    over = [word for word in await floor.words() if isinstance(word, IntentOver) and word.intent == intent.id]
    assert [(one.outcome, one.why) for one in over] == [("refused", f"{said.rule}: {said.numbers}")]
    return over[0].why


async def budget(floor: Floor, intent: Intent) -> float:
    said = await verdict(floor, intent)
    assert said is not None
    assert said.allowed, said
    assert said.budget is not None
    return said.budget


async def buy(floor: Floor, symbol: str, dollars: float, strategy: str = "alone") -> None:
    assert await budget(floor, floor.entry(strategy, symbol, dollars)) == dollars
    assert symbol in floor.desk.accounts.purses[strategy].stakes


async def sell(floor: Floor, symbol: str, strategy: str = "alone", **more: Any) -> None:
    said = await verdict(floor, floor.exit(strategy, symbol, **more))
    assert said is not None
    assert said.allowed
    assert symbol not in floor.desk.accounts.purses[strategy].stakes


def limits(**changes: Any) -> Limits:
    return replace(LOOSE, **changes)


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
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
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


def test_a_bad_day_ends_the_entries_until_tomorrow_also_after_a_restart(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 50_000.0, "one")
            await floor.tick(AAPL=93.0)  # 3,500 of 100,000, and 1.75 % of the account
            why = await refusal(floor, floor.entry("one", "SPY", 1_000.0))
            assert why == "daily_loss: one has lost 3,509.30 of 100,000.00 today; the limit is 3%"
            await buy(floor, "SPY", 1_000.0, "two")
            [alarm] = [one for one in floor.alarms if one.signal == "risk_refusals"]
            assert (alarm.scope, alarm.severity) == ("one", Severity.WARNING)
        async with floor.at_work():
            await floor.tick(AAPL=99.0)  # what was lost once stays lost for today
            assert (await refusal(floor, floor.entry("one", "XOM", 1_000.0))).startswith("daily_loss: ")
            await sell(floor, "AAPL", "one")
            await floor.clock.sleep(86_400)
            await floor.tick()
            await buy(floor, "XOM", 1_000.0, "one")

    story(tmp_path, tell, strategies=("one", "two"), limits=limits(daily_loss=0.03))


def test_a_loss_over_night_is_one_of_the_day_also_where_it_is_sold_before_the_days_first_bar_is_over(
    tmp_path: Path,
) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 50_000.0)
            await floor.tick()
            await floor.clock.sleep(86_400)
            floor.prices["AAPL"] = 90.0
            floor.quote()
            await floor.say(floor.exit("alone", "AAPL"))
        async with floor.at_work():
            await floor.tick()
            why = await refusal(floor, floor.entry("alone", "SPY", 1_000.0))
            assert why.startswith("daily_loss: the account has lost 4,999.00 of 99,990.00 today")

    story(tmp_path, tell, limits=limits(daily_loss=0.03))


def test_a_halt_moves_no_peak_and_only_a_resumed_kill_switch_does(tmp_path: Path) -> None:
    """8 % below the peak, halted and resumed, and 8 % more: that is 16 % below it."""

    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 80_000.0)
            await floor.tick(AAPL=90.0)
            for instruction in (Instruction.HALT, Instruction.RESUME):
                await floor.say(Told(instruction, "", floor.clock.now(), "operator"))
            await floor.tick(AAPL=80.0)
            await floor.clock.sleep(5)
            assert (Instruction.FLATTEN, "", "kill_switch") in await instructions(floor)

    story(tmp_path, tell, limits=limits(kill_switch_drawdown=0.15))


def test_the_account_is_stopped_once_and_stays_so_until_the_operator_resumes(tmp_path: Path) -> None:
    """It rises by 12,000 and falls by 16,000: 4 % below where it began, and 16 % of that below its peak."""

    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 80_000.0)
            await floor.tick(AAPL=115.0)
        async with floor.at_work():
            await floor.tick(AAPL=95.0)
            await floor.clock.sleep(5)
            assert await instructions(floor) == [(Instruction.FLATTEN, "", "kill_switch")]
            await sell(floor, "AAPL", reason="kill_switch")
            assert (
                await refusal(floor, floor.entry("alone", "SPY", 1_000.0))
                == "halted: all strategies halted by kill_switch"
            )
            [alarm] = [one for one in floor.alarms if one.signal == "kill_switch"]
            assert (alarm.scope, alarm.severity) == ("account", Severity.CRITICAL)
            await floor.say(Told(Instruction.HALT, "", floor.clock.now(), "operator"))  # changes nothing
        async with floor.at_work():
            await floor.tick(AAPL=90.0)
            assert (await refusal(floor, floor.entry("alone", "SPY", 1_000.0))).startswith("halted: ")
            await floor.say(Told(Instruction.RESUME, "", floor.clock.now(), "operator"))
            await floor.tick()
            await buy(floor, "SPY", 1_000.0)
            assert len(await instructions(floor)) == 3
            assert [one.title for one in floor.alarms if one.signal == "kill_switch"][-1] is None

    story(tmp_path, tell, limits=limits(kill_switch_drawdown=0.15))


async def instructions(floor: Floor) -> list[tuple[Instruction, str, str]]:
    return [(word.instruction, word.strategy, word.by) for word in await floor.words() if isinstance(word, Told)]


def test_without_a_trade_nothing_is_ever_lost(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            for price in (100.0, 10.0, 1_000.0, 1.0):
                await floor.tick(AAPL=price)
        async with floor.at_work():
            await floor.tick(AAPL=100.0)
            assert await instructions(floor) == []
            await buy(floor, "AAPL", 1_000.0)

    story(tmp_path, tell, limits=limits(kill_switch_drawdown=0.01, daily_loss=0.01))


def test_a_split_makes_nobody_poorer(tmp_path: Path) -> None:
    """Four shares for one, at a quarter of the price: no kill switch, no loss of the day, no difference."""

    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 80_000.0)
            held = floor.exchange._shares["AAPL"]
            await floor.say(Split("AAPL", 4.0, floor.clock.now(), floor.clock.now()))
            floor.exchange._shares["AAPL"] = 4 * held
            await floor.tick(AAPL=25.0)
            await floor.clock.sleep(5)
            assert await instructions(floor) == []
            assert floor.desk.accounts.purses["alone"].stakes["AAPL"].quantity == pytest.approx(4 * held)
            floor.desk._lookout.look()
            await floor.clock.sleep(30)
            assert floor.standing.clear
            await sell(floor, "AAPL")

    story(tmp_path, tell, limits=limits(kill_switch_drawdown=0.15, daily_loss=0.03))


def test_without_risk_nothing_goes_out(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 1_000.0)
            floor.store.desk.unfollow(floor.risk.mailbox)
            await floor.say(floor.entry("alone", "SPY", 1_000.0), floor.exit("alone", "AAPL"))
            await floor.clock.sleep(60)
            assert len([word for word in await floor.words() if isinstance(word, OrderPlaced)]) == 1

    story(tmp_path, tell)


def test_shares_that_nobody_can_explain_stop_the_entries_and_no_exit(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 1_000.0)
            floor.exchange._shares["XOM"], floor.exchange._cost["XOM"] = 7.0, 700.0
            await floor.clock.sleep(300)
            await floor.tick()
            why = await refusal(floor, floor.entry("alone", "SPY", 1_000.0), within_s=65)
            assert why == "broker: XOM: 0 in the books, 7 at the broker"
            alarms = [one for one in floor.alarms if one.signal == "broker_mismatch"]
            assert alarms[-1].evidence["differences"] == {"XOM": {"books": 0.0, "broker": 7.0}}
            await sell(floor, "AAPL")
            del floor.exchange._shares["XOM"]
            await floor.clock.sleep(90)
            await floor.tick()
            await buy(floor, "SPY", 1_000.0)
            assert [one.title for one in floor.alarms if one.signal == "broker_mismatch"][-1] is None

    story(tmp_path, tell)


def test_no_answer_changes_nothing_but_that_nobody_enters(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 1_000.0)
        before = floor.desk.accounts.save()
        floor.broker.down = True
        async with floor.at_work():
            await floor.clock.sleep(30)
            floor.quote()
            why = await refusal(floor, floor.entry("alone", "SPY", 1_000.0), within_s=65)
            assert why == "broker: the broker does not answer: no answer"
            assert floor.desk.accounts.save() == before
            await floor.say(floor.exit("alone", "AAPL"))
            await floor.clock.sleep(30)
            floor.broker.down = False
            await floor.clock.sleep(120)
            assert "AAPL" not in floor.desk.accounts.purses["alone"].stakes
            assert [word.reason for word in await floor.words() if isinstance(word, Booked)] == ["signal", "signal"]

    story(tmp_path, tell)


def test_capital_is_an_equal_share_of_the_account_where_none_is_said(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.clock.sleep(5)
            assert {name: purse.capital for name, purse in floor.desk.accounts.purses.items()} == {
                "one": 100_000.0,
                "two": 100_000.0,
            }

    story(tmp_path, tell, strategies=("one", "two"), capital=None)


def test_a_split_over_night_is_no_difference_and_no_loss(tmp_path: Path) -> None:
    """Four for one: 100 shares at 100.02 are 400 at 25.005; the books know at midnight, the broker at six."""

    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 10_002.0)
            midnight = OPEN + 870 * MINUTE
            await floor.clock.sleep_until(midnight)
            await floor.say(Split("AAPL", 4.0, midnight, midnight))
            floor.exchange.sink(Link(up=True))  # type: ignore[arg-type]  # it has had to connect anew
            await floor.clock.sleep(6 * 3600)
            assert floor.standing.clear
            floor.exchange._shares["AAPL"] *= 4
            await floor.clock.sleep_until(OPEN + 1440 * MINUTE)
            for _ in range(6):
                await floor.tick(AAPL=24.9)
            assert floor.standing.clear
            assert floor.desk.accounts.shares() == pytest.approx({"AAPL": 400.0})
            assert floor.risk.book.equity_of("alone") == pytest.approx(100_000 - 10_002 + 400 * 24.9)
            assert floor.risk.book.lost == {}
            assert not [one for one in floor.alarms if one.title]
            await sell(floor, "AAPL")

    story(tmp_path, tell, limits=limits(kill_switch_drawdown=0.01, daily_loss=0.01))


def test_an_order_by_hand_stops_the_entries_and_is_named_with_what_it_did(tmp_path: Path) -> None:
    """While it is open, and when it has brought shares that no book has; until both are undone."""

    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 1_000.0)
            floor.exchange.halted.add("XOM")
            floor.exchange.submit(Order("by-hand", "XOM", Side.BUY, quantity=5.0), floor.clock.now())
            for _ in range(6):
                await floor.tick()
            why = await refusal(floor, floor.entry("alone", "SPY", 1_000.0), within_s=65)
            assert why == "broker: XOM: an order to buy (by-hand) is not ours"
            floor.exchange.halted.clear()
            for _ in range(6):
                await floor.tick()
            alarm = [one for one in floor.alarms if one.signal == "broker_mismatch"][-1]
            assert alarm.evidence == {
                "differences": {"XOM": {"books": 0.0, "broker": 5.0}},
                "foreign_orders": [],
                "foreign_trades": ["buy 5 XOM at 100.0200 (by-hand)"],
            }
            await sell(floor, "AAPL")
            floor.exchange.submit(Order("undone", "XOM", Side.SELL, quantity=5.0), floor.clock.now())
            for _ in range(6):
                await floor.tick()
            await buy(floor, "SPY", 1_000.0)
            assert [one.title for one in floor.alarms if one.signal == "broker_mismatch"][-1] is None

    story(tmp_path, tell)


def test_a_fill_far_from_the_quote_is_booked_as_it_is_and_shown(tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "AAPL", 10_000.0)
            floor.exchange.move("AAPL", 50.0, floor.clock.now())  # and the quote says 100
            await sell(floor, "AAPL")
            cash = floor.desk.accounts.purses["alone"].cash
            assert cash == pytest.approx(95_000.0, abs=10.0)
            [alarm] = [one for one in floor.alarms if one.signal == "broker_mismatch" and one.title]
            assert (alarm.scope, alarm.severity) == ("AAPL", Severity.WARNING)
            assert alarm.title is not None
            assert alarm.title.endswith("AAPL, sell at 49.9900, is -50.0% from its quote")

    story(tmp_path, tell)


def test_an_exit_does_not_wait_for_the_rest_of_an_entry(tmp_path: Path) -> None:
    """The entry fills by a part of each bar's volume; when it is to be left, what is not bought yet is not wanted."""

    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            floor.exchange._faults.force("partial")
            await floor.say(floor.entry("alone", "AAPL", 10_000.0))
            await floor.clock.sleep(5)
            held = floor.desk.accounts.purses["alone"].stakes["AAPL"].quantity
            assert 0 < held < 100
            floor.exchange._faults.lift("partial")
            await sell(floor, "AAPL")
            over = [word.outcome for word in await floor.words() if isinstance(word, IntentOver)]
            assert over == ["partial", "filled"]

    story(tmp_path, tell)


def test_an_entry_that_was_never_sent_is_not_sent_an_hour_later(tmp_path: Path) -> None:
    """Killed between the log and the POST, and back in an hour; an exit would still go."""

    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await buy(floor, "SPY", 1_000.0)
            floor.broker.down = True
            await floor.say(floor.entry("alone", "AAPL", 1_000.0), floor.exit("alone", "SPY"))
            await floor.clock.sleep(0.01)
        floor.broker.down = False
        await floor.clock.sleep(3600)
        async with floor.at_work():
            await floor.tick()
            assert {held.symbol for held in floor.exchange.holdings()} == set()
            over = {word.intent.split("/")[1]: word for word in await floor.words() if isinstance(word, IntentOver)}
            assert (over["AAPL"].outcome, over["AAPL"].why) == ("rejected", "it is too late to send it")

    story(tmp_path, tell)
