"""A refund of a charge, an invoice of a subscription that nobody told of: it is looked up, where there is a key."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.billing import lookups
from actors.billing.lookups import Lookups
from actors.kernel.mailbox import drop_oldest
from actors.simulated.stripe_api import ALL_RIGHTS
from actors.store.records import Findings, Kind, NewEntry, Snapshot
from tests.billing.night import Night
from tests.billing.stripe_events import Event, charge, event, refund
from tests.billing.subscribers import invoiced, subscribed
from tests.billing.test_backfill import KEY, House, house
from tests.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "WAIT_S", 0.02)


@asynccontextmanager
async def looking(here: House, room: int = 16) -> AsyncIterator[Lookups]:
    """With an actor that follows the log."""
    await here.gate.open()
    actor = Lookups(here.board, here.store, here.clock, here.gate, here.asked())
    actor.mailbox = drop_oldest(room)
    await actor.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run)
        yield actor
        tasks.cancel_scope.cancel()
    await actor.stop()


async def stored(here: House, *events: Event, tenant: str = "acme") -> None:
    for one in events:
        await here.store.append(here.gate._entry(tenant, here.clock.now(), one["id"], one, b""))


async def until(probe: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not probe():
            await anyio.lowlevel.checkpoint()


def asked(here: House) -> dict[str, int]:
    return {path: n for path, n in here.stripe.asked.items() if "charges" in path or "subscriptions" in path}


async def found(here: House) -> list[Any]:
    return [note["event"] for note in await here.notes() if note["state"] == "found"]


async def test_a_charge_that_only_a_refund_names_is_asked_for_once(tmp_path: Path) -> None:
    async with house(tmp_path) as here, looking(here):
        here.account.happened(charge(0, id_="ch_old", amount=4900, refunded=4900))
        await stored(here, *(refund(n, id_=f"re_{n}", charge_id="ch_old", amount=2900) for n in (1, 2)))
        await until(lambda: bool(asked(here)))
        await stored(here, refund(3, id_="re_3", charge_id="ch_old", amount=100))
        with anyio.fail_after(PATIENCE_S):
            while not await found(here):
                await anyio.lowlevel.checkpoint()
        (told,) = await found(here)
        assert told["data"]["object"]["amount"] == 4900
        assert "fingerprint" not in str(told)
        assert asked(here) == {"GET /v1/charges/ch_old": 1}


async def test_a_charge_that_an_event_tells_of_is_not_asked_for(tmp_path: Path) -> None:
    """Whether that comes before or right behind."""
    async with house(tmp_path) as here, looking(here) as actor:
        one, other = charge(0, id_="ch_1"), charge(0, id_="ch_2")
        await stored(here, one, refund(1, id_="re_1", charge_id="ch_1", amount=1))
        await stored(here, refund(1, id_="re_2", charge_id="ch_2", amount=1), other)
        warning = event("radar.early_fraud_warning.created", {"id": "issfr_1", "charge": "ch_3"}, 2)
        await stored(here, warning)
        await until(lambda: bool(asked(here)))
        assert asked(here) == {"GET /v1/charges/ch_3": 1}
        assert actor._waiting == {}


async def test_without_a_key_nothing_is_asked(tmp_path: Path) -> None:
    """Of the other tenant, which has one, it is."""
    async with house(tmp_path) as here, looking(here):
        await stored(here, refund(1, id_="re_1", charge_id="ch_1", amount=1), tenant="keyless")
        await stored(here, refund(1, id_="re_2", charge_id="ch_2", amount=1))
        await until(lambda: bool(asked(here)))
        assert asked(here) == {"GET /v1/charges/ch_2": 1}


async def test_what_the_mailbox_could_not_hold_is_read_from_the_log(tmp_path: Path) -> None:
    async with house(tmp_path) as here, looking(here, room=1):
        for number in range(30):
            await stored(here, refund(1, id_=f"re_{number}", charge_id=f"ch_{number}", amount=1))
        await until(lambda: len(asked(here)) == 30)


@pytest.mark.parametrize("trouble", ["rights", "unknown", "down"])
async def test_what_stripe_does_not_tell_stays_incomplete_and_harms_nothing(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.billing.stripe_api.READS_PER_S", 10_000)
    monkeypatch.setattr("actors.billing.stripe_api.BACKOFF_S", 0.001)
    async with house(tmp_path) as here, looking(here):
        if trouble == "rights":
            here.stripe.rights[KEY] = ALL_RIGHTS - {"rak_charge_read"}
        if trouble == "down":
            here.stripe.faults.extend([500] * 5)
        await stored(here, refund(1, id_="re_1", charge_id="ch_1", amount=1))
        await until(lambda: bool(asked(here)))
        here.account.happened(charge(0, id_="ch_2"))
        here.stripe.rights.clear()
        await stored(here, refund(1, id_="re_2", charge_id="ch_2", amount=1))
        await until(lambda: "GET /v1/charges/ch_2" in asked(here))


@pytest.mark.parametrize("basil", [False, True])
async def test_a_subscription_that_only_an_invoice_names_is_asked_for_and_counts(
    tmp_path: Path, *, basil: bool
) -> None:
    async with house(tmp_path) as here, looking(here):
        here.account.happened(subscribed(0, 1, amount=3000))
        linked = {"parent": {"subscription_details": {"subscription": "sub_1"}}, "subscription": None}
        parent: dict[str, Any] = linked if basil else {}
        await stored(here, invoiced(1, 1, **parent), invoiced(2, 1, **parent))
        with anyio.fail_after(PATIENCE_S):
            while not await found(here):
                await anyio.lowlevel.checkpoint()
        (told,) = await found(here)
        assert asked(here) == {"GET /v1/subscriptions/sub_1": 1}
    night = Night()
    night.append(Kind.BACKFILL, "acme", {"state": "found", "event": told})
    assert night.watch.tenants["acme"].ledger.mrr == {"usd": 3000}


async def test_a_subscription_that_is_told_of_or_kept_is_not_asked_for(tmp_path: Path) -> None:
    """The second was told of before; what is remembered of it is in the store."""
    async with house(tmp_path) as here, looking(here) as actor:
        kept = Snapshot(0, {("acme", "ledger:sub_2"): (2, b"state")})
        await here.store.append(NewEntry(Kind.TICK, "", here.clock.now(), {}))
        await here.store.commit_findings(Findings(cursor=1, snapshot=kept))
        await stored(here, subscribed(0, 1), invoiced(1, 1), invoiced(1, 2), invoiced(1, 3))
        await until(lambda: bool(asked(here)) and not actor._waiting)
        assert asked(here) == {"GET /v1/subscriptions/sub_3": 1}


async def test_what_stripe_could_not_be_asked_is_asked_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "AGAIN_S", 0.05)
    monkeypatch.setattr("actors.billing.stripe_api.BACKOFF_S", 0.001)
    async with house(tmp_path) as here, looking(here):
        here.account.happened(charge(0, id_="ch_1"))
        here.stripe.faults.extend([500] * 5)
        await stored(here, refund(1, id_="re_1", charge_id="ch_1", amount=1))
        with anyio.fail_after(PATIENCE_S):
            while not await found(here):
                await anyio.lowlevel.checkpoint()


def test_what_was_found_completes_what_was_known() -> None:
    """A refund larger than its charge is seen as soon as the charge is known, and no event is counted."""
    night = Night()
    night.deliver(refund(10, id_="re_1", charge_id="ch_old", amount=9900))
    assert night.incidents() == []
    told = charge(10, id_="ch_old", amount=4900, refunded=9900) | {"id": "evt_of_refund", "type": "charge.updated"}
    night.append(Kind.BACKFILL, "acme", {"state": "found", "event": told})
    assert night.only("refund_exceeds_charge").scope == "ch_old"
