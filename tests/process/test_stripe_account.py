"""The real daemon and a simulated Stripe: history, what was missed, endpoints, keys with too few rights."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from actors.kernel.clock import ScaledClock, WallClock
from actors.simulated.stripe_api import ALL_RIGHTS, Account, StripeServer
from tests.process.harness import SECRET, TOKEN, RunningDaemon, charge, nightdesk, now_s, running, signed, until

KEY = "rk_test_process"
HOUR = 3600


@contextmanager
def watching(
    folder: Path, stripe: StripeServer, *, tenants: bool = True, start: bool = True
) -> Iterator[RunningDaemon]:
    """A daemon that asks this Stripe; `tenants`: with one that has a key."""
    acme = {"name": "acme", "token": TOKEN, "webhook_secrets": [SECRET], "api_key": KEY}
    with running(folder, start=False) as daemon:
        listen = f"127.0.0.1:{daemon.port}"
        billing = {"listen": listen, "api_url": stripe.url, "tenants": [acme] if tenants else []}
        daemon.configure({"billing": billing})
        if start:
            daemon.start()
        yield daemon


@asynccontextmanager
async def stripe_knows(*events: dict[str, Any]) -> AsyncIterator[StripeServer]:
    clock = WallClock()
    account = Account(clock)
    account.endpoints.append(
        {
            "id": "we_1",
            "url": f"https://hooks.example.com/webhook/{TOKEN}",
            "status": "enabled",
            "enabled_events": ["*"],
        }
    )
    for event in events:
        account.happened(event)
        account.delivered(event["id"])
    async with StripeServer({KEY: account}, clock) as stripe:
        yield stripe


def month() -> list[dict[str, Any]]:
    return [charge(created=now_s() - hour * HOUR) for hour in range(29 * 24, 1, -2)]


def fetched(daemon: RunningDaemon) -> bool:
    return bool(until(lambda: [row["done"] for row in daemon.get("/backfill")["backfills"] if row["done"]] or None))


async def test_a_month_is_there_after_the_first_start_and_once_only(tmp_path: Path) -> None:
    """Also after a kill; an event that the webhook brings again is a duplicate; no incident is opened over the past."""
    past = month()
    async with stripe_knows(*past) as stripe:

        def story() -> None:
            with watching(tmp_path, stripe) as daemon:
                fetched(daemon)
                assert daemon.settled()["events"]["stored"] == len(past)
                assert daemon.incidents() == []
                assert daemon.deliver(past[5]) == 200
                daemon.kill()
                daemon.start()
                code, lines = nightdesk("backfill", "--json", "--socket", daemon.socket)
                (row,) = map(json.loads, lines)
                assert (code, row["fetched"], row["stored"], row["done"]) == (0, len(past), 0, True)
                assert daemon.settled()["events"]["stored"] == len(past)
                _, lines = nightdesk("events", "--json", "--socket", daemon.socket)
                created = [json.loads(line)["created"] for line in lines]
                assert created == sorted(created)
                assert KEY not in daemon.log()

        await to_thread.run_sync(story)


async def test_what_was_missed_while_the_daemon_was_down_is_an_incident_with_its_number(tmp_path: Path) -> None:
    async with stripe_knows(*month()) as stripe:
        account = stripe.accounts[KEY]

        def story() -> None:
            with watching(tmp_path, stripe) as daemon:
                fetched(daemon)
                daemon.stop()
                # As if the last comparison had been five hours ago.
                rewind(daemon, 5 * HOUR)
                for n in range(12):
                    account.happened(charge(created=now_s() - 4 * HOUR + 600 * n))
                account.endpoints[0]["status"] = "disabled"
                daemon.start()
                incidents = until(lambda: by_scope(daemon) if len(by_scope(daemon)) == 2 else None)
                missed, endpoint = incidents["missed"], incidents["endpoint"]
                assert (missed["severity"], missed["evidence"]["observed"]) == ("warning", 12)
                assert missed["title"] == "12 events of 110 min came by no webhook, and were fetched from Stripe"
                assert endpoint["title"] == "Stripe has disabled the webhook endpoint: it delivers nothing"
                account.endpoints[0]["status"] = "enabled"
                nightdesk("backfill", "--days", "0.5", "--socket", daemon.socket)
                until(lambda: by_scope(daemon)["endpoint"]["state"] == "resolved" or None)

        await to_thread.run_sync(story)


def by_scope(daemon: RunningDaemon) -> dict[str, dict[str, Any]]:
    return {incident["scope"]: incident for incident in daemon.incidents("webhook_silence")}


def rewind(daemon: RunningDaemon, seconds: int) -> None:
    with closing(sqlite3.connect(daemon.folder / "data" / "nightdesk.db")) as database:
        database.execute(
            "UPDATE backfills SET compared = compared - ?1, history_until = history_until - ?1", (seconds * 1_000_000,)
        )
        database.commit()


async def test_a_key_with_too_few_rights_is_told_with_the_permission_it_lacks(tmp_path: Path) -> None:
    """And webhooks are taken as ever."""
    async with stripe_knows(*month()) as stripe:
        stripe.rights[KEY] = ALL_RIGHTS - {"rak_event_read"}

        def story() -> None:
            with watching(tmp_path, stripe) as daemon:
                assert daemon.deliver(charge()) == 200
                incident = until(lambda: by_scope(daemon).get("api_key"))
                assert incident["evidence"]["observed"] == "the API key lacks the permission “Events: read”"
                code, lines = nightdesk("backfill", "--tenant", "acme", "--socket", daemon.socket)
                assert (code, lines[-1]) == (1, "nightdesk: acme: the API key lacks the permission “Events: read”")

        await to_thread.run_sync(story)


async def test_an_endpoint_is_registered_and_its_events_are_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe is told the tenant's address and the events that are understood; the secret it makes is good at once."""
    async with stripe_knows() as stripe:
        account = stripe.accounts[KEY]
        monkeypatch.setenv("NEW_KEY", KEY)

        def story() -> None:
            with watching(tmp_path, stripe, tenants=False) as daemon:
                tenant = partial(nightdesk, "tenant")
                to = ("--socket", daemon.socket)
                _, lines = tenant("add", "globex", "--json", *to)
                address = json.loads(lines[0])["address"]
                register = ("register-endpoint", "globex", "--url", "https://hooks.example.com")
                assert tenant(*register, *to) == (
                    2,
                    ["nightdesk: tenant globex has no API key; name a variable that has one: --api-key-from"],
                )
                stripe.rights[KEY] = ALL_RIGHTS - {"rak_webhook_endpoint_write"}
                code, lines = tenant(*register, "--api-key-from", "NEW_KEY", *to)
                assert (code, len(lines)) == (1, 1)
                assert "lacks the permission “Webhook endpoints: write”; no endpoint was made" in lines[0]
                del stripe.rights[KEY]
                code, lines = tenant(*register, "--api-key-from", "NEW_KEY", *to)
                assert code == 0, lines
                made = account.endpoints[-1]
                assert made["url"] == f"https://hooks.example.com{address}"
                assert {"charge.failed", "invoice.paid", "customer.subscription.deleted"} <= set(made["enabled_events"])
                body = json.dumps(charge()).encode()
                assert daemon.post(body, signed(body, made["secret"]), address) == 200
                code, lines = tenant(*register, "--api-key-from", "NEW_KEY", *to)
                assert (code, "already" in lines[0]) == (1, True)
                code, lines = tenant("register-endpoint", "globex", "--url", "http://hooks.example.com", *to)
                assert (code, lines[0]) == (
                    2,
                    "nightdesk: url: expected the daemon's public address, such as https://hooks.example.com",
                )
                assert made["secret"] not in daemon.log()

        await to_thread.run_sync(story)


