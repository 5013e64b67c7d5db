from actors.store.records import Severity
from tests.billing.history import DAY, lived, since
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, event


def subscribed(at: int, number: int, *, started: int | None = None) -> Event:
    subject = {"id": f"sub_{number}", "object": "subscription", "customer": f"cus_{number}", "status": "active"}
    begin = START + (at if started is None else started)
    return event("customer.subscription.created", subject | {"start_date": begin, "created": begin}, at)


def test_sixty_in_an_hour_are_for_the_digest_and_say_what_is_usual() -> None:
    night = lived(*(subscribed(at, at) for at in range(0, 15 * DAY, DAY // 4)))
    assert night.incidents("subscription_spike") == []
    now = since(night)
    night.deliver(*(subscribed(now + 60 * n, 10**8 + n) for n in range(60)))
    (incident,) = night.incidents("subscription_spike")
    assert (incident.severity, incident.scope) == (Severity.INFO, "account")
    assert incident.opened <= (START + now + 1200) * 1_000_000
    assert incident.evidence["observed"] >= 59


def test_a_new_shop_that_is_liked_is_not_told_of_its_first_buyers() -> None:
    night = Night()
    night.deliver(*(subscribed(1800 * n, n) for n in range(20)))
    assert night.incidents("subscription_spike") == []


def test_old_subscriptions_that_are_told_again_are_not_new() -> None:
    night = Night()
    night.deliver(*(subscribed(90 * DAY + n, n, started=n) for n in range(100)))
    assert night.incidents("subscription_spike") == []
