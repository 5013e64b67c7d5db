import pytest

from actors.store.records import Severity
from tests.billing.history import DAY, lived, payments, since
from tests.billing.night import Night
from tests.billing.stripe_events import Event, event


def dispute(at: int, number: int, kind: str = "charge.dispute.created", currency: str = "usd") -> Event:
    subject = {"id": f"dp_{number}", "object": "dispute", "amount": 1000, "currency": currency}
    return event(kind, subject | {"charge": f"ch_{number}", "evidence_details": {"due_by": 1_781_000_000}}, at)


def fraud_warning(at: int, number: int) -> Event:
    subject = {"id": f"issfr_{number}", "object": "radar.early_fraud_warning", "charge": f"ch_{number}"}
    return event("radar.early_fraud_warning.created", subject, at)


def test_three_early_fraud_warnings_are_one_incident() -> None:
    night = Night()
    night.deliver(*(fraud_warning(at, at) for at in range(3)))
    incident = night.only("dispute_spike")
    assert (incident.scope, incident.severity) == ("early_fraud", Severity.WARNING)
    assert incident.evidence["charges"] == ["ch_0", "ch_1", "ch_2"]


def test_one_dispute_is_told_quietly_and_the_third_of_a_day_is_a_warning() -> None:
    night = Night()
    night.deliver(dispute(0, 1))
    assert night.only("dispute_spike").severity is Severity.INFO
    night.deliver(dispute(10, 2, currency="eur"), dispute(20, 3))
    incident = night.only("dispute_spike")
    assert (incident.scope, incident.severity) == ("account", Severity.WARNING)
    assert incident.title == "3 disputes within a day (€10.00 + $20.00)"


def test_two_events_of_one_dispute_are_one_dispute() -> None:
    night = Night()
    night.deliver(*(dispute(at, 1) for at in range(5)))
    assert night.only("dispute_spike").evidence["observed"] == 1


@pytest.mark.parametrize("what", ["updated", "closed", "funds_withdrawn", "funds_reinstated"])
def test_the_later_life_of_a_dispute_is_noise(what: str) -> None:
    night = Night()
    night.deliver(*(dispute(at, at, f"charge.dispute.{what}") for at in range(5)))
    assert night.incidents() == []


def test_one_dispute_a_day_for_a_week_is_a_wave_where_there_was_none_for_a_month() -> None:
    """Never three within a day; slower than any count, and still far from usual."""
    night = Night()
    night.deliver(*(dispute(40 * 86_400 * n, n) for n in range(2)))
    assert {incident.severity for incident in night.incidents()} == {Severity.INFO}
    night.deliver(*(dispute(90 * 86_400 + 43_200 * n, 10 + n) for n in range(12)))
    assert night.incidents("dispute_spike")[-1].severity is Severity.WARNING


def test_in_a_large_shops_first_week_three_disputes_a_day_are_told_quietly_and_eight_are_a_warning() -> None:
    night = lived(*payments(2, 480), *(dispute(DAY + 10_000 * number, number) for number in range(3)))
    assert {incident.severity for incident in night.incidents()} == {Severity.INFO}
    night.deliver(*(dispute(since(night) + 600 * number, 10 + number) for number in range(8)))
    assert night.incidents("dispute_spike")[0].severity is Severity.WARNING
