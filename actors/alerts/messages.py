"""What an incident says to a person: what, how sure, since when, what first, and how to acknowledge it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from actors.alerts.routing import MANY_TENANTS
from actors.alerts.runbook import FIRST
from actors.store.records import Incident, Json, Severity

OPENED, UPDATED, RESOLVED = "incident.opened", "incident.updated", "incident.resolved"

ELSEWHERE = frozenset({"first", "links", "since", "currency", "median"})
"""Evidence that has a place of its own in the text, or that the title has shown already, like every amount."""

OBSERVES_NO_COUNT = frozenset(
    "amount_outlier billing_period_drift mrr_drop negative_invoice plan_downgrade refund_exceeds_charge revenue_drop "
    "silent_lapse webhook_lag".split()
)
"""Signals whose `observed` and `expected` are cents or seconds: the title says them as a person does."""

MOST_NUMBERS = 8
MOST_LINKS = 3
MOST_LISTED = 10
LONGEST_VALUE = 80


def rfc3339(at: int) -> str:
    """2026-11-22T02:14:09.120Z, from UTC microseconds."""
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """The largest two units that matter: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    first = next(index for index, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def payload(incident: Incident, kind: str, at: int, text: str) -> dict[str, Any]:
    """The message as INTERFACES promises it to the webhook channel."""
    return {
        "id": incident.id,
        "kind": kind,
        "tenant": incident.tenant,
        "signal": incident.signal,
        "severity": incident.severity.value,
        "scope": incident.scope,
        "title": incident.title,
        "text": text,
        "evidence": incident.evidence,
        "at": rfc3339(at),
    }


def open_text(incident: Incident, at: int, *, since: int, anomalies: int, score: float) -> str:
    """The body of a message about an open incident, one answer a line."""
    lines = [incident.title]
    if numbers := _numbers(incident):
        lines.append(" · ".join(numbers))
    lines.append(_since(incident, at, since, anomalies, score))
    if first := incident.evidence.get("first") or FIRST.get(incident.signal):
        lines.append(f"first: {first}")
    lines += [f"see: {link}" for link in incident.evidence.get("links", ())[:MOST_LINKS]]
    lines.append(f"{incident.id} · ack: nightdesk ack {incident.id}")
    return "\n".join(lines)


def resolved_text(incident: Incident, *, since: int, anomalies: int) -> str:
    """The body of the last message about an incident."""
    ended = incident.resolved if incident.resolved is not None else incident.updated
    why = (
        "marked as a false positive" if incident.false_positive else f"nothing more since {_clock(incident.last_seen)}"
    )
    times = "once" if anomalies == 1 else f"{anomalies} times"
    return f"{incident.title}\nover after {duration((ended - since) / 1e6)} · seen {times} · {why}\n{incident.id}"


def gathered(payloads: Sequence[Json], kind: str) -> dict[str, Any]:
    """One message for many incidents of one signal, worst first; `evidence.incidents` names them all."""
    ordered = sorted(payloads, key=lambda payload: -Severity(payload["severity"]).rank)
    tenants = list(dict.fromkeys(payload["tenant"] for payload in ordered))
    signal = _words(ordered[0]["signal"])
    title = f"{len(ordered)} incidents: {signal}" + {OPENED: "", UPDATED: ", worse", RESOLVED: ", over"}[kind]
    if len(tenants) >= MANY_TENANTS:
        title += f" at {len(tenants)} tenants: is Stripe itself in trouble? (status.stripe.com)"
    lines = [title]
    for payload in ordered[:MOST_LISTED]:
        where = f"{payload['tenant']} · " if len(tenants) > 1 else ""
        lines.append(f"{where}{payload['scope']} · {payload['title']} · {payload['id']}")
    if len(ordered) > MOST_LISTED:
        lines.append(f"+{len(ordered) - MOST_LISTED} more: nightdesk incidents")
    if kind != RESOLVED and (first := FIRST.get(ordered[0]["signal"])):
        lines.append(f"first: {first}")
    return {
        **ordered[0],
        "kind": kind,
        "tenant": tenants[0] if len(tenants) == 1 else "",
        "scope": "",
        "title": title,
        "text": "\n".join(lines),
        "evidence": {"incidents": [payload["id"] for payload in ordered], "tenants": tenants},
    }


def heading(payload: Json) -> str:
    """Who and what, in a few words: acme · refund spike."""
    return " · ".join(filter(None, (payload["tenant"] or "nightdesk", _words(payload["signal"]))))


def mood(payload: Json) -> str:
    """What decides how a message looks: critical, warning, info, or over."""
    return "over" if payload["kind"] == RESOLVED else str(payload["severity"])


def mark(payload: Json) -> str:
    """● new, ▲ worse or still there, ✔ over."""
    return {RESOLVED: "✔", UPDATED: "▲"}.get(payload["kind"], "●")


def headline(payload: Json) -> str:
    """The one line that must be read: ● CRITICAL acme · refund spike."""
    return f"{mark(payload)} {mood(payload).upper()} {heading(payload)}"


def clipped(text: str, limit: int) -> str:
    """At most `limit` characters; where something is missing, an ellipsis says so."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _since(incident: Incident, at: int, since: int, anomalies: int, score: float) -> str:
    began = incident.evidence.get("since")
    if isinstance(began, str):
        since = int(datetime.fromisoformat(began).timestamp() * 1_000_000)
    parts = [f"since {_clock(since, at)}"]
    if anomalies > 1:
        parts.append(f"seen {anomalies} times, last {_clock(incident.last_seen, at)}")
    if incident.scope not in ("", "account"):
        parts.append(incident.scope)
    if score < 1:
        parts.append(f"{score:.0%} sure")
    return " · ".join(parts)


def _clock(at: int, relative_to: int | None = None) -> str:
    """02:02 UTC, with the date where it is another day."""
    moment = datetime.fromtimestamp(at / 1e6, UTC)
    same_day = relative_to is None or datetime.fromtimestamp(relative_to / 1e6, UTC).date() == moment.date()
    return moment.strftime("%H:%M UTC" if same_day else "%Y-%m-%d %H:%M UTC")


def _numbers(incident: Incident) -> list[str]:
    """The evidence in few words each, without what the other lines say."""
    evidence = {key: value for key, value in incident.evidence.items() if key not in ELSEWHERE}
    amounts = [value for key, value in evidence.items() if key.endswith("_minor")]  # without their currency: no words
    if list(evidence.values()).count(evidence.get("observed")) > 1:
        del evidence["observed"]  # it is there under its own name
    if incident.signal in OBSERVES_NO_COUNT:
        evidence = {key: value for key, value in evidence.items() if key not in ("observed", "expected")}
    elsewhere = {incident.scope, *(link.rpartition("/")[2] for link in incident.evidence.get("links", ()))}
    said = []
    for key, value in evidence.items():
        shown = _shown(key, value)
        told = value in amounts or shown in elsewhere or (isinstance(value, str | float) and shown in incident.title)
        if shown and not told:
            said.append(f"{_words(key.removesuffix('_s'))} {shown}")
    return said[:MOST_NUMBERS]


def _shown(key: str, value: object) -> str:
    """A value in a few words, a list as its length; nothing for flags and nested things."""
    match value:
        case bool() | None:
            return ""
        case int() | float() if key.endswith("_s"):
            return duration(value)
        case list():
            return str(len(value)) if value else ""
        case Mapping():
            return ", ".join(f"{name} {count}" for name, count in value.items() if isinstance(count, int | str))
        case _:
            return _number(value) if isinstance(value, float) else str(value)[:LONGEST_VALUE]


def _number(value: float) -> str:
    return f"{value:,.2f}" if abs(value) >= 1000 else f"{value:.4g}"


def _words(key: str) -> str:
    return key.replace("_", " ")
