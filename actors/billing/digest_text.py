"""What a digest says, for people and for programs; nothing, where nothing happened."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from actors.billing.detectors.evidence import moment
from actors.billing.diary import DECLINED, DISPUTED, JOINED, LEFT, PAID, REFUNDED
from actors.billing.ledger import DAY
from actors.billing.money import format_money
from actors.billing.record import Kind
from actors.billing.trends import RECENT, Trend
from actors.store.records import DAEMON, Incident, Severity

LISTED_MAX = 12
TENANTS_MAX = 10
EVIDENCE_MAX = 100
"""Incidents and tenants that a program is told of one by one; the counts are of all."""

MARKS = {Severity.CRITICAL: "●", Severity.WARNING: "●", Severity.INFO: "·"}
WORDS = {PAID: "payment", DECLINED: "declined", REFUNDED: "refund", DISPUTED: "dispute", JOINED: "new customer"}
TREND_WORDS = {PAID: "payments", DECLINED: "declined", REFUNDED: "refunds", JOINED: "new customers", LEFT: "churn"}


@dataclass(frozen=True, slots=True)
class Figures:
    """What has come of one tenant since the last digest: `moved` as the totals of a diary, `mrr` as it is now."""

    tenant: str
    moved: Mapping[str, int]
    mrr: Mapping[str, int]
    trends: Sequence[Trend]
    new_trends: Sequence[Trend]

    @property
    def silent(self) -> bool:
        """Nothing recurs otherwise than before, and no trend has begun: payments alone are no news."""
        return not self.new_trends and not any(self.moved.get(kind) for kind in Kind)

    @property
    def net(self) -> dict[str, int]:
        """By how much the recurring revenue moved, by currency."""
        net: Counter[str] = Counter()
        for kind in Kind:
            for currency in self.mrr:
                net[currency] += self.moved.get(f"{kind}:{currency}", 0)
        return dict(net)


@dataclass(frozen=True, slots=True)
class Content:
    """For one channel: incidents that opened, those of earlier that ended, and those that go on; and the figures."""

    since: int
    until: int
    opened: Sequence[Incident]
    ended: Sequence[Incident]
    open: Sequence[Incident]
    figures: Sequence[Figures]
    desk: Sequence[str] = ()  # what was traded, in lines

    @property
    def empty(self) -> bool:
        """Nothing to say. What was traded is news once a day."""
        traded = bool(self.desk) and self.until - self.since >= DAY
        return not self.opened and not self.ended and not traded and all(one.silent for one in self.figures)

    @property
    def tenants(self) -> set[str]:
        """Whom it is about."""
        about = {one.tenant for one in (*self.opened, *self.ended, *self.open)}
        return about | {one.tenant for one in self.figures if not one.silent}


def payload(content: Content, id_: str, at: int) -> dict[str, Any]:
    """As INTERFACES promises it to the webhook channel."""
    tenants = content.tenants
    tenant = tenants.pop() if len(tenants) == 1 else DAEMON
    title = title_of(content)
    return message(id_, at, tenant, title, "\n".join(lines(content, title)), evidence(content))


def apology(error: Exception, id_: str, at: int) -> dict[str, Any]:
    """In the place of a digest that could not be made."""
    title = f"This digest could not be written ({type(error).__name__}): nightdesk incidents shows what happened"
    return message(id_, at, DAEMON, title, title, {"error": f"{type(error).__name__}: {error}"})


def message(id_: str, at: int, tenant: str, title: str, text: str, what: Mapping[str, Any]) -> dict[str, Any]:
    """Of this kind."""
    return {
        "id": id_,
        "kind": "digest",
        "tenant": tenant,
        "signal": "digest",
        "severity": Severity.INFO.value,
        "scope": "account",
        "title": title,
        "text": text,
        "evidence": what,
        "at": moment(at),
    }


def title_of(content: Content) -> str:
    """In a few words: 2 incidents, 1 over · MRR +$120.00 · declined up."""
    parts = []
    counted = [(len(content.opened), "incident"), (len(content.ended), "over")]
    if said := [f"{count} {plural(word, count)}" for count, word in counted if count]:
        parts.append(", ".join(said))
    net: Counter[str] = Counter()
    for one in content.figures:
        if not one.silent:
            net.update(one.net)
    parts += [f"MRR {signed(amount, currency)}" for currency, amount in sorted(net.items()) if amount]
    parts += dict.fromkeys(trend_name(trend) for one in content.figures for trend in one.new_trends)
    if not parts:
        moved = any(not one.silent for one in content.figures)
        parts.append("recurring revenue moved, and is what it was" if moved else "what the desk did")
    return " · ".join(parts)


def lines(content: Content, title: str) -> Iterator[str]:
    """The body."""
    several = len(content.tenants) > 1
    yield f"{span(content.since, content.until)}: {title}"
    told = [(one, "") for one in (*content.opened, *content.ended)]
    told += [(one, "still ") for one in content.open]
    told.sort(key=lambda row: (-row[0].severity.rank, row[0].opened))
    for incident, still in told[:LISTED_MAX]:
        yield incident_line(incident, still, content.until, several=several)
    if len(told) > LISTED_MAX:
        yield f"+{len(told) - LISTED_MAX} more incidents"
    telling = telling_figures(content)
    for one in telling[:TENANTS_MAX]:
        where = f"{one.tenant} · " if several else ""
        yield from (where + line for line in figure_lines(one))
    if len(telling) > TENANTS_MAX:
        yield f"+{len(telling) - TENANTS_MAX} more tenants"
    yield from content.desk
    yield "more: nightdesk incidents · nightdesk mrr"


def telling_figures(content: Content) -> list[Figures]:
    """Those with news, the biggest steps first; of an only tenant in any case."""
    if len(content.figures) == 1:
        return list(content.figures)
    return sorted((one for one in content.figures if not one.silent), key=lambda one: -biggest(one))


def incident_line(incident: Incident, still: str, until: int, *, several: bool) -> str:
    """One line: how bad, whose, what, when, and under which id more is to be had."""
    where = [incident.tenant or "nightdesk"] if several else []
    ended = f" to {clock(incident.resolved, until)}" if incident.resolved else f", {still}open"
    when = f"{clock(incident.opened, until)}{ended}"
    what = [*where, incident.signal.replace("_", " "), incident.title, when, incident.id]
    return f"{MARKS[incident.severity]} {incident.severity.upper()} " + " · ".join(what)


def figure_lines(one: Figures) -> Iterator[str]:
    """Recurring revenue, payments, trends."""
    moved = one.moved
    revenue = [
        f"{format_money(mrr, currency)} ({signed(one.net[currency], currency)})"
        for currency, mrr in one.mrr.items()
        if mrr or one.net[currency]
    ]
    if revenue:
        steps = [f"{moved[kind]} {kind} {amounts(moved, kind, sign=True)}" for kind in Kind if moved.get(kind)]
        yield f"MRR {', '.join(revenue)}" + (f": {', '.join(steps)}" if steps else "")
    said = []
    paid, declined = moved.get(PAID, 0), moved.get(DECLINED, 0)
    if paid or declined:
        said.append(f"{paid} {plural('payment', paid)}" + in_brackets(amounts(moved, PAID)))
    if declined:
        said.append(f"{declined} declined ({declined / (paid + declined):.1%})")
    said += [
        f"{moved[word]} {plural(WORDS[word], moved[word])}{in_brackets(amounts(moved, word))}"
        for word in (REFUNDED, DISPUTED, JOINED)
        if moved.get(word)
    ]
    if said:
        yield ", ".join(said)
    yield from (f"trend: {trend_line(trend)}" for trend in one.trends)


def trend_name(trend: Trend) -> str:
    """Declined up."""
    return f"{TREND_WORDS[trend.measure]} {trend.name.rpartition(' ')[2]}"


def trend_line(trend: Trend) -> str:
    """How it is, and how it was."""
    if trend.of:
        of = "payments" if trend.of == PAID else trend.of
        recent, before = f"{trend.recent:.1%} of {of}", f"{trend.before:.1%}"
    else:
        recent, before = f"{trend.recent:.1f} a day", f"{trend.before:.1f}"
    return f"{trend_name(trend)}: {recent} in the last {RECENT} days, {before} in the three weeks before"


def evidence(content: Content) -> dict[str, Any]:
    """The same for programs: RFC 3339 times, amounts in minor units."""
    opened, ended, still = (
        [incident_row(one) for one in part[:EVIDENCE_MAX]] for part in (content.opened, content.ended, content.open)
    )
    return {
        "since": moment(content.since),
        "until": moment(content.until),
        "counts": {"opened": len(content.opened), "ended": len(content.ended), "open": len(content.open)},
        "opened": opened,
        "ended": ended,
        "open": still,
        "tenants": [figure_row(one) for one in telling_figures(content)[:EVIDENCE_MAX]],
        "desk": list(content.desk),
    }


def incident_row(incident: Incident) -> dict[str, Any]:
    """What names it and what it was."""
    return {
        "id": incident.id,
        "tenant": incident.tenant,
        "signal": incident.signal,
        "severity": incident.severity,
        "scope": incident.scope,
        "state": incident.state,
        "opened": moment(incident.opened),
        "resolved": None if incident.resolved is None else moment(incident.resolved),
        "title": incident.title,
    }


def figure_row(one: Figures) -> dict[str, Any]:
    """Counts, and by currency what was paid and what recurs."""
    currencies = sorted({key.partition(":")[2] for key in one.moved if ":" in key} | {*one.mrr})
    return {
        "tenant": one.tenant,
        **{f"{word}": one.moved.get(word, 0) for word in WORDS},
        "currencies": [
            {
                "currency": currency,
                "paid_minor": one.moved.get(f"{PAID}:{currency}", 0),
                "refunded_minor": one.moved.get(f"{REFUNDED}:{currency}", 0),
                "mrr_minor": one.mrr.get(currency, 0),
                **{f"{kind}_minor": one.moved.get(f"{kind}:{currency}", 0) for kind in Kind},
                "net_minor": one.net.get(currency, 0),
            }
            for currency in currencies
        ],
        "trends": [{"name": trend.name, **trend._asdict(), "new": trend in one.new_trends} for trend in one.trends],
    }


def amounts(moved: Mapping[str, int], word: str, *, sign: bool = False) -> str:
    """What was moved under a word, by currency."""
    found = sorted((key.partition(":")[2], amount) for key, amount in moved.items() if key.startswith(f"{word}:"))
    return " + ".join(
        signed(amount, currency) if sign else format_money(amount, currency) for currency, amount in found
    )


def in_brackets(what: str) -> str:
    """Behind what it explains, if there is anything."""
    return f" ({what})" if what else ""


def signed(amount: int, currency: str) -> str:
    """+$120.00, -$30.00."""
    return f"{'+' if amount >= 0 else ''}{format_money(amount, currency)}"


def biggest(one: Figures) -> int:
    """By what tenants are put in order: the largest step in any of its currencies."""
    return max((abs(amount) for amount in one.net.values()), default=0)


def plural(word: str, count: int) -> str:
    """1 payment, 2 payments; over and declined stay."""
    return word if count == 1 or word in ("over", "declined") else f"{word}s"


def span(since: int, until: int) -> str:
    """13:00 to 14:00 UTC, with dates where they are needed."""
    start, end = (datetime.fromtimestamp(at // 1_000_000, UTC) for at in (since, until))
    if until - since < DAY:
        return f"{clock(since, until)} to {end:%H:%M} UTC"
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def clock(at: int, relative_to: int) -> str:
    """13:20, with the date where it is another day."""
    when, day = (datetime.fromtimestamp(one // 1_000_000, UTC) for one in (at, relative_to))
    return f"{when:%H:%M}" if when.date() == day.date() else f"{when:%m-%d %H:%M}"
