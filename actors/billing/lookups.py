"""Completes what an event only names and none has told of: the charge of a refund, the subscription of an invoice."""

from collections.abc import AsyncIterator, Sequence
from itertools import chain

import anyio
import structlog

from actors.billing.backfill import Backfills
from actors.billing.events import subscription_of
from actors.billing.memory import Recent
from actors.billing.reading import ident, mapping, text
from actors.billing.stripe_api import NotAllowed, Stripe, Unreachable, Wrong
from actors.billing.webhook import Gate
from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock, monotonic
from actors.kernel.frozen import frozen
from actors.kernel.mailbox import Ask, Gap
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import BELOW, Committed, Kind, LogEntry, NewEntry, parent_of

log = structlog.get_logger()

PAGE = 512
WAIT_S = 30.0
"""An event that tells of the object often comes right behind the one that names it."""
AGAIN_S = 600.0
"""After Stripe could not be reached."""
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
EVENTS = {"charges": "charge.updated", "subscriptions": "customer.subscription.updated"}
"""As what is told what was looked up; by the collection of the API that it is in."""


@frozen
class Missing:
    """An object that an event names and none has told of. `at`: when the event happened, in unix seconds."""

    tenant: str
    collection: str
    id: str
    event: str
    at: int

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.tenant} {self.id}"


class Lookups(Actor[Committed]):
    """Follows the log, and asks Stripe once for each object that is missing, where there is a key.

    What the store knows is not asked for. The answer is an entry of the log like any other. Without a key, or if Stripe
    does not tell, what is known stays incomplete until an event tells of the object; if Stripe cannot be reached, it is
    asked again later.
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
        self._known: Recent[bool] = Recent(KNOWN_US)  # by tenant and id, what was told of or asked for
        self._waiting: dict[str, tuple[float, Missing]] = {}  # by tenant and id: until when (monotonic), for what
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
            first = min((until for until, _ in self._waiting.values()), default=None)
            with anyio.move_on_after(None if first is None else max(0.0, first - monotonic())):
                taken += await self.mailbox.take()
                self.mailbox.done(len(taken))
            accounts = self._board.accounts
            async for entries in self._unseen(taken):
                for entry in entries:
                    if entry.kind is Kind.EVENT and parent_of(entry.tenant) in accounts:
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
        subject = mapping(mapping(entry.data.get("data")).get("object"))
        if subject.get("object") in ("charge", "subscription"):
            key = f"{entry.tenant} {subject.get('id')}"
            self._known.put(key, value=True, now=self._clock.now())
            self._waiting.pop(key, None)
            return
        collection, id_ = "", ""
        if entry.data.get("type") in NAMES_A_CHARGE:
            collection, id_ = "charges", ident(subject.get("charge"))
        elif subject.get("object") == "invoice":
            collection, id_ = "subscriptions", subscription_of(subject)
        if id_:
            at = int(entry.data.get("created") or 0)
            one = Missing(entry.tenant, collection, id_, text(entry.data.get("id")), at)
            if one.key not in self._known and one.key not in self._waiting and len(self._waiting) < WAITING_MAX:
                self._waiting[one.key] = (monotonic() + WAIT_S, one)

    async def _look_up_due(self) -> None:
        now = monotonic()
        for key, (until, one) in list(self._waiting.items()):
            if until > now:
                continue
            del self._waiting[key]
            try:
                await self._look_up(one)
            except (Unreachable, StoreUnavailable) as error:
                log.warning("lookup_postponed", tenant=one.tenant, missing=one.id, reason=str(error))
                self._waiting[key] = (monotonic() + AGAIN_S, one)
                continue
            except (NotAllowed, Wrong) as error:
                log.warning("lookup_failed", tenant=one.tenant, missing=one.id, reason=str(error))
            self._known.put(key, value=True, now=self._clock.now())

    async def _look_up(self, one: Missing) -> None:
        if one.collection == "subscriptions" and self._store.shelf(one.tenant).get(one.id) is not None:
            return
        above = parent_of(one.tenant)
        if (account := self._board.accounts.get(above)) is None:
            return
        connected = one.tenant.removeprefix(above + BELOW) if one.tenant != above else None
        found = await self._stripe.api(account.api_key, connected).retrieve(one.collection, one.id)
        if found is not None:
            event = {"id": one.event, "type": EVENTS[one.collection], "created": one.at, "data": {"object": found}}
            data = {"state": "found", "event": self._gate.projected(event)}
            await self._store.append(NewEntry(Kind.BACKFILL, one.tenant, self._clock.now(), data))
