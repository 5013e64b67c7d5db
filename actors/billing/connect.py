"""Connect: a connected account is a tenant of its own, below the tenant whose endpoint tells of it."""

import re
from typing import Final

from actors.store.records import BELOW, Json, parent_of

_ACCOUNT: Final = re.compile("acct_[A-Za-z0-9]{1,64}")


def owner_of(tenant: str, event: Json) -> str:
    """Whose event this is: `acme`, or `acme/acct_1` where it happened in a connected account."""
    account = event.get("account")
    if isinstance(account, str) and _ACCOUNT.fullmatch(account):
        return f"{parent_of(tenant)}{BELOW}{account}"
    return tenant
