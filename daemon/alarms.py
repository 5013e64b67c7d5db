"""What the daemon notices about itself becomes an input in the log, and so an incident like any other."""

from pathlib import Path

import structlog

from actors.kernel import tree as kernel
from actors.kernel.actor import Actor
from actors.kernel.clock import Clock
from actors.kernel.mailbox import Mailbox, conflate
from actors.store.alarm import UNTIL_RESOLVED_S, Alarm
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import DAEMON, Kind, NewEntry, Severity
from config.redaction import redacted_in

log = structlog.get_logger()

STRATEGY = "trading.strategy:"
"""Begins the names of those who run a strategy."""

SIGNALS_MAX = 64
AGAIN_S = 5.0
LOUD_AFTER_RESTARTS = 3
"""One or two restarts heal most things and are nobody's business."""


def alarm_box() -> Mailbox[Alarm]:
    """The newest word on each matter: what has passed before it could be written down need not be."""
    return conflate(SIGNALS_MAX, key=lambda alarm: (alarm.signal, alarm.scope))


def of_supervision(event: kernel.SupervisionEvent) -> Alarm | None:
    """What an operator should hear of the life of actors."""
    match event:
        case kernel.Crashed(actor, _, restarts, _) if restarts >= LOUD_AFTER_RESTARTS:
            return Alarm(
                "actor_restarting",
                actor,
                f"{actor} keeps failing and was restarted {restarts} times",
                first="nightdesk actors shows the last error; the log has its trace.",
            )
        case kernel.Failed(actor, error) if actor.startswith(STRATEGY):
            return _of_strategy(actor, f"failed too often and was given up: {error}")
        case kernel.Quarantined(actor, place) if actor.startswith(STRATEGY):
            where = f", at {_line_of(actor.removeprefix(STRATEGY), place)}" if place else ""
            return _of_strategy(actor, f"blocked the whole process and was not started again{where}")
        case kernel.Failed(actor, _):
            return Alarm(
                "actor_restarting",
                actor,
                f"{actor} failed too often and was given up",
                Severity.CRITICAL,
                first=f"Read the log, mend the cause, then: nightdesk restart {actor}",
            )
        case kernel.Quarantined(actor, place):
            return Alarm(
                "actor_restarting",
                actor,
                f"{actor} blocked the whole process and was not started again",
                Severity.CRITICAL,
                first=f"Read the log, mend the cause, then: nightdesk restart {actor}",
                evidence={"place": place},
            )
    return None


def _line_of(strategy: str, place: str) -> str:
    """The line of its own file, whatever that had called; of a stack without one, where it stood."""
    lines = place.split(", ")
    return next((line for line in lines if Path(line.rpartition(":")[0]).stem == strategy), lines[0])


def _of_strategy(actor: str, what: str) -> Alarm:
    """What it holds is looked after meanwhile; but what it would have sold is not sold."""
    name = actor.removeprefix(STRATEGY)
    return Alarm(
        "strategy_failed",
        name,
        f"{name} {what}",
        Severity.CRITICAL,
        first=f"Its stops are kept and it enters nothing; nightdesk flatten {name} sells what it holds. "
        f"Mended: nightdesk restart {actor}",
        quiet_s=UNTIL_RESOLVED_S,
    )


def of_store(trouble: str | None) -> Alarm:
    """Writes fail, or work again."""
    title = None if trouble is None else f"Webhooks are answered 503: {trouble}"
    first = "Check free space and permissions of the data directory."
    return Alarm("store_trouble", "account", title, Severity.CRITICAL, first)


class Alarms(Actor[Alarm]):
    """Writes each alarm into the log, as soon as the store takes it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def receive(self, message: Alarm) -> None:
        """One entry; tried again while the store cannot write. What others' code says is told like in the logs."""
        data = redacted_in(message.data)
        while True:
            try:
                await self._store.append(NewEntry(Kind.ALARM, DAEMON, self._clock.now(), data))
                return
            except StoreUnavailable as error:
                log.warning("alarm_waits", signal=message.signal, scope=message.scope, reason=str(error))
                await self._clock.sleep(AGAIN_S)
