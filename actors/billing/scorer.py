"""Follows the log, shows it to the watch, and commits what that finds together with how far it read."""

from collections.abc import Callable, Iterable, Sequence

import anyio
import structlog
from anyio.lowlevel import checkpoint

from actors.billing.tenant_watch import LEDGER, Unreadable
from actors.billing.watch import GONE, INCIDENTS, Changes, Reading, Watch
from actors.kernel.actor import Actor
from actors.kernel.clock import Clock, monotonic
from actors.kernel.mailbox import Ask, Gap
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import (
    DAEMON,
    Committed,
    Findings,
    Incident,
    Kind,
    LogEntry,
    NewEntry,
    Severity,
    Snapshot,
    Watermark,
)

log = structlog.get_logger()

BATCH_MAX = 512  # entries in one commit
UNCOMMITTED_S = 0.2  # how long a cursor that moved past nothing of note may wait, to share a transaction with others
YIELD_EVERY = 32  # entries, some 1.5 ms: longer would show in the answers to webhooks
SNAPSHOT_ENTRIES = 5_000
SNAPSHOT_S = 30.0
SNAPSHOT_SHARE = 0.003  # of all time at most: under load, the state of a busy tenant takes tens of milliseconds
RETRY_S = 0.5
NO_VERSION = (-1, b"")
CRASHES_MAX = 3  # of one entry; the store then makes it a dead letter


