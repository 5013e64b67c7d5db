"""Who gets what of an execution: pro rata, so that the books add up to what the broker says."""

from collections.abc import Iterator, Mapping, Sequence

from actors.trading.accounts import DUST
from actors.trading.ports import Execution, Side
from actors.trading.words import Booked, Intent, OrderPlaced, Share


def portions(placed: OrderPlaced, booked: Mapping[str, float], quantity: float) -> list[tuple[Share, float]]:
    """The shares of an execution of `quantity` that go to each intent of its order; `booked` is what they have of it.

    In proportion to the shares of a sell, to the dollars of a buy; the last takes the rest. The last execution of a
    sell gives each exactly what it still lacks: a position that is sold is gone.
    """
    shares = placed.shares
    if len(shares) == 1:
        return [(shares[0], quantity)]
    before = sum(booked.values())
    if placed.quantity is not None and before + quantity >= placed.quantity - DUST:
        return [(share, share.part - booked.get(share.intent, 0.0)) for share in shares]
    whole = sum(share.part for share in shares)
    given = [quantity * (share.part / whole) for share in shares[:-1]]
    return list(zip(shares, [*given, quantity - sum(given)], strict=True))


def bookings(
    execution: Execution, parts: Sequence[tuple[Share, float]], intents: Mapping[str, Intent], reason: str, now: int
) -> Iterator[Booked]:
    """An execution as it goes into the books. `reason` where it is not the intent's own.

    Slippage is what the price was worse than the reference, where the broker tells one, else than the mid that the
    strategy decided on.
    """
    fee_left = execution.fee
    for number, (share, quantity) in enumerate(parts, 1):
        if number == len(parts):
            fee = fee_left
        else:
            fee = execution.fee * (quantity / execution.quantity)
            fee_left -= fee
        intent = intents[share.intent]
        reference = execution.reference if execution.reference is not None else intent.mid
        worse = 0.0 if reference is None else execution.price - reference
        yield Booked(
            execution_id=execution.execution_id,
            strategy=intent.strategy,
            intent=intent.id,
            symbol=execution.symbol,
            side=execution.side,
            quantity=quantity,
            price=execution.price,
            fee=fee,
            slippage=(worse if execution.side is Side.BUY else -worse) * quantity,
            time=execution.time,
            reason=reason or intent.reason,
            at=now,
        )
