import pytest

from actors.kernel.clock import SECOND
from actors.store.records import Severity
from tests.billing.history import DAY, lived, since
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, event


def steady(days: int, per_hour: int, *, hours: range = range(24)) -> list[Event]:
    """Something at regular moments of these hours (UTC)."""
    step = 3600 // per_hour
    return [
        event("customer.updated", {"id": "cus_1"}, at)
        for at in range(0, days * DAY, step)
        if (START + at) // 3600 % 24 in hours
    ]


def test_silence_is_told_by_a_timer_once_and_the_next_event_ends_it() -> None:
    night = lived(*steady(10, 12))
    began = since(night)
    night.pass_minutes(30)
    assert night.incidents() == []
    night.pass_minutes(90)
    incident = night.only("webhook_silence")
    assert (incident.scope, incident.severity, incident.event_ids) == ("account", Severity.WARNING, ())
    assert 20 <= incident.evidence["expected"] <= 24
    assert 95 * 60 <= incident.opened // SECOND - START - began <= 125 * 60
    night.deliver(event("customer.updated", {"id": "cus_1"}, since(night) + 5))
    assert [step.state for step in night.steps] == ["opened", "resolved"]
    night.pass_minutes(180)
    assert [step.state for step in night.steps] == ["opened", "resolved", "opened"]


def test_half_an_hour_is_the_least_however_much_was_expected() -> None:
    night = lived(*steady(4, 240))
    night.pass_minutes(29)
    assert night.incidents() == []
    night.pass_minutes(2)
    assert night.only("webhook_silence").evidence["expected"] > 100


def test_a_night_as_quiet_as_every_night_is_no_silence() -> None:
    night = lived(*steady(15, 12, hours=range(8, 20)))
    assert not [incident for incident in night.incidents() if incident.opened > (START + 7 * DAY) * SECOND]


def test_a_few_hours_of_history_are_enough_to_notice_but_it_is_said() -> None:
    night = lived(*steady(1, 60)[:540])
    night.pass_minutes(180)
    incident = night.only("webhook_silence")
    assert incident.evidence["warming_up"] is True
    assert "still learning" in incident.title


def test_a_restart_during_the_silence_changes_nothing() -> None:
    night = lived(*steady(8, 12))
    night.pass_minutes(40)
    after = Night()
    after.now = night.now
    after.watch.restore(dict(night.watch.snapshot()), ())
    after.pass_minutes(90)
    assert after.only("webhook_silence").evidence["observed"] == 0


def test_events_of_days_ago_break_the_silence_and_teach_nothing() -> None:
    night = lived(*steady(10, 12))
    now = since(night)
    late = [event("customer.updated", {"id": "cus_1"}, now - 3 * DAY + at) for at in range(0, 3600, 3)]
    night.deliver(*late, at=now)
    night.pass_minutes(90)
    assert {incident.signal for incident in night.incidents()} == {"webhook_lag"}
    night.pass_minutes(40)
    assert night.incidents("webhook_silence")[0].evidence["expected"] < 30


@pytest.mark.parametrize(("sensitivity", "minutes"), [("high", 80), ("normal", 110), ("low", 165)])
def test_a_higher_sensitivity_is_told_sooner(sensitivity: str, minutes: int) -> None:
    night = lived(*steady(8, 12), sensitivity=sensitivity)
    began = since(night)
    night.pass_minutes(300)
    assert night.only("webhook_silence").opened // SECOND - START - began == pytest.approx(minutes * 60, abs=900)


def test_several_events_of_one_cause_are_one_reason_to_expect_more() -> None:
    """Each payment is told by five events within a second: four payments missing are not twenty events missing."""
    told = [one for at in range(0, 8 * DAY, 3600) for one in [event("customer.updated", {"id": "cus_1"}, at)] * 5]
    night = lived(*({**one, "id": f"evt_s{number}"} for number, one in enumerate(told)))
    night.pass_minutes(15 * 60)
    assert night.incidents() == []