class Scorer(Actor[Committed]):
    """One cursor through the log.

    What the store hands over from memory is read if it follows on what was read before; otherwise, and after a
    restart, the log itself is. `wake` is told the channels that have something new to deliver, `opened` each incident
    that is new.
    """

    def __init__(
        self,
        store: Store,
        watch: Watch,
        clock: Clock,
        wake: Callable[[Iterable[str]], None],
        opened: Callable[[Incident], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._watch = watch
        self._clock = clock
        self._wake = wake
        self._opened = opened
        self._cursor = 0  # what is committed
        self._position = 0  # what is read
        self._readings: dict[int, Reading] = {}  # of what is read and not committed
        self._uncommitted_since = 0.0
        self._skipped: frozenset[int] = frozenset()
        self._snapshot_seq = 0
        self._snapshot_at = 0.0
        self._snapshot_took = 0.0

    @property
    def cursor(self) -> int:
        """The seq of the last entry whose findings are committed."""
        return self._cursor

    async def start(self) -> None:
        """Restore the state as of the cursor: the snapshot, and the log from there, whose findings are known."""
        self._store.follow(self.mailbox)
        mark = await self._store.load_watch()
        self._skipped = mark.skipped
        if unread := self._watch.restore(mark.snapshot.parts, mark.open_incidents):
            await self._rebuild(mark, unread)
        self._cursor = self._snapshot_seq = mark.snapshot.seq
        while self._cursor < mark.cursor:
            entries = await self._store.read_log(self._cursor, min(BATCH_MAX, mark.cursor - self._cursor))
            if not entries:
                break
            await self._fold(entries)
            self._watch.drain()
            self._cursor = entries[-1].seq
        self._cursor = self._position = mark.cursor
        self._snapshot_at = monotonic()

    async def _rebuild(self, mark: Watermark, unread: Sequence[tuple[str, str]]) -> None:
        """Read the log from its beginning for the parts of the snapshot that cannot be read.

        But for the incidents: people know of those that are stored, and only of those.
        """
        names = sorted({name.partition(":")[0] for _, name in unread})
        log.warning("state_rebuilt", reason="damaged, or of another version", parts=len(unread), names=names)
        lost = [part for part in unread if part[1] != INCIDENTS]
        if not lost:
            return
        self._skipped |= {letter.seq for letter in await self._store.dead_letters()}
        again, position = self._watch.anew(), 0
        while position < mark.snapshot.seq:
            entries = await self._store.read_log(position, min(BATCH_MAX, mark.snapshot.seq - position))
            if not entries:
                break
            # Where the beginning of the log is no longer kept, a page may reach beyond the snapshot.
            await self._fold([entry for entry in entries if entry.seq <= mark.snapshot.seq], again)
            again.drain()
            position = entries[-1].seq
        found = dict(again.snapshot())
        mended = {part: found.get(part, GONE) for part in lost}
        ledgers = {tenant for tenant, name in lost if name.startswith(LEDGER)}  # what they sum up belongs to them
        mended |= {part: state for part, state in found.items() if part[0] in ledgers and part[1].startswith(LEDGER)}
        await self._store_findings(Findings(mark.cursor, snapshot=Snapshot(mark.snapshot.seq, mended)))
        self._watch.restore({**mark.snapshot.parts, **mended}, mark.open_incidents)

    async def stop(self) -> None:
        """What was not committed is read again by the next scorer."""
        self._store.unfollow(self.mailbox)

    async def run(self) -> None:
        """Read whatever is new, for ever."""
        await self._read_log()
        while True:
            commits: list[Committed | Ask[Committed] | Gap] = []
            with anyio.move_on_after(UNCOMMITTED_S if self._position > self._cursor else None):
                commits += await self.mailbox.take()
            told = [commit for commit in commits if isinstance(commit, Committed)]
            entries = [entry for commit in told for entry in commit.entries if entry.seq > self._position]
            if entries and entries[0].seq == self._position + 1 and entries[-1].seq == self._position + len(entries):
                await self._read(entries)
            elif entries or len(told) < len(commits):
                await self._read_log()
            elif self._position > self._cursor:
                with self.turn():
                    await self._commit(self._watch.drain())

    async def _read_log(self) -> None:
        while entries := await self._store.read_log(self._position, BATCH_MAX):
            await self._read(entries)

    async def _read(self, entries: Sequence[LogEntry]) -> None:
        """Fold them, and commit at once what concerns people; that nothing was found can wait a little."""
        if self._position == self._cursor:
            self._uncommitted_since = monotonic()
        self._readings |= await self._fold(entries)
        self._position = entries[-1].seq
        changes = self._watch.drain()
        if (
            changes.incidents
            or changes.notifications
            or changes.false_positives
            or changes.set_back
            or self._position - self._cursor >= BATCH_MAX
            or monotonic() - self._uncommitted_since >= UNCOMMITTED_S
        ):
            await self._commit(changes)

    async def _commit(self, changes: Changes) -> None:
        findings = Findings(
            cursor=self._position,
            incidents=changes.incidents,
            notifications=changes.notifications,
            scores={seq: reading.score for seq, reading in self._readings.items()},
            flagged=frozenset(seq for seq, reading in self._readings.items() if reading.flagged),
            false_positives=changes.false_positives,
            set_back=changes.set_back,
            snapshot=await self._snapshot(self._position),
        )
        await self._store_findings(findings)
        if findings.snapshot is not None:
            self._watch.put_down()
        self._cursor = self._position
        self._readings = {}
        if findings.notifications:
            self._wake({notification.channel for notification in findings.notifications})
        self._tell(changes)

    async def _fold(self, entries: Sequence[LogEntry], watch: Watch | None = None) -> dict[int, Reading]:
        """The readings of the events that have a score."""
        watch = watch or self._watch
        readings: dict[int, Reading] = {}
        for number, entry in enumerate(entries, 1):
            if entry.seq in self._skipped:
                continue
            if entry.damage:
                await self._put_aside(entry, entry.damage)
                continue
            try:
                if entry.kind is Kind.TICK:
                    for _ in watch.tick(entry):
                        await checkpoint()
                elif (reading := watch.apply(entry)).score:
                    readings[entry.seq] = reading
            except Unreadable as damage:
                await self._disown(damage)
                raise
            except Exception as error:
                await self._count_crash(entry, error)
                raise
            if number % YIELD_EVERY == 0:
                await checkpoint()
        return readings

    async def _snapshot(self, seq: int) -> Snapshot | None:
        now = monotonic()
        due = seq - self._snapshot_seq >= SNAPSHOT_ENTRIES or now - self._snapshot_at >= SNAPSHOT_S
        resting = now - self._snapshot_at < self._snapshot_took / SNAPSHOT_SHARE
        if (not due or resting) and not self._watch.crowded:
            return None
        parts, took, since = {}, 0.0, now
        for part, state in self._watch.snapshot():
            parts[part] = state
            took += monotonic() - since
            await checkpoint()  # what others do meanwhile is not the snapshot's time
            since = monotonic()
        self._snapshot_seq, self._snapshot_at, self._snapshot_took = seq, now, took
        return Snapshot(seq, parts)

    async def _store_findings(self, findings: Findings) -> None:
        """Until the store takes it: what was found is in memory, and finding it again would give no other."""
        while True:
            try:
                await self._store.commit_findings(findings)
                return
            except StoreUnavailable as error:
                log.warning("findings_wait", reason=str(error))
                await self._clock.sleep(RETRY_S)

    async def _disown(self, damage: Unreadable) -> None:
        """It is no fault of the entry: the supervisor restarts us, and a part of no version is then made anew."""
        disowned = {(damage.tenant, damage.part): NO_VERSION}
        await self._store_findings(Findings(self._cursor, snapshot=Snapshot(self._snapshot_seq, disowned)))

    async def _count_crash(self, entry: LogEntry, error: Exception) -> None:
        """The supervisor restarts us; an entry that goes on crashing is then passed by, and people are told."""
        reason = f"{type(error).__name__}: {error}"
        if await self._store.count_crash(self.name, entry.seq, reason, self._clock.now()) >= CRASHES_MAX:
            await self._put_aside(entry, reason)

    async def _put_aside(self, entry: LogEntry, reason: str) -> None:
        """Its bytes will not change, nor what they do to us: a dead letter."""
        at = self._clock.now()
        log.error("dead_letter", seq=entry.seq, error=reason)
        alarm = {
            "signal": "dead_letter",
            "scope": self.name,
            "severity": Severity.WARNING,
            "title": f"An input of {entry.tenant or 'the daemon'} could not be read and was put aside",
            "evidence": {"seq": entry.seq, "error": reason, "first": "nightdesk dead-letters lists it"},
        }
        await self._store.append(NewEntry(Kind.ALARM, DAEMON, at, alarm))
        await self._store.bury(self.name, entry.seq, reason, at)
        self._skipped |= {entry.seq}

    def _tell(self, changes: Changes) -> None:
        for step in changes.transitions:
            incident, event = step.incident, f"incident_{step.state}"
            if step.state == "opened":
                self._opened(incident)
            say = log.debug if step.state == "updated" else log.info  # a storm of declines updates with every one
            say(
                event,
                tenant=incident.tenant,
                signal=incident.signal,
                scope=incident.scope,
                severity=incident.severity,
                incident=incident.id,
                seq=self._cursor,
            )
