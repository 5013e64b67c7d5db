import pytest

from actors.kernel.clock import SECOND
from tests.billing.night import Night
from tests.billing.stripe_events import START
from tests.billing.subscribers import DAY, ended, invoiced, subscribed


def days(night: Night, number: float) -> None:
    """So many after START."""
    night.pass_until((START + round(number * DAY)) * SECOND)


def test_an_active_monthly_subscription_last_paid_34_days_ago_is_told_once() -> None:
    night = Night()
    night.deliver(subscribed(0, 1), invoiced(60, 1))
    days(night, 33)
    assert night.incidents() == []
    days(night, 34)
    incident = night.only("silent_lapse")
    assert (incident.scope, incident.title) == ("sub_1", "Active subscription last paid 33 days ago ($30.00 a month)")
    days(night, 40)
    assert [step.state for step in night.steps] == ["opened"]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "trialing"},
        {"status": "paused"},
        {"status": "past_due"},
        {"pause_collection": {"behavior": "void"}},
        {"cancel_at_period_end": True},
        {"amount": 0},
    ],
)
def test_nothing_is_expected_of(changes: dict[str, object]) -> None:
    night = Night()
    night.deliver(subscribed(0, 1, **changes), invoiced(60, 1))  # type: ignore[arg-type] # a mixed bag
    days(night, 40)
    assert night.incidents() == []


@pytest.mark.parametrize(("said", "patience"), [({"days_until_due": 14}, 14), ({}, 30)])
def test_who_is_sent_invoices_has_until_they_are_due(said: dict[str, int], patience: int) -> None:
    night = Night()
    night.deliver(subscribed(0, 1, collection_method="send_invoice", **said), invoiced(60, 1))  # type: ignore[arg-type]
    days(night, 33 + patience)
    assert night.incidents() == []
    days(night, 34 + patience)
    assert night.only("silent_lapse").scope == "sub_1"


def test_a_payment_ends_it() -> None:
    night = Night()
    night.deliver(subscribed(0, 1), invoiced(60, 1))
    days(night, 35)
    night.deliver(invoiced(35 * DAY, 1))
    assert [step.state for step in night.steps] == ["opened", "resolved"]
    days(night, 68)
    assert len(night.steps) == 2


def test_the_end_of_the_subscription_ends_it_too() -> None:
    night = Night()
    night.deliver(subscribed(0, 1), invoiced(60, 1))
    days(night, 35)
    night.deliver(ended(35 * DAY, 1))
    assert [step.state for step in night.steps] == ["opened", "resolved"]


def test_a_customer_with_a_monthly_and_a_yearly_plan_has_both_watched() -> None:
    night = Night()
    night.deliver(
        subscribed(0, 1),
        subscribed(0, 2, interval="year", amount=30_000, customer="cus_1"),
        invoiced(60, 1),
        invoiced(60, 2),
    )
    days(night, 34)
    assert [incident.scope for incident in night.incidents("silent_lapse")] == ["sub_1"]
    night.now = (START + 366 * DAY) * SECOND
    night.deliver(invoiced(366 * DAY, 1))
    days(night, 374)
    assert [incident.scope for incident in night.incidents("silent_lapse")] == ["sub_1", "sub_2"]


def test_the_first_payment_after_a_trial_is_expected_a_month_after_its_end() -> None:
    night = Night()
    night.deliver(
        subscribed(0, 1, status="trialing", trial_end=START + 14 * DAY),
        invoiced(60, 1, amount=0),
        subscribed(14 * DAY, 1, kind="updated", trial_end=START + 14 * DAY),
    )
    days(night, 47)
    assert night.incidents() == []
    days(night, 48)
    assert night.only("silent_lapse").scope == "sub_1"


def test_where_invoices_are_never_told_nothing_is_expected() -> None:
    night = Night()
    night.deliver(subscribed(0, 1), subscribed(0, 2))
    days(night, 60)
    assert night.incidents() == []


def test_one_that_was_never_paid_while_others_are() -> None:
    night = Night()
    night.deliver(subscribed(0, 1), subscribed(0, 2), invoiced(60, 2), invoiced(30 * DAY, 2))
    days(night, 34)
    assert night.only("silent_lapse").title == "Active subscription, unpaid for 33 days ($30.00 a month)"
