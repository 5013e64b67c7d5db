"""Where a tenant's records are: in use, at hand as they were saved, or below, where they take no memory."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Protocol

from actors.billing.record import HEAD, Outlook, Record

PIECE = 1_000  # some 2 ms


class Below(Protocol):
    """What was saved of one tenant, as of the last snapshot that was committed; records by their subscription's id."""

    def parts(self) -> Iterable[tuple[str, int, bytes]]:
        """Name, version and state of all parts but the records."""

    def get(self, id_: str) -> bytes | None:
        """One record."""

    def states(self) -> Iterator[tuple[str, bytes]]:
        """All records."""

    def heads(self, size: int) -> Iterable[tuple[str, bytes]]:
        """Of each, the first so many bytes; read as it is gone through."""


class Shelf:
    """Records by subscription. To change one, open it: it is then in use until the next save. What is got is read."""

    def __init__(self) -> None:
        self.below: Below | None = None
        self.number = 0
        self._open: dict[str, Record] = {}
        self._at_hand: dict[str, bytes] = {}
        self._gone: set[str] = set()  # since the last save

    def __len__(self) -> int:
        return self.number

    def __contains__(self, id_: str) -> bool:
        return id_ in self._open or self._state(id_) is not None

    def __getitem__(self, id_: str) -> Record:
        record = self.get(id_)
        if record is None:
            raise KeyError(id_)
        return record

    def _state(self, id_: str) -> bytes | None:
        state = self._at_hand.get(id_)
        if state is None and self.below is not None and id_ not in self._gone:
            return self.below.get(id_)
        return state

    def get(self, id_: str) -> Record | None:
        """None: it is not known."""
        record = self._open.get(id_)
        if record is None and (state := self._state(id_)) is not None:
            return Record.unpack(state)
        return record

    def items(self) -> Iterator[tuple[str, Record]]:
        """All of them, in no order."""
        yield from self._open.items()
        for id_, state in self._at_hand.items():
            yield id_, Record.unpack(state)
        if self.below is not None:
            for id_, state in self.below.states():
                if not self._above(id_):
                    yield id_, Record.unpack(state)

    def outlooks(self) -> Iterator[list[tuple[str, Outlook]]]:
        """Of each, what is expected of it and when; in no order, a thousand at a time, far cheaper than the records.

        Nothing may be changed before the last.
        """
        opened = iter(self._open.items())
        while piece := [(id_, record.outlook) for id_, record in islice(opened, PIECE)]:
            yield piece
        heads: Iterator[tuple[str, bytes]] = ((id_, state[: HEAD.size]) for id_, state in self._at_hand.items())
        if self.below is not None:
            heads = chain(heads, (row for row in self.below.heads(HEAD.size) if not self._above(row[0])))
        while rows := list(islice(heads, PIECE)):
            ids, packed = zip(*rows, strict=True)
            yield list(zip(ids, map(Outlook._make, HEAD.iter_unpack(b"".join(packed))), strict=True))

    def _above(self, id_: str) -> bool:
        return id_ in self._open or id_ in self._at_hand or id_ in self._gone

    def open(self, id_: str) -> Record | None:
        """To change it; None: it is not known."""
        record = self._open.get(id_)
        if record is None and (state := self._state(id_)) is not None:
            record = self._open[id_] = Record.unpack(state)
            self._at_hand.pop(id_, None)
        return record

    def add(self, id_: str, record: Record) -> None:
        """A new one."""
        self._open[id_] = record
        self._gone.discard(id_)
        self.number += 1

    def remove(self, id_: str) -> Record:
        """Take it away for good."""
        record = self[id_]
        self._open.pop(id_, None)
        self._at_hand.pop(id_, None)
        self._gone.add(id_)
        self.number -= 1
        return record

    def save(self) -> Iterator[tuple[str, bytes]]:
        """Each that was opened or removed since the last save; of what is gone, nothing."""
        for id_ in sorted(self._gone):
            yield id_, b""
        for id_ in sorted(self._open):
            self._at_hand[id_] = state = self._open[id_].pack()
            yield id_, state
        self._open, self._gone = {}, set()

    def load(self, id_: str, state: bytes) -> None:
        """One of what `save` gave."""
        if state:
            self._at_hand[id_] = state

    @property
    def at_hand(self) -> int:
        """How many are kept in memory though they may be below."""
        return len(self._at_hand)

    def put_down(self) -> None:
        """All that was saved is below now."""
        if self.below is not None:
            self._at_hand = {}
