"""Both kinds of ports keep the same promises: the one in the process, and Alpaca's protocols over real sockets."""

import pytest

from actors.simulated.exchange.faults import FaultPlan
from actors.trading.hours import sessions_by_rule
from actors.trading.ports import Link, Order, QuoteSeen, Refused, Side
from strategies.sessions import MINUTE
from tests.trading.exchanges import OPEN, SYMBOLS, WORLDS, minutes, streaming

pytestmark = pytest.mark.parametrize("kind", WORLDS)


def buy(order_id: str, dollars: float = 1000.0, symbol: str = "AAPL") -> Order:
    return Order(order_id, symbol, Side.BUY, notional=dollars)


async def test_bars_are_streamed_as_the_history_has_them(kind: str) -> None:
    """The first word is that the stream is up; then come the bars of each minute, raw, and quotes between them."""
    async with WORLDS[kind](FaultPlan()) as world, streaming(world):
        await world.until(lambda: {0, 1, 2} <= minutes(world.bars()))
        assert world.market_said[0] == Link(up=True)
        streamed = [bar for bar in world.bars() if bar.time < OPEN + 3 * MINUTE]
        assert streamed == world.tape.history(SYMBOLS, OPEN, OPEN + 3 * MINUTE)
        history = await world.market.history(SYMBOLS, MINUTE, OPEN, OPEN + 3 * MINUTE)
        assert sorted(history, key=lambda bar: (bar.time, bar.symbol)) == history == streamed
        assert all(one.quote.valid for one in world.market_said if isinstance(one, QuoteSeen))


async def test_history_has_no_bar_that_is_still_moving_and_none_outside_what_was_asked(kind: str) -> None:
    async with WORLDS[kind](FaultPlan()) as world, streaming(world):
        await world.until(lambda: 2 in minutes(world.bars()))
        now = world.clock.now()
        history = await world.market.history(SYMBOLS, MINUTE, OPEN + MINUTE, now + 60 * MINUTE)
        assert minutes(history) >= {1, 2}
        assert all(OPEN + MINUTE <= bar.time <= world.clock.now() - MINUTE for bar in history)
        assert await world.market.history(["SPY"], MINUTE, OPEN, OPEN) == []


async def test_the_newest_quotes_can_be_asked_for(kind: str) -> None:
    async with WORLDS[kind](FaultPlan()) as world, streaming(world):
        quotes = await world.market.quotes(SYMBOLS)
        assert {quote.symbol for quote in quotes} == set(SYMBOLS)
        assert all(quote.valid for quote in quotes)


async def test_the_calendar_is_the_exchanges(kind: str) -> None:
    """With Thanksgiving, and the short day after it."""
    async with WORLDS[kind](FaultPlan()) as world:
        days = await world.market.sessions("2026-11-23", "2026-11-30")
        assert days == sessions_by_rule("2026-11-23", "2026-11-30")
        assert len(days) == 5


async def test_a_filled_order_is_the_same_in_every_answer(kind: str) -> None:
    """On the stream, in the account's history, in the positions and when asked for by its id."""
    async with WORLDS[kind](FaultPlan()) as world, streaming(world):
        before = await world.broker.account()
        await world.broker.submit(buy("one"))
        await world.until(lambda: any(update.report.state == "filled" for update in world.updates("one")))
        report = await world.broker.order("one")
        assert report is not None
        assert (report.state, report.over, report.side, report.symbol) == ("filled", True, Side.BUY, "AAPL")
        streamed = [update.execution for update in world.updates("one") if update.execution]
        assert list(await world.broker.executions(OPEN - MINUTE)) == streamed
        assert sum(one.quantity for one in streamed) == pytest.approx(report.filled)
        assert {one.client_order_id for one in streamed} == {"one"}
        [holding] = await world.broker.holdings()
        assert holding.symbol == "AAPL"
        assert holding.quantity == pytest.approx(report.filled)
        assert holding.average == pytest.approx(report.average)
        spent = sum(one.quantity * one.price for one in streamed)
        assert spent == pytest.approx(1000, abs=0.05)
        assert (await world.broker.account()).cash == pytest.approx(before.cash - spent)
        assert await world.broker.open_orders() == []


