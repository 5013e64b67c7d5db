from actors.store.records import Kind, Severity
from tests.billing.night import Night
from tests.billing.stripe_events import START, charge


def refused(night: Night, at: int, failed: int) -> None:
    night.pass_until((START + at) * 1_000_000)
    night.append(Kind.SIGNATURES, "acme", {"failed": failed})


def test_nothing_valid_any_more_asks_whether_the_secret_was_rotated() -> None:
    night = Night()
    night.deliver(charge(0))
    refused(night, 600, 4)
    assert night.incidents() == []
    refused(night, 900, 1)
    incident = night.only("signature_failures")
    assert incident.severity is Severity.WARNING
    assert incident.title == "5 webhooks refused and none valid since: was the signing secret rotated?"
    assert incident.evidence["last_valid"] == "2026-05-28T20:26:40Z"


def test_a_burst_needs_no_second_minute() -> None:
    night = Night()
    refused(night, 0, 19)
    assert night.incidents() == []
    refused(night, 7200, 20)
    assert night.only("signature_failures").evidence["observed"] == 20


def test_a_few_strangers_among_valid_events_are_nothing() -> None:
    night = Night()
    for at in range(0, 3600, 300):
        refused(night, at, 1)
        night.deliver(charge(at + 1, amount=at))
    refused(night, 3600, 5)
    assert night.incidents() == []


def test_many_strangers_among_valid_events_are_told() -> None:
    night = Night()
    for at in range(0, 300, 60):
        refused(night, at, 4)
        night.deliver(charge(at + 1, amount=at))
    assert "among valid ones" in night.only("signature_failures").title


def test_valid_events_in_the_minute_of_a_burst_are_not_denied() -> None:
    """The failures of a minute are written down at its end, after what else came in it."""
    night = Night()
    night.deliver(*(charge(second, amount=second + 1) for second in range(62, 80)))
    refused(night, 100, 20)
    assert night.only("signature_failures").title.endswith("among valid ones")


def test_failures_of_another_hour_are_forgotten() -> None:
    night = Night()
    refused(night, 0, 4)
    refused(night, 3700, 4)
    assert night.incidents() == []
