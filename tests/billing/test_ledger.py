from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.billing.events import normalise
from actors.billing.facts import SubscriptionState
from actors.billing.ledger import Ledger
from actors.billing.record import VERSIONS_MAX, Kind
from actors.billing.versions import lasting
from actors.kernel.clock import SECOND
from tests.billing.stripe_events import START, Event, event

NOW = (START + 10**7) * SECOND


def subscription(
    at: int,
    what: str = "updated",
    *,
    id_: str = "sub_1",
    amount: int = 3000,
    interval: str = "month",
    interval_count: int = 1,
    quantity: int = 1,
    currency: str = "usd",
    previous: dict[str, Any] | None = None,
    price: dict[str, Any] | None = None,
    **changes: Any,
) -> Event:
    """One item of one price; `changes` go to the subscription."""
    recurring = {"interval": interval, "interval_count": interval_count}
    plan = {"id": f"price_{amount}", "unit_amount": amount, "currency": currency, "recurring": recurring}
    item = {"id": "si_1", "quantity": quantity, "price": plan | (price or {})}
    subject = {"id": id_, "customer": "cus_1", "status": "active", "currency": currency, "items": {"data": [item]}}
    one = event(f"customer.subscription.{what}", subject | changes, at)
    if previous is not None:
        one["data"]["previous_attributes"] = previous
    return one


def ledger(*events: Event) -> Ledger:
    book = Ledger()
    for one in events:
        for fact in normalise(one, NOW):
            if isinstance(fact, SubscriptionState):
                book.apply(fact, NOW)
    return book


def mrr(book: Ledger, at: int = NOW) -> dict[str, int]:
    """From its movements, with which its running totals must agree."""
    sums: Counter[str] = Counter()
    for step in book.movements():
        if step.at <= at:
            sums[step.currency] += step.amount
    if at == NOW:
        assert +sums == +book.mrr
    return dict(+sums)


@pytest.mark.parametrize(
    ("fields", "amount"),
    [
        ({}, 3000),
        ({"quantity": 3}, 9000),
        ({"interval": "year", "amount": 60000}, 5000),
        ({"interval": "month", "interval_count": 3, "amount": 9000}, 3000),
        ({"interval": "week", "amount": 1200}, 5200),
        ({"interval": "day", "amount": 120}, 3650),
        ({"status": "past_due"}, 3000),
        ({"pause_collection": {"behavior": "void"}}, 3000),
        ({"price": {"unit_amount": None, "unit_amount_decimal": "12.5"}, "quantity": 100}, 1250),
        ({"discount": {"coupon": {"percent_off": 25, "duration": "forever"}}}, 2250),
        ({"discount": {"coupon": {"percent_off": 25, "duration": "once"}}}, 3000),
        ({"discount": {"coupon": {"amount_off": 5000, "duration": "forever"}}}, 0),
        (
            {
                "interval": "year",
                "amount": 60000,
                "discounts": [{"coupon": {"amount_off": 12000, "duration": "forever"}}],
            },
            4000,
        ),
        ({"currency": "jpy", "amount": 1000}, 1000),
    ],
)
def test_what_a_subscription_is_worth_a_month(fields: dict[str, Any], amount: int) -> None:
    currency = fields.get("currency", "usd")
    assert mrr(ledger(subscription(0, **fields))).get(currency, 0) == amount


@pytest.mark.parametrize("status", ["trialing", "paused", "canceled", "unpaid", "incomplete", "incomplete_expired"])
def test_only_active_and_past_due_recur(status: str) -> None:
    assert mrr(ledger(subscription(0, status=status))) == {}


def test_metered_and_tiered_prices_are_not_counted() -> None:
    metered = {"recurring": {"interval": "month", "usage_type": "metered"}}
    tiered = {"billing_scheme": "tiered", "unit_amount": None}
    assert mrr(ledger(subscription(0, price=metered), subscription(0, id_="sub_2", price=tiered))) == {}


def test_an_update_delivered_before_the_creation_stands() -> None:
    updated, created = subscription(10, amount=5000), subscription(5, "created", amount=3000)
    for order in ((updated, created), (created, updated)):
        book = ledger(*order)
        assert mrr(book) == {"usd": 5000}
        assert mrr(book, (START + 7) * SECOND) == {"usd": 3000}
        assert mrr(book, START * SECOND) == {}


def test_a_life_in_movements() -> None:
    book = ledger(
        subscription(0, "created", status="trialing"),
        subscription(10),
        subscription(20, amount=5000),
        subscription(30, amount=4000),
        subscription(40, amount=4000, status="unpaid"),
        subscription(50, amount=4000),
        subscription(60, "deleted", amount=4000, status="canceled"),
    )
    assert [(step.kind, step.amount) for step in book.movements()] == [
        (Kind.NEW, 3000),
        (Kind.EXPANSION, 2000),
        (Kind.CONTRACTION, -1000),
        (Kind.CHURN, -4000),
        (Kind.REACTIVATION, 4000),
        (Kind.CHURN, -4000),
    ]
    assert sum(step.amount for step in book.movements()) == 0


def test_another_currency_is_churn_here_and_a_return_there() -> None:
    steps = ledger(subscription(0), subscription(10, currency="eur")).movements()
    assert [(step.kind, step.amount, step.currency) for step in steps] == [
        (Kind.NEW, 3000, "usd"),
        (Kind.CHURN, -3000, "usd"),
        (Kind.REACTIVATION, 3000, "eur"),
    ]


