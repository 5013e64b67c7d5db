import pytest

from tests.billing.history import since
from tests.billing.night import Night
from tests.billing.stripe_events import START
from tests.billing.subscribers import DAY, ended, subscribed

NOW = 40 * DAY


def business(night: Night, count: int = 100) -> Night:
    night.deliver(*(subscribed(0, number, amount=100) for number in range(count)), at=0)
    return night


def test_the_owners_rate_is_kept_to_the_subscription() -> None:
    night = business(Night(churn_rate_daily=0.05))
    night.deliver(*(ended(NOW + 60 * number, number, amount=100) for number in range(4)))
    assert night.incidents() == []
    assert night.readings[-1].score == 0.8
    night.deliver(ended(NOW + 3600, 9, amount=100))
    incident = night.only("churn_spike")
    assert incident.title == "5 of 100 subscriptions ended within 24 h ($5.00 a month)"
    assert (incident.evidence["observed"], incident.evidence["expected"]) == (5, 5.0)


def test_what_ended_a_day_ago_no_longer_counts() -> None:
    night = business(Night(churn_rate_daily=0.05))
    night.deliver(*(ended(NOW + 9000 * number, number, amount=100) for number in range(12)))
    assert night.incidents("churn_spike")[0].opened > 0
    slow = business(Night(churn_rate_daily=0.05))
    slow.deliver(*(ended(NOW + DAY // 3 * number, number, amount=100) for number in range(12)))
    assert slow.incidents("churn_spike") == []


def test_in_a_house_of_one_day_all_that_ever_paid_are_its_base() -> None:
    night = business(Night(churn_rate_daily=0.05), count=20)
    night.deliver(ended(3600, 1, amount=100))
    assert night.only("churn_spike").title.startswith("1 of 20 subscriptions ended within 24 h ($1.00 a month); not")


def test_without_a_rate_a_wave_of_cancellations_opens() -> None:
    night = business(Night())
    night.deliver(*(ended(NOW + 600 * number, number, amount=100) for number in range(5)))
    assert night.only("churn_spike").evidence["expected"] == 0.2


def test_without_a_rate_what_is_usual_for_the_house_is_nothing() -> None:
    """Three a day leave, every day; five are no wave."""
    night = business(Night(), count=400)
    for day in range(12, 40):
        night.deliver(*(ended(day * DAY + 60 * n, 3 * day + n, amount=100) for n in range(3)))
    night.deliver(*(ended(40 * DAY + 60 * n, 300 + n, amount=100) for n in range(6)))
    assert night.incidents("churn_spike") == []


def test_a_cohort_that_said_so_before_is_nothing() -> None:
    night = business(Night())
    night.deliver(
        *(subscribed(20 * DAY, n, kind="updated", amount=100, cancel_at_period_end=True) for n in range(8)), at=20 * DAY
    )
    night.deliver(*(ended(NOW + n, n, amount=100) for n in range(8)))
    assert night.incidents("churn_spike") == []


def test_trials_that_end_unpaid_were_no_customers() -> None:
    night = business(Night(churn_rate_daily=0.05))
    night.deliver(*(subscribed(30 * DAY, 200 + n, status="trialing") for n in range(10)), at=30 * DAY)
    night.deliver(*(ended(NOW, 200 + n) for n in range(10)), at=NOW)
    assert night.incidents("churn_spike") == []


def test_the_same_end_told_twice_is_one() -> None:
    night = business(Night(churn_rate_daily=0.02))
    night.deliver(ended(NOW, 1, amount=100), ended(NOW + 5, 1, amount=100))
    assert night.incidents() == []


def test_a_cohort_that_decided_long_ago_is_none_though_nobody_had_heard_of_it() -> None:
    """Yearly subscribers who cancelled months before nightdesk was there: their end is the first word of them."""
    night = Night()
    night.deliver(*(subscribed(at, at) for at in range(40)))
    night.pass_minutes(40 * 1440)
    start = since(night)
    decided = {"cancel_at_period_end": True, "canceled_at": START + start - 40 * 86_400}
    night.deliver(*(ended(start + at, 100 + at, **decided) for at in range(20)))
    assert night.incidents("churn_spike") == []
    night.deliver(*(ended(start + 100 + at, at) for at in range(20)))
    assert len(night.incidents("churn_spike")) == 1


@pytest.mark.parametrize("signal", ["churn_spike", "mrr_drop"])
def test_who_is_first_heard_of_when_he_leaves_is_no_share_of_those_known_so_far(signal: str) -> None:
    """Of two thousand, sixty have renewed since we look, and twelve have left."""
    night = Night()
    night.deliver(*(subscribed(600 * number, number, kind="updated") for number in range(60)))
    night.deliver(*(ended(DAY // 2 + 600 * number, 1000 + number) for number in range(12)))
    assert night.incidents(signal) == []
