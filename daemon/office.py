"""What an operator may ask and order, as plain calls: the control socket only carries them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.lowlevel

from actors.kernel.clock import SECOND, Clock, monotonic
from actors.kernel.mailbox import conflate
from actors.kernel.tree import ActorStatus
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import DAEMON, EventRow, Incident, Kind, NewEntry, NewNotification, Severity
from config.errors import BadInput, UserError
from config.redaction import redacted_in
from config.types import bounded, seconds
from daemon.logs import LEVELS, Logs
from daemon.revenue import Revenue

Row = dict[str, Any]
PAGE = 1000
LIMIT_MAX = 100_000
INCIDENTS_MAX = 20_000
"""The newest; years of them for a business that is well."""
ID_MAX = 2**63
ANSWER_WITHIN_S = 10.0
LOOK_S = 0.1


class Staff(Protocol):
    """The supervision tree, as far as an operator sees it."""

    def status(self) -> Sequence[ActorStatus]:
        """One row an actor, in the order of the tree."""

    def complete(self) -> bool:
        """Whether all runs without which nothing works."""

    async def restart(self, name: str) -> None:
        """End it and start it anew."""


class Office:
    """Answers from the store and the tree. A change of an incident is a log entry, answered once it has been scored."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        version: str,
        rejected: Callable[[], int],
        reload: Callable[[], Awaitable[Row]],
        channels: Sequence[str],
        tenants: Callable[[], Collection[str]],
        wake: Callable[[Iterable[str]], None],
        logs: Logs,
        revenue: Revenue,
        before_restart: Callable[[str], object],
    ) -> None:
        """`before_restart` raises BadInput for an actor that could not be started as things are."""
        self._store = store
        self._clock = clock
        self.version = version
        self._rejected = rejected
        self._reload = reload
        self._channels = channels
        self._tenants = tenants
        self._wake = wake
        self._logs = logs
        self._revenue = revenue
        self._before_restart = before_restart
        self._since = monotonic()
        self.staff: Staff | None = None  # set when the tree stands
        self.ready = False

    # ---- questions

    async def status(self) -> Row:
        """As INTERFACES promises for `status --json`."""
        store = await self._store.status()
        actors = self._actors()
        return {
            "version": self.version,
            "ready": self.ready and store.trouble is None and self.staff is not None and self.staff.complete(),
            "uptime_s": round(monotonic() - self._since, 1),
            "events": {
                "stored": store.stored,
                "duplicates": store.duplicates,
                "rejected": self._rejected(),
                "lag": store.last_seq - store.cursor,
            },
            "incidents": {"open": store.open_incidents},
            "notifications": {state: store.notifications.get(state, 0) for state in ("delivered", "pending", "failed")},
            "actors": {
                "running": sum(actor.state == "running" for actor in actors),
                "failed": sum(actor.state in ("failed", "quarantined") for actor in actors),
                "restarts": sum(actor.restarts for actor in actors),
            },
            "store": {
                "bytes": store.bytes,
                "wal_bytes": store.wal_bytes,
                "last_commit_ms": round(store.last_commit_ms, 3),
                "trouble": store.trouble,
            },
        }

    def _actors(self) -> Sequence[ActorStatus]:
        return self.staff.status() if self.staff else ()

    async def actors(self) -> Row:
        """Every actor's state, mailbox and restarts."""
        return {"actors": [redacted_in(asdict(actor)) for actor in self._actors()]}

    async def top(self) -> Row:
        """What `nightdesk top` refreshes."""
        opened = await self.incidents(None, "open")
        failing = {row["scope"] for row in opened["incidents"] if row["signal"] == "channel_failed"}
        undelivered = (await self._store.status()).undelivered
        channels = [
            {
                "name": name,
                "failing": name in failing,
                **{state: undelivered.get(name, {}).get(state, 0) for state in ("pending", "failed")},
            }
            for name in self._channels
        ]
        return {"status": await self.status(), **await self.actors(), "channels": channels, **opened}

    async def incidents(self, tenant: str | None, state: str | None) -> Row:
        """Oldest first."""
        await self.require(tenant)
        found = await self._store.incidents(tenant=tenant, state=state, limit=INCIDENTS_MAX)
        return {"incidents": [incident_row(incident) for incident in found]}

    async def mrr(self, tenant: str | None, at: int | None) -> Row:
        """By tenant and currency, now or at a time, as far as the scorer has read the log."""
        if not self.ready:
            raise UserError("the daemon is still starting: its ledger is being read")
        await self.require(tenant)
        at = self._clock.now() if at is None else at
        return {"mrr": [{"at": rfc3339(at), **row} async for row in self._revenue.rows(tenant, at)]}

    async def require(self, tenant: str | None) -> None:
        """Raises BadInput for a tenant that nobody knows: an empty list would read as all clear."""
        if tenant is None or tenant in self._tenants():
            return
        # One that the config has dropped is still known by what it left.
        if not await self._store.events(tenant=tenant, since=None, after=0, limit=1):
            known = ", ".join(sorted(self._tenants())) or "none"
            raise BadInput(f"no tenant is named {tenant!r}; there are: {known}")

    async def dead_letters(self) -> Row:
        """Oldest first."""
        letters = await self._store.dead_letters()
        return {
            "dead_letters": [
                {**asdict(letter), "at": rfc3339(letter.at), "replayed": rfc3339(letter.replayed)} for letter in letters
            ]
        }

    async def events(
        self, *, tenant: str | None, since: int | None, limit: int | None, follow: bool
    ) -> AsyncIterator[list[Row]]:
        """Pages of events, oldest first; with `limit` the last so many; with `follow` without end."""
        wakes = conflate(1, key=lambda _committed: 0)
        if follow:
            self._store.follow(wakes)
        try:
            after = 0
            if limit is not None:
                rows = await self._store.events(tenant=tenant, since=since, after=0, limit=limit, newest=True)
                after = rows[-1].seq if rows else (await self._store.status()).last_seq
                yield [event_row(row) for row in rows]
            while limit is None or follow:
                rows = await self._store.events(tenant=tenant, since=since, after=after, limit=PAGE)
                if rows:
                    after = rows[-1].seq
                    yield [event_row(row) for row in rows]
                elif follow:
                    await wakes.take()
                else:
                    return
        finally:
            self._store.unfollow(wakes)

    def moment(self, text: str, field: str) -> int:
        """RFC 3339, unix seconds, or a duration before now, as UTC microseconds. Raises BadInput, naming the field."""
        return parse_time(text, self._clock.now(), field)

    # ---- orders: each takes the request's body and the uid that sent it

    async def ack(self, body: Row, uid: int) -> Row:
        """Seen: no more reminders."""
        return await self._command("ack", body, uid)

    async def false_positive(self, body: Row, uid: int) -> Row:
        """It was nothing."""
        return await self._command("false_positive", body, uid)

    async def snooze(self, body: Row, uid: int) -> Row:
        """Silent until `duration` from now."""
        try:
            until = self._clock.now() + round(bounded(seconds(body.get("duration"))) * SECOND)
        except ValueError as error:
            raise BadInput(f"duration: {error}") from None
        return await self._command("snooze", body, uid, until=until)

    async def _command(self, command: str, body: Row, uid: int, **more: int) -> Row:
        incident_id = body.get("id")
        incident = await self._store.incident(incident_id, tenant=None) if isinstance(incident_id, str) else None
        if incident is None:
            raise BadInput(f"no incident has the id {incident_id!r}; nightdesk incidents lists them")
        entry = NewEntry(
            kind=Kind.COMMAND,
            tenant=incident.tenant,
            at=self._clock.now(),
            data={"command": command, "incident": incident.id, "by": uid, **more},
        )
        try:
            appended = await self._store.append(entry)
        except StoreUnavailable as error:
            raise UserError(f"the store cannot take it: {error}") from None
        with anyio.move_on_after(ANSWER_WITHIN_S) as waiting:
            await self._store.scored(appended.seq)
        if waiting.cancelled_caught:
            raise UserError("it is written down, but the scorer has not come to it yet; see nightdesk actors")
        changed = await self._store.incident(incident.id, tenant=incident.tenant)
        return incident_row(changed or incident)

    async def restart(self, body: Row, uid: int) -> Row:
        """Restart one actor, also one that has failed or is quarantined."""
        del uid
        said, known = body.get("actor"), [actor.name for actor in self._actors()]
        meant = [name for name in known if name == said or name.endswith(f".{said}")]
        if self.staff is None or len(meant) != 1:
            raise BadInput(f"no actor is named {said!r}; there are: {', '.join(known)}")
        self._before_restart(meant[0])
        await self.staff.restart(meant[0])
        return {"actor": meant[0]}

    async def reload(self, body: Row, uid: int) -> Row:
        """Read the config again."""
        del body, uid
        return await self._reload()

    async def loglevel(self, body: Row, uid: int) -> Row:
        """From now on, write lines of this level and above; until the next restart or reload."""
        del uid
        level = body.get("level")
        if not isinstance(level, str) or level not in LEVELS:
            raise BadInput(f"no log level is named {level!r}; there are: {', '.join(LEVELS)}")
        self._logs.level = level
        return {"level": level}

    async def test_alert(self, body: Row, uid: int) -> Row:
        """One message to the named channel, or to each; `errors` says which did not take it at once, and why."""
        del uid
        wanted = body.get("channel")
        if wanted is not None and (not isinstance(wanted, str) or wanted not in self._channels):
            raise BadInput(f"no channel is named {wanted!r}; there are: {', '.join(self._channels) or 'none'}")
        now = self._clock.now()
        messages = [test_message(channel, now) for channel in self._channels if wanted in (None, channel)]
        await self._store.enqueue(messages)
        self._wake(message.channel for message in messages)
        outcomes = await self._outcomes([message.key for message in messages])
        late = f"no answer within {ANSWER_WITHIN_S:g} s; it is tried on"
        errors = {name: late if error is None else error for name, error in outcomes.items() if error != ""}
        return {"channels": [message.channel for message in messages], "errors": errors}

    async def _outcomes(self, keys: list[str]) -> dict[str, str | None]:
        until = monotonic() + ANSWER_WITHIN_S
        while None in (outcomes := await self._store.outcomes(keys)).values() and monotonic() < until:
            await self._clock.sleep(LOOK_S)
        return outcomes

    async def backup(self, body: Row, uid: int) -> Row:
        """Copy the database to an absolute path."""
        del uid
        target = body.get("target")
        if not isinstance(target, str) or not target.startswith("/"):
            raise BadInput("target: expected an absolute path")
        try:
            return {"target": target, "bytes": await self._store.backup(Path(target))}
        except (OSError, ValueError) as error:
            raise UserError(f"{target!r}: cannot be written: {error}") from None

    async def revive(self, body: Row, uid: int) -> Row:
        """Append a dead letter to the log anew."""
        del uid
        letter = body.get("id")
        if (
            not isinstance(letter, int)
            or not 0 < letter < ID_MAX
            or not await self._store.revive(letter, self._clock.now())
        ):
            raise BadInput(f"no dead letter has the id {letter!r}; nightdesk dead-letters lists them")
        return {"id": letter}


