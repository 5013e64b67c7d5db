from actors.store.records import Severity
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event
from tests.billing.subscribers import DAY, ended, subscribed

NOW = 40 * DAY


def business(night: Night, count: int = 20) -> Night:
    """Subscribers of $30 a month, for forty days."""
    night.deliver(*(subscribed(0, number) for number in range(count)), at=0)
    return night


def test_a_tenth_lost_within_a_day_is_a_warning() -> None:
    night = business(Night())
    night.deliver(ended(NOW, 1), ended(NOW + 3600, 2))
    incident = night.only("mrr_drop")
    assert (incident.severity, incident.scope) == (Severity.WARNING, "account")
    assert incident.title == "MRR down 10% in 24 h, from $600.00 to $540.00"
    assert (incident.evidence["observed"], incident.evidence["expected"]) == (54_000, 60_000)


def test_three_tenths_are_critical_and_one_whale_is_named() -> None:
    night = business(Night())
    night.deliver(subscribed(10, 99, amount=40_000), at=10)
    night.deliver(ended(NOW, 99, amount=40_000))
    incident = night.only("mrr_drop")
    assert incident.severity is Severity.CRITICAL
    assert incident.title.endswith("from $1,000.00 to $600.00; cus_99 alone is $400.00 of it")


def test_less_than_a_tenth_is_nothing() -> None:
    night = business(Night())
    night.deliver(ended(NOW, 1))
    assert night.incidents() == []
    assert night.readings[-1].score == 0.5


def test_losses_two_days_apart_are_nothing() -> None:
    night = business(Night())
    night.deliver(ended(NOW, 1), ended(NOW + 2 * DAY, 2))
    assert night.incidents("mrr_drop") == []


def test_what_comes_in_the_same_day_makes_good_for_it() -> None:
    night = business(Night())
    night.deliver(subscribed(NOW - 60, 50, amount=9000), ended(NOW, 1), ended(NOW + 3600, 2))
    assert night.incidents("mrr_drop") == []


def test_the_owners_percentage_decides_alone() -> None:
    strict, lax = business(Night(revenue_drop_percent=5)), business(Night(revenue_drop_percent=30))
    for night in (strict, lax):
        night.deliver(ended(NOW, 1), ended(NOW + 60, 2), ended(NOW + 120, 3))
    assert strict.incidents("mrr_drop")[0].evidence["threshold_percent"] == 5
    assert lax.incidents("mrr_drop") == []


def test_the_owners_percentage_holds_from_the_first_day_and_says_what_is_missing() -> None:
    night = business(Night(revenue_drop_percent=30), count=3)
    night.deliver(ended(2 * DAY, 1))
    assert night.only("mrr_drop").title.endswith("; not every subscription is known yet")


def test_a_young_ledger_needs_twice_as_much() -> None:
    night = business(Night())
    night.deliver(*(ended(5 * DAY + number, number) for number in range(3)))
    assert night.incidents("mrr_drop") == []
    night.deliver(ended(5 * DAY + 9, 9))
    assert night.incidents("mrr_drop")[0].evidence["warming_up"]


def test_a_currency_that_few_pay_in_is_not_the_business() -> None:
    night = business(Night())
    night.deliver(subscribed(20, 70, currency="eur"), subscribed(20, 71, currency="eur"), at=20)
    night.deliver(ended(NOW, 70, currency="eur"))
    assert night.incidents("mrr_drop") == []


def two_monies(night: Night) -> Night:
    """Twenty subscribers who pay $30, ten who pay €30."""
    night.deliver(*(subscribed(0, number) for number in range(20)), at=0)
    night.deliver(*(subscribed(0, number, currency="eur") for number in range(20, 30)), at=0)
    return night


def test_two_currencies_that_drop_are_one_incident_which_tells_of_both_the_worst_first() -> None:
    night = two_monies(Night())
    night.deliver(*(ended(NOW + number, number) for number in range(4)))
    assert night.only("mrr_drop").title == "MRR down 20% in 24 h, from $600.00 to $480.00"
    night.deliver(*(ended(NOW + number, number, currency="eur") for number in range(20, 23)))
    (incident,) = night.incidents("mrr_drop")
    spans = "from €300.00 to €210.00, and 20% from $600.00 to $480.00"
    assert incident.title == f"MRR down 30% in 24 h, {spans}"
    assert incident.evidence["lost_by_currency"] == {"eur": 9_000, "usd": 12_000}


