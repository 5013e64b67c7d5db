"""Looks that some detectors take once an hour, because nothing tells of what does not happen."""

from zlib import crc32

from actors.kernel.clock import SECOND

HOUR = 3600 * SECOND
LATE = 300 * SECOND
GRACE = 3 * HOUR


def next_round(tenant: str, signal: str, now: int) -> int:
    """The next of the hourly looks; each has a minute of its own, so that no minute has them all."""
    offset = crc32(f"{tenant} {signal}".encode()) % 60 * 60 * SECOND
    return ((now - offset) // HOUR + 1) * HOUR + offset


def missed(due: int, now: int) -> bool:
    """Nobody ticked when it was time: we were away, and what happened meanwhile is still being delivered."""
    return now - due > LATE
