"""Intents put to the risk manager, as a trader would."""

from dataclasses import replace
from typing import Any

from actors.trading.risk_rules import Limits
from actors.trading.words import Intent, IntentOver, Verdict
from tests.trading.floor import LOOSE, Floor


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
