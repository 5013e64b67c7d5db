"""What is true after each thing that goes wrong at Alpaca; and where its own client, left alone, does not get there."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from actors.kernel.clock import io_sleep, monotonic
from actors.simulated.exchange.faults import FaultPlan
from actors.trading.alpaca import sdk
from actors.trading.alpaca.broker import AlpacaBroker
from actors.trading.alpaca.sdk import Keys
from actors.trading.ports import InDoubt, Order, QuoteSeen, Refused, Side, Unreachable
from strategies.sessions import MINUTE
from tests.patience import PATIENCE_S
from tests.trading.exchanges import KEYS, OPEN, SYMBOLS, World, minutes, over_alpaca, streaming


def buy(order_id: str) -> Order:
    return Order(order_id, "AAPL", Side.BUY, notional=1000.0)


def ups(world: World, *, broker: bool = False) -> list[bool]:
    return [link.up for link in world.links(broker=broker)]


async def bars_go_on(world: World) -> None:
    """Bars of minutes come that had not begun yet."""
    now = (world.clock.now() - OPEN) // MINUTE
    await world.until(lambda: max(minutes(world.bars()), default=-1) > now)


@asynccontextmanager
async def alpaca_py_alone(world: World) -> AsyncIterator[list[Any]]:
    """The bars that alpaca-py's own loop hands to a handler."""
    from alpaca.data.live.stock import StockDataStream

    heard: list[Any] = []

    async def handler(bar: Any) -> None:
        heard.append(bar)

    url = f"{world.urls['stream_url']}/v2/iex"
    stream = StockDataStream(KEYS.key_id, KEYS.secret_key, raw_data=True, url_override=url)
    stream.subscribe_bars(handler, *SYMBOLS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream._run_forever)
        yield heard
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await stream.close()


async def test_a_stream_that_goes_deaf_is_left_for_another_and_the_gap_is_told() -> None:
    plan = FaultPlan()
    async with over_alpaca(plan, silent_s=90) as world, streaming(world):
        await world.until(lambda: 0 in minutes(world.bars()))
        plan.force("deaf")
        await world.until(lambda: ups(world) == [True, False, True])
        plan.lift("deaf")
        assert world.links()[1].reason == "nothing came although the exchange is open"
        await bars_go_on(world)


async def test_alpaca_py_alone_stays_on_a_deaf_stream_for_ever() -> None:
    """Ten minutes of the exchange's time later it has still heard nothing, and told nobody."""
    plan = FaultPlan()
    async with over_alpaca(plan) as world, alpaca_py_alone(world) as heard:
        await world.until(lambda: heard)
        plan.force("deaf")
        await io_sleep(0.3)
        plan.lift("deaf")
        count, later = len(heard), world.clock.now() + 10 * MINUTE
        await world.until(lambda: world.clock.now() > later)
        assert len(heard) == count


async def test_silence_before_the_open_and_after_the_close_is_no_deafness() -> None:
    plan = FaultPlan()
    async with over_alpaca(plan, silent_s=20) as world, anyio.create_task_group() as tasks:
        tasks.start_soon(world.market.run, SYMBOLS, world.market_said.append)
        await world.until(lambda: world.clock.now() > OPEN - 5_000_000)
        assert ups(world) == [True]
        tasks.cancel_scope.cancel()


async def test_a_crowded_connection_is_left_alone_for_a_while_and_its_reason_is_told() -> None:
    """406: who comes back at once keeps the other one alive. So few attempts are made, and then it works."""
    plan = FaultPlan()
    async with over_alpaca(plan) as world, streaming(world):
        plan.force("406")
        await world.until(lambda: ups(world) == [True, False])
        await io_sleep(1.2)
        plan.lift("406")
        await world.until(lambda: ups(world) == [True, False, True])
        await bars_go_on(world)


async def test_alpaca_py_alone_tells_nobody_that_its_connection_is_refused() -> None:
    """The handler, which is all that a user of it has, hears nothing, of the end of the bars as of their return."""
    plan = FaultPlan()
    async with over_alpaca(plan) as world, alpaca_py_alone(world) as heard:
        await world.until(lambda: heard)
        plan.force("406")
        await io_sleep(0.3)
        count, later = len(heard), world.clock.now() + 4 * MINUTE
        await world.until(lambda: world.clock.now() > later)
        assert len(heard) == count
        assert all(one["T"] == "b" for one in heard)


