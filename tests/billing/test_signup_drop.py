from actors.store.records import Severity
from tests.billing.history import DAY, lived, since
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, event


def signed_up(at: int) -> Event:
    return event("customer.created", {"id": f"cus_{at}", "object": "customer", "created": START + at}, at)


def bought(at: int) -> Event:
    return event("customer.updated", {"id": "cus_old", "object": "customer", "created": START - 90 * DAY}, at)


def usual(days: int = 16) -> Night:
    """One an hour, for more than two weeks."""
    return lived(*(signed_up(at) for at in range(0, days * DAY, 3600)), disabled=["webhook_silence"])


def test_a_day_without_sign_ups_is_told_by_a_timer_while_other_events_go_on() -> None:
    night = usual()
    began = since(night)
    night.deliver(*(bought(began + 600 * n) for n in range(200)))
    incident = night.only("signup_drop")
    assert (incident.severity, incident.evidence["observed"]) == (Severity.WARNING, 0)
    assert 24 * 3600 <= incident.opened // 1_000_000 - START - began <= 34 * 3600
    assert incident.title.startswith("No sign-ups within ")


def test_an_eighth_of_what_is_usual_is_a_drop_and_half_is_none() -> None:
    for every, expected in ((8, 1), (2, 0)):
        night = usual()
        began = since(night)
        night.deliver(*(signed_up(began + 3600 * every * n) for n in range(1, 96 // every)))
        assert len(night.incidents("signup_drop")) == expected


def test_it_ends_when_people_sign_up_again() -> None:
    night = usual()
    began = since(night)
    night.pass_minutes(36 * 60)
    assert night.only("signup_drop").resolved is None
    night.deliver(*(signed_up(began + 36 * 3600 + 900 * n) for n in range(1, 48)))
    assert night.only("signup_drop").resolved is not None


def test_before_two_weeks_nothing_is_judged() -> None:
    night = usual(days=10)
    night.pass_minutes(3 * 24 * 60)
    assert night.incidents() == []
