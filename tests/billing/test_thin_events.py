from tests.billing.night import Night
from tests.billing.stripe_events import START, Event


def thin(number: int) -> Event:
    return {
        "id": f"evt_thin_{number}",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "created": START + number,
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
    }


def test_thin_events_are_reported_once_with_the_fix() -> None:
    night = Night()
    night.deliver(*(thin(number) for number in range(10)))
    assert "snapshot" in night.only("thin_events").title
    assert "opened" in {step.state for step in night.steps}