async def test_a_request_that_is_never_answered_is_given_up_in_time_and_nothing_is_concluded() -> None:
    plan = FaultPlan()
    async with over_alpaca(plan, deadline_s=1.0) as world:
        assert isinstance(world.broker, AlpacaBroker)
        world.broker.host._insist_s = 0.1
        plan.force("stalled")
        with pytest.raises(Unreachable), anyio.fail_after(PATIENCE_S):
            await world.broker.holdings()
        plan.lift("stalled")
        assert await world.broker.holdings() == []


async def test_stalled_requests_hold_no_more_threads_than_there_are_connections() -> None:
    plan = FaultPlan()
    async with over_alpaca(plan, deadline_s=1.0) as world:
        assert isinstance(world.broker, AlpacaBroker)
        world.broker.host._insist_s = 0.1
        before = threading.active_count()
        plan.force("stalled")
        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(unanswered, world.broker)
            await io_sleep(0.5)
            assert threading.active_count() <= before + 3
        plan.lift("stalled")
        assert await world.broker.holdings() == []
        await world.until(lambda: threading.active_count() == before)


async def unanswered(broker: AlpacaBroker) -> None:
    with pytest.raises(Unreachable):
        await broker.holdings()


async def test_alpaca_py_alone_waits_for_a_stalled_server_without_end() -> None:
    """Its thread is still waiting when ours would have given up three times."""
    from alpaca.common.rest import RESTClient

    plan = FaultPlan()
    async with over_alpaca(plan, deadline_s=1.0) as world:
        plan.force("stalled")
        alone = RESTClient(world.urls["base_url"], KEYS.key_id, KEYS.secret_key, raw_data=True)
        thread = threading.Thread(target=lambda: _quietly(alone), daemon=True)
        thread.start()
        await io_sleep(3)
        assert thread.is_alive()
    await asyncio.to_thread(thread.join, PATIENCE_S)  # the server is gone, and with it what it waited for
    alone._session.close()


def _quietly(client: Any) -> None:
    try:
        client.get("/positions")
    except sdk.requests.exceptions.RequestException:
        return


async def test_an_order_that_was_taken_with_a_504_is_in_doubt_and_found_by_its_id() -> None:
    """It is never sent again: there is one, and it is filled once."""
    plan = FaultPlan()
    async with over_alpaca(plan) as world, streaming(world):
        plan.force("504")
        with pytest.raises(InDoubt):
            await world.broker.submit(buy("one"))
        plan.lift("504")
        found = await world.broker.order("one")
        assert found is not None
        await world.until(lambda: any(update.report.over for update in world.updates("one")))
        assert world.server is not None
        assert len(world.server.exchange.tickets()) == 1


async def test_an_order_into_a_stalled_server_is_in_doubt_and_was_never_taken() -> None:
    plan = FaultPlan()
    async with over_alpaca(plan, deadline_s=1.0) as world, streaming(world):
        plan.force("stalled")
        with pytest.raises(InDoubt):
            await world.broker.submit(buy("one"))
        plan.lift("stalled")
        assert await world.broker.order("one") is None


@pytest.mark.parametrize("fault", ["429", "429-bare"])
async def test_beyond_the_rate_limit_an_order_is_certainly_not_taken(fault: str) -> None:
    plan = FaultPlan()
    async with over_alpaca(plan) as world, streaming(world):
        plan.force(fault)
        with pytest.raises(Unreachable) as raised:
            await world.broker.submit(buy("one"))
        assert not isinstance(raised.value, InDoubt)
        assert world.server is not None
        assert world.server.exchange.tickets() == []


async def test_beyond_the_rate_limit_a_read_waits_as_long_as_it_is_told_to() -> None:
    plan = FaultPlan()
    async with over_alpaca(plan) as world, anyio.create_task_group() as tasks:
        plan.force("429")
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await world.broker.account())

        began = monotonic()
        tasks.start_soon(ask)
        await io_sleep(0.3)
        plan.lift("429")
        await world.until(lambda: answers)
        assert monotonic() - began >= 2.0


async def test_the_limit_in_the_headers_is_kept_to_without_ever_being_told_off() -> None:
    """An account that may ask 30 times a minute: what is beyond waits for its turn, half a second each."""
    async with over_alpaca(FaultPlan(), per_minute=30) as world:
        assert isinstance(world.broker, AlpacaBroker)
        world.broker.host._insist_s = 30
        statuses: list[int] = []
        answered = world.broker.host._pace.answered
        world.broker.host._pace.answered = lambda status, *rest: (statuses.append(status), answered(status, *rest))  # type: ignore[assignment,func-returns-value]
        for _ in range(31):
            await world.broker.account()
        assert statuses == [200] * 31


