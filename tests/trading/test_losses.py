"""What was lost: a bad day, and the kill switches; and what is none, as over a split."""

from pathlib import Path

import pytest

from actors.store.records import Severity
from actors.trading.words import Instruction, Split, Told
from tests.trading.asking_risk import buy, limits, refusal, sell
from tests.trading.floor import Floor, story


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
