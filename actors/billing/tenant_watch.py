"""One tenant's part of the watch: its detectors, and what they share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any
from zlib import compress, decompress

import orjson

from actors.billing.attempts import Attempts
from actors.billing.detectors import DETECTORS
from actors.billing.detectors.base import NEVER, Detector, DiaryDetector, Finding, LedgerDetector, Rules
from actors.billing.diary import Diary
from actors.billing.facts import Attempt, Fact, InvoiceAttempt, InvoiceState, SubscriptionState
from actors.billing.ledger import Ledger
from actors.billing.shelf import Below
from actors.store.records import Json

DEFLATED = 400, 20_000
"""Bytes of JSON between which a part of a snapshot is deflated."""

RETIRED: Json = {"retired": True}
"""In the place of its thresholds: nobody watches this tenant any more, and that nothing comes of it is nothing."""

LEDGER = "ledger:"
"""Before the id of a subscription: the name of its part of a snapshot."""

WOKEN = {"attempts": Attempts.version} | {detector.signal: detector.version for detector in DETECTORS}
"""The parts of a snapshot that are not read before something happens to the tenant, and of which version they are."""

POSITIONS = {detector.signal: index for index, detector in enumerate(DETECTORS)}

TIMED = tuple(index for index, detector in enumerate(DETECTORS) if detector.tick is not Detector.tick)
"""Those that wait for a time, as positions in DETECTORS."""

Choice = Callable[[Sequence[Detector]], Sequence[Detector]]
"""Of all detectors, some."""


def those_at(positions: Sequence[int]) -> Choice:
    """Those at these positions."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return itemgetter(slice(positions[0], positions[0] + 1) if positions else slice(0))


NOBODY = those_at(()), those_at(())

READERS: dict[type[Fact], tuple[Choice, Choice]] = {
    fact: (those_at(shown), those_at([index for index in shown if index in TIMED]))
    for fact in {fact for detector in DETECTORS for fact in detector.reads}
    if (shown := [index for index, detector in enumerate(DETECTORS) if fact in detector.reads])
}
"""Which detectors are shown which facts, and those of them that may then wait for another time."""

TRIED = Attempt, InvoiceAttempt
"""What is counted once, whoever tells it."""

KEPT = frozenset((SubscriptionState, InvoiceState))
"""What the ledger takes in."""


AT_REST = Attempts()
"""Stands for those of a tenant that rests."""


class Unreadable(Exception):
    """What was saved of a tenant cannot be read: the name of the part."""

    def __init__(self, tenant: str, part: str) -> None:
        super().__init__(f"{tenant}: {part} cannot be read")
        self.tenant = tenant
        self.part = part


