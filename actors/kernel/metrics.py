"""What is counted about every mailbox and its actors; plain attributes, because they are touched with every message."""

from collections import Counter
from dataclasses import dataclass, field

LONG_TURN_S = 0.1
"""Turns longer than this are counted: everybody else waits for them if they do not wait themselves."""


@dataclass(slots=True)
class Meter:
    """Since the start, over all lives of the actor. What was accepted is finished, waiting, in flight or dropped.

    Reasons in `dropped`: `full` and `closed` were refused, which the sender knows; `oldest`, `conflated`, `expired` (an
    ask nobody waits for) and `dead_letter` had been accepted.
    """

    accepted: int = 0
    finished: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    high_water: int = 0
    busy_s: float = 0.0
    long_turns: int = 0
