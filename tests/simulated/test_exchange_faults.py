"""Every fault does to its client what it says, and nothing else; the seed decides when."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from actors.kernel.clock import ScaledClock, io_sleep
from actors.simulated.exchange.faults import FAULTS, LASTING, REFUSALS, FaultPlan
from actors.simulated.exchange.server import KEY_ID, SECRET_KEY
from actors.simulated.exchange.wire import micros
from config.errors import BadInput
from strategies.sessions import MINUTE
from tests.simulated.exchange_rig import Stream, exchange_floor
from tests.simulation.loop import run_virtual

CHANNELS = {"bars": ["AAPL"], "updatedBars": ["AAPL"], "statuses": ["*"]}


async def follow(stream: Stream, orders: int) -> list[dict[str, Any]]:
    """The updates until so many orders are over."""
    told: list[dict[str, Any]] = []
    over: set[str] = set()
    while len(over) < orders:
        update = (await stream.next())["data"]
        told.append(update)
        if update["event"] in {"fill", "rejected", "canceled", "expired"}:
            over.add(update["order"]["client_order_id"])
    return told


def test_every_fault_has_a_test() -> None:
    tested = Path(__file__).read_text()
    assert [name for name in FAULTS.keys() - REFUSALS.keys() if f'"{name}"' not in tested] == []


async def test_a_stream_gone_deaf_stays_open_and_says_nothing_until_one_connects_anew() -> None:
    async with exchange_floor() as floor, floor.data(bars=["AAPL"]) as stream, floor.updates() as updates:
        await stream.next()
        floor.faults.force("deaf")
        await io_sleep(0.3)
        stream._batch.clear()
        while not await stream.is_silent(0.3):
            pass  # what was under way
        await floor.order("one")
        assert await updates.is_silent(0.2)
        assert not stream.socket.closed
        await stream.socket.close()
        async with floor.data(bars=["AAPL"]) as fresh:
            assert (await fresh.next())["T"] == "b"


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_storm_of_errors_drops_the_stream_and_refuses_the_next_until_it_is_over(name: str) -> None:
    async with exchange_floor() as floor:
        async with floor.data(bars=["AAPL"]) as stream:
            floor.faults.force(name)
            with pytest.raises(ConnectionError):
                await stream.until(lambda _: False)
        async with floor.connected("/v2/iex") as stream:
            await stream.say(action="auth", key=KEY_ID, secret=SECRET_KEY)
            assert (await stream.until(lambda message: message["T"] == "error"))["code"] == int(name)
            with pytest.raises(ConnectionError):
                await stream.next()
        floor.faults.lift(name)
        async with floor.data(bars=["AAPL"]) as stream:
            assert (await stream.next())["T"] == "b"


async def test_refused_authentication_is_402_on_streams_and_401_403_on_requests() -> None:
    async with exchange_floor("auth-refused") as floor:
        async with floor.connected("/v2/iex") as stream:
            await stream.say(action="auth", key=KEY_ID, secret=SECRET_KEY)
            assert (await stream.until(lambda message: message["T"] == "error"))["code"] == 402
        async with floor.connected("/stream") as stream:
            await stream.say(action="authenticate", data={"key_id": KEY_ID, "secret_key": SECRET_KEY})
            assert (await stream.next())["data"]["status"] == "unauthorized"
        assert (await floor.get("/account")).status == 401
        assert (await floor.get("/stocks/bars")).status == 403


async def test_a_restart_drops_everyone_and_the_account_survives_it() -> None:
    async with exchange_floor() as floor, floor.updates() as updates:
        await floor.order("one")
        floor.faults.force("restart")
        with pytest.raises(ConnectionError):
            await updates.until(lambda _: False)
        with pytest.raises(aiohttp.ClientError):
            await floor.get("/account")
        floor.faults.lift("restart")
        assert (await floor.get("/orders:by_client_order_id", client_order_id="one")).body["status"] == "filled"


async def test_a_stalled_request_is_never_answered_and_the_others_after_it_are() -> None:
    async with exchange_floor("stalled") as floor:
        with pytest.raises(TimeoutError):
            await floor.ask("GET", "/account", timeout=aiohttp.ClientTimeout(0.2))
        floor.faults.lift("stalled")
        assert (await floor.get("/account")).status == 200


@pytest.mark.parametrize(("name", "told"), [("429", True), ("429-bare", False)])
async def test_429_comes_with_and_without_headers(name: str, *, told: bool) -> None:
    async with exchange_floor(name) as floor:
        answer = await floor.get("/account")
        assert answer.status == 429
        assert ("Retry-After" in answer.headers) is told
        assert ("X-RateLimit-Reset" in answer.headers) is told


async def test_an_order_answered_504_was_taken() -> None:
    async with exchange_floor("504") as floor:
        assert (await floor.order("one")).status == 504
        found = await floor.get("/orders:by_client_order_id", client_order_id="one")
        assert found.body["status"] == "filled"


async def test_a_declined_wash_trade_leaves_no_order() -> None:
    async with exchange_floor("wash-trade") as floor:
        answer = await floor.order("one")
        assert (answer.status, answer.body["code"]) == (403, 40310000)
        assert (await floor.get("/orders:by_client_order_id", client_order_id="one")).status == 404


@pytest.mark.parametrize("name", ["rejected", "canceled"])
async def test_an_order_taken_and_then_rejected_or_canceled_leaves_no_position(name: str) -> None:
    async with exchange_floor(name) as floor, floor.updates() as stream:
        await floor.order("one")
        assert [update["event"] for update in await follow(stream, 1)] == ["new", name]
        assert (await floor.get("/positions")).body == []


async def test_an_order_passes_through_an_unknown_state_and_fills_in_the_end() -> None:
    async with exchange_floor("unknown-state") as floor, floor.updates() as stream:
        assert (await floor.order("one")).body["status"] == "held_for_review"
        floor.faults.lift("unknown-state")
        assert [one["event"] for one in await follow(stream, 1)] == ["new", "held_for_review", "fill"]


async def test_partial_fills_add_up_to_the_order() -> None:
    async with exchange_floor("partial") as floor, floor.updates() as stream:
        await floor.order("one", qty="10")
        told = await follow(stream, 1)
        fills = [update for update in told if "execution_id" in update]
        assert len(fills) > 2
        assert len({update["execution_id"] for update in fills}) == len(fills)
        assert sum(float(update["qty"]) for update in fills) == pytest.approx(10, abs=1e-8)
        assert [update["event"] for update in told][-1] == "fill"
        assert float(told[-1]["order"]["filled_qty"]) == pytest.approx(10, abs=1e-8)
        done = [float(update["order"]["filled_qty"]) for update in fills]
        assert all(before < after for before, after in pairwise(done))


async def test_updates_come_repeated_with_the_same_execution() -> None:
    async with exchange_floor("repeated") as floor, floor.updates() as stream:
        await floor.order("one")
        fills = [await stream.until(lambda update: update["data"]["event"] == "fill") for _ in range(2)]
        assert fills[0] == fills[1]


async def test_updates_come_out_of_order_and_all_of_them() -> None:
    async with exchange_floor("out-of-order") as floor, floor.updates() as stream:
        await floor.order("one")
        assert [(await stream.next())["data"]["event"] for _ in range(2)] == ["fill", "new"]


async def test_a_revised_bar_is_sent_again_and_the_history_has_the_second() -> None:
    async with exchange_floor("revised") as floor, floor.data(**CHANNELS) as stream:
        first = await stream.until(lambda message: message["T"] == "b")
        second = await stream.until(lambda message: message["T"] == "u" and message["t"] == first["t"])
        assert first["v"] < second["v"]
        past = await floor.get("/stocks/bars", symbols="AAPL", timeframe="1Min", start=first["t"], end=first["t"])
        assert past.body["bars"]["AAPL"][0]["v"] == second["v"]


async def test_bars_of_a_gap_are_missing_in_the_stream_and_are_in_the_history() -> None:
    async with exchange_floor("gap") as floor, floor.data(bars=["AAPL"]) as stream:
        assert await stream.is_silent(0.35)
        past = await floor.get("/stocks/bars", symbols="AAPL", timeframe="1Min", start="2026-11-20T14:30:00Z")
        assert len(past.body["bars"]["AAPL"]) >= 3


async def test_a_halted_symbol_is_announced_does_not_trade_and_comes_back() -> None:
    async with exchange_floor("halt", speed=1_200) as floor, floor.data(**CHANNELS) as stream:
        halt = await stream.until(lambda message: message["T"] == "s" and message["sc"] == "H")
        floor.faults.lift("halt")
        waiting = (await floor.order("one", symbol=halt["S"])).body
        assert waiting["status"] == "new"
        resumed = await stream.until(lambda message: message["T"] == "s" and message["S"] == halt["S"])
        assert resumed["sc"] == "T"
        assert micros(resumed["t"]) - micros(halt["t"]) == 5 * MINUTE
        await floor.at(micros(resumed["t"]) + 3 * MINUTE)
        assert (await floor.get(f"/orders/{waiting['id']}")).body["status"] == "filled"
        span = {"start": halt["t"], "end": resumed["t"]}
        past = await floor.get("/stocks/bars", symbols=halt["S"], timeframe="1Min", **span)
        assert [bar["t"] for bar in past.body["bars"].get(halt["S"], [])] in ([], [resumed["t"]])


async def test_a_half_day_is_in_the_calendar_and_ends_at_one() -> None:
    close = micros("2026-11-20T18:00:00Z")
    async with exchange_floor("half-day", start=close - 5 * MINUTE) as floor, floor.data(bars=["AAPL"]) as stream:
        days = (await floor.get("/calendar", start="2026-11-20", end="2026-11-20")).body
        assert days[0]["close"] == "13:00"
        last = ""
        while not last.endswith("17:59:00Z"):
            last = (await stream.until(lambda message: message["T"] == "b"))["t"]
        assert await stream.is_silent(0.3)
        assert (await floor.get("/clock")).body["is_open"] is False
        assert (await floor.order("late")).body["status"] == "new"


# --- the plan --------------------------------------------------------------------------------------------------------


def test_an_unknown_fault_is_told_with_those_there_are() -> None:
    with pytest.raises(BadInput, match="--faults: deef: no such fault; there are deaf"):
        FaultPlan(["deef"])


def spells(names: list[str], seed: int, seconds: int) -> list[set[str]]:
    """Which faults hold at each second."""

    async def look() -> list[set[str]]:
        plan, clock, seen = FaultPlan(names, seed), ScaledClock(0), []
        for _ in range(seconds):
            seen.append({name for name in names if plan.holds(name)})
            await clock.sleep(1)
        return seen

    return run_virtual(look)


@pytest.mark.parametrize("name", sorted(LASTING))
def test_a_spell_comes_soon_goes_again_and_comes_back(name: str) -> None:
    seen = [name in each for each in spells([name], 7, 600)]
    begins = [second for second, (before, after) in enumerate(pairwise(seen)) if after and not before]
    assert 4 <= begins[0] <= 16
    assert 6 <= len(begins) <= 24
    assert 0.05 < sum(seen) / len(seen) < 0.5


def test_the_same_seed_has_the_same_spells_and_what_else_is_planned_changes_nothing() -> None:
    alone, together = spells(["deaf"], 3, 300), spells(["406", "deaf", "504", "stalled"], 3, 300)
    assert alone == [each & {"deaf"} for each in together]
    assert alone != spells(["deaf"], 4, 300)


def test_what_strikes_single_occasions_does_so_now_and_then() -> None:
    plan = FaultPlan(["504"], 1)
    struck = Counter(plan.holds("504") for _ in range(1_000))
    assert 200 < struck[True] < 400
    assert not any(plan.holds("rejected") for _ in range(100))
