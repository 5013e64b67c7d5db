"""Pieces of evidence that several detectors show alike."""

from collections.abc import Iterable
from datetime import UTC, datetime

DASHBOARD = "https://dashboard.stripe.com"
PAGES = {"ch_": "payments", "py_": "payments", "pi_": "payments", "cus_": "customers", "sub_": "subscriptions"}
PAGES |= {"in_": "invoices", "dp_": "disputes", "du_": "disputes"}


def links(ids: Iterable[str]) -> list[str]:
    """Pages of Stripe's dashboard, for the ids that have one."""
    return [f"{DASHBOARD}/{page}/{id_}" for id_ in ids for prefix, page in PAGES.items() if id_.startswith(prefix)]


def moment(at: int) -> str:
    """RFC 3339, UTC."""
    return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(seconds: int) -> str:
    """A stretch of time for people: 45 s, 12 min, 3 h, 2 days."""
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} days"
