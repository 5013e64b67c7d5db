"""Many messages that are due at once become few: "+37 more"."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from actors.alerts.messages import OPENED, RESOLVED, gathered
from actors.alerts.routing import AT_ONCE
from actors.store.records import Notification


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message on its way and the rows of the outbox that it delivers."""

    notification: Notification
    rows: tuple[Notification, ...]


def singly(due: Sequence[Notification]) -> Iterator[Parcel]:
    """A parcel each."""
    for row in due:
        yield Parcel(row, (row,))


def gather(due: Sequence[Notification]) -> Iterator[Parcel]:
    """What a person should read: the last word on each incident, and one message where a signal has many incidents."""
    parcels = _last_words(due)
    groups: dict[tuple[str, str], list[Parcel]] = {}
    for parcel in parcels:
        groups.setdefault(_group(parcel.notification), []).append(parcel)
    for (kind, signal), group in groups.items():
        if len(group) <= AT_ONCE or not signal:
            yield from group
        else:
            rows = tuple(row for parcel in group for row in parcel.rows)
            worst = max(group, key=lambda parcel: parcel.notification.severity.rank).notification
            payload = gathered([parcel.notification.payload for parcel in group], kind)
            yield Parcel(replace(worst, payload=payload, incident=""), rows)


def _last_words(due: Sequence[Notification]) -> list[Parcel]:
    """Of an incident whose opening and end are both due, only the end is news."""
    by_incident: dict[str, list[Notification]] = {}
    for row in due:
        by_incident.setdefault(row.incident or row.key, []).append(row)
    return [Parcel(_last(rows), tuple(rows)) for rows in by_incident.values()]


def _last(rows: Sequence[Notification]) -> Notification:
    last = rows[-1]
    unheard = rows[0].kind == OPENED and last.kind != RESOLVED
    return replace(last, kind=OPENED, payload={**last.payload, "kind": OPENED}) if unheard else last


def _group(notification: Notification) -> tuple[str, str]:
    return (notification.kind, notification.payload.get("signal", "") if notification.incident else "")
