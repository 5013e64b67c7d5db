"""What Stripe knows and no webhook brought: over real sockets, by the official SDK, into the real store."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.billing import backfill, stripe_api
from actors.billing.backfill import GRACE_S, Account, Backfiller, Backfills, Look
from actors.billing.probe import Verdict
from actors.billing.stripe_api import Asked, Pace, Stripe
from actors.billing.webhook import Gate, Tenant
from actors.kernel.clock import SECOND, ScaledClock, chance, io_sleep
from actors.simulated.business import Business
from actors.simulated.shop import Shop
from actors.simulated.stripe_api import ALL_RIGHTS, StripeServer
from actors.simulated.stripe_api import Account as StripeAccount
from actors.store.accounts import Backfill
from actors.store.records import Kind, LogEntry
from actors.store.store import SqliteStore
from tests.billing import stripe_events as shop
from tests.billing.gatehouse import gatehouse
from tests.patience import PATIENCE_S, PatientClock
from tests.store.running import incident, running

DAY = 86_400
NOW_S = shop.START + 40 * DAY
KEY = "rk_test_1"
TENANT = Tenant("acme", "acme-token-1", (b"whsec_acme",))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe is asked as fast as it answers."""
    monkeypatch.setattr(stripe_api, "READS_PER_S", 10_000)
    monkeypatch.setattr(stripe_api, "BACKOFF_S", 0.001)
    monkeypatch.setattr(backfill, "STORE_AGAIN_S", 0.0)


class House:
    """A store and a gate on one side, Stripe on the other."""

    def __init__(self, store: SqliteStore, stripe: StripeServer, clock: ScaledClock) -> None:
        self.store, self.stripe, self.clock = store, stripe, clock
        self.account = stripe.accounts[KEY]
        self.paces: defaultdict[Asked, Pace] = defaultdict(Pace)
        self.accounts = [Account("acme", "acme-token-1", KEY)]
        self.gate = Gate(store, clock, [TENANT], archive="none")
        self.board = Backfills(store, clock)
        self.board.reconfigure(self.accounts)

    def asked(self) -> Stripe:
        """As an actor asks it."""
        return Stripe(self.clock, chance(1), self.stripe.url, self.paces)

    async def look(self, until: Callable[[], bool] = lambda: False) -> None:
        """One round of a backfiller with a life of its own, killed as soon as `until` holds."""
        await self.gate.open()
        actor = Backfiller(self.board, self.store, self.clock, self.gate, self.asked())
        actor.mailbox = self.board.asked
        await actor.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._kill_when, until, tasks.cancel_scope)
            await actor._round(self.accounts)
            tasks.cancel_scope.cancel()
        await actor.stop()

    async def _kill_when(self, until: Callable[[], bool], scope: anyio.CancelScope) -> None:
        while not until():
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    async def events(self) -> list[LogEntry]:
        return [entry for entry in await self.store.read_log(0, 10_000) if entry.kind is Kind.EVENT]

    async def notes(self) -> list[Any]:
        return [entry.data for entry in await self.store.read_log(0, 10_000) if entry.kind is Kind.BACKFILL]

    async def state(self) -> Backfill:
        (state,) = await self.store.accounts.backfills("acme")
        return state

    def happened(self, at_s: int, count: int = 1, **more: Any) -> list[str]:
        events = [shop.charge(at_s - shop.START, **more) for _ in range(count)]
        for event in events:
            self.account.happened(event)
        return [event["id"] for event in events]


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    clock = ScaledClock(NOW_S * SECOND)
    async with running(folder) as store, StripeServer({KEY: StripeAccount(clock)}, clock) as stripe:
        stripe.accounts[KEY].endpoints.append(
            {
                "id": "we_1",
                "url": "https://hooks.example.com/webhook/acme-token-1",
                "status": "enabled",
                "enabled_events": ["*"],
            }
        )
        yield House(store, stripe, clock)


def spread(of: House, hours: range, per_hour: int) -> Iterator[str]:
    for hour in hours:
        yield from of.happened(NOW_S - hour * 3600, per_hour)


async def test_a_month_is_fetched_oldest_first_and_what_is_older_is_not(tmp_path: Path) -> None:
    """Also a second that holds more than two pages."""
    async with house(tmp_path) as here:
        here.happened(NOW_S - 31 * DAY)
        wanted = [*spread(here, range(700, 600, -1), 3), *here.happened(NOW_S - 400 * 3600, 250)]
        wanted += spread(here, range(399, 0, -40), 1)
        await here.look()
        found = await here.events()
        assert [entry.data["id"] for entry in found] == wanted
        assert {entry.data["backfilled"] for entry in found} == {"history"}
        state = await here.state()
        assert (state.fetched, state.stored, state.missed, state.in_history) == (560, 560, 0, False)
        assert [note["state"] for note in await here.notes()] == ["began", "ended", "probed"]