def test_customers_who_go_on_in_another_currency_are_no_loss() -> None:
    night = two_monies(Night())
    for number in range(5):
        night.deliver(ended(NOW + number, number))
        night.deliver(subscribed(NOW + number, 100 + number, currency="eur", customer=f"cus_{number}"))
    assert [one.signal for one in night.incidents("mrr_drop")] == []


def test_past_due_and_collection_paused_lose_nothing() -> None:
    night = business(Night())
    night.deliver(*(subscribed(NOW, n, kind="updated", status="past_due") for n in range(10)), at=NOW)
    night.deliver(
        *(subscribed(NOW, n, kind="updated", pause_collection={"behavior": "void"}) for n in range(10, 20)), at=NOW
    )
    assert night.incidents("mrr_drop") == []


def test_after_an_absence_who_left_is_compared_with_all_who_stayed_whoever_is_told_first() -> None:
    told = [ended(60, 1), ended(120, 2), *(subscribed(-3 * DAY, number) for number in range(10))]
    for order in (told, told[::-1], told[::2] + told[1::2]):
        night = Night(revenue_drop_percent=15, churn_rate_daily=0.05)
        night.deliver(*order, at=DAY // 2)
        night.pass_minutes(5)
        found = {one.signal: one.title for one in night.incidents() if one.scope == "account"}
        assert found["mrr_drop"].startswith("MRR down 20% in 24 h, from $300.00 to $240.00")
        assert found["churn_spike"].startswith("2 of 10 subscriptions ended")


def left(at: int, number: int) -> Event:
    """Of whoever began three days before START."""
    return ended(at, number, start_date=START - 3 * DAY + number)


def test_at_first_contact_who_leaves_just_now_is_compared_with_those_who_are_told_of_after_him() -> None:
    told = [*(subscribed(-3 * DAY + number, number) for number in range(10)), left(0, 1), left(60, 2)]
    for order in (told[::-1], told[10:] + told[:10], told[5:] + told[:5]):
        night = Night(revenue_drop_percent=20, churn_rate_daily=0.2)
        night.deliver(*order, at=65)
        night.pass_minutes(4)
        found = {one.signal: one.title for one in night.incidents() if one.scope == "account"}
        assert found["mrr_drop"].startswith("MRR down 20% in 24 h, from $300.00 to $240.00")
        assert found["churn_spike"].startswith("2 of 10 subscriptions ended")


def test_at_first_contact_what_is_less_than_the_owners_threshold_is_never_told() -> None:
    told = [*(subscribed(-3 * DAY + number, number) for number in range(10)), left(0, 1), left(60, 2)]
    for order in (told[::-1], told[10:] + told[:10], told[5:] + told[:5]):
        night = Night(revenue_drop_percent=30, churn_rate_daily=0.25)
        night.deliver(*order, at=65)
        night.pass_minutes(5)
        assert night.incidents("mrr_drop") == night.incidents("churn_spike") == []


def test_what_fell_is_told_at_once_where_those_who_stay_were_told_of_before_however_late_they_came() -> None:
    night = Night(revenue_drop_percent=30, churn_rate_daily=0.25)
    night.deliver(*(subscribed(-3 * DAY + number, number) for number in range(10)), at=65)
    night.deliver(left(0, 1), left(30, 2), left(60, 3), at=65)
    assert {one.signal for one in night.incidents()} >= {"mrr_drop", "churn_spike"}


def test_those_who_leave_one_by_one_and_were_not_known_are_told_of_within_minutes() -> None:
    night = Night(revenue_drop_percent=30)
    night.deliver(*(left(60 * minute, minute) for minute in range(5)))
    assert night.incidents("mrr_drop")


def test_yesterdays_losses_delivered_late_count_where_they_belong() -> None:
    night = business(Night())
    night.deliver(ended(NOW, 1), ended(NOW + 60, 2), at=NOW + 2 * DAY)
    assert night.incidents("mrr_drop") == []