async def test_wrong_keys_are_refused_at_once_on_both_streams() -> None:
    async with over_alpaca(FaultPlan(), keys=Keys("PKWRONG", "hush")) as world:
        for run in (world.market.run(SYMBOLS, print), world.broker.run(print)):
            with pytest.raises(Refused) as raised, anyio.fail_after(PATIENCE_S):
                await run
            assert "hush" not in str(raised.value)


async def test_a_feed_that_is_not_subscribed_is_refused_with_what_to_do() -> None:
    async with over_alpaca(FaultPlan(), feed="sip") as world:
        with (
            pytest.raises(Refused, match=r"insufficient subscription \(409\).*set trading.feed to iex"),
            anyio.fail_after(PATIENCE_S),
        ):
            await world.market.run(SYMBOLS, print)


async def test_quotes_of_more_symbols_than_the_plan_allows_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The free plan has quotes of 30 on the stream, and bars of all: a desk of 500 gets both."""
    monkeypatch.setattr("actors.simulated.exchange.data_stream.SYMBOLS_MAX", len(SYMBOLS) - 1)
    monkeypatch.setattr("actors.trading.alpaca.market.POLL_S", 0.05)
    async with over_alpaca(FaultPlan()) as world, streaming(world):
        await world.until(lambda: len(minutes(world.bars())) > 1)
        newest = {one.quote.symbol: one.quote.time for one in world.market_said if isinstance(one, QuoteSeen)}
        assert set(newest) == set(SYMBOLS)
        assert min(newest.values()) > OPEN + MINUTE
        assert ups(world) == [True]


async def test_who_is_refused_suddenly_after_having_been_let_in_tries_again() -> None:
    plan = FaultPlan()
    async with over_alpaca(plan) as world, streaming(world):
        plan.force("auth-refused")
        await world.until(lambda: ups(world)[-1:] == [False] and ups(world, broker=True)[-1:] == [False])
        await io_sleep(0.5)
        plan.lift("auth-refused")
        await world.until(lambda: ups(world)[-1:] == [True] and ups(world, broker=True)[-1:] == [True])
        await bars_go_on(world)


async def test_after_a_restart_of_the_exchange_both_streams_are_up_again_and_orders_are_told() -> None:
    plan = FaultPlan()
    async with over_alpaca(plan) as world, streaming(world):
        plan.force("restart")
        await world.until(lambda: ups(world)[-1:] == [False] and ups(world, broker=True)[-1:] == [False])
        plan.lift("restart")
        await world.until(lambda: ups(world)[-1:] == [True] and ups(world, broker=True)[-1:] == [True])
        await bars_go_on(world)
        await world.broker.submit(buy("one"))
        await world.until(lambda: any(update.report.over for update in world.updates("one")))


async def test_fills_that_the_deaf_stream_of_updates_did_not_tell_are_in_the_accounts_history() -> None:
    """Which is why open orders are polled beside it."""
    plan = FaultPlan()
    async with over_alpaca(plan) as world, streaming(world):
        plan.force("deaf")
        await io_sleep(0.3)
        await world.broker.submit(buy("one"))
        await io_sleep(0.3)
        report = await world.broker.order("one")
        assert report is not None
        assert report.over
        assert world.updates("one") == []
        assert sum(one.quantity for one in await world.broker.executions(0)) == pytest.approx(report.filled)


async def test_only_one_connection_is_ever_open_to_the_stream_of_data() -> None:
    plan = FaultPlan()
    async with over_alpaca(plan, silent_s=60) as world, streaming(world):
        assert world.server is not None
        for _ in range(3):
            plan.force("deaf")
            await world.until(lambda: ups(world)[-2:] == [False, True])
            plan.lift("deaf")
            await bars_go_on(world)
            assert len(world.server._data.open) == 1
        assert not [link for link in world.links() if "406" in link.reason]


async def test_a_stopped_stream_leaves_no_connection_behind() -> None:
    async with over_alpaca(FaultPlan()) as world:
        async with streaming(world):
            assert world.server is not None
            assert len(world.server._data.open) == len(world.server._updates.open) == 1
        await world.until(lambda: not world.server._data.open and not world.server._updates.open)  # type: ignore[union-attr]
