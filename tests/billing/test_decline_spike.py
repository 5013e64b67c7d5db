from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.billing.detectors.tally import Tally
from actors.kernel.clock import SECOND
from actors.store.records import Severity, State
from tests.billing.history import DAY, lived, payments
from tests.billing.night import Night
from tests.billing.stripe_events import START, charge, event, intent_of, invoice_of


def test_five_declines_of_one_customer_in_ten_minutes_are_told() -> None:
    night = Night()
    declines = [charge(at, failed=True) for at in (0, 100, 200, 300, 600)]
    night.deliver(*declines)
    incident = night.only("decline_spike")
    assert (incident.severity, incident.scope) == (Severity.INFO, "cus_1")
    assert incident.evidence["failed"] == 5
    assert incident.event_ids == tuple(one["id"] for one in declines)
    assert [round(reading.score, 1) for reading in night.readings] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [reading.flagged for reading in night.readings] == [False] * 4 + [True]


def test_a_second_more_than_ten_minutes_is_nothing() -> None:
    night = Night()
    night.deliver(*(charge(at, failed=True) for at in (0, 100, 200, 300, 601)))
    assert night.incidents() == []


def test_declines_of_five_customers_are_nothing_to_the_rule_of_one() -> None:
    night = Night()
    night.deliver(*(charge(at, failed=True, customer=f"cus_{at}") for at in range(5)))
    assert night.incidents() == []


def test_all_events_of_one_decline_are_one_decline() -> None:
    """charge.failed, payment_intent.payment_failed and invoice.payment_failed announce the same try."""
    night = Night()
    for at in (0, 10, 20, 30):
        declined = charge(at, failed=True, invoice="in_1")
        night.deliver(declined, intent_of(declined), invoice_of(declined, "invoice.payment_failed", id_=f"in_{at}"))
    night.pass_minutes(5)
    assert night.incidents() == []
    night.deliver(charge(400, failed=True))
    assert night.only("decline_spike").evidence["failed"] == 5


def test_declines_that_never_became_a_charge_count() -> None:
    """A customer who fails the bank's own check (3-D Secure) leaves a payment intent without a charge."""
    night = Night()
    night.deliver(*(intent_of(charge(at, failed=True, intent="pi_1"), charge_known=False) for at in range(5)))
    assert night.only("decline_spike").evidence["failed"] == 5


@pytest.mark.parametrize("linked", [True, False])
def test_invoices_count_where_nothing_else_tells_of_the_payment(linked: bool) -> None:
    """An endpoint subscribed to invoices alone; they wait two minutes for a charge that never comes."""
    night = Night()
    for at in range(5):
        declined = charge(at, failed=True, amount=2900 + at)
        night.deliver(invoice_of(declined, "invoice.payment_failed", linked=linked, id_=f"in_{at}"))
    assert night.incidents() == []
    night.pass_minutes(4)
    assert night.only("decline_spike").evidence["failed"] == 5


def test_before_anything_is_usual_no_share_of_declines_opens_anything() -> None:
    night = Night()
    night.deliver(*(charge(at, failed=True, customer=f"cus_{at}") for at in range(100)))
    assert night.incidents("decline_spike") == []


def test_ten_of_ten_declined_is_one_warning_for_the_account() -> None:
    night = Night(failure_rate=0.15)
    night.deliver(*(charge(at, failed=True, customer=f"cus_{at}") for at in range(10)))
    incident = night.only("decline_spike")
    assert (incident.severity, incident.scope) == (Severity.WARNING, "account")
    assert (incident.evidence["failed"], incident.evidence["attempts"]) == (10, 10)
    assert incident.evidence["latest_codes"] == {"insufficient_funds": 10}
    assert incident.title == "10 of 10 payments declined within an hour (100%)"


def test_nine_of_nine_are_too_few_to_judge_and_a_tenth_that_succeeds_is_enough() -> None:
    night = Night(failure_rate=0.15)
    night.deliver(*(charge(at, failed=True, customer=f"cus_{at}") for at in range(9)))
    assert night.incidents() == []
    night.deliver(charge(10, customer="cus_10"))
    assert night.only("decline_spike").evidence["failed"] == 9


def test_a_threshold_that_changes_keeps_what_was_counted() -> None:
    night = Night(failure_rate=None)
    night.deliver(*(charge(at, failed=True, customer=f"cus_{at}") for at in range(9)))
    night.configure(failure_rate=0.15)
    assert night.incidents() == []
    night.deliver(charge(10, failed=True, customer="cus_10"))
    assert night.only("decline_spike").evidence["failed"] == 10


def test_the_same_event_does_not_count_for_another_tenant() -> None:
    night = Night()
    night.deliver(*(charge(at, failed=True) for at in range(3)))
    night.deliver(*(charge(at, failed=True) for at in range(3, 6)), tenant="other")
    assert night.incidents() == []


def test_a_disabled_signal_opens_nothing_and_scores_nothing() -> None:
    night = Night(failure_rate=0.15, disabled=["decline_spike"])
    night.deliver(*(charge(at, failed=True) for at in range(20)))
    assert night.incidents() == []
    assert not any(reading.flagged for reading in night.readings)


