import pytest

from actors.kernel.clock import SECOND
from actors.store.records import Severity
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event
from tests.billing.subscribers import DAY, invoiced, subscribed

HOUR = 3600


def due_from(first: int, count: int, every: int = 1200) -> list[Event]:
    """Subscriptions whose periods end one after the other, `first` seconds after START."""
    return [
        subscribed(0, n, current_period_start=START, current_period_end=START + first + n * every) for n in range(count)
    ]


def until(night: Night, seconds: int) -> None:
    night.pass_until((START + seconds) * SECOND)


def test_renewals_that_stop_coming_are_noticed_within_three_hours() -> None:
    """Ten an hour are due, and none comes."""
    night = Night()
    night.deliver(*due_from(5 * DAY, 60, every=360), at=0)
    until(night, 5 * DAY - 60)
    assert night.incidents() == []
    until(night, 5 * DAY + 3 * HOUR)
    incident = night.only("renewals_missing")
    assert incident.title.startswith("None of ")
    assert incident.evidence["observed"] == 0
    until(night, 5 * DAY + 6 * HOUR)
    assert night.only("renewals_missing").severity is Severity.CRITICAL


def test_it_is_told_as_soon_as_the_fourth_is_an_hour_late() -> None:
    night = Night()
    night.deliver(*due_from(5 * DAY, 20, every=1000), at=0)
    until(night, 5 * DAY + 3 * 1000 + HOUR - 60)
    assert night.incidents() == []
    until(night, 5 * DAY + 3 * 1000 + HOUR + 60)
    assert night.only("renewals_missing").evidence["missing"] == 4


def test_new_subscriptions_are_no_renewals_that_came() -> None:
    night = Night()
    night.deliver(*due_from(5 * DAY, 10), at=0)
    for number in range(100, 160):
        at = 5 * DAY + 200 * (number - 100)
        begin, end = START + at, START + at + 30 * DAY
        new = subscribed(at, number, start_date=begin, current_period_start=begin, current_period_end=end)
        night.deliver(new, invoiced(at, number, reason="subscription_create"))
    until(night, 5 * DAY + 4 * HOUR)
    assert night.incidents("renewals_missing")[0].evidence["observed"] == 0


@pytest.mark.parametrize("told", ["invoice", "period"])
def test_renewals_that_come_are_nothing(told: str) -> None:
    night = Night()
    night.deliver(*due_from(5 * DAY, 40), at=0)
    for number in range(40):
        at = 5 * DAY + number * 1200
        if told == "invoice":
            night.deliver(invoiced(at + 60, number, kind="created"))
        else:
            night.deliver(
                subscribed(
                    at + 60, number, kind="updated", current_period_start=START + at, current_period_end=START + at * 7
                )
            )
    until(night, 6 * DAY)
    assert night.incidents() == []


def test_a_few_that_stay_away_among_many_are_nothing() -> None:
    night = Night()
    night.deliver(*due_from(5 * DAY, 40), at=0)
    night.deliver(*(invoiced(5 * DAY + n * 1200 + 60, n, kind="created") for n in range(40) if n % 5))
    until(night, 6 * DAY)
    assert night.incidents("renewals_missing") == []


def test_billing_that_stops_in_the_middle_is_told_since_when() -> None:
    night = Night()
    night.deliver(*due_from(5 * DAY, 40), at=0)
    night.deliver(*(invoiced(5 * DAY + n * 1200 + 60, n, kind="created") for n in range(20)))
    until(night, 5 * DAY + 20 * 1200 + 3 * HOUR)
    incident = night.only("renewals_missing")
    assert incident.evidence["observed"] == 0
    assert incident.evidence["subscriptions"][0] == "sub_20"


def test_it_is_over_when_they_come_after_all() -> None:
    night = Night()
    night.deliver(*due_from(5 * DAY, 10), at=0)
    until(night, 5 * DAY + 5 * HOUR)
    late = 5 * DAY + 5 * HOUR
    night.deliver(*(invoiced(late + n, n, kind="created") for n in range(10)))
    until(night, late + 2 * HOUR)
    states = [step.state for step in night.steps]
    assert states[-1] == "resolved"
    assert night.steps[-1].at < (START + late + 2 * HOUR) * SECOND


@pytest.mark.parametrize(
    "changes", [{"status": "trialing"}, {"cancel_at_period_end": True}, {"pause_collection": {"behavior": "void"}}]
)
def test_nothing_is_expected_of(changes: dict[str, object]) -> None:
    night = Night()
    ends = {"current_period_end": START + 5 * DAY}
    night.deliver(*(subscribed(0, n, **changes, **ends) for n in range(10)), at=0)  # type: ignore[arg-type] # a mixed bag
    until(night, 6 * DAY)
    assert night.incidents() == []


def test_after_our_own_absence_they_may_still_be_on_their_way() -> None:
    night = Night()
    night.deliver(*due_from(5 * DAY, 10), at=0)
    until(night, 5 * DAY - 60)
    night.now = (START + 5 * DAY + 6 * HOUR) * SECOND
    night.pass_minutes(60)
    assert night.incidents() == []
