import pytest

from actors.kernel.clock import SECOND
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, charge
from tests.billing.subscribers import DAY, invoiced, subscribed

HOUR = 3600


def billed(at: int, **changes: str) -> list[Event]:
    """One invoice, made and an hour later paid."""
    number = f"in_{at}"
    return [
        invoiced(at, 1, id_=number, kind="created", **changes),  # type: ignore[arg-type] # a mixed bag
        invoiced(at + HOUR, 1, id_=number, kind="payment_succeeded", created=at, **changes),  # type: ignore[arg-type]
    ]


def test_an_invoice_made_and_paid_is_one_invoice() -> None:
    night = Night()
    night.deliver(subscribed(0, 1), *billed(10))
    assert night.incidents() == []


@pytest.mark.parametrize("known", [True, False])
def test_two_invoices_twenty_hours_apart_on_one_subscription(known: bool) -> None:
    night = Night()
    if known:
        night.deliver(subscribed(0, 1))
    night.deliver(*billed(10), *billed(10 + 20 * HOUR))
    incident = night.only("billing_period_drift")
    assert incident.scope == "sub_1"
    assert incident.title.startswith("Billed twice within 20 h")
    assert incident.evidence["invoices"] == ["in_10", f"in_{10 + 20 * HOUR}"]


def test_delivered_in_reverse_it_is_the_same() -> None:
    night = Night()
    night.deliver(subscribed(0, 1), *reversed([*billed(10), *billed(10 + 20 * HOUR)]), at=2 * DAY)
    (incident,) = night.incidents("billing_period_drift")
    assert incident.evidence["observed"] == 20 * HOUR


def test_forty_five_days_on_a_monthly_plan() -> None:
    night = Night()
    night.deliver(subscribed(0, 1), *billed(10), *billed(10 + 30 * DAY), charge(50 * DAY))
    night.now = (START + 75 * DAY) * SECOND
    night.deliver(*billed(10 + 75 * DAY))
    (incident,) = night.incidents("billing_period_drift")
    assert incident.title == "Billed again only after 45 days on a plan of 31 days"


@pytest.mark.parametrize("months", [28, 30, 31])
def test_months_are_of_different_lengths(months: int) -> None:
    night = Night()
    night.deliver(subscribed(0, 1), *billed(10), *billed(10 + months * DAY), *billed(10 + 2 * months * DAY))
    assert night.incidents("billing_period_drift") == []


@pytest.mark.parametrize("reason", ["subscription_update", "manual", "subscription_threshold"])
def test_a_bill_for_a_change_or_by_hand_has_no_rhythm(reason: str) -> None:
    night = Night()
    night.deliver(subscribed(0, 1), *billed(10), *billed(10 + 20 * HOUR, reason=reason))
    assert night.incidents() == []


def test_a_first_bill_for_a_few_days_up_to_the_common_billing_date() -> None:
    """Whoever joins on the 28th pays for three days, and on the 1st for a month."""
    lines = {"data": [{"amount": 300, "period": {"start": START, "end": START + 3 * DAY}}]}
    night = Night()
    night.deliver(subscribed(0, 1), invoiced(10, 1, reason="subscription_create", lines=lines))
    night.deliver(*billed(3 * DAY))
    assert night.incidents("billing_period_drift") == []


def test_a_pause_between_two_bills_is_no_drift() -> None:
    night = Night()
    night.deliver(
        subscribed(0, 1),
        *billed(10),
        subscribed(5 * DAY, 1, kind="paused", status="paused"),
        subscribed(45 * DAY, 1, kind="resumed"),
        *billed(45 * DAY + 10),
    )
    assert night.incidents("billing_period_drift") == []


def test_a_void_invoice_and_the_one_in_its_place() -> None:
    night = Night()
    night.deliver(
        subscribed(0, 1),
        invoiced(10, 1, id_="in_a", kind="voided", status="void"),
        *billed(20 * HOUR),
    )
    assert night.incidents() == []


def test_a_weekly_plan_is_billed_weekly() -> None:
    night = Night()
    night.deliver(subscribed(0, 1, interval="week"), *billed(10), *billed(10 + 7 * DAY), *billed(10 + 14 * DAY))
    assert night.incidents() == []
