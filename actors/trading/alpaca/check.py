"""What is wrong with the settings for Alpaca, found out by asking it, before anything depends on it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from actors.kernel.clock import SECOND, Clock, ScaledClock, monotonic
from actors.trading.alpaca.broker import AlpacaBroker
from actors.trading.alpaca.market import AlpacaMarket
from actors.trading.hours import AHEAD_DAYS, date_of, sessions_by_rule
from actors.trading.ports import Refused, Session, Unreachable
from strategies.sessions import NEW_YORK

LIVE_KEYS, PAPER_KEYS = "AK", "PK"
"""How their ids begin."""
NAMED = 5
DRIFT_S = 30
"""A minute's bars are waited for five seconds; a clock that is further off than this takes every bar for a late one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`key` names the setting. `passing`: it may be well again without anyone doing anything."""

    key: str
    says: str
    passing: bool = False

    def __str__(self) -> str:
        return f"{self.key}: {self.says}"


def keys_of_the_other_kind(key_id: str, *, paper: bool) -> Problem | None:
    """Whether the keys are of a live account where paper is to be traded, or the other way round."""
    if paper and key_id.startswith(LIVE_KEYS):
        return Problem("trading.key_id", "these are keys of a live account and trading.paper is true; make paper keys")
    if not paper and key_id.startswith(PAPER_KEYS):
        return Problem("trading.key_id", "these are keys of a paper account and trading.paper is false")
    return None


async def problems(
    broker: AlpacaBroker, market: AlpacaMarket, symbols: Collection[str], clock: Clock, *, shared_out: bool = True
) -> list[Problem]:
    """What stands in the way of trading these symbols; the first is the first to mend.

    `shared_out`: the strategies begin with what the account has, and not with a capital that the settings name.
    """
    try:
        account = await broker.account()
    except Refused as error:
        return [Problem("trading.key_id, trading.secret_key", f"Alpaca does not accept these keys ({error})")]
    except Unreachable as error:
        says = f"{error}; check the address and the network"
        return [Problem("trading.base_url", says, passing=broker.host.is_alpacas)]
    found = [Problem("trading.key_id", "the account is blocked; Alpaca says why")] if account.blocked else []
    if shared_out and account.equity <= 0:
        says = f"the account has {account.equity:,.2f} dollars to share out among the strategies; pay something in"
        found.append(Problem("trading.capital_per_strategy", says))
    return [*found, *await _of_the_market(market, symbols), *await _of_the_time(broker, market, clock)]


async def clock_there(broker: AlpacaBroker, ours: Clock) -> Clock:
    """The clock to trade there by: our own, or where that is another one, as at a simulated exchange, theirs.

    Raises Refused, Unreachable.
    """
    asked = monotonic()
    theirs, speed = await broker.time()
    theirs += round((monotonic() - asked) / 2 * speed * SECOND)
    if speed == 1 and abs(ours.now() - theirs) <= DRIFT_S * SECOND:
        return ours
    there = ScaledClock(theirs, speed)
    there.now()  # it runs from here on
    return there


async def _of_the_time(broker: AlpacaBroker, market: AlpacaMarket, clock: Clock) -> list[Problem]:
    try:
        now = (await clock_there(broker, clock)).now()
        first, last = date_of(now), date_of(now, AHEAD_DAYS)
        sessions = await market.sessions(first, last)
    except (Refused, Unreachable):
        return []  # it has just answered; what is wrong now is neither the clock nor the calendar
    differing = _of_the_calendar(sessions, sessions_by_rule(first, last))
    ahead_s = (clock.now() - now) / SECOND
    # An exchange of one's own may have a time of its own, and the desk lives by that.
    if abs(ahead_s) <= DRIFT_S or not broker.host.is_alpacas:
        return differing
    way = "ahead of" if ahead_s > 0 else "behind"
    says = f"this machine's clock is {abs(ahead_s):,.0f} s {way} the exchange's: bars come too late to trade on; set it"
    return [*differing, Problem("trading", says, passing=True)]


def _of_the_calendar(theirs: Sequence[Session], published: Sequence[Session]) -> list[Problem]:
    said, expected = ({one.date: _hours(one) for one in several} for several in (theirs, published))
    differing = sorted(day for day in said.keys() | expected.keys() if said.get(day) != expected.get(day))
    if not differing:
        return []
    first, *others = differing
    says = (
        f"the broker's calendar has {first} {said.get(first, 'closed')}, the published hours "
        f"{expected.get(first, 'closed')}{f', and {len(others)} more days' if others else ''}; the broker's holds"
    )
    return [Problem("trading", says, passing=True)]


def _hours(session: Session) -> str:
    opens, closes = (datetime.fromtimestamp(at / SECOND, NEW_YORK) for at in (session.open, session.close))
    return f"from {opens:%H:%M} to {closes:%H:%M}"


async def _of_the_market(market: AlpacaMarket, symbols: Collection[str]) -> list[Problem]:
    try:
        quoted = {quote.symbol for quote in await market.quotes(symbols)}
        strangers = await market.unknown(set(symbols) - quoted)
    except Refused as error:
        return [Problem("trading.feed", f"{market.asked_feed}: {error}; the free plan has iex")]
    except Unreachable as error:
        says = f"{error}; check the address and the network"
        return [Problem("trading.data_url", says, passing=market.data.is_alpacas)]
    if not strangers:
        return []
    more = f" and {len(strangers) - NAMED} more" if len(strangers) > NAMED else ""
    says = f"Alpaca does not trade {', '.join(strangers[:NAMED])}{more}; take them out"
    return [Problem("trading.universe.symbols", says)]
