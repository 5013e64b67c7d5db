"""What is wrong with the settings for Alpaca is said in one line each, before anything depends on it."""

import re

import pytest

from actors.kernel.clock import Clock, WallClock
from actors.simulated.exchange.faults import FaultPlan
from actors.trading.alpaca.broker import AlpacaBroker
from actors.trading.alpaca.check import keys_of_the_other_kind, problems
from actors.trading.alpaca.market import AlpacaMarket
from actors.trading.alpaca.sdk import Keys
from tests.trading.exchanges import KEYS, SYMBOLS, World, over_alpaca


async def said(world: World, symbols: tuple[str, ...] = SYMBOLS, clock: Clock | None = None) -> list[str]:
    assert isinstance(world.broker, AlpacaBroker)
    assert isinstance(world.market, AlpacaMarket)
    return [str(problem) for problem in await problems(world.broker, world.market, symbols, clock or world.clock)]


async def test_nothing_is_said_when_all_is_well() -> None:
    async with over_alpaca(FaultPlan()) as world:
        assert await said(world) == []


async def test_wrong_keys_are_told_in_alpacas_words_and_without_the_keys() -> None:
    async with over_alpaca(FaultPlan(), keys=Keys("PKWRONG", "hush")) as world:
        [line] = await said(world)
    assert line.startswith("trading.key_id, trading.secret_key: Alpaca does not accept these keys (")
    assert "HTTP 401: request is not authorized" in line
    assert "hush" not in line
    assert "PKWRONG" not in line


async def test_a_feed_that_the_account_may_not_use_is_told() -> None:
    async with over_alpaca(FaultPlan(), feed="sip") as world:
        [line] = await said(world)
    assert line.startswith("trading.feed: sip: ")
    assert "subscription does not permit querying recent SIP data" in line


async def test_symbols_that_are_not_traded_are_named() -> None:
    async with over_alpaca(FaultPlan()) as world:
        [line] = await said(world, (*SYMBOLS, "NOPE", "WHAT"))
    assert line == "trading.universe.symbols: Alpaca does not trade NOPE, WHAT; take them out"


async def test_a_clock_that_is_not_the_exchanges_is_told_and_may_pass() -> None:
    async with over_alpaca(FaultPlan()) as world:
        assert await said(world, clock=WallClock()) == []  # an exchange of one's own has a time of its own
        assert isinstance(world.broker, AlpacaBroker)
        world.broker.host.is_alpacas = True
        [line] = await said(world, clock=WallClock())
    assert line.startswith("trading: this machine's clock is ")
    assert line.endswith(" s ahead of the exchange's: bars come too late to trade on; set it")


async def test_a_calendar_that_is_not_the_published_one_is_told_and_may_pass() -> None:
    """Whose clock it is does not matter: the days are those around the exchange's time."""
    async with over_alpaca(FaultPlan(["half-day"])) as world:
        [line] = await said(world, clock=WallClock())
    assert re.fullmatch(
        r"trading: the broker's calendar has 20\d\d-\d\d-\d\d from 09:30 to 13:00, the published hours "
        r"from 09:30 to 16:00, and \d more days; the broker's holds",
        line,
    )


async def test_a_host_that_cannot_be_reached_is_named_with_its_key(unused_tcp_port: int) -> None:
    """Given up on after some time, in which it might have come back."""
    broker = AlpacaBroker(KEYS, f"http://127.0.0.1:{unused_tcp_port}", deadline_s=0.2, insist_s=0.5)
    market = AlpacaMarket(KEYS, "iex", None, broker.host)  # type: ignore[arg-type]  # it is not asked anything
    try:
        [problem] = await problems(broker, market, SYMBOLS, WallClock())
    finally:
        broker.close()
        market.close()
    assert not problem.passing  # whoever named this host can mend it
    says = f"127.0.0.1:{unused_tcp_port}: cannot connect; check the address and the network"
    assert str(problem) == f"trading.base_url: {says}"


@pytest.mark.parametrize(
    ("key_id", "paper", "told"),
    [("AK1", True, True), ("PK1", False, True), ("PK1", True, False), ("AK1", False, False)],
)
def test_keys_of_a_live_account_are_known_by_their_name(key_id: str, paper: bool, told: bool) -> None:
    problem = keys_of_the_other_kind(key_id, paper=paper)
    assert (problem is not None) == told
    assert key_id not in str(problem)
