"""Whether the desk could trade as the settings say: asked of Alpaca, at start and by `nightdesk doctor`."""

from actors.kernel.clock import Clock, WallClock
from actors.trading.alpaca.broker import AlpacaBroker, trading_url
from actors.trading.alpaca.check import Problem, clock_there, keys_of_the_other_kind, problems
from actors.trading.alpaca.market import AlpacaMarket
from actors.trading.alpaca.rest import INSIST_S
from actors.trading.alpaca.sdk import Keys
from actors.trading.ports import Refused, Unreachable
from config.settings import Trading

CHECK_S = 3.0
"""On an answer; a start that waits is worse than one that is refused."""


def keys_of(trading: Trading) -> Keys | None:
    """The keys of the settings; None where one of them is missing."""
    if trading.key_id is None or trading.secret_key is None:
        return None
    return Keys(trading.key_id.get_secret_value(), trading.secret_key.get_secret_value())


def wrong_keys(trading: Trading) -> Problem | None:
    """What can be seen of the keys without asking anyone."""
    keys = keys_of(trading)
    if keys is None:
        return Problem("trading.key_id, trading.secret_key", "both are needed (Alpaca → API Keys)")
    return keys_of_the_other_kind(keys.key_id, paper=trading.paper)


def ports(trading: Trading, clock: Clock, insist_s: float = INSIST_S) -> tuple[AlpacaMarket, AlpacaBroker]:
    """Alpaca's data and trading, with keys that are not wrong. To be called in the loop, and closed."""
    keys = keys_of(trading)
    assert keys is not None  # noqa: S101 - `wrong_keys` has been asked, or the settings checked
    broker = AlpacaBroker(keys, trading_url(trading.base_url, paper=trading.paper), insist_s=insist_s)
    market = AlpacaMarket(
        keys,
        trading.feed,
        clock,
        broker.host,
        data_url=trading.data_url,
        stream_url=trading.stream_url,
        insist_s=insist_s,
    )
    return market, broker


async def examine(trading: Trading) -> list[Problem]:
    """What stands in the way; empty: nothing. Imports alpaca-py."""
    if (wrong := wrong_keys(trading)) is not None:
        return [wrong]
    clock = WallClock()
    market, broker = ports(trading, clock, CHECK_S)
    try:
        shared_out = trading.capital_per_strategy is None
        return await problems(broker, market, trading.universe.symbols, clock, shared_out=shared_out)
    finally:
        broker.close()
        market.close()


async def clock_of(trading: Trading, ours: Clock) -> Clock:
    """What the desk lives by: our own clock, or that of an exchange of one's own."""
    market, broker = ports(trading, ours, CHECK_S)
    try:
        return ours if broker.host.is_alpacas else await clock_there(broker, ours)
    except (Refused, Unreachable):
        return ours  # an exchange without a clock
    finally:
        broker.close()
        market.close()
