"""Ten strategies on one account: whatever they want and whatever goes wrong, the books add up to the broker's word."""

from collections import Counter, defaultdict
from pathlib import Path

import orjson
import pytest

from actors.simulated.exchange.faults import FaultPlan
from actors.store.desk_records import DeskEntry
from actors.trading import orders_state
from actors.trading.journal import Word
from actors.trading.orders import Orders
from actors.trading.ports import Side
from actors.trading.risk_book import RiskBook
from actors.trading.words import Booked, Intent, IntentOver, OrderPlaced, Purpose
from tests.simulation.loop import seeds
from tests.trading.floor import SYMBOLS, Floor, story

TEN = tuple(f"strategy_{n}" for n in range(10))
SHARES = 1e-6
CENT = 0.005


async def trade(floor: Floor, minutes: int) -> None:
    """Every minute, some strategies enter and leave as they like; each has one intent a symbol at a time."""
    rng = floor.rng
    for _ in range(minutes):
        floor.quote()
        ended = {one.id for one in await over(floor)}
        open_ = [one for one in await floor.words() if isinstance(one, Intent) and one.id not in ended]
        busy = {(one.strategy, one.symbol) for one in open_}
        wanted: list[Intent] = []
        for strategy in rng.sample(TEN, 4):
            symbol = rng.choice(SYMBOLS)
            if (strategy, symbol) in busy or strategy not in floor.desk.accounts.purses:
                continue
            if symbol in floor.desk.accounts.purses[strategy].stakes:
                wanted.append(floor.exit(strategy, symbol))
            else:
                wanted.append(floor.entry(strategy, symbol, rng.uniform(10, 20_000), score=rng.random()))
        if wanted:
            await floor.say(*wanted)
        await floor.clock.sleep(rng.uniform(0, 5))
        await floor.tick(**{rng.choice(SYMBOLS): rng.uniform(90, 110)})


async def over(floor: Floor) -> list[Intent]:
    """Intents to which nothing more happens."""
    words = await floor.words()
    ended = {word.intent for word in words if isinstance(word, IntentOver)}
    return [word for word in words if isinstance(word, Intent) and word.id in ended]


def holdings(floor: Floor) -> dict[str, float]:
    return {holding.symbol: holding.quantity for holding in floor.exchange.holdings()}


async def check(floor: Floor) -> None:
    """What must be true when nothing is under way any more."""
    words = await floor.words()
    orders = [word for word in words if isinstance(word, OrderPlaced)]
    assert floor.desk.accounts.shares() == pytest.approx(holdings(floor), abs=SHARES)
    spent = floor.desk.accounts.capital - floor.desk.accounts.cash
    assert spent == pytest.approx(100_000.0 * len(TEN) - floor.exchange.cash, abs=CENT)
    assert {ticket.order.client_order_id for ticket in floor.exchange.tickets()} <= {
        one.client_order_id for one in orders
    }
    assert Counter(one.id for one in await over(floor)) == Counter(w.id for w in words if isinstance(w, Intent))
    no_more_than_asked_for(words)
    for _ in range(3):
        folded_from_anywhere(floor.rng.random(), await floor.log())


def folded_from_anywhere(share: float, log: list[DeskEntry]) -> None:
    """A snapshot and the entries after it are as good as all entries."""
    whole, part = Orders(), Orders()
    risk, risk_part = RiskBook(0.15, 0.03), RiskBook(0.15, 0.03)
    cut = int(share * len(log))
    for entry in log[:cut]:
        part.fold(entry)
        risk_part.fold(entry)
    part = orders_state.unpack(orders_state.pack(part))
    saved, risk_part = orjson.dumps(risk_part.save()), RiskBook(0.15, 0.03)
    risk_part.load(orjson.loads(saved))
    for entry in log[cut:]:
        part.fold(entry)
        risk_part.fold(entry)
    for entry in log:
        whole.fold(entry)
        risk.fold(entry)
    assert orders_state.pack(part) == orders_state.pack(whole)
    assert orjson.dumps(risk_part.save()) == orjson.dumps(risk.save())


def no_more_than_asked_for(words: list[Word]) -> None:
    intents = {word.id: word for word in words if isinstance(word, Intent)}
    got: defaultdict[str, float] = defaultdict(float)
    for word in words:
        if isinstance(word, Booked):
            got[word.intent] += word.quantity if word.side is Side.SELL else word.quantity * word.price
    for intent_id, amount in got.items():
        intent = intents[intent_id]
        most = intent.budget if intent.purpose is Purpose.ENTER else intent.quantity
        assert most is not None
        assert amount <= most * 1.000001


@pytest.mark.parametrize("seed", seeds(6))
def test_books_add_up_whatever_ten_strategies_want(seed: int, tmp_path: Path) -> None:
    async def tell(floor: Floor) -> None:
        async with floor.at_work():
            await floor.tick()
            await trade(floor, 30)
            await floor.tick()
            await check(floor)

    story(tmp_path, tell, seed=seed, strategies=TEN)


@pytest.mark.parametrize("seed", seeds(6))
def test_books_add_up_when_answers_are_lost_and_the_desk_is_killed(seed: int, tmp_path: Path) -> None:
    """One answer or update in ten is lost, some come twice, orders fill in parts, and four times the process dies."""

    async def tell(floor: Floor) -> None:
        for _ in range(4):
            async with floor.at_work():
                await floor.tick()
                await trade(floor, 8)
                await floor.say(floor.entry("strategy_0", "AAPL", 5_000.0, score=2.0))
                await floor.clock.sleep(floor.rng.uniform(0, 0.5))
        floor.broker._lost = 0.0
        async with floor.at_work():
            for _ in range(8):
                await floor.tick()
            floor.exchange.end_day(floor.clock.now())
            for _ in range(8):
                await floor.tick()
            await check(floor)
            assert max(Counter(floor.broker.posts).values()) <= 2  # the second from another life, and then refused

    story(tmp_path, tell, seed=seed, strategies=TEN, lost=0.1, faults=FaultPlan(["partial", "rejected"], seed))
