"""Reading values out of JSON that may be anything: the value in the wanted type, or a plain default. Nothing raises."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from actors.kernel.clock import SECOND

DISTANT_S = 253_402_300_800  # the year 10000: times from there on are no times
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DIGITS = 12
"""Stripe's amounts have at most so many (docs.stripe.com/currencies). Beyond, sums would outgrow 64 bits: no number."""

TOO_LARGE = 10**DIGITS

NOTHING: Mapping[str, Any] = {}


def mapping(value: object) -> Mapping[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else NOTHING


def rows(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list: plain, or Stripe's `{"data": […]}`."""
    if isinstance(value, dict):
        value = value.get("data")
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """The string, or an empty one."""
    return value if isinstance(value, str) else ""


def ident(value: object) -> str:
    """The id of what may be an id or the whole (expanded) object."""
    if isinstance(value, str):
        return value
    return text(cast("dict[str, Any]", value).get("id")) if isinstance(value, dict) else ""


def flag(value: object) -> bool:
    """True, also where it was written as a string."""
    return value is True or value == "true"


def number(value: object) -> float | None:
    """The finite number, also where it was written as a string."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole(value: object) -> int | None:
    """The number as an integer of at most `DIGITS` digits."""
    if value is None:
        return None
    if type(value) is not int:
        found = number(value)
        if found is None:
            return None
        value = int(found)
    return value if abs(value) < TOO_LARGE else None


def amount(value: object) -> int:
    """Minor units; 0 where none are given."""
    if type(value) is int and -TOO_LARGE < value < TOO_LARGE:
        return value
    return whole(value) or 0


def time(value: object) -> int | None:
    """Microseconds from unix seconds (number or string) or from ISO 8601, as thin events write it."""
    if value is None:
        return None
    seconds = value if type(value) is int else whole(value)
    if seconds is not None:
        return seconds * SECOND if 0 <= seconds < DISTANT_S else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    except (ValueError, OverflowError):
        return None
    return max(0, since // timedelta(microseconds=1))
