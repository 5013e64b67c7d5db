from tests.billing.night import Night
from tests.billing.stripe_events import charge


def test_a_delivery_within_half_an_hour_is_no_lag() -> None:
    night = Night()
    night.deliver(charge(0), at=1799)
    assert night.incidents() == []


def test_the_worst_of_a_wave_is_named_and_the_next_wave_counts_anew() -> None:
    night = Night()
    night.deliver(charge(0), at=7200)
    night.deliver(charge(3600), at=7201)
    assert night.only("webhook_lag").title == "2 webhooks up to 2 h late"
    night.pass_minutes(120)
    night.deliver(charge(7201), at=7201 + 7200)
    assert [incident.evidence["events"] for incident in night.incidents("webhook_lag")] == [2, 1]
