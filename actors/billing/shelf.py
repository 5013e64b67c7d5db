"""Where a tenant's records are: in use, or at rest as they were saved, which takes a quarter of the memory."""

from collections.abc import Iterator

from actors.billing.record import Record
from actors.kernel.clock import SECOND

NEVER = 2**63 - 1
STIRRING = 2 * 86_400 * SECOND
Resting = tuple[int, int, bytes]  # when it was last heard of, when its period ends (NEVER: it will not renew), itself


class Shelf:
    """Records by subscription. To change one, open it: it is then in use until the next save. What is got is read."""

    def __init__(self) -> None:
        self._open: dict[str, Record] = {}
        self._resting: dict[str, Resting] = {}
        self._gone: set[str] = set()  # since the last save

    def __len__(self) -> int:
        return len(self._open) + len(self._resting)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._open or id_ in self._resting

    def __getitem__(self, id_: str) -> Record:
        return self._open[id_] if id_ in self._open else Record.unpack(self._resting[id_][2])

    def get(self, id_: str) -> Record | None:
        """None: it is not known."""
        if id_ in self:
            return self[id_]
        return None

    def items(self) -> Iterator[tuple[str, Record]]:
        """All of them, in no order."""
        yield from self._open.items()
        for id_, (_, _, state) in self._resting.items():
            yield id_, Record.unpack(state)

    def stirring(self, now: int) -> Iterator[tuple[str, Record]]:
        """Those that were heard of in the last two days, or whose period is over; in no order."""
        yield from self._open.items()
        for id_, (heard, ends, state) in self._resting.items():
            if heard >= now - STIRRING or ends <= now:
                yield id_, Record.unpack(state)

    def open(self, id_: str) -> Record | None:
        """To change it; None: it is not known."""
        if id_ in self._resting:
            self._open[id_] = Record.unpack(self._resting.pop(id_)[2])
        return self._open.get(id_)

    def add(self, id_: str, record: Record) -> None:
        """A new one."""
        self._open[id_] = record

    def remove(self, id_: str) -> Record:
        """Take it away for good."""
        record = self[id_]
        self._open.pop(id_, None)
        self._resting.pop(id_, None)
        self._gone.add(id_)
        return record

    def heard(self) -> Iterator[tuple[int, str]]:
        """When each was last heard of."""
        for id_, record in self._open.items():
            yield record.heard, id_
        for id_, (heard, _, _) in self._resting.items():
            yield heard, id_

    def save(self) -> Iterator[tuple[str, bytes]]:
        """Each that was opened or removed since the last save, as JSON: `null` where it is gone."""
        for id_ in sorted(self._gone - self._open.keys()):
            yield id_, b"null"
        for id_ in sorted(self._open):
            state = self._open[id_].pack()
            self._rest(id_, self._open[id_], state)
            yield id_, state
        self._open, self._gone = {}, set()

    def load(self, id_: str, state: bytes) -> Record | None:
        """One of what `save` gave."""
        if state == b"null":
            return None
        record = Record.unpack(state)
        self._rest(id_, record, state)
        return record

    def _rest(self, id_: str, record: Record, state: bytes) -> None:
        last = record.last
        ends = last.period_end if last and last.renews and last.period_end is not None else NEVER
        self._resting[id_] = record.heard, ends, state
