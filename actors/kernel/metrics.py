"""What is counted about every mailbox and its actors; plain attributes, because they are touched with every message."""

from collections import Counter
from dataclasses import dataclass, field

LONG_TURN_S = 0.1
"""Turns longer than this are counted: everybody else waits for them if they do not wait themselves."""


@dataclass(slots=True)
class Meter:
    """Since the process began, over all lives of the actor. `accepted` = finished + waiting + in flight + lost.

    Reasons in `dropped`: `full` and `closed` were refused and the sender knows; `oldest`, `conflated`, `expired` (asks) and
    `dead_letter` had been accepted.
    """

    accepted: int = 0
    finished: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    high_water: int = 0
    turns: int = 0
    busy_s: float = 0.0
    long_turns: int = 0

    def turn(self, seconds: float) -> None:
        """A turn has ended."""
        self.turns += 1
        self.busy_s += seconds
        if seconds > LONG_TURN_S:
            self.long_turns += 1