async def test_a_quiet_month_is_one_request(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.happened(NOW_S - 20 * DAY, 50)
        await here.look()
        assert here.stripe.asked["GET /v1/events"] == 2  # the other asks what is undelivered


@pytest.mark.parametrize("after", [1, 3, 7, 12])
async def test_after_a_kill_it_goes_on_where_it_was(tmp_path: Path, after: int) -> None:
    """And nothing is fetched from the beginning again."""
    async with house(tmp_path) as here:
        wanted = list(spread(here, range(700, 0, -1), 2))
        await here.look(until=lambda: here.stripe.asked["GET /v1/events"] > after)
        killed = await here.events()
        here.stripe.asked.clear()
        await here.look()
        assert [entry.data["id"] for entry in await here.events()] == wanted
        assert (await here.state()).stored == 1400
        if len(killed) > 700:
            assert here.stripe.asked["GET /v1/events"] < 25
        assert [note["state"] for note in await here.notes()].count("began") == 1


async def test_what_the_webhook_missed_is_fetched_and_told(tmp_path: Path) -> None:
    """Of ten later events five came; one is too young to be missed."""
    async with house(tmp_path) as here:
        here.happened(NOW_S - 3600)
        await here.look()
        later = [shop.charge(NOW_S + 60 * n - shop.START) for n in range(10)]
        for event in later:
            here.account.happened(event)
        door = here.gate.door("/webhook/acme-token-1")
        assert door is not None
        for event in later[::2]:
            entry = here.gate._entry("acme", here.clock.now(), event["id"], event, b"")
            await here.store.append(entry)
        here.clock._start += (530 + GRACE_S) * SECOND
        await here.look()
        notes = await here.notes()
        missed = next(note for note in notes if note["state"] == "missed")
        first, last = later[1]["created"] * SECOND, later[7]["created"] * SECOND
        assert missed == {"state": "missed", "missed": 4, "first": first, "last": last}
        assert [entry.data.get("backfilled") for entry in await here.events()] == [
            "history",
            *[None] * 5,
            *["missed"] * 4,
        ]
        await here.look()
        assert [note["state"] for note in await here.notes()].count("missed") == 1


@pytest.mark.parametrize("fault", [429, 500, 503, "drop"])
async def test_a_fault_that_passes_is_waited_for(tmp_path: Path, fault: int | str) -> None:
    async with house(tmp_path) as here:
        wanted = list(spread(here, range(300, 0, -1), 1))
        here.stripe.faults.extend([fault, fault, 0, fault])
        await here.look()
        assert [entry.data["id"] for entry in await here.events()] == wanted
        assert here.board.probes["acme"].verdict is not Verdict.UNREACHABLE


async def test_a_stripe_that_does_not_answer_is_unreachable_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again in the next round, from where it was left."""
    monkeypatch.setattr(stripe_api, "REQUEST_S", 0.05)
    async with house(tmp_path) as here:
        wanted = here.happened(NOW_S - 5 * DAY, 3)
        here.stripe.faults.extend(["hang"] * stripe_api.ATTEMPTS)
        await here.look()
        assert here.board.probes["acme"].verdict is Verdict.UNREACHABLE
        assert await here.events() == []
        monkeypatch.setattr(stripe_api, "REQUEST_S", PATIENCE_S)
        await here.look()
        assert [entry.data["id"] for entry in await here.events()] == wanted


async def test_a_key_with_too_few_rights_names_the_permission(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.stripe.rights[KEY] = ALL_RIGHTS - {"rak_event_read"}
        await here.look()
        probe = here.board.probes["acme"]
        assert (probe.verdict, probe.detail) == (
            Verdict.NOT_ALLOWED,
            "the API key lacks the permission “Events: read”",
        )
        del here.stripe.accounts[KEY]
        await here.look()
        assert here.board.probes["acme"].detail.startswith("Stripe does not accept the API key")


async def test_a_key_that_may_read_events_only_is_enough(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.stripe.rights[KEY] = frozenset({"rak_event_read"})
        here.happened(NOW_S - DAY)
        await here.look()
        assert len(await here.events()) == 1


@pytest.mark.parametrize(
    ("status", "undelivered", "verdict"),
    [
        ("enabled", False, Verdict.WELL),
        ("enabled", True, Verdict.FAILING),
        ("disabled", True, Verdict.DISABLED),
        (None, False, Verdict.MISSING),
    ],
)
async def test_a_probe_tells_no_business_from_a_broken_endpoint(
    tmp_path: Path, status: str | None, undelivered: bool, verdict: Verdict
) -> None:
    async with house(tmp_path) as here:
        if status is None:
            here.account.endpoints.clear()
        else:
            here.account.endpoints[0]["status"] = status
        (event,) = here.happened(NOW_S - 7200)
        if not undelivered:
            here.account.delivered(event)
        await here.look()
        assert here.board.probes["acme"].verdict is verdict
        assert (await here.notes())[-1]["verdict"] == verdict


async def test_one_account_that_fails_holds_up_no_other(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.accounts.insert(0, Account("broken", "broken-token", "rk_test_revoked"))
        wanted = here.happened(NOW_S - DAY, 3)
        await here.look()
        assert [entry.data["id"] for entry in await here.events()] == wanted
        assert here.board.probes["broken"].verdict is Verdict.NOT_ALLOWED


async def test_asked_by_the_operator_it_begins_anew(tmp_path: Path) -> None:
    """What is known already changes nothing."""
    async with house(tmp_path) as here:
        here.happened(NOW_S - 25 * DAY, 4)
        await here.look()
        await here.board.begin(["acme"], days=28)
        assert (await here.state()).in_history
        assert await here.board.asked.take() == [Look("acme")]
        await here.look()
        state = await here.state()
        assert (state.fetched, state.stored) == (4, 0)
        assert len(await here.events()) == 4


async def test_on_a_disk_that_is_nearly_full_nothing_is_fetched_and_later_all_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the room is for alarms."""
    async with house(tmp_path) as here:
        wanted = here.happened(NOW_S - DAY, 3)
        ballast = here.store._ballast
        ballast.give_up()
        with monkeypatch.context() as full:
            full.setattr(ballast, "recover", lambda: False)
            await here.look()
        assert await here.events() == []
        await here.look()
        assert [entry.data["id"] for entry in await here.events()] == wanted


async def test_connected_accounts_are_compared_with_the_key_of_their_platform(tmp_path: Path) -> None:
    """As soon as one was heard of; where the platform may not ask, nothing is said about it."""
    async with house(tmp_path) as here:
        for name in ("acct_1", "acct_2"):
            event = shop.charge(NOW_S - shop.START) | {"account": name}
            await here.gate.open()
            await here.store.append(here.gate._entry("acme", here.clock.now(), event["id"], event, b""))
        below = here.stripe.accounts[f"{KEY} acct_1"] = StripeAccount(here.clock)
        past = [shop.charge(NOW_S - DAY * n - shop.START) | {"account": "acct_1"} for n in (9, 5, 2)]
        for one in past:
            below.happened(one)
        own = here.happened(NOW_S - DAY)
        await here.look()
        await here.look()
        found = [(entry.tenant, entry.data["id"]) for entry in await here.events() if "backfilled" in entry.data]
        assert found == [("acme", own[0]), *(("acme/acct_1", one["id"]) for one in past)]
        assert {entry.tenant for entry in await here.store.read_log(0, 99) if entry.kind is Kind.BACKFILL} == {
            "acme",
            "acme/acct_1",
        }


async def test_of_a_shop_whose_deliveries_fail_nothing_is_missing_in_the_end(tmp_path: Path) -> None:
    """Hours of business at an address that is wrong; then Stripe is asked."""
    clock = PatientClock(NOW_S * SECOND, speed=3_600)
    account = StripeAccount(clock)
    async with gatehouse(tmp_path, TENANT, clock=clock) as house_, StripeServer({KEY: account}, clock) as stripe:
        board = Backfills(house_.store, clock)
        board.reconfigure([Account("acme", TENANT.token, KEY)])

        async def compare() -> None:
            actor = Backfiller(
                board, house_.store, clock, house_.gate, Stripe(clock, chance(1), stripe.url, defaultdict(Pace))
            )
            actor.mailbox = board.asked
            await actor.start()
            await actor._round(list(board.accounts.values()))
            await actor.stop()

        await compare()
        rng = chance(4)
        address = f"http://127.0.0.1:{house_.port}/webhook/another-token"
        business = Business(rng, clock.now() // SECOND, busy=2.0)
        peer = Shop(address, "whsec_acme", clock=clock, rng=rng, business=business, account=account)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.run)
            while len(account._events) < 50:
                await io_sleep(0.02)
            tasks.cancel_scope.cancel()
        assert await house_.stored() == []
        await clock.sleep(GRACE_S + 60)
        await compare()
        happened = {event["id"] for _, _, event in account._events}
        assert {row.id for row in await house_.stored()} == happened
        missed = [entry.data for entry in await house_.logged() if entry.data.get("state") == "missed"]
        assert [note["missed"] for note in missed] == [len(happened)]
        assert board.probes["acme"].verdict is Verdict.MISSING


async def test_into_a_silence_it_is_looked_at_once(tmp_path: Path) -> None:
    """If there is a key; and into nothing else that is told."""
    async with house(tmp_path) as here:
        await here.board.asked.take()  # what the first start asks
        asked = []
        for tenant, signal, scope in (
            ("acme", "webhook_silence", "missed"),
            ("acme", "refund_spike", "account"),
            ("globex", "webhook_silence", "account"),
            ("acme", "webhook_silence", "account"),
        ):
            here.board.look_into(incident(tenant=tenant, signal=signal, scope=scope))
            asked.append(here.board.asked.depth)
        assert asked == [0, 0, 0, 1]