async def test_what_was_bought_can_be_sold_and_then_nothing_is_held(kind: str) -> None:
    async with WORLDS[kind](FaultPlan()) as world, streaming(world):
        await world.broker.submit(buy("in"))
        await world.until(lambda: any(update.report.over for update in world.updates("in")))
        [holding] = await world.broker.holdings()
        await world.broker.submit(Order("out", "AAPL", Side.SELL, quantity=holding.quantity))
        await world.until(lambda: any(update.report.over for update in world.updates("out")))
        assert await world.broker.holdings() == []
        sides = [one.side for one in await world.broker.executions(OPEN - MINUTE)]
        assert sides == [Side.BUY, Side.SELL]


async def test_an_order_is_taken_once_whatever_is_sent_again(kind: str) -> None:
    async with WORLDS[kind](FaultPlan()) as world, streaming(world):
        await world.broker.submit(buy("one"))
        with pytest.raises(Refused):
            await world.broker.submit(buy("one"))
        await world.until(lambda: any(update.report.over for update in world.updates("one")))
        assert len({one.execution_id for one in await world.broker.executions(0)}) == 1


@pytest.mark.parametrize(
    "order",
    [
        Order("short", "AAPL", Side.SELL, quantity=1.0),
        Order("stranger", "NOPE", Side.BUY, notional=100.0),
        Order("dear", "AAPL", Side.BUY, notional=10_000_000.0),
    ],
    ids=lambda order: order.client_order_id,
)
async def test_what_cannot_be_is_refused_and_leaves_nothing_behind(kind: str, order: Order) -> None:
    async with WORLDS[kind](FaultPlan()) as world, streaming(world):
        with pytest.raises(Refused):
            await world.broker.submit(order)
        assert await world.broker.order(order.client_order_id) is None
        assert await world.broker.open_orders() == []


async def test_an_order_that_was_never_sent_is_none(kind: str) -> None:
    async with WORLDS[kind](FaultPlan()) as world:
        assert await world.broker.order("never") is None


async def test_a_cancelled_order_is_over_and_cancelling_twice_is_no_error(kind: str) -> None:
    """A halted symbol's order waits until it is cancelled."""
    plan = FaultPlan()
    async with WORLDS[kind](plan) as world, streaming(world):
        plan.force("unknown-state")  # it stays open until the price moves next
        await world.broker.submit(buy("one"))
        assert [report.client_order_id for report in await world.broker.open_orders()] == ["one"]
        await world.broker.cancel("one")
        await world.until(lambda: any(update.report.over for update in world.updates("one")))
        await world.broker.cancel("one")
        assert await world.broker.open_orders() == []


@pytest.mark.parametrize("fault", ["rejected", "canceled"])
async def test_an_order_that_ends_without_a_fill_says_how(kind: str, fault: str) -> None:
    plan = FaultPlan()
    async with WORLDS[kind](plan) as world, streaming(world):
        plan.force(fault)
        await world.broker.submit(buy("one"))
        await world.until(lambda: any(update.report.over for update in world.updates("one")))
        report = await world.broker.order("one")
        assert report is not None
        assert (report.state, report.filled) == (fault, 0.0)
        assert await world.broker.holdings() == []


async def test_a_wash_trade_is_refused_in_the_brokers_words(kind: str) -> None:
    plan = FaultPlan()
    async with WORLDS[kind](plan) as world, streaming(world):
        plan.force("wash-trade")
        with pytest.raises(Refused, match="wash trade"):
            await world.broker.submit(buy("one"))


