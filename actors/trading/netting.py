"""Ten strategies, one account: what they want of a symbol becomes crossings inside the house and few orders.

Brokers refuse to buy and to sell one symbol at a time (a wash trade). So what opposes each other is exchanged between
the books, at the mid; only the rest goes out, and while an opposing order is in flight, it waits.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from actors.kernel.frozen import frozen
from actors.trading.accounts import DUST
from actors.trading.ports import Protection, Side
from actors.trading.words import OrderPlaced, Share

SMALLEST = 1.0  # dollars; brokers refuse less


@dataclass(slots=True)
class Wish:
    """What is left to get for one intent that was allowed: dollars of a buy, shares of a sell."""

    intent: str
    symbol: str
    side: Side
    amount: float
    score: float
    at: int
    protection: Protection | None = None

    @property
    def done(self) -> bool:
        """Whether what is left is not worth an order."""
        return self.amount < SMALLEST if self.side is Side.BUY else self.amount <= DUST


@frozen
class Crossing:
    """Shares that go from one book to another, at `price` dollars."""

    buyer: str
    seller: str
    quantity: float
    price: float

    @property
    def id(self) -> str:
        """As an execution's: no two intents meet twice."""
        return f"{self.buyer}+{self.seller}"


@frozen
class Plan:
    """What becomes of the wishes: crossings, and orders for what is left; who appears in neither waits."""

    crossings: tuple[Crossing, ...]
    orders: tuple[OrderPlaced, ...]
    done: tuple[str, ...]  # intents that the crossings have satisfied


def net(wishes: Sequence[Wish], mid: float | None, in_flight: Collection[Side], now: int) -> Plan:
    """The wishes of one symbol; `mid` dollars, None: no price is known, nothing crosses.

    `in_flight` are the sides of its orders that are out. A buy under a protection does not cross: its exits are kept
    by the broker, who would not know of it.
    """
    buys = sorted((wish for wish in wishes if wish.side is Side.BUY), key=lambda wish: (-wish.score, wish.intent))
    sells = sorted((wish for wish in wishes if wish.side is Side.SELL), key=lambda wish: (wish.at, wish.intent))
    left = {wish.intent: wish.amount for wish in wishes}
    crossings = [] if mid is None else _cross([buy for buy in buys if buy.protection is None], sells, left, mid)
    met = {one.buyer for one in crossings} | {one.seller for one in crossings}
    done = tuple(wish.intent for wish in wishes if wish.intent in met and _rest(wish, left).done)
    sells = [rest for wish in sells if not (rest := _rest(wish, left)).done]
    buys = [rest for wish in buys if not (rest := _rest(wish, left)).done]
    orders: list[OrderPlaced] = []
    if sells:
        # An exit goes before an entry; the entry waits until it is over.
        if Side.BUY not in in_flight:
            orders.append(_order(sells, now))
    elif Side.SELL not in in_flight:
        plain = [wish for wish in buys if wish.protection is None]
        orders += [_order(plain, now)] if plain else []
        orders += [_order([wish], now) for wish in buys if wish.protection is not None]
    return Plan(tuple(crossings), tuple(orders), done)


def _cross(buys: Sequence[Wish], sells: Sequence[Wish], left: dict[str, float], mid: float) -> list[Crossing]:
    crossings = []
    for buy in buys:
        for sell in sells:
            quantity = min(left[buy.intent] / mid, left[sell.intent])
            if quantity > DUST and quantity * mid >= SMALLEST:
                crossings.append(Crossing(buy.intent, sell.intent, quantity, mid))
                left[buy.intent] -= quantity * mid
                left[sell.intent] -= quantity
    return crossings


def _rest(wish: Wish, left: dict[str, float]) -> Wish:
    return Wish(wish.intent, wish.symbol, wish.side, left[wish.intent], wish.score, wish.at, wish.protection)


def _order(wishes: Sequence[Wish], now: int) -> OrderPlaced:
    first = wishes[0]
    amount = first.amount if len(wishes) == 1 else sum(wish.amount for wish in wishes)
    buying = first.side is Side.BUY
    return OrderPlaced(
        client_order_id=order_id(wish.intent for wish in wishes),
        symbol=first.symbol,
        side=first.side,
        quantity=None if buying else amount,
        notional=amount if buying else None,
        shares=tuple(Share(wish.intent, wish.amount) for wish in wishes),
        at=now,
        protection=first.protection,
    )


def order_id(intents: Iterable[str]) -> str:
    """The name of the order that nets these intents: the same ones give the same, so it cannot be sent twice."""
    return "nd-" + hashlib.sha256("|".join(sorted(intents)).encode()).hexdigest()[:40]
