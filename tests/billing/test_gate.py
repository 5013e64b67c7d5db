"""What a sender is answered, and what is stored."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from actors.billing import listener
from actors.billing.signature import sign
from actors.billing.webhook import Gate, Tenant
from actors.kernel.clock import SECOND, WallClock, io_sleep
from actors.kernel.mailbox import reject
from actors.store.premises import DATABASE
from actors.store.records import Kind, LogEntry, Severity
from tests.billing.gatehouse import BETA, SECRET, Gatehouse, charge, gatehouse
from tests.patience import StoppedClock


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Gatehouse]:
    async with gatehouse(tmp_path) as house:
        yield house


async def test_a_signed_event_is_stored_and_acknowledged(house: Gatehouse) -> None:
    assert (await house.post(charge())).status == 200
    [row] = await house.stored()
    assert (row.tenant, row.id, row.type) == ("acme", "evt_1", "charge.succeeded")


async def test_an_event_delivered_ten_times_is_acknowledged_ten_times_and_stored_once(house: Gatehouse) -> None:
    for _ in range(5):
        assert (await house.post(charge())).status == 200
    replies = await asyncio.gather(*(house.post(charge()) for _ in range(5)))
    assert [reply.status for reply in replies] == [200] * 5
    assert len(await house.stored()) == 1


async def test_the_same_id_of_two_tenants_is_two_events(house: Gatehouse) -> None:
    assert (await house.post(charge())).status == 200
    assert (await house.post(charge(), path="/webhook/beta-token-1", secret=b"whsec_beta")).status == 200
    assert sorted(row.tenant for row in await house.stored()) == ["acme", "beta"]


async def test_the_tenant_default_has_an_address_of_its_own(tmp_path: Path, house: Gatehouse) -> None:
    assert (await house.post(charge(), path="/webhooks/stripe")).status == 404
    async with gatehouse(tmp_path / "default", Tenant("default", None, (SECRET,))) as other:
        assert (await other.post(charge(), path="/webhooks/stripe")).status == 200
        assert [row.tenant for row in await other.stored()] == ["default"]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"secret": b"whsec_beta"}, {}),
        ({"age_s": 3600}, {"age_s": 290}),
        ({"age_s": -3600}, {"age_s": -290}),
        ({"signature": ""}, {}),
        ({"signature": "t=1,v1=é,v0=\udcff"}, {}),
        ({"path": "/webhook/beta-token-1"}, {"path": "/webhook/beta-token-1", "secret": b"whsec_beta"}),
    ],
)
async def test_a_signature_that_is_not_fresh_and_of_the_tenant_is_refused(
    house: Gatehouse, wrong: dict[str, Any], right: dict[str, Any]
) -> None:
    assert (await house.post(charge(), **wrong)).status == 400
    assert await house.stored() == []
    assert (await house.post(charge(), **right)).status == 200


async def test_a_changed_byte_is_refused(house: Gatehouse) -> None:
    body = orjson.dumps(charge())
    signature = sign(body, SECRET, house.clock.now())
    assert (await house.post(body=body.replace(b"1900", b"9900"), signature=signature)).status == 400


async def test_while_a_secret_rolls_one_valid_signature_of_two_is_enough_and_v0_is_none(house: Gatehouse) -> None:
    body = orjson.dumps(charge())
    stamp, good = sign(body, SECRET, house.clock.now()).split(",")
    other = sign(body, b"whsec_next", house.clock.now()).split(",")[1]
    assert (await house.post(body=body, signature=f"{stamp},{good.replace('v1', 'v0')}")).status == 400
    assert (await house.post(body=body, signature=f"{stamp},{other},{good}")).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b'"evt_1"',
        b'[{"id": "evt_1"}]',
        b"{}",
        b'{"id": null}',
        b'{"id": 1}',
        b'{"id": ""}',
        b'{"id": "evt 1"}',
        b'{"id": "evt_1\\u0000"}',
        b'{"id": "' + b"e" * 256 + b'"}',
        b'{"id": "evt_1", "amount": NaN}',
        b'{"id": "evt_1"} {"id": "evt_2"}',
        b'{"id": "\xff"}',
        b"[" * 100_000,
    ],
)
async def test_a_signed_body_that_is_not_an_event_is_refused_and_nothing_is_stored(
    house: Gatehouse, body: bytes
) -> None:
    assert (await house.post(body=body)).status == 400
    assert await house.stored() == []


async def test_an_event_of_an_unknown_kind_is_kept(house: Gatehouse) -> None:
    assert (await house.post({"id": "evt_new", "type": "moon.phase_changed", "data": None})).status == 200
    assert (await house.post({"id": "evt_bare"})).status == 200
    assert [row.id for row in await house.stored()] == ["evt_new", "evt_bare"]


async def test_a_thin_event_is_kept(house: Gatehouse) -> None:
    thin = {
        "id": "evt_test_65R",
        "object": "v2.core.event",
        "type": "v2.core.account.updated",
        "created": "2026-09-21T13:33:20.000Z",
        "related_object": {"id": "acct_1", "type": "v2.core.account", "url": "/v2/core/accounts/acct_1"},
    }
    assert (await house.post(thin)).status == 200
    [entry] = await house.logged()
    assert entry.data["object"] == "v2.core.event"
    assert entry.data["related_object"] == {"id": "acct_1", "type": "v2.core.account"}


@pytest.mark.parametrize("path", ["/webhook/acme-token-2", "/webhook/", "/webhook", "/webhook/acme-token-1/", "/admin"])
async def test_an_address_nobody_has_is_not_found(house: Gatehouse, path: str) -> None:
    assert (await house.post(charge(), path=path)).status == 404


async def test_only_posts_deliver_and_only_healthz_is_read(house: Gatehouse) -> None:
    assert (await house.post(charge(), method="PUT")).status == 405
    assert (await house.post(charge(), method="GET")).status == 405
    assert (await house.post(charge(), path="/healthz")).status == 405
    assert (await house.post(method="GET", path="/")).status == 404
    assert (await house.post(method="GET", path="/status")).status == 404
    healthy = await house.post(method="GET", path="/healthz")
    assert (healthy.status, healthy.text) == (200, "ok")
    assert (await house.post(method="HEAD", path="/healthz")).text == ""


async def test_a_query_changes_nothing(house: Gatehouse) -> None:
    assert (await house.post(charge(), path="/webhook/acme-token-1?source=stripe")).status == 200


async def test_a_body_of_a_megabyte_is_taken_and_a_longer_one_refused(house: Gatehouse) -> None:
    event = charge()
    event["padding"] = "x" * ((1 << 20) - len(orjson.dumps(event | {"padding": ""})))
    body = orjson.dumps(event)
    assert len(body) == 1 << 20
    assert (await house.post(body=body)).status == 200
    assert (await house.post(body=body + b" ")).status == 413
    assert (await house.post(body=body + b" ", path="/webhook/unknown")).status == 413


async def test_a_tenant_beyond_its_quota_waits_and_another_does_not(tmp_path: Path) -> None:
    """And the time to wait is told: one event in a hundred seconds comes free every hundred seconds."""
    slow = Tenant("acme", "acme-token-1", (SECRET,), per_second=0.01, burst=3)
    async with gatehouse(tmp_path, slow, BETA) as house:
        replies = [await house.post(charge(f"evt_{n}")) for n in range(5)]
        assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
        assert 40 < int(replies[-1].headers["Retry-After"]) <= 100
        assert (await house.post(charge(), path="/webhook/beta-token-1", secret=b"whsec_beta")).status == 200
        assert len(await house.stored()) == 4


async def test_who_sends_too_fast_is_answered_after_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a flood which is refused costs them nothing, too."""
    monkeypatch.setattr(listener, "TOO_FAST_S", 1.0)
    order: list[str] = []
    async with gatehouse(tmp_path, Tenant("acme", "acme-token-1", (SECRET,), per_second=0.001, burst=1), BETA) as house:

        async def post(who: str, secret: bytes) -> None:
            reply = await house.post(charge(f"evt_{len(order)}"), path=f"/webhook/{who}-token-1", secret=secret)
            order.append(f"{who} {reply.status}")

        await post("acme", SECRET)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post, "acme", SECRET)
            await anyio.lowlevel.checkpoint()
            await post("beta", b"whsec_beta")
        assert order == ["acme 200", "beta 200", "acme 429"]


