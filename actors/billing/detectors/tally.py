"""Exact sliding windows over counts per second of event time, whatever the order of arrival."""

import sys
from bisect import bisect_left, bisect_right
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

    def worst(self, second: int, now_s: int, *, at_least: int, exactly: bool = False) -> Window | None:
        """Of the windows with this second and so many attempts that are not wholly past: highest rate, then most.

        With `exactly`, of those that hold no more than so many.
        """
        seconds = self._seconds
        if second == seconds[-1]:
            found, at_most = self._latest, at_least if exactly else self._latest.total
            return found if second >= now_s - self._span_s and at_least <= found.total <= at_most else None
        if exactly and self._crowded(second, at_least):
            return None
        return self._search(second, now_s, at_least, exactly=exactly)

    def _crowded(self, second: int, limit: int) -> bool:
        """Surely each window that holds this second holds more attempts than the limit.

        For each holds all of the half span before it, or all of the half span after it, and a row is an attempt at
        least; so this takes no counting.
        """
        seconds, half_s = self._seconds, self._span_s // 2
        here = bisect_left(seconds, second)
        before = here + 1 - bisect_left(seconds, second - half_s)
        after = bisect_right(seconds, second + half_s) - here
        return before > limit and (after > limit or seconds[-1] < second + half_s)

    def _search(self, second: int, now_s: int, at_least: int, *, exactly: bool) -> Window | None:
        seconds, totals, fails, span_s = self._seconds, self._total, self._failed, self._span_s
        first = bisect_left(seconds, max(second, now_s - span_s))
        left = bisect_left(seconds, seconds[first] - span_s) if first < len(seconds) else first
        total, failed = sum(totals[left:first]), sum(fails[left:first])
        at_most = at_least if exactly else sys.maxsize
        best, best_total, best_failed = None, 1, -1
        ends = slice(first, bisect_right(seconds, second + span_s))
        for end, more, failing in zip(seconds[ends], totals[ends], fails[ends], strict=True):
            total += more
            failed += failing
            start = end - span_s
            while seconds[left] < start:
                total -= totals[left]
                failed -= fails[left]
                left += 1
            if at_least <= total <= at_most:
                ahead = failed * best_total - best_failed * total  # of two shares, without dividing a thousand times
                if ahead > 0 or (not ahead and total > best_total):
                    best, best_total, best_failed = (left, end), total, failed
        return best and Window(seconds[best[0]], best[1], best_total, best_failed)

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
