"""Compares what Stripe knows with what the webhooks brought, and fetches the difference: at start and every hour.

The first time that is a month of history, from which the watch learns; later what was missed, and people are told.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress

import anyio
import structlog

from actors.billing.probe import Deliveries, Probe, Verdict, judge
from actors.billing.stripe_api import PAGE, Json, NotAllowed, Page, Stripe, StripeApi, Unreachable, Wrong
from actors.billing.webhook import Gate
from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock, io_sleep, monotonic
from actors.kernel.frozen import frozen
from actors.kernel.mailbox import Mailbox, conflate
from actors.store.accounts import HISTORY, MISSED, Backfill
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import BELOW, Incident, Kind, NewEntry

log = structlog.get_logger()

EVERY_S = 3600.0
DAY_S = 86_400
HISTORY_DAYS = 30
"""As far back as Stripe itself goes."""
GRACE_S = 600
"""What is younger may still be on its way to the webhook."""
ABREAST = 4
"""Accounts that are compared at the same time."""
UNDELIVERED_S = 3 * DAY_S
"""For so long Stripe itself tries to deliver."""
UNDELIVERED_MAX = 5_000
STORE_AGAIN_S = 5.0
ASKED_MAX = 1024


@frozen
class Account:
    """A Stripe account that may be asked. `token`: of the address that its webhooks are sent to.

    `connected`: the key is that of the platform above it.
    """

    tenant: str
    token: str | None
    api_key: str
    connected: str | None = None


@frozen
class Look:
    """Compare this tenant now."""

    tenant: str


async def oldest_first(api: StripeApi, since_s: int, until_s: int) -> AsyncIterator[tuple[list[Json], int]]:
    """All events created from `since_s` to before `until_s`, and up to which second these are all.

    Stripe lists the newest first; so it is asked for spans of time of which it can give all in one page, or nearly.
    """
    span = until_s - since_s
    while since_s < until_s:
        end = min(until_s, since_s + span)
        page = await api.events(since_s, end)
        if page.more and span > 1:
            # The page reaches back from the end: that is how much fits.
            fits = end - _created(page.events[-1])
            span = max(1, min(span // 2, fits * 3 // 4))
            continue
        events = page.events
        while page.more:  # a second with more than a page
            page = await api.events(since_s, end, older_than=str(page.events[-1].get("id")))
            events += page.events
        yield events[::-1], end
        since_s = end
        if len(events) < PAGE // 2:
            span *= 2


def _created(event: Json) -> int:
    created = event.get("created")
    return created if isinstance(created, int) else 0


class Backfills:
    """Where the operator and the actor meet: what is asked for, and what stands in the way. Outlives the actor."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.asked: Mailbox[Look] = conflate(ASKED_MAX, key=lambda look: look.tenant)
        self.accounts: Mapping[str, Account] = {}
        """By tenant."""
        self.probes: dict[str, Probe] = {}
        """The last word of Stripe on each tenant."""
        self._store = store
        self._clock = clock

    def reconfigure(self, accounts: Iterable[Account]) -> None:
        """From now on ask these and no others; of whom nothing has been heard, soon."""
        self.accounts = {account.tenant: account for account in accounts}
        for tenant in self.accounts.keys() - self.probes.keys():
            self.asked.offer(Look(tenant))

    def look_into(self, incident: Incident) -> None:
        """Why nothing comes, Stripe knows."""
        if (incident.signal, incident.scope) == ("webhook_silence", "account") and incident.tenant in self.accounts:
            self.asked.offer(Look(incident.tenant))

    async def begin(self, tenants: Iterable[str], days: float) -> None:
        """Have the last days fetched, from their beginning. Raises StoreUnavailable."""
        now = self._clock.now()
        for tenant in tenants:
            self.probes.pop(tenant, None)
            await self._store.accounts.begin(tenant, since=now - round(days * DAY_S) * SECOND, at=now)
            self.asked.offer(Look(tenant))

    async def progress(self, tenant: str | None) -> list[Backfill]:
        """How far each is."""
        return await self._store.accounts.backfills(tenant)


