"""Recurring revenue as an operator wants it told: by whose rules, and in which currency."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from anyio.lowlevel import checkpoint

from actors.billing.conventions import CONVENTIONS
from actors.billing.record import Kind
from actors.billing.statement import Flow, Statement, converted, statements
from actors.billing.tenant_watch import TenantWatch
from actors.store.records import parent_of
from config.settings import Mrr

Row = dict[str, Any]


class Revenue:
    """Reads the ledgers by the settings in force."""

    def __init__(self, tenants: Callable[[], Mapping[str, TenantWatch]], settings: Callable[[], Mrr]) -> None:
        self._tenants = tenants
        self._settings = settings

    async def rows(self, tenant: str | None, at: int) -> AsyncIterator[Row]:
        """One for each tenant and currency, then one for each tenant in the display currency, if there is one."""
        said = self._settings()
        for name, watch in sorted(self._tenants().items()):
            if tenant not in (None, name, parent_of(name)):
                continue
            made = statements(watch.ledger, at, CONVENTIONS[said.rules])
            about = {"tenant": name, "rules": said.rules}
            for one in made:
                yield {**about, "converted": False, **statement_row(one)}
            if said.currency is not None and made:
                whole, missing = converted(made, said.currency, said.rates)
                yield {**about, "converted": True, **statement_row(whole), "rates": said.rates, "no_rate": missing}
            await checkpoint()


def statement_row(one: Statement) -> Row:
    """As docs/cli-json.md promises for `mrr --json`."""
    return {
        "currency": one.currency,
        "mrr_minor": one.mrr,
        "arr_minor": one.arr,
        "arpa_minor": one.arpa,
        "customers": one.customers,
        "subscriptions": one.subscriptions,
        "estimated": one.estimated,
        "leaving_minor": one.leaving,
        "gross_churn": one.gross_churn,
        "net_churn": one.net_churn,
        "quick_ratio": one.quick_ratio,
        "days": [{"day": day, **flow_row(flow)} for day, flow in one.days.items()],
        "months": [{"month": month, **flow_row(flow)} for month, flow in one.months.items()],
    }


def flow_row(flow: Flow) -> Row:
    """What moved, and what that comes to."""
    return {f"{kind}_minor": flow.get(kind, 0) for kind in Kind} | {"net_minor": sum(flow.values())}
