from actors.store.records import Severity
from tests.billing.night import Night
from tests.billing.subscribers import DAY, ended, subscribed


def test_a_smaller_plan_is_noted() -> None:
    night = Night()
    night.deliver(subscribed(0, 1, amount=5000), subscribed(DAY, 1, kind="updated", amount=3000))
    incident = night.only("plan_downgrade")
    assert (incident.scope, incident.severity) == ("sub_1", Severity.INFO)
    assert incident.title == "cus_1 went from $50.00 to $30.00 a month"


def test_one_that_we_never_saw_before_is_noted_by_what_the_update_says() -> None:
    previous = {"plan": {"id": "price_5000", "amount": 5000, "currency": "usd", "interval": "month"}}
    update = subscribed(DAY, 1, kind="updated", start_date=1)
    update["data"]["previous_attributes"] = previous
    night = Night()
    night.deliver(update)
    assert night.only("plan_downgrade").evidence["expected"] == 5000


def test_a_larger_plan_a_renewal_and_an_end_are_not() -> None:
    night = Night()
    night.deliver(
        subscribed(0, 1),
        subscribed(DAY, 1, kind="updated"),
        subscribed(2 * DAY, 1, kind="updated", amount=5000),
        ended(3 * DAY, 1, amount=5000),
    )
    assert night.incidents("plan_downgrade") == []


def test_from_a_month_to_a_cheaper_year_is_one() -> None:
    night = Night()
    night.deliver(subscribed(0, 1), subscribed(DAY, 1, kind="updated", amount=30_000, interval="year"))
    assert night.only("plan_downgrade").evidence["observed"] == 2500


def test_an_old_one_delivered_late_opens_nothing() -> None:
    night = Night()
    night.deliver(subscribed(0, 1, amount=5000), subscribed(60, 1, kind="updated", amount=3000), at=3 * DAY)
    assert night.incidents("plan_downgrade") == []
