"""How the desk stands with its account: where the two differ, and what that stops."""

from pathlib import Path

import pytest

from actors.store.records import Severity
from actors.trading.ports import Link, Order, Side
from actors.trading.words import Booked, IntentOver, OrderPlaced, Split
from tests.trading.asking_risk import buy, limits, refusal, sell
from tests.trading.floor import MINUTE, OPEN, Floor, story


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


def test_an_account_without_money_founds_no_books(tmp_path: Path) -> None:
    """They keep for ever what they began with; once there is money, they begin."""

    async def tell(floor: Floor) -> None:
        floor.exchange.cash = 0.0
        async with floor.at_work():
            await floor.tick()
            assert not floor.desk.accounts.purses
            floor.exchange.cash = 50_000.0
            for _ in range(10):
                await floor.tick()
            assert floor.desk.accounts.purses["alone"].capital == 50_000.0

    story(tmp_path, tell, capital=None)


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
