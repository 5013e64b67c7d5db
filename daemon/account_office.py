"""What an operator asks and orders about tenants and their Stripe accounts."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import anyio

from actors.billing.backfill import HISTORY_DAYS, Backfills
from actors.billing.events import READERS
from actors.billing.probe import SAYS, Verdict
from actors.billing.stripe_api import NotAllowed, StripeApi, Unreachable, Wrong, http_session
from actors.kernel.clock import Clock, Random, token
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import Json
from config.errors import BadInput, UserError
from config.settings import Settings, Tenant
from config.tenants import checked, with_added
from daemon.office import Row, rfc3339

TOKEN_BYTES = 24
SECRETS_KEPT = 2
"""The current one and, while it rolls, the one before."""


class AccountOffice:
    """Tenants are added, changed and removed here, in the database; those of the config file are only shown.

    `configured` is what the file says, `apply` puts file and database together in force.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        rng: Random,
        backfills: Backfills,
        configured: Callable[[], Settings],
        apply: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._backfills = backfills
        self._configured = configured
        self._apply = apply
        self._one_at_a_time = anyio.Lock()

    # ---- tenants

    async def tenants(self) -> Row:
        """Those of the file, then those of the database; without any secret."""
        settings = self._configured()
        stored = await self._store.accounts.tenants()
        _, left = with_added(settings, {one.name: one.settings for one in stored})
        rows = [tenant_row(fields_of(tenant), "file", "", None) for tenant in settings.billing.tenants]
        rows += [tenant_row(one.settings, "database", left.get(one.name, ""), rfc3339(one.changed)) for one in stored]
        return {"tenants": rows}

    async def add(self, body: Row, uid: int) -> Row:
        """One more, under a token nobody can guess."""
        del uid
        wanted = body.get("settings", {})
        if not isinstance(wanted, dict):
            raise BadInput("settings: expected keys and values")
        async with self._one_at_a_time:
            fields = {"webhook_secrets": [], **wanted, "name": body.get("name"), "token": token(TOKEN_BYTES)}
            tenant = checked(fields, self._configured())
            if tenant.name in await self._names():
                raise BadInput(f"a tenant named {tenant.name!r} exists already; nightdesk tenant list shows it")
            await self._save(tenant.name, fields)
        return {"name": tenant.name, "address": address_of(fields), "waiting": not fields["webhook_secrets"]}

    async def change(self, body: Row, uid: int) -> Row:
        """Other settings for one of the database; of thresholds those that are named, null: the common one again."""
        del uid
        wanted = body.get("settings")
        if not isinstance(wanted, dict) or wanted.keys() & {"name", "token", "webhook_secrets"}:
            raise BadInput("settings: expected keys and values, of other things than name, token and secrets")
        if not isinstance(wanted.get("alerts", {}), dict):
            raise BadInput("alerts: expected keys and values")
        async with self._one_at_a_time:
            fields = await self._own(body.get("name"))
            alerts = {**fields.get("alerts", {}), **wanted.get("alerts", {})}
            changed = {**fields, **wanted, "alerts": {key: value for key, value in alerts.items() if value is not None}}
            checked(changed, self._configured())
            await self._save(fields["name"], changed)
        return {"name": fields["name"], "changed": sorted(wanted)}

    async def rotate(self, body: Row, uid: int) -> Row:
        """A new signing secret; the one before stays good until the next, unless it is to be dropped at once."""
        del uid
        secrets = body.get("secrets")
        secret = secrets.get("webhook_secret") if isinstance(secrets, dict) else None
        if not isinstance(secret, str) or not secret.strip():
            raise BadInput("the signing secret is missing")
        kept = 1 if body.get("drop_previous") is True else SECRETS_KEPT
        async with self._one_at_a_time:
            fields = await self._own(body.get("name"))
            before = [one for one in fields["webhook_secrets"] if one != secret]
            await self._save(fields["name"], {**fields, "webhook_secrets": [secret, *before][:kept]})
        return {"name": fields["name"], "secrets": min(kept, 1 + len(before))}

    async def remove(self, body: Row, uid: int) -> Row:
        """No longer; what was stored of it stays."""
        del uid
        async with self._one_at_a_time:
            fields = await self._own(body.get("name"))
            await self._written(self._store.accounts.remove_tenant(fields["name"]))
            await self._apply()
        return {"name": fields["name"]}

    async def register_endpoint(self, body: Row, uid: int) -> Row:
        """Have Stripe send this tenant's events here, by its API; the signing secret it makes is kept."""
        del uid
        fields = await self._own(body.get("name"))
        url = endpoint_url(body.get("url"), fields)
        secrets = body.get("secrets")
        key = (secrets.get("api_key") if isinstance(secrets, dict) else None) or fields.get("api_key")
        if not isinstance(key, str):
            raise BadInput(f"tenant {fields['name']} has no API key; name a variable that has one: --api-key-from")
        async with self._one_at_a_time, http_session() as session:
            fields = await self._own(body.get("name"))
            api = StripeApi(key, session, self._clock, self._rng, base=self._configured().billing.api_url)
            try:
                if any(one.get("url") == url for one in await api.endpoints()):
                    raise UserError(f"Stripe has an endpoint for {url} already; delete it there, or rotate its secret")
                endpoint, secret = await api.create_endpoint(url, sorted(READERS))
            except (NotAllowed, Unreachable, Wrong) as error:
                raise UserError(f"{error}; no endpoint was made") from None
            await self._save(
                fields["name"], {**fields, "webhook_secrets": [secret, *fields["webhook_secrets"]][:SECRETS_KEPT]}
            )
        return {"name": fields["name"], "endpoint": endpoint, "url": url, "events": len(READERS)}

    async def _names(self) -> set[str]:
        stored = {one.name for one in await self._store.accounts.tenants()}
        return stored | {tenant.name for tenant in self._configured().billing.tenants}

    async def _own(self, name: Any) -> dict[str, Any]:
        """The settings of a tenant that may be changed here. Raises BadInput."""
        stored = {one.name: one.settings for one in await self._store.accounts.tenants()}
        if isinstance(name, str) and name in stored:
            return dict(stored[name])
        if any(tenant.name == name for tenant in self._configured().billing.tenants):
            raise BadInput(f"tenant {name} stands in the config file: change it there, then nightdesk reload")
        raise BadInput(f"no tenant is named {name!r}; there are: {', '.join(sorted(await self._names())) or 'none'}")

    async def _save(self, name: str, fields: Json) -> None:
        await self._written(self._store.accounts.save_tenant(name, fields, self._clock.now()))
        await self._apply()

    async def _written(self, writing: Awaitable[object]) -> None:
        try:
            await writing
        except StoreUnavailable as error:
            raise UserError(f"the store cannot take it: {error}; nothing was changed") from None

    # ---- backfill

    async def backfill(self, body: Row, uid: int) -> Row:
        """Fetch the last days of one tenant, or of all that have a key."""
        del uid
        tenant, days = body.get("tenant"), body.get("days", HISTORY_DAYS)
        if not isinstance(days, (int, float)) or not 0 < days <= HISTORY_DAYS:
            raise BadInput(f"days: expected a number above 0 and up to {HISTORY_DAYS}: Stripe keeps events for so long")
        asked = self._askable(tenant)
        await self._written(self._backfills.begin(asked, days))
        return {"tenants": asked}

    def _askable(self, tenant: Any) -> list[str]:
        names = sorted(self._backfills.accounts)
        if tenant is None:
            if not names:
                raise UserError("no tenant has an API key (billing.tenants[…].api_key)")
            return names
        if tenant not in names:
            raise BadInput(f"tenant {tenant!r} is unknown, or has no API key (billing.tenants[…].api_key)")
        return [tenant]

    async def progress(self, tenant: str | None) -> Row:
        """How far the history of each was fetched, and what stands in the way."""
        rows = []
        for one in await self._backfills.progress(tenant):
            probe = self._backfills.probes.get(one.tenant)
            stuck = probe is not None and probe.verdict in (Verdict.UNREACHABLE, Verdict.NOT_ALLOWED)
            whole = max(1, one.history_until - one.since)
            rows.append(
                {
                    "tenant": one.tenant,
                    "done": not one.in_history,
                    "share": round(min(1.0, (one.compared - one.since) / whole), 3),
                    "since": rfc3339(one.since),
                    "compared": rfc3339(one.compared),
                    "fetched": one.fetched,
                    "stored": one.stored,
                    "trouble": (probe.detail or SAYS[probe.verdict]) if probe is not None and stuck else None,
                }
            )
        return {"backfills": rows}


def fields_of(tenant: Tenant) -> Json:
    """A tenant of the file, as it would be stored; its secrets masked."""
    return {**tenant.model_dump(mode="json", exclude_unset=True), "webhook_secrets": tenant.webhook_secrets}


def tenant_row(fields: Json, source: str, left_out: str, changed: str | None) -> Row:
    """As docs/cli-json.md promises for `tenant list --json`."""
    return {
        "name": fields["name"],
        "source": source,
        "watched": not left_out,
        "why_not": left_out or None,
        "secrets": len(fields["webhook_secrets"]),
        "api_key": bool(fields.get("api_key")),
        "channels": fields.get("channels"),
        "alerts": {key: value for key, value in (fields.get("alerts") or {}).items() if value is not None},
        "changed": changed,
    }


def address_of(fields: Json) -> str:
    """The path that Stripe posts to."""
    return f"/webhook/{fields['token']}" if fields.get("token") else "/webhooks/stripe"


def endpoint_url(url: Any, fields: Json) -> str:
    """The public address of the daemon with the tenant's path behind it. Raises BadInput."""
    parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise BadInput("url: expected the daemon's public address, such as https://hooks.example.com")
    return str(url).removesuffix(address_of(fields)).rstrip("/") + address_of(fields)