class Backfiller(Actor[Look]):
    """One round through all accounts at start and every hour; in between, whatever was asked for."""

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
        self._told: dict[str, Verdict] = {}

    async def start(self) -> None:
        """Nothing is asked before the first round, and without a key nothing ever."""
        self._stripe.open()

    async def stop(self) -> None:
        """What was under way goes on from where it is noted, in the next life."""
        await self._stripe.close()

    async def run(self) -> None:
        """For ever."""
        if self.mailbox.depth:
            self.mailbox.done(len(await self.mailbox.take()))  # the first round looks at all
        while True:
            again = monotonic() + EVERY_S
            await self._round(list(self._board.accounts.values()))
            while wanted := await self._asked_for(again):
                await self._round([one for one in self._board.accounts.values() if one.tenant in wanted])

    async def _asked_for(self, until: float) -> set[str]:
        """Who is to be compared; nobody: it is time for everybody."""
        with anyio.move_on_after(until - monotonic()):
            looks = await self.mailbox.take()
            self.mailbox.done(len(looks))  # a round takes as long as it takes: that is not being stuck
            return {look.tenant for look in looks if isinstance(look, Look)}
        return set()

    async def _round(self, accounts: Sequence[Account]) -> None:
        waiting = iter(accounts)

        async def work() -> None:
            for account in waiting:
                await self._compare(account)
                for tenant in await self._store.accounts.connected(account.tenant):
                    below = tenant.removeprefix(account.tenant + BELOW)
                    await self._compare(Account(tenant, account.token, account.api_key, connected=below))

        async with anyio.create_task_group() as tasks:
            for _ in range(min(ABREAST, len(accounts))):
                tasks.start_soon(work)

    async def _compare(self, account: Account) -> None:
        api = self._stripe.api(account.api_key, account.connected)
        try:
            deliveries = await self._deliveries(api, account)
            await self._fetch(api, account.tenant, deliveries)
            probe = deliveries.probe
        except NotAllowed as error:
            if account.connected is not None:
                log.info("account_not_asked", tenant=account.tenant, reason=str(error))  # few platforms may
                return
            probe = Probe(Verdict.NOT_ALLOWED, str(error))
        except (Unreachable, Wrong) as error:
            probe = Probe(Verdict.UNREACHABLE, str(error))
        except StoreUnavailable as error:
            log.warning("backfill_waits", tenant=account.tenant, reason=str(error))
            await io_sleep(STORE_AGAIN_S)
            self.mailbox.offer(Look(account.tenant))
            return
        self._board.probes[account.tenant] = probe
        await self._tell(account.tenant, probe)

    async def _deliveries(self, api: StripeApi, account: Account) -> Deliveries:
        now_s = self._clock.now() // SECOND
        undelivered: list[str] = []
        page = Page([], more=True)
        while page.more and len(undelivered) < UNDELIVERED_MAX:
            last = undelivered[-1] if undelivered else None
            page = await api.events(now_s - UNDELIVERED_S, now_s - GRACE_S, older_than=last, undelivered=True)
            undelivered += [str(event.get("id")) for event in page.events]
        endpoints = None
        with suppress(NotAllowed):  # the events matter more, and those it may read
            if account.connected is None:  # its events come to the endpoint of the platform
                endpoints = await api.endpoints()
        return judge(endpoints, account.token, frozenset(undelivered))

    async def _fetch(self, api: StripeApi, tenant: str, deliveries: Deliveries) -> None:
        """Everything between what was compared last and now; a kill loses no more than the page under way."""
        now = self._clock.now()
        accounts = self._store.accounts
        found = await accounts.backfills(tenant)
        if not found:
            await accounts.begin(tenant, since=now - HISTORY_DAYS * DAY_S * SECOND, at=now)
            found = await accounts.backfills(tenant)
        (state,) = found
        until = max(now - GRACE_S * SECOND, state.history_until)
        at = state.compared
        async for events, end_s in oldest_first(api, at // SECOND, -(-until // SECOND)):
            marked = [self._entry(tenant, event, state, deliveries) for event in events]
            entries = [entry for entry in marked if entry is not None]
            if not await accounts.fill(tenant, entries, after=at, compared=end_s * SECOND, at=self._clock.now()):
                return  # begun anew, or removed
            at = end_s * SECOND
        if await accounts.report_missed(tenant, self._clock.now()):
            log.warning("events_missed", tenant=tenant)

    def _entry(self, tenant: str, event: Json, state: Backfill, deliveries: Deliveries) -> NewEntry | None:
        backfilled = HISTORY if _created(event) * SECOND < state.history_until else MISSED
        subscribed = {} if deliveries.due(event) else {"subscribed": False}
        return self._gate.fetched(tenant, event, backfilled=backfilled, **subscribed)

    async def _tell(self, tenant: str, probe: Probe) -> None:
        """What has changed is an input like any other."""
        if self._told.get(tenant) is probe.verdict:
            return
        say = log.info if probe.verdict is Verdict.WELL else log.warning
        say("stripe_probed", tenant=tenant, verdict=probe.verdict, detail=probe.detail)
        data = {"state": "probed", "verdict": probe.verdict, "detail": probe.detail}
        try:
            await self._store.append(NewEntry(Kind.BACKFILL, tenant, self._clock.now(), data))
        except StoreUnavailable as error:
            log.warning("backfill_waits", tenant=tenant, reason=str(error))
            return
        self._told[tenant] = probe.verdict
