"""The gate: what becomes of a delivery before anyone looks at what it says. Knows the rules, not HTTP."""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, Literal

import orjson

from actors.billing.connect import owner_of
from actors.billing.projection import ARCHIVED, PROJECTED, Projector
from actors.billing.signature import TOLERANCE_S, Seal, examine
from actors.kernel.clock import SECOND, Clock, entropy, monotonic
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import DAEMON, Appended, Json, Kind, NewEntry, Severity

Archive = Literal["redacted", "full", "none"]
"""What is kept beside the facts: all that is not personal, the body as it came, or nothing."""

_MINUTE: Final = 60 * SECOND
_DEFAULT: Final = "default"
_ADDRESS_OF_DEFAULT: Final = "/webhooks/stripe"
_ADDRESS: Final = "/webhook/"
OUT_OF_TIME_MIN: Final = 5
"""So many genuine deliveries in a minute whose time is wrong are no accident."""

_EVENT_ID: Final = re.compile("[!-?A-~]{1,255}")  # printable, no space, no @


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who may deliver: under which token (None: only the tenant `default`, at its own address) and which secrets."""

    name: str
    token: str | None
    secrets: tuple[bytes, ...]
    per_second: float = 500
    burst: int = 5000


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What the sender is told. `reason` is short and says nothing a stranger could use."""

    status: int
    reason: str
    retry_after_s: int = 0


STORED: Final = Verdict(200, "stored")
DUPLICATE: Final = Verdict(200, "duplicate")
REFUSED: Final = {
    Seal.FORGED: Verdict(400, "signature does not match"),
    Seal.OLD: Verdict(400, "timestamp is too old"),
    Seal.EARLY: Verdict(400, "timestamp is too new"),
}
NOT_JSON: Final = Verdict(400, "body is not JSON")
NO_EVENT: Final = Verdict(400, "body is not an event with an id")
UNKNOWN: Final = Verdict(404, "unknown address")
TOO_LARGE: Final = Verdict(413, "body is too large")
UNAVAILABLE: Final = Verdict(503, "cannot store now", retry_after_s=5)


