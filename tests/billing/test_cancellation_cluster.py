from typing import Any

from actors.store.records import Severity
from tests.billing.history import DAY, lived, since
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, event
from tests.billing.subscribers import subscribed


def cancelled(at: int, number: int, *, when: str = "now", **previous: Any) -> Event:
    """`when`: now, at the end of the period ("later"), or now as decided 40 days ago ("before")."""
    decided = START + at - (40 * DAY if when == "before" else 0)
    subject = {
        "id": f"sub_{number}",
        "object": "subscription",
        "customer": f"cus_{number}",
        "status": "active" if when == "later" else "canceled",
        "cancel_at_period_end": when != "now",
        "canceled_at": decided,
    }
    kind = "customer.subscription.updated" if when == "later" else "customer.subscription.deleted"
    one = event(kind, subject, at)
    one["data"]["previous_attributes"] = {"cancel_at_period_end": False} if when == "later" else previous
    return one


def told(night: Night) -> list[str]:
    return [incident.signal for incident in night.incidents("cancellation_cluster")]


def test_a_cluster_beyond_what_is_usual_is_a_warning_however_they_leave() -> None:
    for when in ("now", "later"):
        night = lived(*(cancelled(at, at) for at in range(0, 15 * DAY, DAY)))
        assert told(night) == []
        now = since(night)
        night.deliver(*(cancelled(now + 600 * n, 10**8 + n, when=when) for n in range(12)))
        (incident,) = night.incidents("cancellation_cluster")
        assert (incident.scope, incident.severity) == ("account", Severity.WARNING)
        assert incident.evidence["observed"] >= 10
        assert incident.evidence["expected"] < 2


def test_what_was_decided_long_ago_is_no_news_when_it_takes_effect() -> None:
    night = Night()
    night.deliver(*(cancelled(60 * n, n, when="before") for n in range(40)))
    assert told(night) == []


def test_a_decision_and_its_effect_are_one_cancellation() -> None:
    night = Night()
    for number in range(7):
        night.deliver(cancelled(300 * number, number, when="later"), cancelled(300 * number, number))
    one = Night()
    one.deliver(*(cancelled(300 * number, number) for number in range(7)))
    assert night.incidents("cancellation_cluster") == [] == one.incidents("cancellation_cluster")


def test_a_migration_that_only_updates_is_no_cancellation() -> None:
    night = Night()
    for number in range(50):
        moved = cancelled(10 * number, number, when="later")
        moved["data"]["previous_attributes"] = {"items": {}}
        moved["data"]["object"]["cancel_at_period_end"] = False
        night.deliver(moved)
    assert told(night) == []


def test_who_goes_on_with_another_subscription_does_not_leave() -> None:
    night = Night()
    for number in range(40):
        at = 60 * number
        other = subscribed(at, 1000 + number, customer=f"cus_{number}", start_date=START + at)
        night.deliver(other, cancelled(at + 20, number))
    assert told(night) == []
    night.deliver(*(cancelled(3000 + 60 * number, 1000 + number) for number in range(40)))  # but these do
    assert told(night) == ["cancellation_cluster"]
