"""`nightdesk` at another time of day, and faster: `python -m tests.process.at_another_time BEGAN SHOWS SPEED run …`.

At BEGAN (unix seconds) the clock showed SHOWS (UTC microseconds), and it has run SPEED times as fast since; a daemon
that is started anew goes on in the same time. All else is as it is.
"""

import sys

from actors.kernel import clock
from actors.kernel.clock import SECOND, WallClock


class OtherClock(WallClock):
    """The wall clock, as a straight line from another moment."""

    def __init__(self, began_s: float, shows: int, speed: float) -> None:
        self._began, self._shows, self._speed = began_s, shows, speed

    def now(self) -> int:
        return self._shows + int((super().now() - self._began * SECOND) * self._speed)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._speed)

    async def sleep_until(self, at: int) -> None:
        while (left := at - self.now()) > 0:
            await super().sleep(left / SECOND / self._speed)


if __name__ == "__main__":
    began, shows, speed = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    clock.WallClock = lambda: OtherClock(began, shows, speed)  # type: ignore[misc,assignment]
    from daemon.cli import main

    raise SystemExit(main(sys.argv[4:]))