async def test_parts_of_an_order_are_executions_of_their_own_that_add_up(kind: str) -> None:
    plan = FaultPlan()
    async with WORLDS[kind](plan) as world, streaming(world):
        plan.force("partial")
        await world.broker.submit(buy("one"))
        await world.until(lambda: len([one for one in world.updates("one") if one.execution]) >= 3)
        plan.lift("partial")
        await world.until(lambda: any(update.report.over for update in world.updates("one")))
        parts = [update.execution for update in world.updates("one") if update.execution]
        assert len({part.execution_id for part in parts}) == len(parts) >= 4
        report = await world.broker.order("one")
        assert report is not None
        assert sum(part.quantity for part in parts) == pytest.approx(report.filled)
        assert list(await world.broker.executions(0)) == parts


async def test_a_state_that_no_document_names_means_in_flight(kind: str) -> None:
    plan = FaultPlan()
    async with WORLDS[kind](plan) as world, streaming(world):
        plan.force("unknown-state")
        report = await world.broker.submit(buy("one"))
        assert not report.over
        await world.until(lambda: any(one.report.state == "held_for_review" for one in world.updates("one")))
        plan.lift("unknown-state")
        await world.until(lambda: any(update.report.state == "filled" for update in world.updates("one")))


async def test_revised_bars_say_so_and_the_history_has_their_numbers(kind: str) -> None:
    plan = FaultPlan()
    async with WORLDS[kind](plan) as world:
        plan.force("revised")
        async with streaming(world):
            await world.until(lambda: {0, 1} <= minutes(world.bars(revised=True)))
        revised = [bar for bar in world.bars(revised=True) if bar.time < OPEN + 2 * MINUTE]
        assert revised == await world.market.history(SYMBOLS, MINUTE, OPEN, OPEN + 2 * MINUTE)
        assert revised != [bar for bar in world.bars() if bar.time < OPEN + 2 * MINUTE]


async def test_bars_that_are_missing_in_the_stream_are_in_the_history(kind: str) -> None:
    plan = FaultPlan()
    async with WORLDS[kind](plan) as world, streaming(world):
        plan.force("gap")
        await world.until(lambda: world.clock.now() > OPEN + 4 * MINUTE)
        missing = set(range(3)) - minutes(world.bars())
        assert missing
        history = await world.market.history(SYMBOLS, MINUTE, OPEN, OPEN + 3 * MINUTE)
        assert minutes(history) == {0, 1, 2}


async def test_a_half_day_is_in_the_calendar(kind: str) -> None:
    async with WORLDS[kind](FaultPlan(["half-day"])) as world:
        [day] = await world.market.sessions("2026-09-28", "2026-09-28")
        assert (day.open, day.close) == (OPEN, OPEN + 210 * MINUTE)


async def test_updates_that_are_repeated_or_overtake_each_other_are_known_by_their_ids(kind: str) -> None:
    """In the process nothing is repeated, and yet what must be true is the same."""
    plan = FaultPlan()
    async with WORLDS[kind](plan) as world, streaming(world):
        plan.force("partial")
        plan.force("repeated")
        await world.broker.submit(buy("one"))
        await world.until(lambda: [one for one in world.updates("one") if one.execution])
        plan.force("out-of-order")
        await world.until(lambda: len({one.execution for one in world.updates("one")}) >= 4)
        plan.lift("partial")
        await world.until(lambda: any(update.report.over for update in world.updates("one")))
        by_id = {one.execution.execution_id: one.execution for one in world.updates("one") if one.execution}
        assert by_id == {one.execution_id: one for one in await world.broker.executions(0)}
        report = await world.broker.order("one")
        assert report is not None
        assert sum(part.quantity for part in by_id.values()) == pytest.approx(report.filled)


async def test_a_halt_is_told_with_its_end(kind: str) -> None:
    plan = FaultPlan()
    async with WORLDS[kind](plan) as world:
        plan.force("halt")
        async with streaming(world):
            await world.until(world.halts)
            plan.lift("halt")
            await world.until(lambda: len(world.halts()) == 2)
        assert [one.halted for one in world.halts()] == [True, False]
