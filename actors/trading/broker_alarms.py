"""What people are told of the broker's word and our books."""

from actors.store.alarm import UNTIL_RESOLVED_S, Alarm
from actors.store.records import Severity
from actors.trading.reconcile import Unexplained, order_text, trade_text
from actors.trading.words import Booked

ACCOUNT = "account"
SHOWN = 20


def mismatch(found: Unexplained) -> Alarm:
    """Both sides; or (nothing found) that they agree."""
    if not found:
        return Alarm("broker_mismatch", ACCOUNT, None)
    return Alarm(
        "broker_mismatch",
        ACCOUNT,
        f"The broker and our books differ: {found}",
        Severity.CRITICAL,
        first="Nobody enters anything until they agree. Was something traded by hand? Undo it at the broker.",
        evidence={
            "differences": {one.symbol: {"books": one.ours, "broker": one.theirs} for one in found.shares},
            "foreign_orders": [order_text(order) for order in found.orders[:SHOWN]],
            "foreign_trades": [trade_text(trade) for trade in found.trades[-SHOWN:]],
        },
        quiet_s=UNTIL_RESOLVED_S,
    )


def strange_price(booked: Booked, mid: float) -> Alarm:
    """An execution far from the quote."""
    off = f"{booked.price / mid - 1:+.1%}"
    return Alarm(
        "broker_mismatch",
        booked.symbol,
        f"{booked.strategy}: {booked.symbol}, {booked.side} at {booked.price:,.4f}, is {off} from its quote",
        first="It is booked as the broker says. Look at the execution there: was the quote wrong?",
        evidence={"price": booked.price, "mid": mid, "execution": booked.execution_id},
    )
