from actors.kernel.clock import SECOND
from actors.store.records import Severity
from tests.billing.history import DAY, lived, payments, since
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, charge, event

NOBODY = {"id": None, "idempotency_key": None}
"""Asked for it."""


def tries(at: int, number: int, *, every: int = 30, customer: str = "cus_t{}", success_every: int = 10) -> list[Event]:
    """Stolen cards, one after another; few of them work."""
    return [
        charge(at + every * n, customer=customer.format(n), amount=100 + n, failed=n % success_every > 0)
        for n in range(number)
    ]


def test_a_card_every_half_minute_is_critical_within_minutes_even_for_a_tenant_just_begun() -> None:
    for night in (Night(), lived(*payments(15, 20))):
        now = since(night)
        night.deliver(*tries(now + 60, 40))
        (incident,) = night.incidents("card_testing")
        assert (incident.severity, incident.scope) == (Severity.CRITICAL, "account")
        assert incident.opened <= (START + now + 9 * 60) * SECOND
        assert incident.evidence["declined"] > 30


def test_setup_intents_that_fail_are_tries_like_payments() -> None:
    night = Night()
    for number in range(20):
        failed = {"id": f"seti_{number}", "customer": f"cus_{number}", "last_setup_error": {"code": "incorrect_cvc"}}
        night.deliver(event("setup_intent.setup_failed", failed, 20 * number))
    assert night.only("card_testing").evidence["latest_codes"] == {"incorrect_cvc": 12}  # of the latest


def test_one_customer_with_nine_cards_is_a_person_and_with_forty_is_none() -> None:
    night = Night(customer_decline_count=None)
    night.deliver(*tries(0, 9, customer="cus_1", success_every=99))
    assert night.incidents() == []
    night.deliver(*tries(600, 40, customer="cus_2", success_every=99))
    assert night.only("card_testing").severity is Severity.CRITICAL


def test_a_launch_brings_ten_times_the_buyers_and_the_usual_declines() -> None:
    night = lived(*payments(15, 20))
    now = since(night)
    night.deliver(*(charge(now + 200 * n, customer=f"cus_l{n}", failed=n % 9 == 0) for n in range(200)))
    assert night.incidents("card_testing") == []


def test_renewals_that_fail_are_no_card_testing() -> None:
    night = Night()
    night.deliver(*(charge(10 * n, customer=f"cus_{n}", failed=True, basil=True, request=NOBODY) for n in range(60)))
    night.deliver(*(charge(10 * n, customer=f"cus_{n}", failed=True, invoice=f"in_{n}") for n in range(60)))
    assert night.incidents("card_testing") == []


def test_what_no_request_asked_for_is_a_try_where_it_is_no_renewal() -> None:
    """Payments without an invoice, of guests, and of customers an hour old."""
    strangers = [
        [charge(30 * n, customer=f"cus_{n}", failed=True, request=NOBODY) for n in range(40)],
        [charge(30 * n, customer=None, failed=True, basil=True, request=NOBODY) for n in range(40)],
        [one for n in range(40) for one in newcomer(30 * n, f"cus_{n}")],
    ]
    for tried in strangers:
        night = Night()
        night.deliver(*tried)
        assert night.only("card_testing").severity is Severity.CRITICAL


def newcomer(at: int, customer: str) -> list[Event]:
    """Made, and declined at once."""
    made = event("customer.created", {"id": customer, "object": "customer", "created": START + at}, at)
    return [made, charge(at + 1, customer=customer, failed=True, basil=True, request=NOBODY)]


def test_a_gateway_that_fails_brings_no_new_cards() -> None:
    night = lived(*payments(15, 48))
    now = since(night)
    outage = [charge(now + 1800 * n, customer=f"cus_o{n}", failed=True) for n in range(12)]
    night.deliver(*outage)
    assert {incident.signal for incident in night.incidents()} == {"decline_spike"}


def test_three_days_late_it_is_told_of_no_more() -> None:
    night = lived(*payments(15, 20))
    now = since(night)
    night.deliver(*tries(now - 3 * DAY, 60), at=now)
    assert {incident.signal for incident in night.incidents()} == {"webhook_lag"}
