"""Connected accounts are tenants below a tenant, and a tenant that is removed is not missed."""

from pathlib import Path

from actors.billing.connect import owner_of
from actors.billing.tenant_watch import RETIRED
from actors.kernel.clock import SECOND
from actors.store.records import Kind, parent_of
from tests.billing.history import DAY, payments
from tests.billing.night import Night
from tests.billing.stripe_events import START, charge
from tests.store.running import event, found, incident, running


def test_an_account_is_told_by_its_id_and_nothing_else() -> None:
    assert owner_of("acme", {"account": "acct_1A"}) == "acme/acct_1A"
    for strange in (None, "", "acct_", "acct_1/acct_2", "acct_1 ", "cus_1", 7, ["acct_1"], "acct_" + "x" * 65):
        assert owner_of("acme", {"account": strange}) == "acme"
    assert parent_of("acme/acct_1A") == parent_of("acme") == "acme"


def test_two_accounts_of_one_platform_do_not_meet() -> None:
    """The same customer id, amount and minute in both is no duplicate; twice in one of them is."""
    night = Night()
    for account in ("acme/acct_1", "acme/acct_2"):
        night.deliver(charge(0, customer="cus_1", amount=2900), tenant=account, at=0)
    assert night.incidents() == []
    night.deliver(charge(60, customer="cus_1", amount=2900), tenant="acme/acct_2", at=60)
    assert [(one.tenant, one.signal) for one in night.incidents()] == [("acme/acct_2", "duplicate_charge")]


def test_an_account_has_the_thresholds_of_its_tenant_also_later_ones() -> None:
    night = Night(customer_decline_count=2)
    night.deliver(*(charge(n, customer="cus_1", failed=True) for n in range(2)), tenant="acme/acct_1")
    assert len(night.incidents("decline_spike")) == 1
    night.configure(disabled=["decline_spike"])
    night.deliver(*(charge(60 + n, customer="cus_2", failed=True) for n in range(5)), tenant="acme/acct_1")
    assert len(night.incidents("decline_spike")) == 1


async def test_a_tenant_is_asked_together_with_its_accounts_and_nobody_elses(tmp_path: Path) -> None:
    """Whatever the name is made of: it is no pattern."""
    tenants = ("acme", "acme/acct_1", "acme/acct_2", "acme2", "acme2/acct_1", "ac%e", "a*", "other")
    async with running(tmp_path) as store:
        for number, tenant in enumerate(tenants):
            await store.append(event(f"evt_{number}", tenant))
        incidents = tuple(incident(f"inc_{n}", tenant=tenant) for n, tenant in enumerate(tenants))
        await store.commit_findings(found(len(tenants), incidents=incidents))

        async def both(tenant: str) -> list[str]:
            events = await store.events(tenant=tenant, since=None, after=0, limit=100)
            opened = await store.incidents(tenant=tenant)
            assert [row.tenant for row in events] == [one.tenant for one in opened]
            return [row.tenant for row in events]

        assert await both("acme") == ["acme", "acme/acct_1", "acme/acct_2"]
        assert await both("acme/acct_1") == ["acme/acct_1"]
        for nobody in ("a", "", "acme/", "*", "%", "acme/acct_", "a*/", "acm_"):
            assert await both(nobody) == []
        assert await both("a*") == ["a*"]


def test_of_a_tenant_that_is_removed_nothing_is_expected() -> None:
    """Without it the silence would be told, as it is once it is watched again."""
    night = Night(sensitivity="normal")
    night.deliver(*payments(10, 200))
    night.append(Kind.CONFIG, "acme", RETIRED)
    night.pass_until((START + 12 * DAY) * SECOND)
    assert night.incidents("webhook_silence") == []
    night.configure(sensitivity="normal")
    night.pass_minutes(60)
    assert len(night.incidents("webhook_silence")) == 1
