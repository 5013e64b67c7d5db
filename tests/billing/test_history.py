"""A fetched past: the watch learns from it as if it had been there, and raises no alarm over what is long over."""

from typing import Any

import orjson
import pytest

from actors.alerts.incidents import IncidentBook
from actors.alerts.routing import Routing
from actors.billing.projection import Projector
from actors.billing.watch import Watch
from actors.kernel.clock import SECOND
from actors.store.accounts import HISTORY, MISSED
from actors.store.records import Kind
from tests.billing.history import DAY, payments
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, charge, event, refund

DAYS = 20
END = START + DAYS * DAY


def business() -> list[Event]:
    """Three weeks in which people pay, are refunded, subscribe and leave."""
    told = payments(DAYS, 30)
    for number in range(60):
        at = number * DAYS * DAY // 60
        told.append(refund(at + 500, id_=f"re_{number}", charge_id=f"ch_h{number}", amount=900))
        plan = {"id": "price_1", "amount": 1900, "currency": "usd", "interval": "month"}
        subject = {"id": f"sub_{number}", "customer": f"cus_s{number}", "plan": plan, "status": "active"}
        told.append(event("customer.subscription.created", subject, at))
        if number % 6 == 0:
            told.append(event("customer.subscription.deleted", subject | {"status": "canceled"}, at + 3 * 3600))
    return sorted(told, key=lambda one: one["created"])


BUSINESS = business()


def fetched(night: Night, events: list[Event], how: str = HISTORY, **more: Any) -> None:
    for one in events:
        night.append(Kind.EVENT, "acme", {**Projector(bytes(32)).project(one), "backfilled": how, **more})


def begin(night: Night) -> None:
    night.append(Kind.BACKFILL, "acme", {"state": "began", "since": START * SECOND})


def end(night: Night) -> None:
    night.append(Kind.BACKFILL, "acme", {"state": "ended", "fetched": 1, "stored": 1})


def learnt(night: Night) -> dict[str, Any]:
    """What each detector knows; but for when those that look round every few hours do so next."""
    saved = {detector.signal: detector.save() for detector in night.watch._tenants["acme"].detectors}
    known: dict[str, Any] = orjson.loads(orjson.dumps(saved, default=tuple))
    return known | {signal: known[signal][1:] for signal in ("renewals_missing", "silent_lapse")}


def at_end(events: list[Event], **rules: Any) -> Night:
    """A watch that begins when all that has happened, and is told of it."""
    night = Night(**rules)
    night.now = END * SECOND
    begin(night)
    fetched(night, events)
    end(night)
    return night


def test_who_is_told_the_past_knows_what_who_was_there_knows() -> None:
    """To the last number, in every detector, and goes on alike."""
    there = Night()
    there.deliver(*BUSINESS)
    there.pass_until(END * SECOND)
    told = at_end(BUSINESS)
    for night in (there, told):
        night.pass_minutes(1)
    assert learnt(told) == learnt(there)
    assert told.watch.tenants["acme"].ledger.mrr == there.watch.tenants["acme"].ledger.mrr
    later = payments(1, 200, declined=0.9, seed=7)
    for night in (there, told):
        before = len(night.incidents())
        night.deliver(*(one | {"created": one["created"] + DAYS * DAY} for one in later))
        assert [one.signal for one in night.incidents()[before:]].count("decline_spike") == 1
    assert learnt(told) == learnt(there)


def double(at: int) -> list[Event]:
    return [charge(at, customer="cus_twice", amount=2900), charge(at + 60, customer="cus_twice", amount=2900)]


def test_what_is_long_over_is_no_incident_and_what_happened_today_is() -> None:
    old, new = double(5 * DAY), double(DAYS * DAY - 3600)
    night = at_end([*old, *new])
    (incident,) = night.incidents()
    assert incident.signal == "duplicate_charge"
    assert set(incident.event_ids) <= {one["id"] for one in new}
    assert at_end(old).incidents() == []


