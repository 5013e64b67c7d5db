"""Tenants that do not stand in the config file: checked as if they did, and put beside those that do."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from config.errors import BadInput
from config.load import faults
from config.settings import Settings, Tenant

Fields = Mapping[str, Any]
"""A tenant's keys, as they would stand in the file."""

NO_SECRET = "it has no signing secret yet (nightdesk tenant rotate-secret, or register-endpoint)"  # noqa: S105 - words
_PLACEHOLDER = "whsec_to_come"


def checked(fields: Fields, settings: Settings) -> Tenant:
    """The tenant, if it may stand beside those of the file; its secret may be missing. Raises BadInput."""
    tenant = _tenant(fields)
    known = {channel.name for channel in settings.alerts.channels}
    for name in tenant.channels or ():
        if name not in known:
            raise BadInput(f"channels: no channel is named {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    return tenant


def _tenant(fields: Fields) -> Tenant:
    try:
        return Tenant.model_validate({**fields, "webhook_secrets": fields.get("webhook_secrets") or [_PLACEHOLDER]})
    except ValidationError as error:
        raise BadInput("; ".join(faults(error))) from None


def with_added(settings: Settings, added: Mapping[str, Fields]) -> tuple[Settings, dict[str, str]]:
    """The settings with these tenants, and why some of them are left out: where they meet, the file counts.

    One of whose channels the file no longer knows is watched all the same: Stripe must not be sent away.
    """
    names = {tenant.name for tenant in settings.billing.tenants}
    tokens = {tenant.token for tenant in settings.billing.tenants}
    found: list[Tenant] = []
    left: dict[str, str] = {}
    for name, fields in added.items():
        try:
            tenant = _tenant(fields)
        except BadInput as error:
            left[name] = str(error)
            continue
        if name in names:
            left[name] = "the config file has a tenant of this name"
        elif tenant.token in tokens:
            left[name] = "the config file has a tenant with its token"
        elif not fields.get("webhook_secrets"):
            left[name] = NO_SECRET
        else:
            found.append(tenant)
    billing = settings.billing.model_copy(update={"tenants": (*settings.billing.tenants, *found)})
    return settings.model_copy(update={"billing": billing}), left