@pytest.mark.parametrize(
    ("off_s", "rights", "well", "says"),
    [
        (0, ALL_RIGHTS, True, r"Stripe accepts it; the clocks differ by [01] s"),
        (
            400,
            ALL_RIGHTS,
            False,
            r"this clock is (399|40[01]) s behind Stripe's; beyond 300 s every signature is refused",
        ),
        (-400, ALL_RIGHTS, False, r"this clock is (399|40[01]) s ahead of Stripe's"),
        (0, frozenset[str](), False, "the API key lacks the permission “Events: read”"),
    ],
)
async def test_doctor_looks_at_keys_and_at_the_clock(
    tmp_path: Path, off_s: int, rights: frozenset[str], well: bool, says: str
) -> None:
    async with stripe_knows() as stripe:
        stripe._clock = ScaledClock(WallClock().now() + off_s * 1_000_000)
        stripe._clock.now()  # it goes from now on
        stripe.rights[KEY] = rights

        def story() -> None:
            with watching(tmp_path, stripe, start=False) as daemon:
                _, lines = nightdesk("doctor", "--json", "--config", daemon.config)
                found = {row["what"]: row for row in map(json.loads, lines)}["api_key of acme"]
                assert found["well"] is well
                assert re.match(says, found["says"])

        await to_thread.run_sync(story)


async def test_a_stripe_that_hangs_holds_up_no_webhook_and_no_end(tmp_path: Path) -> None:
    async with stripe_knows(*month()) as stripe:
        stripe.faults.extend(["hang"] * 50)

        def story() -> None:
            with watching(tmp_path, stripe) as daemon:
                until(lambda: stripe.asked.total() or None)
                assert daemon.deliver(charge()) == 200
                assert daemon.settled()["events"]["stored"] == 1
                assert daemon.stop() == 0
                assert '"level":"error"' not in daemon.log()

        await to_thread.run_sync(story)