async def test_a_stranger_who_knows_the_token_uses_up_nothing_of_the_tenants(tmp_path: Path) -> None:
    slow = Tenant("acme", "acme-token-1", (SECRET,), per_second=0.01, burst=3)
    async with gatehouse(tmp_path, slow) as house:
        strangers = [await house.post(charge(), secret=b"guess") for _ in range(6)]
        assert [reply.status for reply in strangers] == [400, 400, 400, 429, 429, 429]
        assert (await house.post(charge())).status == 200


async def test_what_is_refused_is_counted_by_reason(house: Gatehouse) -> None:
    await house.post(charge(), secret=b"guess")
    await house.post(charge(), secret=b"guess")
    await house.post(charge(), path="/webhook/unknown")
    assert dict(house.gate.refused) == {"signature does not match": 2, "unknown address": 1}


async def test_a_delivery_signed_at_a_wrong_time_is_told_so(house: Gatehouse) -> None:
    assert (await house.post(charge(), age_s=3600)).text == "timestamp is too old"
    assert (await house.post(charge(), age_s=-3600)).text == "timestamp is too new"
    assert (await house.post(charge(), age_s=3600, secret=b"guess")).text == "signature does not match"
    assert dict(house.gate.refused) == {
        "timestamp is too old": 1,
        "timestamp is too new": 1,
        "signature does not match": 1,
    }