class Refused(Exception):
    """The delivery is turned away with this verdict, and nothing was stored."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class TokenBucket:
    """`burst` at once, `per_second` in the long run, in monotonic time."""

    def __init__(self, per_second: float, burst: int) -> None:
        self.per_second = per_second
        self.burst = burst
        self._level = float(burst)
        self._filled = monotonic()

    def take(self) -> bool:
        """Use one up; False if there is none."""
        now = monotonic()
        self._level = min(self.burst, self._level + (now - self._filled) * self.per_second)
        self._filled = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class Door:
    """The address of one tenant."""

    def __init__(self, tenant: Tenant) -> None:
        if not tenant.secrets:
            raise ValueError(f"tenant {tenant.name} has no webhook secret")
        self.tenant = tenant
        self.quota = TokenBucket(tenant.per_second, tenant.burst)
        # Who cannot sign is limited apart: a stranger who knows the token uses up nothing that is the tenant's.
        self.strangers = TokenBucket(tenant.per_second, tenant.burst)
        self.over_quota = Verdict(429, "too many events", retry_after_s=math.ceil(1 / tenant.per_second))
        self.failed_signatures = 0

    def hand_over(self, successor: "Door") -> None:
        """What has been counted outlives a change of tokens, secrets or limits."""
        successor.failed_signatures = self.failed_signatures
        if (self.quota.per_second, self.quota.burst) == (successor.quota.per_second, successor.quota.burst):
            successor.quota, successor.strangers = self.quota, self.strangers


class Gate:
    """Judges deliveries and stores what passes. Outlives its listener, so limits and counts survive a restart of it."""

    def __init__(self, store: Store, clock: Clock, tenants: Iterable[Tenant], *, archive: Archive) -> None:
        self.refused: Counter[str] = Counter()
        """Requests turned away since start, by the reason they were told."""
        self.tolerance_s: float = TOLERANCE_S
        """How old a signature may be, by the clock; one that is accelerated does not hasten the network."""
        self._store = store
        self._clock = clock
        self._archive = archive
        self._projector = Projector(b"")
        self._token_key = entropy(16)
        self._doors: dict[str, Door] = {}
        self._by_token: dict[bytes, Door] = {}
        self._minute = clock.now() // _MINUTE
        self._seals: Counter[Seal] = Counter()  # of genuine signatures in this minute
        self.reconfigure(tenants)

    async def open(self) -> None:
        """Get ready for the first delivery: payers are hashed under the key of the store."""
        keys = PROJECTED if self._archive == "none" else ARCHIVED
        self._projector = Projector(await self._store.payer_key(), keys)

    def reconfigure(self, tenants: Iterable[Tenant]) -> None:
        """From now on, admit these and no others. Raises ValueError for a tenant without a secret."""
        doors = {tenant.name: Door(tenant) for tenant in tenants}
        for name, door in self._doors.items():
            if name in doors:
                door.hand_over(doors[name])
        self._doors = doors
        self._by_token = {self._key_of(door.tenant.token): door for door in doors.values() if door.tenant.token}

    def door(self, path: str) -> Door | None:
        """Whose address this is."""
        if path == _ADDRESS_OF_DEFAULT:
            return self._doors.get(_DEFAULT)
        return self._by_token.get(self._key_of(path.removeprefix(_ADDRESS))) if path.startswith(_ADDRESS) else None

    def _key_of(self, token: str) -> bytes:
        # How long a look-up takes depends on the key's bytes, which tell nothing about how near a guessed token was.
        return blake2b(token.encode(errors="replace"), digest_size=16, key=self._token_key).digest()

    def admit(self, door: Door, signature: str, body: bytes) -> "asyncio.Future[Appended]":
        """Verify, admit, parse and project one delivery, and have it stored. Raises Refused. Then see `verdict`."""
        now = self._clock.now()
        seal = examine(signature, body, door.tenant.secrets, now, self.tolerance_s)
        if seal is Seal.FORGED:
            door.failed_signatures += 1
        else:
            self._seals[seal] += 1
        if seal is not Seal.GENUINE:
            raise Refused(REFUSED[seal] if door.strangers.take() else door.over_quota)
        if not door.quota.take():
            raise Refused(door.over_quota)
        event_id, event = _parse(body)
        return self._store.append(self._entry(door.tenant.name, now, event_id, event, body))

    def projected(self, event: Json) -> Json:
        """What of it is kept."""
        return self._projector.project(event)

    def fetched(self, tenant: str, event: Json, **how: object) -> NewEntry | None:
        """An event that no webhook brought, as if one had, and `how` we came by it. None: it has no id."""
        event_id = event.get("id")
        if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
            return None
        entry = self._entry(tenant, self._clock.now(), event_id, event, orjson.dumps(event))
        return replace(entry, data={**entry.data, **how})

    def _entry(self, tenant: str, now: int, event_id: str, event: Json, body: bytes) -> NewEntry:
        archive = body if self._archive == "full" else None
        return NewEntry(Kind.EVENT, owner_of(tenant, event), now, self._projector.project(event), event_id, archive)

    async def file_failures(self) -> None:
        """Once a minute has passed, log how many signatures of each tenant failed in it. Raises StoreUnavailable."""
        now = self._clock.now()
        if now // _MINUTE == self._minute:
            return
        for door in self._doors.values():
            if failed := door.failed_signatures:
                await self._store.append(NewEntry(Kind.SIGNATURES, door.tenant.name, now, {"failed": failed}))
                door.failed_signatures -= failed
        in_time = self._seals.pop(Seal.GENUINE, 0)
        for seal, count in list(self._seals.items()):
            if count >= OUT_OF_TIME_MIN:
                await self._store.append(NewEntry(Kind.ALARM, DAEMON, now, clock_alarm(seal, count, in_time)))
            del self._seals[seal]
        self._minute = now // _MINUTE


def verdict(stored: "asyncio.Future[Appended]") -> Verdict:
    """What the sender of an admitted delivery is told, now that it is known whether it is on disk."""
    if stored.cancelled() or isinstance(stored.exception(), StoreUnavailable):
        return UNAVAILABLE
    return DUPLICATE if stored.result().duplicate else STORED


def clock_alarm(seal: Seal, count: int, in_time: int) -> dict[str, Any]:
    """That our clock, most likely, is wrong: Stripe signs each attempt anew, and its clocks are right.

    Unless more were signed in time, which no wrong clock would let them be.
    """
    when = "ago" if seal is Seal.OLD else "ahead of our clock"
    first = "They are genuine, and others come in time: a proxy delays them, or somebody sends copies of them."
    if in_time <= count:
        our = "fast" if seal is Seal.OLD else "slow"
        first = f"They are genuine: is this machine's clock {our} (timedatectl)? Else a proxy delays them."
    return {
        "signal": "clock_drift",
        "scope": "webhooks",
        "severity": Severity.WARNING if in_time > count else Severity.CRITICAL,
        "title": f"{count} webhooks within a minute were signed more than {TOLERANCE_S // 60} minutes {when}",
        "evidence": {"observed": count, "expected": 0, "in_time": in_time, "window_s": 60, "first": first},
    }


def _parse(body: bytes) -> tuple[str, Json]:
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(NOT_JSON) from error
    if isinstance(event, dict):
        event_id = event.get("id")
        if isinstance(event_id, str) and _EVENT_ID.fullmatch(event_id):
            return event_id, event
    raise Refused(NO_EVENT)
