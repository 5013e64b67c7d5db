"""Whether the daemon trades, and what has to be right before it does. What is heavy is imported only if it does."""

from collections.abc import Sequence

import structlog

from config.errors import BadInput
from config.settings import Settings, Trading
from daemon.desk_office import OpenDesk

log = structlog.get_logger()


def opener(settings: Settings, only: Sequence[str] = ()) -> "OpenDesk | None":
    """What makes the desk, with all strategies of the settings or `only` some; None: nothing is traded.

    Raises BadInput for what cannot be traded as it is said.
    """
    if not settings.trading.enabled:
        if only:
            raise BadInput("--strategy: nothing is traded; set trading.enabled")
        return None
    from daemon.trading import opener_of  # noqa: PLC0415 - numpy, which the billing watch does without

    return opener_of(settings, only)


async def check(trading: Trading) -> None:
    """Ask Alpaca, where it is to be traded. Raises BadInput; of what may pass by itself only the log is told."""
    if not trading.enabled or trading.broker != "alpaca":
        return
    from daemon.desk_check import examine  # noqa: PLC0415 - alpaca-py

    for problem in await examine(trading):
        if not problem.passing:
            raise BadInput(str(problem))
        log.warning("trading_problem", key=problem.key, reason=problem.says)
