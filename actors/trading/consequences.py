"""What follows from where the orders stand: what is to be booked, what is over, and what goes out next. Pure."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

from actors.kernel.clock import SECOND
from actors.trading.accounts import DUST
from actors.trading.allocation import bookings, portions
from actors.trading.netting import Crossing, Wish, net
from actors.trading.orders import Orders, Sent
from actors.trading.ports import Side
from actors.trading.words import Booked, Intent, IntentOver, OrderPlaced

OTHER_WORDS = {"replaced": "canceled", "filled": "canceled"}
"""How an order ended that brought nothing."""

YIELD_AFTER = 2 * SECOND
"""How long an exit waits for an entry that is filling; then the entry's rest is cancelled."""

PATIENCE = 120 * SECOND
"""How long after its decision an entry may still go out; an exit always may."""


def to_book(orders: Orders, now: int) -> Iterator[Booked]:
    """The executions that are in the log and not in the books."""
    booked: dict[str, dict[str, float]] = {}
    for execution in orders.unbooked.values():
        order = orders.order(execution.client_order_id)
        assert order is not None  # noqa: S101 - an execution is folded together with its order
        so_far = booked.setdefault(execution.client_order_id, dict(order.booked))
        parts = portions(order.placed, so_far, execution.quantity)
        yield from bookings(execution, parts, orders.intents, order.reason, now)
        for share, quantity in parts:
            so_far[share.intent] = so_far.get(share.intent, 0.0) + quantity


def to_end(orders: Orders, now: int) -> Iterator[IntentOver]:
    """The intents to which nothing more will happen."""
    for order in orders.unfinished.values():
        if order.complete and not order.finished:
            assert order.report is not None  # noqa: S101 - it would not be over
            for share in order.placed.shares:
                intent = orders.intents[share.intent]
                got = order.booked.get(intent.id, 0.0) + orders.crossed.get(intent.id, 0.0)
                why = order.reason or order.report.reason
                yield IntentOver(intent.id, intent.strategy, _outcome(order, intent, got), now, why)
    for wish in orders.wishes.values():
        intent = orders.intents[wish.intent]
        if why := _given_up(orders, wish, now):
            outcome = "partial" if wish.intent in orders.crossed else "canceled"
            yield IntentOver(intent.id, intent.strategy, outcome, now, why)


def _outcome(order: Sent, intent: Intent, got: float) -> str:
    assert order.report is not None  # noqa: S101 - its caller has looked
    sold_out = intent.quantity is not None and got >= intent.quantity - DUST
    if sold_out or (intent.quantity is None and not order.reason and order.report.state == "filled"):
        return "filled"
    return "partial" if got > 0 else OTHER_WORDS.get(order.report.state, order.report.state)


def _given_up(orders: Orders, wish: Wish, now: int) -> str:
    """Why nothing is sent for it any more; of an exit, only what no broker takes is given up."""
    if wish.done:
        return "too small for an order"
    if wish.side is Side.SELL:
        return ""
    if orders.is_halted(orders.intents[wish.intent].strategy):
        return "halted"
    if now < wish.at + PATIENCE:
        return ""
    opposed = any(order.placed.side is Side.SELL for order in orders.in_flight(wish.symbol))
    return "an opposing order was in the way" if opposed else f"it could not be sent within {PATIENCE // SECOND} s"


def to_cancel(orders: Orders, now: int) -> Iterator[str]:
    """Orders that had better end: of a later halt, in the way of an exit, or given up and yet alive."""
    for order_id, order in orders.unfinished.items():
        if order.report is None or order.report.over:
            continue
        intents = [orders.intents[share.intent] for share in order.placed.shares]
        halted = all(orders.is_halted(intent.strategy) for intent in intents)
        entering = order.placed.side is Side.BUY
        if order.told or (entering and (halted or now >= _blocks_from(orders, order))):
            yield order_id


def _blocks_from(orders: Orders, order: Sent) -> float:
    """When an entry has been in the way of an exit for too long."""
    exits = [
        wish.at for wish in orders.wishes.values() if wish.side is Side.SELL and wish.symbol == order.placed.symbol
    ]
    return min(exits) + YIELD_AFTER if exits else math.inf


def due(orders: Orders, now: int) -> int | None:
    """When something follows though nothing happens."""
    times = [wish.at + PATIENCE for wish in orders.wishes.values() if wish.side is Side.BUY]
    times += [wish.at + YIELD_AFTER for wish in orders.wishes.values() if wish.side is Side.SELL]
    return min((time for time in times if time > now), default=None)


Price = Callable[[str], float | None]
"""The mid of a symbol in dollars, where it can be trusted to exchange shares at."""


def to_place(orders: Orders, mid_of: Price, now: int) -> Iterator[Booked | IntentOver | OrderPlaced]:
    """Crossings with their bookings, and orders, for all that may go out."""
    wishes: defaultdict[str, list[Wish]] = defaultdict(list)
    for wish in orders.wishes.values():
        if not _given_up(orders, wish, now):
            wishes[wish.symbol].append(wish)
    for symbol, wanted in wishes.items():
        opposed = len({wish.side for wish in wanted}) > 1
        in_flight = {order.placed.side for order in orders.in_flight(symbol)}
        plan = net(wanted, mid_of(symbol) if opposed else None, in_flight, now)
        for crossing in plan.crossings:
            for intent_id, side in ((crossing.buyer, Side.BUY), (crossing.seller, Side.SELL)):
                yield _crossed(crossing, side, orders.intents[intent_id], now)
        for intent_id in plan.done:
            yield IntentOver(intent_id, orders.intents[intent_id].strategy, "filled", now)
        yield from plan.orders


def _crossed(crossing: Crossing, side: Side, intent: Intent, now: int) -> Booked:
    return Booked(
        execution_id=crossing.id,
        strategy=intent.strategy,
        intent=intent.id,
        symbol=intent.symbol,
        side=side,
        quantity=crossing.quantity,
        price=crossing.price,
        fee=0.0,
        slippage=0.0,
        time=now,
        reason=intent.reason,
        at=now,
    )
