"""Completes what an event only names: a refund, a dispute or a fraud warning of a charge that no event has told of."""

from collections.abc import AsyncIterator, Sequence
from itertools import chain

import anyio
import structlog

from actors.billing.backfill import Backfills
from actors.billing.memory import Recent
from actors.billing.stripe_api import NotAllowed, Stripe, Unreachable, Wrong
from actors.billing.webhook import Gate
from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock, monotonic
from actors.kernel.frozen import frozen
from actors.kernel.mailbox import Ask, Gap
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import Committed, Json, Kind, LogEntry, NewEntry

log = structlog.get_logger()

PAGE = 512
WAIT_S = 30.0
"""An event that tells of the charge often comes right behind the one that names it."""
WAITING_MAX = 1_000
KNOWN_US = 86_400 * SECOND
NAMES_A_CHARGE = frozenset(
    (
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.refund.updated",
        "charge.dispute.created",
        "radar.early_fraud_warning.created",
    )
)


@frozen
class Missing:
    """A charge that an event names and none has told of. `at`: when the event happened, in unix seconds."""

    tenant: str
    charge: str
    event: str
    at: int


class Lookups(Actor[Committed]):
    """Follows the log, and asks Stripe once for each charge that is missing, where there is a key.

    The answer is an entry of the log like any other. Without a key, or if Stripe does not tell, what is known stays
    incomplete until an event tells of the charge.
    """

    def __init__(
        self,
        board: Backfills,
        store: Store,
        clock: Clock,
        gate: Gate,
        stripe: Stripe,
    ) -> None:
        self._board = board
        self._store = store
        self._clock = clock
        self._gate = gate
        self._stripe = stripe
        self._known: Recent[bool] = Recent(KNOWN_US)  # charges, by tenant and id, that were told of or asked for
        self._waiting: dict[str, tuple[float, Missing]] = {}  # by tenant and charge: until when (monotonic), for what
        self._position = 0

    async def start(self) -> None:
        """What comes from now on."""
        self._stripe.open()
        self._position = (await self._store.status()).last_seq
        self._store.follow(self.mailbox)

    async def stop(self) -> None:
        """No more."""
        self._store.unfollow(self.mailbox)
        await self._stripe.close()

    async def run(self) -> None:
        """For ever. While Stripe is asked the log goes on; what the mailbox cannot hold is read from it."""
        while True:
            taken: list[Committed | Ask[Committed] | Gap] = []
            first = next(iter(self._waiting.values()), None)
            with anyio.move_on_after(None if first is None else max(0.0, first[0] - monotonic())):
                taken += await self.mailbox.take()
                self.mailbox.done(len(taken))
            accounts = self._board.accounts
            async for entries in self._unseen(taken):
                for entry in entries:
                    if entry.kind is Kind.EVENT and entry.tenant in accounts:
                        self._read(entry)
            await self._look_up_due()

    async def _unseen(self, taken: Sequence[object]) -> AsyncIterator[Sequence[LogEntry]]:
        told = [commit.entries for commit in taken if isinstance(commit, Committed)]
        entries = [entry for entry in chain(*told) if entry.seq > self._position]
        if len(told) < len(taken):
            while entries := await self._store.read_log(self._position, PAGE):
                self._position = entries[-1].seq
                yield entries
        elif entries:
            self._position = entries[-1].seq
            yield entries

    def _read(self, entry: LogEntry) -> None:
        subject = _object_of(entry.data)
        if entry.data.get("type") in NAMES_A_CHARGE:
            charge = subject.get("charge")
            key = f"{entry.tenant} {charge}"
            if not isinstance(charge, str) or not charge or key in self._known or len(self._waiting) >= WAITING_MAX:
                return
            one = Missing(entry.tenant, charge, str(entry.data.get("id")), int(entry.data.get("created") or 0))
            self._waiting.setdefault(key, (monotonic() + WAIT_S, one))
        elif subject.get("object") == "charge":
            key = f"{entry.tenant} {subject.get('id')}"
            self._known.put(key, value=True, now=self._clock.now())
            self._waiting.pop(key, None)

    async def _look_up_due(self) -> None:
        now = monotonic()
        for key, (until, one) in list(self._waiting.items()):
            if until > now:
                return
            del self._waiting[key]
            self._known.put(key, value=True, now=self._clock.now())
            if account := self._board.accounts.get(one.tenant):
                await self._look_up(one, account.api_key)

    async def _look_up(self, one: Missing, key: str) -> None:
        try:
            charge = await self._stripe.api(key).retrieve("charges", one.charge)
            if charge is None:
                return
            event = {"id": one.event, "type": "charge.updated", "created": one.at, "data": {"object": charge}}
            await self._store.append(self._found(one.tenant, event))
        except (NotAllowed, Unreachable, Wrong, StoreUnavailable) as error:
            log.warning("charge_unknown", tenant=one.tenant, charge=one.charge, reason=str(error))

    def _found(self, tenant: str, event: Json) -> NewEntry:
        data = {"state": "found", "event": self._gate.projected(event)}
        return NewEntry(Kind.BACKFILL, tenant, self._clock.now(), data)


def _object_of(event: Json) -> Json:
    data = event.get("data")
    subject = data.get("object") if isinstance(data, dict) else None
    return subject if isinstance(subject, dict) else {}
