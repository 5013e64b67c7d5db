import pytest

from actors.store.records import Severity
from tests.billing.night import Night
from tests.billing.stripe_events import Event, charge


def sales(number: int, amount: int = 2900, currency: str = "usd") -> list[Event]:
    """From half the amount to one and a half."""
    return [
        charge(60 * n, customer=f"cus_{n}", amount=amount * (50 + n % 100) // 100, currency=currency)
        for n in range(number)
    ]


def test_a_payment_beyond_all_others_is_a_warning_for_that_charge() -> None:
    night = Night()
    night.deliver(*sales(60), charge(3700, id_="ch_big", amount=290_000))
    incident = night.only("amount_outlier")
    assert (incident.scope, incident.severity) == ("ch_big", Severity.WARNING)
    assert incident.title.startswith("A payment of $2,900.00, where about $2")


def test_a_refund_is_compared_with_refunds_and_counted_from_what_went_before() -> None:
    night = Night()
    for number in range(60):
        made = {"id_": f"ch_{number}", "kind": "charge.refunded", "amount": 500_000}
        night.deliver(charge(60 * number, refunded=1000 + number, **made))  # type: ignore[arg-type] # as charge() takes it
    assert night.incidents("amount_outlier") == []
    night.deliver(charge(3700, id_="ch_0", kind="charge.refunded", amount=500_000, refunded=400_000))
    (incident,) = night.incidents("amount_outlier")
    assert incident.evidence["observed"] == 399_000


def test_fifty_must_be_known_of_a_currency_and_no_other_counts() -> None:
    night = Night()
    night.deliver(*sales(49), charge(3700, amount=290_000), charge(3800, amount=4_000_000, currency="jpy"))
    assert night.incidents("amount_outlier") == []


@pytest.mark.parametrize(("sensitivity", "told"), [("low", 0), ("normal", 0), ("high", 1)])
def test_sensitivity_says_how_far_is_far(sensitivity: str, told: int) -> None:
    night = Night(sensitivity=sensitivity)
    night.deliver(*sales(60), charge(3700, amount=20_000))
    assert len(night.incidents("amount_outlier")) == told


def test_yearly_plans_among_monthly_ones_are_usual() -> None:
    night = Night()
    night.deliver(*(charge(60 * n, customer=f"cus_{n}", amount=49_000 if n % 20 == 7 else 1_900) for n in range(200)))
    assert {incident.signal for incident in night.incidents()} <= {"amount_outlier"}
    assert len(night.incidents("amount_outlier")) <= 1