def test_what_happened_hours_ago_is_no_spike_now() -> None:
    """Twenty charges of six hours ago, half declined, delivered in reverse: one notice of the lag."""
    night = Night(failure_rate=0.15)
    old = [charge(at, failed=at % 2 == 0, customer=f"cus_{at}", amount=100 + at) for at in range(20)]
    night.deliver(*reversed(old), at=6 * 3600)
    incident = night.only("webhook_lag")
    assert (incident.severity, incident.evidence["events"]) == (Severity.INFO, 20)
    night.deliver(*(charge(6 * 3600 + at, customer=f"cus_{at}", amount=100 + at) for at in range(10)))
    assert len(night.incidents()) == 1


def test_a_late_decline_joins_its_proper_place() -> None:
    """The fifth of the five comes half an hour late; by its own time it is within the ten minutes of the others."""
    night = Night()
    night.deliver(*(charge(at, failed=True) for at in (0, 100, 300, 500)))
    night.deliver(charge(200, failed=True), at=900)
    assert night.only("decline_spike").evidence["failed"] == 5


@pytest.mark.parametrize("code", ["card_declined", None])
def test_a_decline_without_a_reason_is_counted_like_any(code: str | None) -> None:
    night = Night(failure_rate=0.5, failure_min_attempts=1)
    night.deliver(
        event("charge.failed", {"id": "ch_1", "object": "charge", "failure_code": code, "customer": "cus_1"}, 0)
    )
    assert night.only("decline_spike").evidence["latest_codes"] == {code or "no reason given": 1}


SPAN = 20
attempts = st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.integers(0, 30)), max_size=60)


@given(attempts, st.integers(1, 4))
def test_windows_are_exact_whatever_the_order(arrivals: list[tuple[int, bool, int]], enough: int) -> None:
    """Against counting everything anew: each window that ends with an attempt and holds the one that just came."""
    tally, seen, now = Tally(SPAN), list[tuple[int, bool]](), 0
    for second, failed, delay in arrivals:
        now = max(now, second + delay)
        counted = tally.add(second, failed=failed, now_s=now)
        assert counted == (second >= now - 2 * SPAN)
        if not counted:
            continue
        seen.append((second, failed))
        ends = {at for at, _ in seen if second <= at <= second + SPAN and at >= now - SPAN}
        held = [[fate for at, fate in seen if end - SPAN <= at <= end] for end in ends]
        restored = Tally(SPAN)
        restored.load(tally.save())
        for exactly in (False, True):
            judged = [one for one in held if len(one) == enough or (len(one) > enough and not exactly)]
            worst = max(((sum(one) / len(one), len(one)) for one in judged), default=None)
            for one in (tally, restored):
                found = one.worst(second, now, at_least=enough, exactly=exactly)
                assert (found and (found.rate, found.total)) == worst


@pytest.fixture(scope="module")
def usual() -> dict[tuple[str, str], tuple[int, bytes]]:
    """A week in which one in ten payments is declined."""
    return dict(lived(*payments(7, 50)).watch.snapshot())


def after(usual: dict[tuple[str, str], tuple[int, bytes]], **rules: Any) -> Night:
    night = Night()
    night.watch.restore({part: state for part, state in usual.items() if part[1] != "incidents"}, ())
    night.now = (START + 7 * DAY) * SECOND
    night.configure(**rules)
    return night


def test_a_gateway_that_declines_everybody_is_told_by_what_is_usual(usual: dict[Any, Any]) -> None:
    night = after(usual)
    told = [charge(7 * DAY + 300 * number, failed=True, customer=f"cus_{number}") for number in range(12)]
    night.deliver(*told)
    incident = night.only("decline_spike")
    assert (incident.scope, incident.severity) == ("account", Severity.WARNING)
    assert 0.08 < incident.evidence["expected"] < 0.15
    assert incident.opened <= (START + 7 * DAY + 3000) * SECOND


def test_one_payer_who_tries_again_and_again_is_one_decline(usual: dict[Any, Any]) -> None:
    night = after(usual, customer_decline_count=None)
    night.deliver(*(charge(7 * DAY + 600 * number, failed=True) for number in range(30)))
    assert night.incidents() == []


def test_ten_times_the_payments_at_the_usual_share_are_good_news(usual: dict[Any, Any]) -> None:
    night = after(usual)
    night.deliver(
        *(charge(7 * DAY + 60 * number, failed=number % 10 == 0, customer=f"cus_{number}") for number in range(300))
    )
    assert night.incidents() == []


def test_when_a_wave_is_over_the_usual_declines_open_nothing_again(usual: dict[Any, Any]) -> None:
    night = after(usual)
    wave = [charge(7 * DAY + 60 * number, failed=True, customer=f"cus_w{number}") for number in range(60)]
    usual_day = [charge(7 * DAY + 7200 + 1800 * n, failed=n % 10 == 0, customer=f"cus_{n}") for n in range(48)]
    night.deliver(*wave, *usual_day)
    for signal in ("decline_spike", "card_testing"):
        (incident,) = night.incidents(signal)
        assert incident.state is State.RESOLVED


def test_a_low_sensitivity_needs_more_and_a_high_one_less(usual: dict[Any, Any]) -> None:
    needed = []
    for sensitivity in ("high", "normal", "low"):
        night = after(usual, sensitivity=sensitivity)
        for number in range(60):
            night.deliver(charge(7 * DAY + 300 * number, failed=number % 2 > 0, customer=f"cus_{number}"))
        (incident,) = night.incidents("decline_spike")
        needed.append(incident.opened)
    assert needed[0] < needed[1] < needed[2]