def test_missed_events_of_days_ago_are_no_incidents_either() -> None:
    night = Night()
    night.deliver(charge(0))
    night.pass_until((START + 10 * DAY) * SECOND)
    fetched(night, double(5 * DAY), MISSED)
    assert night.incidents("duplicate_charge") == []
    fetched(night, double(10 * DAY - 7200), MISSED)
    assert len(night.incidents("duplicate_charge")) == 1
    assert night.incidents("webhook_lag") == []


def test_what_comes_meanwhile_is_seen_at_once_and_learnt_in_its_place() -> None:
    """A duplicate charge while the past is being told; afterwards all is known as if it had been told in order."""
    events = BUSINESS
    night = Night()
    night.now = END * SECOND
    begin(night)
    fetched(night, events[:500])
    live = [one | {"created": one["created"] + DAYS * DAY} for one in double(10)]
    night.deliver(*live)
    assert len(night.incidents("duplicate_charge")) == 1
    fetched(night, events[500:])
    end(night)
    there = Night()
    there.deliver(*events, *live)
    for one in (there, night):
        one.pass_minutes(1)
    assert learnt(night) == learnt(there)
    assert len(night.incidents("duplicate_charge")) == 1


@pytest.mark.parametrize("cut", [1, 40, 300, 702, 704, 720])
def test_a_restart_while_the_past_is_told_changes_nothing(cut: int) -> None:
    """Snapshot and tail are the same as all of it, and of the past nothing is left in the end."""
    night = at_end(BUSINESS, sensitivity="high", refund_spike_count=3)
    night.pass_minutes(30)
    first = Night()
    for entry in night.log[:cut]:
        first.watch.apply(entry)
    parts = dict(first.watch.snapshot())
    after = Watch(IncidentBook(Routing()))
    assert after.restore(parts, []) == []
    for entry in night.log[cut:]:
        after.apply(entry)
    restored = Night()
    restored.watch = after
    assert learnt(restored) == learnt(night)
    whole, ledger = night.watch._tenants["acme"].ledger, after._tenants["acme"].ledger
    assert (+ledger.mrr, ledger.movements()) == (+whole.mrr, whole.movements())
    assert len(whole.movements()) > 60
    parts |= dict(after.snapshot())
    assert {version for (_, name), (version, _) in parts.items() if name.startswith("past:")} <= {0}


def test_who_has_been_watched_for_days_needs_no_past() -> None:
    """The month that is fetched then completes the ledger."""
    night = Night()
    night.deliver(*BUSINESS[:200])
    night.pass_until(END * SECOND)
    begin(night)
    assert not night.watch._pasts
    fetched(night, BUSINESS[200:])
    end(night)
    assert night.watch.tenants["acme"].ledger.paying["usd"] == 50


def test_events_that_no_webhook_would_have_brought_teach_nothing_about_webhooks() -> None:
    """The endpoint is told of nothing: that nothing comes then is no silence."""
    night = Night()
    night.now = END * SECOND
    begin(night)
    fetched(night, payments(DAYS, 200), subscribed=False)
    end(night)
    night.pass_minutes(24 * 60)
    assert night.incidents("webhook_silence") == []


@pytest.mark.parametrize("reason", ["days", "events"])
def test_a_past_that_took_too_long_to_tell_is_no_longer_needed(reason: str) -> None:
    """After days, or with much that came meanwhile, the watch knows for itself."""
    night = Night()
    night.now = END * SECOND
    begin(night)
    fetched(night, BUSINESS)
    meanwhile = payments(3, 20) if reason == "days" else payments(1, 3_100)
    night.deliver(*(one | {"created": one["created"] + DAYS * DAY} for one in meanwhile))
    assert (night.now < (END + DAY) * SECOND) is (reason == "events")
    known = learnt(night)
    end(night)
    assert learnt(night) == known
    assert not night.watch._pasts


def test_that_stripe_was_asked_in_vain_for_days_takes_no_past_away() -> None:
    """A key that lacked a permission: what counts is since when events come."""
    night = Night()
    night.append(Kind.BACKFILL, "acme", {"state": "probed", "verdict": "not_allowed", "detail": "why"})
    night.pass_until((START + 3 * DAY) * SECOND)
    begin(night)
    assert night.watch._pasts
