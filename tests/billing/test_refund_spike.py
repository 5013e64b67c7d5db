from itertools import permutations

from actors.kernel.clock import SECOND, chance
from actors.store.records import Severity
from tests.billing.history import DAY, lived, payments, since
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, charge, refund


def refunded(at: int, charge_id: str, total: int = 2900, currency: str = "usd") -> Event:
    return charge(at, id_=charge_id, kind="charge.refunded", amount=9000, refunded=total, currency=currency)


def test_five_refunds_within_an_hour_are_told_when_five_are_the_rule() -> None:
    night = Night(refund_spike_count=5)
    night.deliver(*(refunded(at, f"ch_{at}") for at in (0, 900, 1800, 2700)))
    assert night.incidents() == []
    night.deliver(refunded(3600, "ch_5", currency="jpy"))
    incident = night.only("refund_spike")
    assert incident.title == "5 refunds within an hour (¥2,900 + $116.00)"
    assert len(incident.event_ids) == 5


def test_without_a_rule_or_over_more_than_an_hour_nothing_is_told() -> None:
    for rules in ({}, {"refund_spike_count": 5}):
        night = Night(**rules)
        night.deliver(*(refunded(at, f"ch_{at}") for at in (0, 900, 1800, 2700, 3601)))
        assert night.incidents() == []


def test_all_events_of_one_refund_are_one_refund() -> None:
    told = [refunded(0, "ch_1"), refund(0, id_="re_1", charge_id="ch_1", amount=2900)]
    told += [refunded(0, "ch_1"), refund(1, id_="re_1", charge_id="ch_1", amount=2900, kind="charge.refund.updated")]
    for order in permutations(told):
        night = Night(refund_spike_count=2)
        night.deliver(*order, at=5)
        assert night.incidents() == []


def test_parts_of_one_charge_count_one_by_one_in_any_order_and_come_to_their_total() -> None:
    for order in permutations((1000, 2000, 3000)):
        night = Night(refund_spike_count=3)
        night.deliver(*(refunded(at, "ch_1", total) for at, total in enumerate(order)))
        assert night.only("refund_spike").title == "3 refunds within an hour ($30.00)"


def test_a_total_that_comes_between_its_parts_is_no_sum_of_deliveries() -> None:
    parts = [refund(number, id_=f"re_{number}", charge_id="ch_1", amount=1000) for number in range(3)]
    for place in range(3):
        night = Night(refund_spike_count=3)
        night.deliver(*parts[:place], refunded(5, "ch_1", 3000), *parts[place:], at=10)
        assert night.only("refund_spike").title == "3 refunds within an hour ($30.00)"


def test_a_refund_that_failed_counts_for_nothing() -> None:
    night = Night(refund_spike_count=1)
    night.deliver(refund(0, id_="re_1", charge_id="ch_1", amount=1, status="failed", kind="refund.failed"))
    assert night.incidents() == []


def test_fourteen_refunds_in_twenty_minutes_are_critical_without_any_rule_or_history() -> None:
    night = Night()
    night.deliver(*(refunded(80 * number, f"ch_{number}") for number in range(14)))
    incident = night.only("refund_spike")
    assert incident.severity is Severity.CRITICAL
    assert incident.evidence["warming_up"] is True
    assert incident.title.startswith("14 refunds within 20 min, ")
    assert "still learning" in incident.title


def test_refunds_that_are_usual_stay_untold_and_a_burst_does_not() -> None:
    """Two weeks of some six refunds a day; then ten within half an hour, which is no longer cold."""
    rng = chance(1)
    usual = [refunded(at, f"ch_{at}") for at in sorted(rng.randrange(15 * DAY) for _ in range(90))]
    night = lived(*usual)
    assert night.incidents() == []
    now = since(night)
    night.deliver(*(refunded(now + 180 * number, f"ch_x{number}") for number in range(10)))
    incident = night.only("refund_spike")
    assert incident.evidence["expected"] < 2
    assert "warming_up" not in incident.evidence
    assert incident.opened - (START + now) * SECOND <= 20 * 60 * SECOND


def test_a_burst_of_three_days_ago_that_comes_now_is_told_of_no_more() -> None:
    night = lived(*(refunded(at, f"ch_{at}") for at in range(0, 4 * DAY, DAY // 4)))
    old = [refunded(DAY + 60 * number, f"ch_x{number}") for number in range(40)]
    night.deliver(*old, at=since(night))
    assert {incident.signal for incident in night.incidents()} == {"webhook_lag"}


def test_after_a_surge_a_lone_refund_opens_nothing_again() -> None:
    night = Night()
    night.deliver(*(refunded(80 * number, f"ch_{number}") for number in range(14)))
    night.pass_minutes(180)
    night.deliver(*(refunded(8 * 3600 + 7200 * number, f"ch_x{number}") for number in range(3)))
    assert [step.state for step in night.steps].count("opened") == 1


def test_on_a_large_shops_first_day_one_refund_in_twenty_payments_is_usual_and_a_flood_is_not() -> None:
    night = lived(*payments(1, 480), *(refunded(at, f"ch_{at}") for at in range(3600, DAY, 3600)))
    assert night.incidents("refund_spike") == []
    night.deliver(*(refunded(DAY + 60 * number, f"ch_late_{number}") for number in range(20)))
    assert night.only("refund_spike").evidence["warming_up"]


def held(at: int, total: int, *, captured: int, kind: str = "charge.refunded") -> Event:
    """A charge of $600 that was authorised first, and captured in part or not at all."""
    told = charge(at, id_=f"ch_{captured}", kind=kind, amount=60000, refunded=total)
    told["data"]["object"] |= {"amount_captured": captured, "captured": captured > 0}
    return told


def test_what_is_let_go_of_an_authorisation_is_no_refund() -> None:
    night = Night(refund_spike_count=1)
    night.deliver(held(0, 0, captured=0, kind="charge.succeeded"), held(60, 60000, captured=0))
    night.deliver(held(90, 30000, captured=30000, kind="charge.captured"))
    assert night.incidents() == []
    assert night.watch.tenants["acme"].diary.totals["refunded"] == 0


def test_what_is_given_back_of_what_was_captured_is_a_refund_and_may_be_too_much() -> None:
    told = [held(60, 30000, captured=30000, kind="charge.captured"), held(180, 60001, captured=30000)]
    authorised = charge(0, id_="ch_30000", amount=60000)
    for order in permutations([authorised, *told]):
        night = Night(refund_spike_count=1)
        night.deliver(*order, at=200)
        assert night.incidents("refund_spike")[0].title == "1 refunds within an hour ($300.01)"
        (over,) = night.incidents("refund_exceeds_charge")
        assert over.title == "$300.01 refunded on a charge of $300.00 ($0.01 too much)"


def test_where_the_refunds_do_not_include_the_release_they_count_in_full() -> None:
    night = Night(refund_spike_count=1)
    night.deliver(held(120, 10000, captured=30000))
    assert night.only("refund_spike").title == "1 refunds within an hour ($100.00)"
