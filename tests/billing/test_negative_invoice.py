from actors.store.records import Severity
from tests.billing.night import Night
from tests.billing.subscribers import DAY, invoiced


def test_an_invoice_below_zero_is_a_warning_for_its_customer() -> None:
    night = Night()
    night.deliver(invoiced(0, 1, kind="finalized", amount=-500))
    incident = night.only("negative_invoice")
    assert (incident.scope, incident.severity, incident.title) == ("cus_1", Severity.WARNING, "Invoice of -$5.00")


def test_an_invoice_of_nothing_is_nothing() -> None:
    night = Night()
    night.deliver(invoiced(0, 1, amount=0))
    assert night.incidents() == []


def test_the_credit_for_the_rest_of_a_period_is_only_noted() -> None:
    night = Night()
    lines = {"data": [{"amount": -1500, "proration": True}, {"amount": 1000}]}
    night.deliver(invoiced(0, 1, kind="created", amount=-500, lines=lines))
    assert night.only("negative_invoice").severity is Severity.INFO


def test_a_credit_by_hand_beside_it_is_not() -> None:
    night = Night()
    lines = {"data": [{"amount": -1500, "proration": True}, {"amount": -100}]}
    night.deliver(invoiced(0, 1, kind="created", amount=-1600, lines=lines))
    assert night.only("negative_invoice").severity is Severity.WARNING


def test_all_that_is_told_of_one_invoice_is_one_incident() -> None:
    night = Night()
    night.deliver(
        *(invoiced(at, 1, id_="in_1", kind=kind, amount=-500, created=0) for at, kind in ((0, "created"), (60, "paid")))
    )
    assert [step.state for step in night.steps] == ["opened"]


def test_an_old_one_delivered_late_or_a_void_one_opens_nothing() -> None:
    night = Night()
    night.deliver(invoiced(0, 1, amount=-500), at=8 * DAY)
    night.deliver(invoiced(8 * DAY, 2, kind="voided", amount=-500, status="void"))
    assert night.incidents("negative_invoice") == []