def test_message(channel: str, now: int) -> NewNotification:
    """What shows that a channel works."""
    key = f"test.{now}.{channel}"
    payload: Row = {
        "id": key,
        "kind": "test",
        "tenant": DAEMON,
        "signal": "test",
        "severity": Severity.INFO,
        "scope": channel,
        "title": "This is a test",
        "text": "nightdesk can reach you here. Nothing is wrong.",
        "evidence": {},
        "at": rfc3339(now),
    }
    return NewNotification(key, channel, DAEMON, "test", Severity.INFO, now, now, payload)


def rfc3339(at: int | None) -> str | None:
    """UTC microseconds as RFC 3339 with six decimals."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str, now: int, field: str) -> int:
    """RFC 3339, unix seconds, or a duration before now, as UTC microseconds. Raises BadInput."""
    try:
        if text.replace(".", "", 1).isdigit():
            return round(float(text) * SECOND)
        if "T" in text or text.count("-") == 2:
            moment = datetime.fromisoformat(text)
            return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * SECOND)
        return now - round(bounded(seconds(text)) * SECOND)
    except (ValueError, OverflowError):
        raise BadInput(f"{field}: expected a time such as 2026-11-22T02:00:00Z or 2h, not {text!r}") from None


def incident_row(incident: Incident) -> Row:
    """As INTERFACES promises for `incidents --json`."""
    return {
        "id": incident.id,
        "tenant": incident.tenant,
        "signal": incident.signal,
        "severity": incident.severity,
        "scope": incident.scope,
        "state": incident.state,
        "opened": rfc3339(incident.opened),
        "updated": rfc3339(incident.updated),
        "resolved": rfc3339(incident.resolved),
        "acked": rfc3339(incident.acked),
        "snoozed_until": rfc3339(incident.snoozed_until),
        "false_positive": incident.false_positive,
        "title": incident.title,
        "evidence": dict(incident.evidence),
    }


def event_row(row: EventRow) -> Row:
    """As INTERFACES promises for `events --json`."""
    return {**asdict(row), "created": rfc3339(row.created), "received": rfc3339(row.received)}
