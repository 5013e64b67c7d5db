"""What `nightdesk mrr` says, by each of the conventions, in each currency and in one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.billing.conventions import BAREMETRICS, CHARTMOGUL, CONVENTIONS, STRIPE, Convention
from actors.billing.ledger import Ledger
from actors.billing.record import Kind
from actors.billing.statement import Statement, converted, statements
from actors.kernel.clock import SECOND
from tests.billing.stripe_events import START, Event
from tests.billing.subscribers import DAY, ended, subscribed
from tests.billing.test_ledger import ledger as kept

EVERY = pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=list(CONVENTIONS))


def usd(ledger: Ledger, convention: Convention, *, day: float) -> Statement:
    (one,) = statements(ledger, (START + round(day * DAY)) * SECOND, convention)
    return one


def moved(one: Statement) -> dict[str, int]:
    """Of the last thirty days, all together."""
    total: dict[str, int] = {}
    for flow in one.days.values():
        for kind, amount in flow.items():
            total[kind.value] = total.get(kind.value, 0) + amount
    return total


def coupon(percent: int, duration: str, *, end: int | None = None) -> dict[str, Any]:
    """Of which a subscription has one."""
    return {"discount": {"coupon": {"percent_off": percent, "duration": duration}, "end": end and START + end * DAY}}


@EVERY
def test_on_a_plain_subscription_all_agree(convention: Convention) -> None:
    ledger = kept(subscribed(0, 1), subscribed(0, 2, amount=12_000, interval="year"), ended(5 * DAY, 1))
    assert (usd(ledger, convention, day=4).mrr, usd(ledger, convention, day=4).customers) == (4000, 2)
    one = usd(ledger, convention, day=6)
    assert (one.mrr, one.arr, one.arpa, one.customers) == (1000, 12_000, 1000, 1)
    assert moved(one) == {"new": 4000, "churn": -3000}


@pytest.mark.parametrize(
    ("convention", "at_first", "later"), [(STRIPE, 3000, 3000), (CHARTMOGUL, 1500, 3000), (BAREMETRICS, 1500, 3000)]
)
def test_a_coupon_that_passes_lowers_it_while_it_lasts_or_never(
    convention: Convention, at_first: int, later: int
) -> None:
    """Nothing needs to be told when it runs out."""
    ledger = kept(subscribed(0, 1, **coupon(50, "repeating", end=10)))
    assert usd(ledger, convention, day=9).mrr == at_first
    assert usd(ledger, convention, day=11).mrr == later
    assert moved(usd(ledger, convention, day=11)) == {"new": at_first} | (
        {"expansion": later - at_first} if later != at_first else {}
    )


@EVERY
def test_a_coupon_for_ever_lowers_it_for_all(convention: Convention) -> None:
    assert usd(kept(subscribed(0, 1, **coupon(50, "forever"))), convention, day=400).mrr == 1500


@EVERY
def test_a_subscription_whose_price_is_tiered_is_counted_as_estimated_though_it_counts_nothing(
    convention: Convention,
) -> None:
    price = {"id": "p", "billing_scheme": "tiered", "unit_amount": None, "currency": "usd"}
    tiered: dict[str, Any] = {
        "items": {"data": [{"quantity": 5, "price": price | {"recurring": {"interval": "month"}}}]}
    }
    ledger = kept(subscribed(0, 1, **tiered), subscribed(0, 2), ended(5 * DAY, 1, **tiered))
    one = usd(ledger, convention, day=1)
    assert (one.mrr, one.subscriptions, one.estimated) == (3000, 1, 1)
    assert usd(ledger, convention, day=6).estimated == 0


@pytest.mark.parametrize(("convention", "after_month"), [(STRIPE, 3000), (CHARTMOGUL, 3000), (BAREMETRICS, 0)])
def test_who_is_past_due_for_a_month_has_churned_or_not(convention: Convention, after_month: int) -> None:
    late = subscribed(5 * DAY, 1, kind="updated", status="past_due")
    again = subscribed(20 * DAY, 1, kind="updated", status="past_due", amount=3000)
    ledger = kept(subscribed(0, 1), late, again)
    assert usd(ledger, convention, day=34).mrr == 3000
    assert usd(ledger, convention, day=36).mrr == after_month
    recovered = kept(subscribed(0, 1), late, again, subscribed(40 * DAY, 1, kind="updated"))
    assert usd(recovered, convention, day=41).mrr == 3000


@pytest.mark.parametrize("status", ["unpaid", "paused"])
@pytest.mark.parametrize(("convention", "mrr"), [(STRIPE, 0), (CHARTMOGUL, 3000), (BAREMETRICS, 0)])
def test_unpaid_and_paused_recur_or_not(convention: Convention, mrr: int, status: str) -> None:
    ledger = kept(subscribed(0, 1), subscribed(5 * DAY, 1, kind="updated", status=status))
    assert usd(ledger, convention, day=6).mrr == mrr


@pytest.mark.parametrize(
    ("convention", "moves"),
    [
        (STRIPE, {"new": 5000, "churn": -5000, "reactivation": 0}),
        (CHARTMOGUL, {"new": 3000, "expansion": 2000, "contraction": -3000, "churn": -2000}),
    ],
)
def test_what_moves_is_a_subscription_or_a_customer(convention: Convention, moves: dict[str, int]) -> None:
    """A customer takes a second subscription, then ends the first and later the second."""
    ledger = kept(
        subscribed(0, 1, customer="cus_1"),
        subscribed(DAY, 2, amount=2000, customer="cus_1"),
        ended(2 * DAY, 1, customer="cus_1"),
        ended(3 * DAY, 2, amount=2000, customer="cus_1"),
    )
    one = usd(ledger, convention, day=4)
    assert one.mrr == 0
    assert moved(one) == {kind: amount for kind, amount in moves.items() if amount}


stories = st.lists(
    st.builds(
        subscribed,
        st.integers(0, 60).map(lambda day: day * DAY),
        st.integers(1, 2),
        kind=st.sampled_from(("created", "updated")),
        amount=st.sampled_from((1000, 2000)),
        status=st.sampled_from(("active", "past_due", "unpaid", "canceled", "paused", "trialing")),
        discount=st.sampled_from((None, coupon(50, "repeating", end=20)["discount"], coupon(20, "once")["discount"])),
        customer=st.just("cus_1"),
    ),
    max_size=10,
)


@EVERY
@given(stories, st.randoms(use_true_random=False))
def test_any_order_and_repetition_gives_the_same_statement(
    convention: Convention, lived: list[Event], chance: Any
) -> None:
    """And what moved adds up to what recurs."""
    again = lived * 2
    chance.shuffle(again)
    at = (START + 200 * DAY) * SECOND
    made = statements(kept(*lived), at, convention)
    assert statements(kept(*again), at, convention) == made
    for one in made:
        assert sum(sum(flow.values()) for flow in one.months.values()) == one.mrr
        assert all(amount > 0 for flow in one.months.values() for kind, amount in flow.items() if kind is Kind.NEW)


def test_in_one_currency_each_figure_is_rounded_once_and_what_has_no_rate_is_named() -> None:
    """Yen have no minor unit, dinars a thousand."""
    ledger = kept(
        subscribed(0, 1, amount=3000),
        subscribed(0, 2, amount=1500, currency="jpy"),
        subscribed(0, 3, amount=1500, currency="kwd"),
        subscribed(0, 4, amount=100, currency="gbp"),
        subscribed(0, 5, amount=1000, currency="jpy"),
        ended(DAY, 5, amount=1000, currency="jpy"),
    )
    made = statements(ledger, (START + 2 * DAY) * SECOND)
    whole, missing = converted(made, "usd", {"jpy": 0.0065, "kwd": 3.25})
    assert missing == ["gbp"]
    assert (whole.currency, whole.mrr, whole.customers) == ("usd", 4462, 3)  # 3,000 + 975 + 487.5
    assert moved(whole) == {"new": 5112, "churn": -650}
    alone, _ = converted(statements(kept(subscribed(0, 1)), (START + DAY) * SECOND), "usd", {})
    assert (alone.mrr, alone.arpa) == (3000, 3000)
