"""Another time of day, and faster."""

from actors.kernel.clock import SECOND, WallClock


class OtherClock(WallClock):
    """The wall clock, as a straight line from another moment: the same in every thread and process.

    At `began_s` (unix seconds) it showed `shows` (UTC microseconds), and it has run `speed` times as fast since.
    """

    def __init__(self, began_s: float, shows: int, speed: float) -> None:
        self._began, self._shows, self._speed = began_s, shows, speed

    def now(self) -> int:
        return self._shows + int((super().now() - self._began * SECOND) * self._speed)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._speed)

    async def sleep_until(self, at: int) -> None:
        while (left := at - self.now()) > 0:
            await super().sleep(left / SECOND / self._speed)
