"""The plain numbers behind the digest, and what is seen in them."""

import orjson
import pytest

from actors.billing.diary import LEFT, MEASURES, Diary
from actors.billing.facts import Arrival, Attempt
from actors.billing.ledger import DAY
from actors.billing.record import Kind, Movement
from actors.billing.trends import trends
from actors.kernel.clock import chance
from tests.billing.stripe_events import START

NOW = START * 1_000_000
TODAY = 20_000


def attempt(at: int = NOW, *, succeeded: bool = True, amount: int = 2900) -> Attempt:
    paid = (succeeded, "ch_1", "pi_1", "", "cus_1", "payer", amount, "usd", "", "", False)
    return Attempt(at, "evt_1", "ch_1", *paid)


def arrival(kind: str, at: int = NOW) -> Arrival:
    return Arrival(at, "evt_1", kind)


def test_payments_declines_refunds_disputes_and_customers_are_counted_once() -> None:
    diary = Diary()
    for fact in (
        attempt(),
        attempt(succeeded=False),
        arrival("charge.dispute.created"),
        arrival("charge.dispute.updated"),
        arrival("customer.created"),
    ):
        diary.observe(fact, NOW)
    diary.refunded(900, "usd", NOW, NOW)
    assert diary.totals == {
        "paid": 1, "paid:usd": 2900, "declined": 1, "refunded": 1, "refunded:usd": 900, "disputed": 1, "joined": 1
    }  # fmt: skip
    assert diary.days == {NOW // DAY: [1, 1, 1, 1, 0]}


def test_what_a_subscription_did_is_told_once_also_when_it_is_told_anew() -> None:
    diary = Diary()
    new = Movement(NOW, "sub_1", "cus_1", Kind.NEW, 3000, "usd")
    gone = Movement(NOW + 1, "sub_1", "cus_1", Kind.CHURN, -3000, "usd")
    diary.moved([], [new], NOW)
    diary.moved([new], [new, gone], NOW)
    assert diary.totals == {"new": 1, "new:usd": 3000, "churn": 1, "churn:usd": -3000}
    assert diary.days[NOW // DAY][MEASURES.index(LEFT)] == 1


def test_history_is_no_news() -> None:
    """What was fetched from before we watched, or first heard of now."""
    diary = Diary()
    diary.observe(attempt(NOW - 4 * DAY), NOW)
    diary.refunded(900, "usd", NOW - 4 * DAY, NOW)
    diary.moved([], [Movement(NOW - 9 * DAY, "sub_1", "cus_1", Kind.NEW, 3000, "usd")], NOW)
    assert (diary.totals, diary.days) == ({}, {})


def test_it_forgets_what_is_older_than_four_weeks_and_survives_being_saved() -> None:
    diary = Diary()
    for day in range(40):
        diary.observe(attempt(NOW + day * DAY), NOW + day * DAY)
    assert len(diary.days) == 29
    other = Diary()
    other.load(orjson.loads(orjson.dumps(diary.save())))
    assert (other.totals, other.days) == (diary.totals, diary.days)


def test_a_past_that_was_fetched_teaches_what_days_are_like_and_is_no_news() -> None:
    past, diary = Diary(), Diary()
    for day in range(28):
        past.observe(attempt(NOW - day * DAY), NOW - day * DAY)
    diary.learn(past)
    assert (len(diary.days), diary.totals, diary.changed) == (28, {}, True)


def month(**by_day: list[int]) -> dict[int, list[int]]:
    """Four weeks up to TODAY, of measures by day."""
    nothing = [0] * 28
    columns = [by_day.get(measure, nothing) for measure in MEASURES]
    return {TODAY - 28 + day: [column[day] for column in columns] for day in range(28)}


def test_a_share_that_grows_is_a_trend() -> None:
    found = trends(month(paid=[100] * 28, declined=[5] * 21 + [9] * 7), TODAY)
    assert [(one.name, one.of) for one in found] == [("declined up", "attempts")]
    assert (found[0].recent, found[0].before) == pytest.approx((9 / 109, 5 / 105))


def test_a_count_that_falls_is_a_trend() -> None:
    found = trends(month(joined=[12, 9, 11, 10, 12, 8, 9] * 3 + [4, 5, 6, 4, 5, 3, 4]), TODAY)
    assert [one.name for one in found] == ["joined down"]


def test_weekends_are_none() -> None:
    assert trends(month(paid=[100, 100, 100, 100, 100, 20, 10] * 4), TODAY) == []


def test_few_days_or_few_events_are_none() -> None:
    young = {day: counts for day, counts in month(paid=[10] * 21 + [90] * 7).items() if day > TODAY - 28}
    assert trends(young, TODAY) == []
    assert trends(month(left=[0] * 21 + [1] * 7), TODAY) == []


def test_chance_alone_hardly_ever_makes_one() -> None:
    """Two hundred shops in which nothing changes, with two measures each."""
    rng = chance(1)
    false = 0
    for _ in range(200):
        paid = [round(rng.gauss(60, 12)) for _ in range(28)]
        declined = [sum(rng.random() < 0.07 for _ in range(count)) for count in paid]
        false += len(trends(month(paid=paid, declined=declined), TODAY))
    assert false <= 4