class TenantWatch:
    """The detectors of one tenant and what they share."""

    __slots__ = (
        "attempts",
        "below",
        "changed",
        "detectors",
        "diary",
        "due",
        "heard",
        "ledger",
        "met",
        "name",
        "retired",
        "rules",
        "settings",
        "shown",
    )

    def __init__(self, tenant: str, *, awake: bool = True) -> None:
        """Who begins at rest is given, of what is read on waking, the versions alone."""
        self.name = tenant
        self.settings: Json | None = None  # as the log last told; None: it never did
        self.met: int | None = None  # log time of its first event
        self.retired = False  # nobody watches it any more
        self.rules = Rules()
        self.below: Below | None = None  # where its parts are, once a snapshot is committed
        self.heard = 0  # log time of the last fact
        self.attempts = Attempts() if awake else AT_REST
        self.ledger = Ledger()
        self.diary = Diary()
        self.ledger.journal = self.diary.moved
        self.detectors = self._fresh_detectors() if awake else ()  # none while it rests
        self.shown: set[type[Fact]] = set()  # since the last snapshot: whoever reads them has changed
        self.changed: set[str] = set()  # the other parts that have
        self.due = NEVER

    def _fresh_detectors(self) -> tuple[Detector, ...]:
        made = tuple(detector(self.name, self.rules) for detector in DETECTORS)
        for detector in made:
            self._show_books(detector)
        return made

    def _show_books(self, detector: Detector) -> None:
        if isinstance(detector, LedgerDetector):
            detector.ledger = self.ledger
        elif isinstance(detector, DiaryDetector):
            detector.diary = self.diary

    def put_below(self, below: Below) -> None:
        """From now on, what was saved can be read from there."""
        self.below = self.ledger.records.below = below

    def rest(self) -> None:
        """Until something happens, let go of all that can be read again; if everything was saved."""
        if self.below is not None and not self.shown and not self.changed:
            self.detectors, self.attempts = (), AT_REST

    def wake(self) -> None:
        """Be as before the rest. Raises Unreadable."""
        if self.detectors or self.below is None:
            return
        self.attempts, self.detectors = Attempts(), self._fresh_detectors()
        for name, version, state in self.below.parts():
            if (part := self._part(name)) is not None:
                try:
                    if part.version != version:
                        raise ValueError(f"of version {version}")  # noqa: TRY301 - one more way to be unreadable
                    part.load(unpacked(state))
                except Exception as error:  # bytes that are not what was written may fail in any way
                    raise Unreadable(self.name, name) from error

    def _part(self, name: str) -> Any:
        """The attempts or the detector of this name."""
        if name == "attempts":
            return self.attempts
        at = POSITIONS.get(name)
        return None if at is None else self.detectors[at]

    def configure(self, settings: Json) -> None:
        """New thresholds; all that was seen under the old ones stays."""
        back = self.retired and settings != RETIRED
        self.settings = settings
        self.retired = settings == RETIRED
        self.rules = Rules.of(settings)
        self.changed.add("rules")
        for detector in self.detectors:
            detector.rules = self.rules
        if back:
            self.wake()
            self.set_due()
        elif self.retired:
            self.due = NEVER

    def meet(self, now: int) -> None:
        """Its first event is here."""
        self.met = now
        self.changed.add("met")

    def keep(self, fact: Fact, now: int) -> None:
        """Take in what it says of a subscription, and nothing else."""
        if type(fact) in KEPT:
            self.ledger.apply(fact, now)
            self.changed.add("ledger")

    def take_over(self, other: "TenantWatch") -> None:
        """Go on as one who has seen more, but for the ledger: what is in it has no order."""
        self.attempts, self.detectors = other.attempts, other.detectors
        self.diary.learn(other.diary)
        for detector in self.detectors:
            detector.rules = self.rules
            self._show_books(detector)
        self.changed |= {"attempts", *(detector.signal for detector in self.detectors)}
        self.set_due()

    def observe(self, facts: Iterable[Fact], now: int) -> list[Finding]:
        """Show facts to those who read their kinds."""
        if not self.detectors:
            self.wake()
        self.heard = now
        detectors, due = self.detectors, self.due
        found: list[Finding] = []
        for fact in facts:
            kind = type(fact)
            if kind in KEPT:
                self.ledger.apply(fact, now)
            elif isinstance(fact, TRIED):
                kind = self.attempts.admit(fact, now)
                due = min(due, self.attempts.due)
            if kind in Diary.reads:
                self.diary.observe(fact, now)
            self.shown.add(kind)
            readers, timed = READERS.get(kind, NOBODY)
            for detector in readers(detectors):
                if said := detector.observe(fact, now):
                    found += said
            for detector in timed(detectors):
                if detector.due < due:  # noqa: PLR1730 - min() is a call, three times an event
                    due = detector.due
        self.due = due
        return found

    def tick(self, now: int) -> Iterator[Finding]:
        """Whatever waited for this time."""
        if self.retired:
            return
        self.wake()
        if self.attempts.due <= now:
            self.changed.add("attempts")
            for fact in self.attempts.tick(now):
                yield from self.observe((fact,), now)
        for detector in (self.detectors[index] for index in TIMED):
            if detector.due <= now:
                self.changed.add(detector.signal)
                yield from detector.tick(now)

    def set_back(self, now: int, by: int) -> None:
        """The clock was `by` ahead."""
        self.wake()
        self.attempts.set_back(now, by)
        self.ledger.set_back(now)
        for detector in self.detectors:
            detector.set_back(now, by)
        self.changed |= {"attempts", *(detector.signal for detector in self.detectors)}
        self.set_due()

    def set_due(self) -> None:
        """When the next tick has something to do; after facts it may be said to be earlier, and does nothing."""
        self.due = min(self.attempts.due, *(self.detectors[index].due for index in TIMED))
        if self.retired:
            self.due = NEVER

    def save(self) -> Iterator[tuple[str, tuple[int, bytes]]]:
        """Name, version and state of each part that changed since the last save; version 0: it is no more."""
        if not self.shown and not self.changed:
            return
        if "rules" in self.changed:
            yield "rules", (1, packed(self.settings))
        if "met" in self.changed:
            yield "met", (1, packed([self.met]))
        if self.detectors:
            self.set_due()
        yield "due", (1, packed([self.due]))
        if self.shown or "attempts" in self.changed:
            yield "attempts", (Attempts.version, packed(self.attempts.save()))
        if self.diary.changed:
            yield "diary", (Diary.version, packed(self.diary.save()))
        for id_, state in self.ledger.save():
            yield LEDGER + id_, (Ledger.version if state else 0, state)
        for detector in self.detectors:
            changed = detector.signal in self.changed or not self.shown.isdisjoint(detector.reads)
            if changed and (state := detector.save()) is not None:
                yield detector.signal, (detector.version, packed(state))
        self.shown.clear()
        self.changed.clear()

    def load(self, name: str, version: int, state: bytes) -> bool:
        """One part of what was saved; False where it is of another version. After the last, `set_due` is due."""
        if name in WOKEN and not self.detectors:
            return version == WOKEN[name]
        if name in ("due", "met", "rules"):
            return version == 1 and self._load_own(name, unpacked(state))
        if name.startswith(LEDGER):
            if version == Ledger.version:
                self.ledger.load(name.removeprefix(LEDGER), state)
            return version == Ledger.version
        part = self.diary if name == "diary" else self._part(name)
        if part is None or part.version != version:
            return False
        part.load(unpacked(state))
        return True

    def _load_own(self, name: str, state: Any) -> bool:
        if name == "rules":
            if not isinstance(state, dict):
                return False
            self.configure(state)
            self.changed.clear()
        else:
            (value,) = state
            setattr(self, name, value)
        return True


def packed(state: Any) -> bytes:
    """As JSON. What a busy tenant remembers is not deflated: that would hold up everything."""
    written = orjson.dumps(state, default=tuple)
    return compress(written) if DEFLATED[0] < len(written) < DEFLATED[1] else written


def unpacked(state: bytes) -> Any:
    """What `packed` was given. JSON never begins with the first byte of a zlib stream."""
    return orjson.loads(decompress(state) if state[:1] == b"x" else state)
