"""Whether the daemon trades, and what has to be right before it does. What is heavy is imported only if it does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from actors.kernel.clock import SECOND, Clock
from config.errors import BadInput
from config.settings import Settings, Trading

if TYPE_CHECKING:  # it brings numpy, which the billing watch does without
    from daemon.trading import OpenDeskAt

log = structlog.get_logger()


def opener(settings: Settings, only: Sequence[str] = ()) -> "OpenDeskAt | None":
    """What makes the desk, with all strategies of the settings or `only` some; None: nothing is traded.

    Raises BadInput for what cannot be traded as it is said.
    """
    if not settings.trading.enabled:
        if only:
            raise BadInput("--strategy: nothing is traded; set trading.enabled")
        return None
    from daemon.trading import opener_of  # noqa: PLC0415 - as above

    return opener_of(settings, only)


async def check(trading: Trading, clock: Clock) -> Clock:
    """Ask Alpaca, where it is to be traded; what the desk lives by: `clock`, or that of an exchange of one's own.

    Raises BadInput; of what may pass by itself only the log is told.
    """
    if not trading.enabled or trading.broker != "alpaca":
        return clock
    from daemon.desk_check import clock_of, examine  # noqa: PLC0415 - alpaca-py

    for problem in await examine(trading):
        if not problem.passing:
            raise BadInput(str(problem))
        log.warning("trading_problem", key=problem.key, reason=problem.says)
    there = await clock_of(trading, clock)
    if there is not clock:
        log.info("trading_at_another_time", ahead_s=round((there.now() - clock.now()) / SECOND))
    return there
