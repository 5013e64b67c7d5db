"""Exact sliding windows over counts per second of event time, whatever the order of arrival."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple


class Window(NamedTuple):
    """What one window held, both its seconds included."""

    start: int
    end: int
    total: int
    failed: int

    @property
    def rate(self) -> float:
        """Failed of all."""
        return self.failed / self.total


class Tally:
    """Attempts, and how many of them failed, in every window of `span_s` seconds that ends with an attempt.

    Memory is one row per second of the last two spans. A count in order costs O(1); one that comes late is added in
    its place, and only then are the windows it belongs to (at most `span_s`) gone through.
    """

    __slots__ = ("_failed", "_latest", "_left", "_seconds", "_span_s", "_total")

    def __init__(self, span_s: int) -> None:
        self._span_s = span_s
        self._seconds: list[int] = []
        self._total: list[int] = []
        self._failed: list[int] = []
        self._left = 0  # where the latest window starts
        self._latest = Window(0, 0, 0, 0)

    def add(self, second: int, *, failed: bool, now_s: int) -> bool:
        """Count one; False where its windows are all past, so that it counts nowhere."""
        self._forget(now_s - 2 * self._span_s)
        if second < now_s - 2 * self._span_s:
            return False
        seconds, latest = self._seconds, self._latest
        before = second < latest.end - self._span_s  # the latest window
        at = len(seconds) if not seconds or second > seconds[-1] else bisect_left(seconds, second)
        if at == len(seconds) or seconds[at] != second:
            seconds.insert(at, second)
            self._total.insert(at, 0)
            self._failed.insert(at, 0)
            self._left += before
        self._total[at] += 1
        self._failed[at] += failed
        if second > latest.end:
            self._advance(second)
        elif not before:
            self._latest = Window(seconds[self._left], latest.end, latest.total + 1, latest.failed + failed)
        return True

    def windows(self, second: int, now_s: int) -> Iterator[Window]:
        """The windows that hold this second and are not wholly past."""
        seconds = self._seconds
        if seconds and second == seconds[-1]:
            if second >= now_s - self._span_s:
                yield self._latest
            return
        first = bisect_left(seconds, second)
        left = bisect_left(seconds, second - self._span_s)
        total, failed = sum(self._total[left:first]), sum(self._failed[left:first])
        for end in range(first, bisect_right(seconds, second + self._span_s)):
            total += self._total[end]
            failed += self._failed[end]
            while seconds[left] < seconds[end] - self._span_s:
                total -= self._total[left]
                failed -= self._failed[left]
                left += 1
            if seconds[end] >= now_s - self._span_s:
                yield Window(seconds[left], seconds[end], total, failed)

    def _advance(self, second: int) -> None:
        """The latest window moves on to a new second, the last of the list."""
        total = self._latest.total + self._total[-1]
        failed = self._latest.failed + self._failed[-1]
        while self._seconds[self._left] < second - self._span_s:
            total -= self._total[self._left]
            failed -= self._failed[self._left]
            self._left += 1
        self._latest = Window(self._seconds[self._left], second, total, failed)

    def _forget(self, before: int) -> None:
        if self._seconds and self._seconds[0] < before:
            gone = bisect_left(self._seconds, before)
            del self._seconds[:gone], self._total[:gone], self._failed[:gone]
            self._left -= gone
            if self._left < 0:
                self._recount()

    def _recount(self) -> None:
        """The latest window from scratch."""
        if not self._seconds:
            self._left, self._latest = 0, Window(0, 0, 0, 0)
            return
        end = self._seconds[-1]
        self._left = bisect_left(self._seconds, end - self._span_s)
        total, failed = sum(self._total[self._left :]), sum(self._failed[self._left :])
        self._latest = Window(self._seconds[self._left], end, total, failed)

    def save(self) -> list[list[int]]:
        """Its three columns."""
        return [self._seconds, self._total, self._failed]

    def load(self, columns: list[list[int]]) -> None:
        """What `save` gave."""
        self._seconds, self._total, self._failed = (list(column) for column in columns)
        self._recount()
