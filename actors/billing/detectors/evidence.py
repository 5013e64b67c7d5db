"""Pieces of evidence that several detectors show alike."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from actors.billing.cusum import Surge
from actors.kernel.clock import SECOND

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
    """A stretch of time for people: 45 s, 9 min 59 s, 12 min, 3 h 20 min, 2 days."""
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 600 and seconds % 60:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    if seconds >= 172_800:
        return f"{seconds // 86_400} days"
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def of_surge(surge: Surge, *, warm: bool) -> dict[str, Any]:
    """What every surge shows; it is told apart whether the baseline is still being learnt."""
    return {
        "observed": surge.events,
        "expected": round(surge.expected, 1),
        "window_s": surge.until - surge.since,
        "since": moment(surge.since * SECOND),
    } | ({} if warm else {"warming_up": True})


def quiet_after(surge: Surge) -> int:
    """Seconds without more of it in which it is over: an hour, or twice as long as it took to be seen, up to six."""
    return min(max(3600, 2 * (surge.until - surge.since)), 6 * 3600)


def cautiously(title: str, *, warm: bool) -> str:
    """A title that says so while the baseline is still being learnt."""
    return title if warm else f"{title}; still learning what is usual here"
