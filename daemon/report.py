"""What the kernel and the store tell, as lines of the log."""

import structlog

from actors.kernel import tree as kernel
from config.errors import UserError

log = structlog.get_logger()


def supervision(event: kernel.SupervisionEvent) -> None:
    """One line for each thing that happens to an actor."""
    match event:
        case kernel.Started(actor, restarts):
            log.debug("actor_started", actor=actor, restarts=restarts)
        case kernel.Stopped(actor, left):
            log.debug("actor_stopped", actor=actor, left=left)
        case kernel.Crashed(actor, error, restarts, delay):
            # Quiet at first, loud when it goes on: most crashes heal by the restart.
            write = log.warning if restarts <= 2 else log.error
            write("actor_crashed", actor=actor, restarts=restarts, again_in_s=round(delay, 2), exc_info=error)
        case kernel.Stuck(actor, seconds):
            log.error("actor_stuck", actor=actor, seconds=round(seconds, 1))
        case kernel.Failed(_, UserError()):
            pass  # the user is told in one line, at the end of the process
        case kernel.Failed(actor, error):
            log.critical("actor_failed", actor=actor, exc_info=error)
        case kernel.Quarantined(actor, place):
            log.critical("actor_quarantined", actor=actor, place=place)
        case kernel.Unstopped(actor, error):
            log.error("actor_would_not_stop", actor=actor, exc_info=error)


def dead_letter(letter: kernel.DeadLetter) -> None:
    """A message that crashed its actor three times. What it said may be personal: only its type is logged."""
    log.critical("dead_letter", actor=letter.actor, message_type=type(letter.message).__name__, error=letter.error)


def store_trouble(sentence: str | None) -> None:
    """Writes fail, or work again."""
    if sentence is None:
        log.info("store_well")
    else:
        log.error("store_trouble", what=sentence)