@pytest.mark.parametrize(("in_time", "severity"), [(0, Severity.CRITICAL), (7, Severity.WARNING)])
async def test_many_of_them_say_that_a_clock_is_wrong_and_not_that_the_secret_was_rotated(
    tmp_path: Path, in_time: int, severity: Severity
) -> None:
    """Where more come in time the clock is right: they are copies, or a proxy delays some, and nobody is woken."""
    clock = StoppedClock(WallClock().now())
    async with gatehouse(tmp_path, clock=clock) as house:
        for _ in range(in_time):
            assert (await house.post(charge())).status == 200
        for _ in range(6):
            assert (await house.post(charge(), age_s=3600)).status == 400
        clock.at += 60 * SECOND
        alarms: list[LogEntry] = []
        while not alarms:
            await io_sleep(0.02)
            alarms = [entry for entry in await house.logged() if entry.kind is not Kind.EVENT]
    assert [(alarm.kind, alarm.tenant, alarm.data["signal"]) for alarm in alarms] == [(Kind.ALARM, "", "clock_drift")]
    assert alarms[0].data["title"] == "6 webhooks within a minute were signed more than 5 minutes ago"
    assert alarms[0].data["severity"] == severity


async def test_failed_signatures_are_in_the_log_once_the_minute_is_over(tmp_path: Path) -> None:
    clock = StoppedClock(WallClock().now())
    async with gatehouse(tmp_path, clock=clock) as house:
        for _ in range(3):
            await house.post(charge(), secret=b"guess")
        clock.at += 60 * SECOND
        entries: list[LogEntry] = []
        while not entries:
            await io_sleep(0.02)
            entries = await house.logged()
    assert [(entry.kind, entry.tenant, entry.data["failed"]) for entry in entries] == [(Kind.SIGNATURES, "acme", 3)]


async def test_while_the_database_is_locked_senders_are_told_to_come_back_and_then_nothing_is_missing(
    tmp_path: Path,
) -> None:
    async with gatehouse(tmp_path) as house:
        with sqlite3.connect(tmp_path / DATABASE, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            refused, healthy = await asyncio.gather(house.post(charge()), house.post(method="GET", path="/healthz"))
            other.execute("ROLLBACK")
        other.close()
        assert (refused.status, healthy.status) == (503, 200)
        assert int(refused.headers["Retry-After"]) > 0
        assert (await house.post(charge())).status == 200
        assert len(await house.stored()) == 1


async def test_more_than_the_store_can_take_is_refused_and_never_acknowledged(tmp_path: Path) -> None:
    async with gatehouse(tmp_path, room=lambda: reject(2)) as house:
        replies = await asyncio.gather(*(house.post(charge(f"evt_{n}")) for n in range(60)))
        statuses = [reply.status for reply in replies]
        assert set(statuses) == {200, 503}
        assert len(await house.stored()) == statuses.count(200)


@pytest.mark.parametrize("archive", ["redacted", "full", "none"])
async def test_the_log_knows_no_person_whatever_is_archived(tmp_path: Path, archive: Any) -> None:
    async with gatehouse(tmp_path, archive=archive) as house:
        assert (await house.post(charge(receipt_email="jane@example.com", metadata={"id": "Jane"}))).status == 200
        [entry] = await house.logged()
        assert b"jane" not in orjson.dumps(entry.data).lower()
        assert entry.data["data"]["object"]["amount"] == 1900


async def test_new_tokens_and_secrets_hold_from_the_next_delivery_and_spent_quota_stays_spent(tmp_path: Path) -> None:
    before = Tenant("acme", "acme-token-1", (SECRET,), per_second=0.01, burst=2)
    after = Tenant("acme", "acme-token-2", (b"whsec_new",), per_second=0.01, burst=2)
    async with gatehouse(tmp_path, before, BETA) as house:
        assert (await house.post(charge("evt_1"))).status == 200
        house.gate.reconfigure([after])
        assert (await house.post(charge("evt_2"))).status == 404
        assert (await house.post(charge("evt_2"), path="/webhook/beta-token-1", secret=b"whsec_beta")).status == 404
        assert (await house.post(charge("evt_2"), path="/webhook/acme-token-2")).status == 400
        assert (await house.post(charge("evt_2"), path="/webhook/acme-token-2", secret=b"whsec_new")).status == 200
        assert (await house.post(charge("evt_3"), path="/webhook/acme-token-2", secret=b"whsec_new")).status == 429


def test_a_tenant_without_a_secret_is_not_let_in(house: Gatehouse) -> None:
    with pytest.raises(ValueError, match="acme has no webhook secret"):
        Gate(house.store, WallClock(), [Tenant("acme", "acme-token-1", ())], archive="none")
