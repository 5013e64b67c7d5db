"""No question about a tenant can be asked without saying which: every such method has a `tenant`, and keeps to it."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.store.accounts import Accounts
from actors.store.digests import Digests
from actors.store.protocol import Store
from tests.store.running import event, found, incident, running

TENANTS = ("acme", "acme/acct_1", "acme2", "globex")
OF_A_TENANT = ("EventRow", "Incident", "Notification", "LogEntry", "Backfill", "Watermark", "Shelf", "DeadLetter")
FOR_ALL = {
    "read_log": "the watch folds everybody's entries, and keeps what it learns by tenant",
    "load_watch": "as read_log",
    "due": "a channel's queue; the message was made for the channels of its tenant",
    "dead_letters": "for the operator alone",
    "Digests.incidents": "a digest is made for one channel, of the tenants it serves",
}


def methods() -> Iterator[tuple[str, Any]]:
    for owner, prefix in ((Store, ""), (Accounts, "Accounts."), (Digests, "Digests.")):
        for name, method in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith("_"):
                yield prefix + name, method


def test_what_is_a_tenants_is_asked_for_by_tenant() -> None:
    """What is not stands here with its reason."""
    seen = set()
    for name, method in methods():
        signature = inspect.signature(method)
        if any(word in str(signature.return_annotation) for word in OF_A_TENANT):
            seen.add(name)
            assert ("tenant" in signature.parameters) is (name not in FOR_ALL), name
    assert {"events", "incidents", "incident", "Accounts.backfills"} | FOR_ALL.keys() <= seen


def test_the_tenant_of_a_question_has_no_default() -> None:
    """Whoever wants all must say so."""
    for name, method in methods():
        parameter = inspect.signature(method).parameters.get("tenant")
        assert parameter is None or parameter.default is inspect.Parameter.empty, name


@pytest.mark.parametrize("tenant", TENANTS)
async def test_one_tenant_sees_its_own_and_nothing_else(tmp_path: Path, tenant: str) -> None:
    """A connected account is a part of its platform, never the other way round."""
    async with running(tmp_path) as store:
        for one in TENANTS:
            await store.append(event("evt_1", one))
            await store.accounts.begin(one, since=0, at=1)
        incidents = tuple(incident(f"inc_{one}", tenant=one) for one in TENANTS)
        await store.commit_findings(found(len(TENANTS) * 2, incidents=incidents))
        own = [one for one in TENANTS if one == tenant or one.startswith(f"{tenant}/")]
        assert [row.tenant for row in await store.events(tenant=tenant, since=None, after=0, limit=99)] == own
        assert [one.tenant for one in await store.incidents(tenant=tenant)] == own
        assert [one.tenant for one in await store.accounts.backfills(tenant)] == [tenant]
        for one in TENANTS:
            seen = await store.incident(f"inc_{one}", tenant=tenant)
            assert (seen is not None) is (one in own)
