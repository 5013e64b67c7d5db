"""What many strategies want of one symbol: nothing is lost, nothing is bought and sold at once, few orders go out."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from actors.trading.allocation import portions
from actors.trading.netting import Plan, Wish, net, order_id
from actors.trading.ports import Protection, Side
from actors.trading.words import OrderPlaced, Share

MID = 50.0
SHARES = 1e-7


def buy(name: str, dollars: float, **more: float) -> Wish:
    return Wish(name, "AAPL", Side.BUY, dollars, more.get("score", 0.0), 0)


def sell(name: str, shares: float, at: int = 0) -> Wish:
    return Wish(name, "AAPL", Side.SELL, shares, 0.0, at)


def planned(*wishes: Wish, mid: float | None = MID, in_flight: frozenset[Side] = frozenset()) -> Plan:
    return net(wishes, mid, in_flight, now=1)


def test_what_opposes_is_exchanged_at_the_mid_and_the_rest_goes_out() -> None:
    plan = planned(buy("b", 1_000.0), sell("s", 5.0))
    assert [(one.buyer, one.seller, one.quantity, one.price) for one in plan.crossings] == [("b", "s", 5.0, 50.0)]
    [order] = plan.orders
    assert (order.side, order.notional, order.quantity) == (Side.BUY, 750.0, None)
    assert plan.done == ("s",)


def test_what_meets_exactly_needs_no_broker() -> None:
    plan = planned(buy("b", 250.0), sell("s", 5.0))
    assert plan.orders == ()
    assert set(plan.done) == {"b", "s"}


def test_those_who_want_the_same_share_one_order() -> None:
    plan = planned(sell("one", 3.0), sell("two", 7.0))
    [order] = plan.orders
    assert order.quantity == 10.0
    assert order.shares == (Share("one", 3.0), Share("two", 7.0))


def test_the_best_score_is_served_first_inside_the_house() -> None:
    plan = planned(buy("good", 100.0, score=1.0), buy("better", 100.0, score=2.0), sell("s", 2.0))
    assert [one.buyer for one in plan.crossings] == ["better"]


def test_without_a_price_the_exit_goes_out_and_the_entry_waits() -> None:
    plan = planned(buy("b", 1_000.0), sell("s", 5.0), mid=None)
    assert plan.crossings == ()
    assert [order.side for order in plan.orders] == [Side.SELL]


def test_while_an_opposing_order_is_out_nothing_follows_it() -> None:
    assert planned(buy("b", 1_000.0), in_flight=frozenset({Side.SELL})).orders == ()
    assert planned(sell("s", 5.0), in_flight=frozenset({Side.BUY})).orders == ()
    assert len(planned(sell("s", 5.0), in_flight=frozenset({Side.SELL})).orders) == 1


def test_a_buy_whose_exits_the_broker_keeps_goes_out_alone() -> None:
    guarded = [Wish(name, "AAPL", Side.BUY, 100.0, 0.0, 0, Protection(stop_loss=0.1)) for name in ("g1", "g2")]
    plan = planned(buy("b", 100.0), *guarded)
    assert sorted(len(order.shares) for order in plan.orders) == [1, 1, 1]
    plan = planned(*guarded, sell("s", 1.0))
    assert plan.crossings == ()
    assert [order.side for order in plan.orders] == [Side.SELL]


def test_an_order_is_named_after_its_intents_in_any_order() -> None:
    assert order_id(["a", "b"]) == order_id(["b", "a"]) != order_id(["a", "c"])
    assert len(order_id(["a"])) <= 48


AMOUNTS = st.floats(min_value=2.0, max_value=1e6)


@given(st.lists(AMOUNTS, max_size=10), st.lists(AMOUNTS, max_size=10), st.booleans(), st.sets(st.sampled_from(Side)))
def test_every_dollar_and_share_is_crossed_sent_waiting_or_done(
    buys: list[float], sells: list[float], priced: bool, in_flight: set[Side]
) -> None:
    wishes = [buy(f"b{n}", amount) for n, amount in enumerate(buys)]
    wishes += [sell(f"s{n}", amount) for n, amount in enumerate(sells)]
    plan = planned(*wishes, mid=MID if priced else None, in_flight=frozenset(in_flight))
    left = {wish.intent: wish.amount for wish in wishes}
    for crossing in plan.crossings:
        left[crossing.buyer] -= crossing.quantity * crossing.price
        left[crossing.seller] -= crossing.quantity
    assert all(amount >= -SHARES * 1e6 for amount in left.values())
    sides = {order.side for order in plan.orders}
    assert len(sides) <= 1
    assert not any(side is not flying for side in sides for flying in in_flight)
    for order in plan.orders:
        assert sum(share.part for share in order.shares) == (order.quantity or order.notional)
        for share in order.shares:
            assert abs(left[share.intent] - share.part) <= 1e-6 * max(1.0, share.part)
            assert share.intent not in plan.done


@given(st.lists(AMOUNTS, min_size=1, max_size=10), st.lists(st.floats(min_value=0.01, max_value=1.0), max_size=5))
def test_executions_are_split_without_a_rest(parts: list[float], cuts: list[float]) -> None:
    """Whatever the pieces in which an order to sell fills, each seller sells exactly what it had to sell."""
    [order] = planned(*(sell(f"s{n}", part) for n, part in enumerate(parts))).orders
    assert order.quantity is not None
    booked: defaultdict[str, float] = defaultdict(float)
    left = order.quantity
    for quantity in [*(cut * order.quantity / (len(cuts) + 1) for cut in cuts), None]:
        piece = left if quantity is None else quantity
        split = portions(order, booked, piece)
        assert abs(sum(given for _, given in split) - piece) <= 1e-9 * order.quantity
        for share, given_ in split:
            booked[share.intent] += given_
        left -= piece
    for share in order.shares:
        assert abs(booked[share.intent] - share.part) <= 1e-12 * share.part


def test_dollars_are_split_in_proportion() -> None:
    order = OrderPlaced("id", "AAPL", Side.BUY, None, 400.0, (Share("a", 100.0), Share("b", 300.0)), 0)
    assert [given for _, given in portions(order, {}, 8.0)] == [2.0, 6.0]
