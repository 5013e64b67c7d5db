"""Recorded events through the live watch, on a virtual clock, in memory: nothing is sent and nothing is kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from actors.billing.connect import owner_of
from actors.billing.projection import Projector
from actors.billing.reading import time
from actors.billing.ticker import MINUTE
from actors.billing.watch import Transition, Watch
from actors.kernel.clock import SECOND
from actors.store.records import DAEMON, Json, Kind, LogEntry

RUN_ON = 25 * 3600 * SECOND
LULL_MAX = 400 * 86_400 * SECOND
"""Of a longer gap in a recording only so much is lived through, so that also a year's payment can be missed; then it is
as if nobody had watched until its end."""

ABSENCE = frozenset(("webhook_silence", "renewals_missing", "signup_drop", "revenue_drop"))
"""What may only open while the recording goes on: after its end everything is absent."""


class BadLine(Exception):
    """A line that is no event. The sentence names the field."""


class Replay:
    """One run. `rules_of` gives the thresholds of a tenant; events that do not say whose they are belong to `tenant`.

    With `alone`, the events of other tenants are passed over.
    """

    def __init__(self, watch: Watch, rules_of: Callable[[str], Json], *, tenant: str, alone: bool = False) -> None:
        self.events = 0
        self.stored = 0
        self.opened = 0
        self._watch = watch
        self._rules_of = rules_of
        self._tenant = tenant
        self._alone = alone
        self._projector = Projector(bytes(32))  # hashes leave no trace here, so that the same file gives the same lines
        self._known: dict[str, set[str]] = {}  # tenant → event ids
        self._seq = 0
        self._now = 0

    @property
    def duplicates(self) -> int:
        """Events whose id had come before."""
        return self.events - self.stored

    def feed(self, line: bytes) -> list[Transition]:
        """What one line of the recording changes, the passing of time up to it included. Raises BadLine."""
        event, tenant, received = self._parse(line)
        if self._alone and tenant != self._tenant:
            return []
        self.events += 1
        steps = list(self._pass_time(received))
        if tenant not in self._known:
            self._known[tenant] = set()
            steps += self._apply(Kind.CONFIG, tenant, self._rules_of(tenant))
        tenant = owner_of(tenant, event)
        known = self._known.setdefault(tenant, set())
        if event["id"] not in known:
            known.add(event["id"])
            self.stored += 1
            steps += self._apply(Kind.EVENT, tenant, self._projector.project(event))
        return steps

    def finish(self, until: int | None) -> Iterator[Transition]:
        """The 25 hours after the last line, of which the recording covers those before `until`."""
        if not self.events:
            return
        end = self._now + RUN_ON
        if until is not None:
            yield from self._pass_time(until)
        self._watch.muted = ABSENCE
        yield from self._pass_time(end)

    def _parse(self, line: bytes) -> tuple[dict[str, Any], str, int]:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise BadLine(f"not JSON: {error}") from None
        if not isinstance(row, dict):
            raise BadLine("not a JSON object")
        wrapped = "event" in row
        event = row["event"] if wrapped else row
        if not isinstance(event, dict):
            raise BadLine("event: not a JSON object")
        if "anomaly_score" in event:
            raise BadLine("data: not a recording but what nightdesk events printed, which holds no bodies")
        if not isinstance(event.get("id"), str) or not event["id"]:
            raise BadLine("id: an event needs one")
        tenant = row.get("tenant", self._tenant) if wrapped else self._tenant
        if not isinstance(tenant, str) or not tenant:
            raise BadLine("tenant: must be a name")
        return event, tenant, moment(row, "received" if wrapped else "created")

    def _pass_time(self, to: int) -> Iterator[Transition]:
        """Tick at the full minutes at which something is due; the others would change nothing."""
        if not self._now:
            self._now = to
        end = min(to, self._now + LULL_MAX)
        while (due := self._watch.due) <= end:
            at = max(-(-due // MINUTE), self._now // MINUTE + 1) * MINUTE
            if at > end:
                break
            self._now = at
            yield from self._apply(Kind.TICK, DAEMON, {})
        self._now = max(self._now, to)

    def _apply(self, kind: Kind, tenant: str, data: Mapping[str, Any]) -> Sequence[Transition]:
        self._seq += 1
        self._watch.apply(LogEntry(self._seq, kind, tenant, self._now, data))
        steps = self._watch.drain().transitions
        self.opened += sum(step.state == "opened" for step in steps) if steps else 0
        return steps


def moment(row: Mapping[str, Any], field: str) -> int:
    """A unix time with or without a fraction, in µs. Raises BadLine."""
    value = row.get(field)
    at = round(value * SECOND) if isinstance(value, float) and 0 <= value < 1e11 else time(value)
    if at is None:
        raise BadLine(f"{field}: must be a unix time")
    return at