def test_in_one_second_previous_values_tell_what_came_last() -> None:
    """Created incomplete, then active, then doubled, all within a second and delivered in any order."""
    created = subscription(0, "created", status="incomplete")
    active = subscription(0, previous={"status": "incomplete"})
    doubled = subscription(0, quantity=2, previous={"quantity": 1})
    for order in ((created, active, doubled), (doubled, created, active), (active, doubled, created)):
        assert mrr(ledger(*order)) == {"usd": 6000}


def test_the_end_of_a_life_comes_last() -> None:
    gone = subscription(0, "deleted", status="canceled")
    for order in ((gone, subscription(0, previous={"status": "past_due"})), (subscription(0, previous={}), gone)):
        assert mrr(ledger(*order)) == {}


def test_a_subscription_that_is_older_than_what_we_saw_of_it_recurred_since_its_start() -> None:
    """A watch that begins today hears of subscriptions when they renew, change or end."""
    month = 30 * 86_400
    renewed = subscription(month, start_date=START)
    raised = subscription(
        month, id_="sub_2", amount=5000, start_date=START, previous={"plan": {"amount": 3000, "interval": "month"}}
    )
    gone = subscription(month, "deleted", id_="sub_3", status="canceled", start_date=START)
    tried = subscription(
        month, "deleted", id_="sub_4", status="canceled", start_date=START, trial_end=START + 2 * month
    )
    book = ledger(renewed, raised, gone, tried)
    assert mrr(book, START * SECOND) == {"usd": 9000}
    later = [(step.subscription, step.kind, step.amount) for step in book.movements(START * SECOND + 1)]
    assert later == [("sub_2", Kind.EXPANSION, 2000), ("sub_3", Kind.CHURN, -3000)]


def test_what_is_settled_is_kept_only_where_it_changed() -> None:
    book, day = Ledger(), 86_400
    for month in range(36):
        (told,) = [
            fact
            for fact in normalise(subscription(30 * day * month, amount=3000 + 1000 * (month > 17)), 10 * NOW)
            if isinstance(fact, SubscriptionState)
        ]
        book.apply(told, told.at)
    assert len(book.records["sub_1"].versions) <= 6
    assert [(step.at, step.amount) for step in book.movements()] == [
        (START * SECOND, 3000),
        ((START + 18 * 30 * day) * SECOND, 1000),
    ]


def test_beyond_the_limit_those_heard_of_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.billing.ledger.RECORDS_MAX", 100)
    book = Ledger()
    for number in range(101):
        for fact in normalise(subscription(0, id_=f"sub_{number:03}"), NOW):
            book.apply(fact, NOW + number)
        if number == 50:
            dict(book.save())
    assert len(book.records) == 100
    assert book.mrr == {"usd": 300_000}
    assert dict(book.save())["sub_000"] == b""
    again = Ledger()
    again.load("sub_000", b"")
    assert "sub_000" not in again.records


def test_the_movements_of_the_last_day_are_at_hand() -> None:
    book = ledger(subscription(0), subscription(86_000, amount=5000), subscription(100_000, amount=4000))
    assert book.recent((START + 90_000) * SECOND) == book.movements((START + 3_600) * SECOND)
    assert [step.amount for step in book.recent((START + 100_000 + 86_400) * SECOND)] == [-1000]


def test_old_versions_beyond_the_limit_are_forgotten() -> None:
    book = ledger(*(subscription(at, amount=1000 + at) for at in range(VERSIONS_MAX + 10)))
    assert len(book.movements()) == VERSIONS_MAX
    assert mrr(book) == {"usd": 1000 + VERSIONS_MAX + 9}


def saved(book: Ledger, id_: str) -> Any:
    record = book.records.get(id_)
    return record and (lasting(record.versions), record.bills)


def paid(at: int, kind: str, *, id_: str, of: str) -> Event:
    """An invoice made at the hour `at` begins in, as it stands then."""
    status = {"created": "draft", "paid": "paid", "voided": "void"}[kind]
    lines = {"data": [{"period": {"start": START, "end": START + 30}}]}
    subject = {"id": id_, "subscription": of, "created": START, "status": status, "lines": lines}
    return event(f"invoice.{kind}", subject, at)


lives = st.lists(
    st.builds(
        subscription,
        st.integers(0, 6),
        st.sampled_from(("created", "updated", "deleted")),
        id_=st.sampled_from(("sub_1", "sub_2")),
        amount=st.sampled_from((1000, 2000)),
        quantity=st.integers(1, 2),
        status=st.sampled_from(("active", "trialing", "canceled")),
        previous=st.sampled_from((None, {"status": "trialing"}, {"quantity": 1}, {"status": "active", "quantity": 2})),
    ),
    max_size=12,
)
bills = st.lists(
    st.builds(
        paid,
        st.integers(0, 6),
        st.sampled_from(("created", "paid", "voided")),
        id_=st.sampled_from(("in_1", "in_2", "in_3", "in_4", "in_5", "in_6")),
        of=st.sampled_from(("sub_1", "sub_2")),
    ),
    max_size=12,
)


@given(lives, bills, st.randoms(use_true_random=False))
def test_any_order_and_repetition_gives_the_same_ledger(lived: list[Event], billed: list[Event], chance: Any) -> None:
    events = lived + billed
    again = events * 2
    chance.shuffle(again)
    one, other = ledger(*events), ledger(*again)
    assert mrr(one) == mrr(other)
    assert one.movements() == other.movements()
    for id_ in ("sub_1", "sub_2"):
        assert saved(one, id_) == saved(other, id_)
