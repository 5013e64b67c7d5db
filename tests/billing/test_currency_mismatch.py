from tests.billing.night import Night
from tests.billing.subscribers import MONTH, invoiced


def test_a_subscription_that_is_suddenly_billed_in_another_currency() -> None:
    night = Night()
    night.deliver(invoiced(0, 1), invoiced(MONTH, 1, currency="jpy"))
    incident = night.only("currency_mismatch")
    assert (incident.scope, incident.title) == ("sub_1", "Invoiced in JPY after USD until now")
    assert (incident.evidence["observed"], incident.evidence["expected"]) == ("jpy", "usd")


def test_the_same_currency_every_month_is_nothing() -> None:
    night = Night()
    night.deliver(invoiced(0, 1), invoiced(MONTH, 1), invoiced(2 * MONTH, 1))
    assert night.incidents("currency_mismatch") == []


def test_told_in_reverse_the_later_one_is_the_odd_one() -> None:
    night = Night()
    first, second = invoiced(0, 1), invoiced(60, 1, currency="eur")
    night.deliver(second, first, at=100)
    (incident,) = night.incidents("currency_mismatch")
    assert incident.evidence["observed"] == "eur"


def test_a_customer_billed_by_hand() -> None:
    night = Night()
    night.deliver(invoiced(0, 1, subscription=None), invoiced(60, 1, subscription=None, currency="eur"))
    assert night.only("currency_mismatch").scope == "cus_1"


def test_two_customers_with_currencies_of_their_own_are_nothing() -> None:
    night = Night()
    night.deliver(invoiced(0, 1, subscription=None), invoiced(60, 2, subscription=None, currency="eur"))
    assert night.incidents() == []


def test_a_void_invoice_proves_nothing() -> None:
    night = Night()
    night.deliver(invoiced(0, 1), invoiced(MONTH, 1, currency="eur", kind="voided", status="void"))
    assert night.incidents("currency_mismatch") == []
