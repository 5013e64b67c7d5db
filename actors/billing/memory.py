"""What detectors remember of late, in little room: by key, as a mere mark, or as the newest examples.

Two generations instead of a time beside each entry: what was put since the last turn, and what before it. A turn drops
the older one, so that nothing is ever searched for its age, and an entry costs a quarter of what it does with its time.
"""

from array import array
from base64 import b64encode
from binascii import a2b_base64
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar
from zlib import crc32

ENTRIES_MAX = 20_000  # of one memory of one tenant
DAY_S = 86_400

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by key, for `keep_us` of log time since their last put at least, and for no more than twice that.

    Of more keys than the limit, only the newer half may be remembered.
    """

    __slots__ = ("_began", "_keep_us", "_limit", "_old", "_young")

    def __init__(self, keep_us: int, limit: int = ENTRIES_MAX) -> None:
        self._keep_us = keep_us
        self._limit = limit // 2
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}
        self._began = 0  # when the young became so

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __contains__(self, key: str) -> bool:
        return key in self._young or key in self._old

    def get(self, key: str) -> V | None:
        """The value, if it is remembered."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def put(self, key: str, value: V, now: int) -> bool:
        """Remember it from `now` on; True where that made room by forgetting others."""
        turned = now - self._began >= self._keep_us or len(self._young) >= self._limit
        if turned:
            self._old = self._young if now - self._began < 2 * self._keep_us else {}
            self._young, self._began = {}, now
        elif now < self._began:  # the clock was set back
            self._began = now
        self._young.pop(key, None)
        self._young[key] = value
        return turned

    def replace(self, key: str, value: V) -> None:
        """Another value for a key that is remembered, for no longer than it was."""
        (self._young if key in self._young else self._old)[key] = value

    def values(self) -> Iterator[V]:
        """Those remembered, in the order of their last put."""
        young = self._young
        yield from (value for key, value in self._old.items() if key not in young)
        yield from young.values()

    def save(self, row: Callable[[V], Any] | None = None) -> list[Any]:
        """When the young became so, the old and the young; each value as `row` makes JSON of it."""
        old = {key: value for key, value in self._old.items() if key not in self._young}
        if row is None:
            return [self._began, old, self._young]
        return [self._began, *({key: row(value) for key, value in part.items()} for part in (old, self._young))]

    def load(self, saved: list[Any], make: Callable[[Any], V] = lambda value: value) -> None:
        """What `save` gave, each value as `make` makes it of JSON."""
        self._began, old, young = saved
        self._old = {key: make(value) for key, value in old.items()}
        self._young = {key: make(value) for key, value in young.items()}


class Seen:
    """Whether a key was seen of late: as `Recent`, but for 32 bits of it only, by which one in 200,000 may be mistaken.

    That is at the limit; with a hundred remembered, one in forty million. A mark takes four bytes.
    """

    __slots__ = ("_began", "_keep_us", "_limit", "_old", "_young")

    def __init__(self, keep_us: int, limit: int = ENTRIES_MAX) -> None:
        self._keep_us = keep_us
        self._limit = limit // 2
        self._young = array("I")  # in order
        self._old = array("I")
        self._began = 0

    def __contains__(self, key: str) -> bool:
        mark = crc32(key.encode())
        return holds(self._young, mark) or holds(self._old, mark)

    def first(self, key: str, now: int) -> bool:
        """It is seen; True where it had not been of late."""
        if now - self._began >= self._keep_us or len(self._young) >= self._limit:
            self._old = self._young if now - self._began < 2 * self._keep_us else array("I")
            self._young, self._began = array("I"), now
        elif now < self._began:  # the clock was set back
            self._began = now
        mark, young = crc32(key.encode()), self._young
        at = bisect_left(young, mark)
        if at < len(young) and young[at] == mark:
            return False
        young.insert(at, mark)
        return not holds(self._old, mark)

    def save(self) -> list[Any]:
        """As `Recent` does, the marks in base 64."""
        return [self._began, written(self._old), written(self._young)]

    def load(self, saved: list[Any]) -> None:
        """What `save` gave."""
        self._began, *parts = saved
        self._old, self._young = (array("I", a2b_base64(part)) for part in parts)


def holds(marks: "array[int]", mark: int) -> bool:
    """Whether it is one of these, which are in order."""
    at = bisect_left(marks, mark)
    return at < len(marks) and marks[at] == mark


class Examples:
    """The newest rows of something, for evidence; each begins with its second. A day after the newest they are old."""

    __slots__ = ("_rows",)

    def __init__(self, limit: int) -> None:
        self._rows: deque[list[Any]] = deque(maxlen=limit)

    def add(self, second: int, *row: object) -> None:
        """One more."""
        rows = self._rows
        rows.append([second, *row])
        while rows[0][0] < second - DAY_S:
            rows.popleft()

    def within(self, since: int, until: int) -> list[list[Any]]:
        """Those of a stretch of time, both ends included, in the order in which they came."""
        return [row for row in self._rows if since <= row[0] <= until]

    def save(self) -> list[list[Any]]:
        """All of them."""
        return list(self._rows)

    def load(self, rows: list[list[Any]]) -> None:
        """What `save` gave."""
        self._rows.extend(rows)


def written(numbers: "array[Any]") -> str:
    """Numbers as text, exactly."""
    return b64encode(numbers.tobytes()).decode()
