import pytest

from actors.kernel.clock import SECOND
from actors.store.records import Kind, Severity
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


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("disabled", "Stripe has disabled the endpoint"),
        ("failing", "Stripe's deliveries fail"),
        ("well", "Stripe has nothing to deliver"),
        ("unreachable", "Stripe's API does not answer either"),
    ],
)
def test_once_stripe_was_asked_a_silence_says_why(verdict: str, words: str) -> None:
    """What was said before it began says nothing of it."""
    night = lived(*steady(10, 12))
    night.append(Kind.BACKFILL, "acme", {"state": "probed", "verdict": "well", "detail": ""})
    night.pass_minutes(150)
    (silence,) = (one for one in night.incidents() if one.scope == "account")
    assert "stripe" not in silence.evidence
    night.append(Kind.BACKFILL, "acme", {"state": "probed", "verdict": verdict, "detail": "why"})
    (silence,) = (one for one in night.incidents() if one.scope == "account")
    assert silence.evidence["stripe"] == verdict
    assert words in silence.title


def test_a_disabled_endpoint_and_a_key_that_is_refused_are_incidents_until_they_are_not() -> None:
    night = Night()

    def probed(verdict: str) -> list[tuple[str, str]]:
        night.append(Kind.BACKFILL, "acme", {"state": "probed", "verdict": verdict, "detail": "why"})
        return [(one.scope, one.state) for one in night.incidents("webhook_silence")]

    assert probed("well") == []
    assert probed("disabled") == [("endpoint", "open")]
    assert probed("unreachable") == [("endpoint", "open")]
    assert probed("not_allowed") == [("endpoint", "resolved"), ("api_key", "open")]
    assert probed("failing") == [("endpoint", "resolved"), ("api_key", "resolved")]


@pytest.mark.parametrize(
    ("missed", "span_s", "severity"), [(1, 0, "info"), (9, 60, "info"), (10, 60, "warning"), (2, 3600, "warning")]
)
def test_what_no_webhook_brought_is_told_with_its_number_and_its_span(missed: int, span_s: int, severity: str) -> None:
    night = Night()
    last = START * SECOND
    note = {"state": "missed", "missed": missed, "first": last - span_s * SECOND, "last": last}
    night.append(Kind.BACKFILL, "acme", note)
    incident = night.only("webhook_silence")
    assert (incident.scope, incident.severity) == ("missed", severity)
    assert (incident.evidence["observed"], incident.evidence["window_s"]) == (missed, span_s)


def test_a_fetched_event_breaks_no_silence() -> None:
    """It is learnt from, and the endpoint is as silent as before."""
    night = lived(*steady(10, 12))
    night.pass_minutes(150)
    fetched = {**event("customer.updated", {"id": "cus_1"}, since(night) - 60), "backfilled": "missed"}
    night.append(Kind.EVENT, "acme", fetched)
    assert [one.state for one in night.incidents("webhook_silence")] == ["open"]
    night.deliver(event("customer.updated", {"id": "cus_1"}, since(night) + 5))
    assert [one.state for one in night.incidents("webhook_silence")] == ["resolved"]
