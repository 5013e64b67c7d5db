from tests.billing.night import Night
from tests.billing.stripe_events import Event
from tests.billing.subscribers import DAY, ended, subscribed


def business() -> Night:
    night = Night()
    night.deliver(*(subscribed(0, number) for number in range(20)), at=0)
    return night


def changed(at: int, number: int, amount: int) -> Event:
    return subscribed(at, number, kind="updated", amount=amount)


def test_five_that_change_alike_within_an_hour() -> None:
    night = business()
    night.deliver(*(changed(2 * DAY + 600 * number, number, 4000 + 10 * number) for number in range(5)))
    (incident,) = night.incidents("bulk_plan_change")
    assert incident.title == "5 subscriptions changed by about +$10.00 a month within an hour"
    assert incident.evidence["subscriptions"] == [f"sub_{number}" for number in range(5)]


def test_four_are_customers_who_like_a_new_plan() -> None:
    night = business()
    night.deliver(*(changed(2 * DAY + 600 * number, number, 4000) for number in range(4)))
    assert night.incidents() == []
    assert night.readings[-1].score == 0


def test_five_over_a_day_are_nothing() -> None:
    night = business()
    night.deliver(*(changed(2 * DAY + 7200 * number, number, 4000) for number in range(5)))
    assert night.incidents() == []


def test_five_that_change_each_in_its_own_way_are_nothing() -> None:
    night = business()
    night.deliver(*(changed(2 * DAY + 60 * number, number, 4000 + 1000 * number) for number in range(5)))
    assert night.incidents("bulk_plan_change") == []


def test_one_subscription_that_changes_back_and_forth_is_one() -> None:
    night = business()
    night.deliver(*(changed(2 * DAY + 60 * turn, 1, (4000, 3000)[turn % 2]) for turn in range(12)))
    assert night.incidents("bulk_plan_change") == []


def test_ends_are_no_changes() -> None:
    night = business()
    night.deliver(*(ended(2 * DAY + 60 * number, number) for number in range(8)))
    assert night.incidents("bulk_plan_change") == []
