"""An order as the exchange keeps it, and the words with which it declines one."""

from dataclasses import dataclass
from enum import StrEnum

from actors.trading.ports import Order, OrderReport, Refused, Side


class State(StrEnum):
    """Where an order is in its life; the words are Alpaca's."""

    ACCEPTED = "accepted"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class Declined(Refused):
    """A definite no, with the HTTP status and the code that Alpaca gives for it."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class Ticket:
    """An order, and what became of it. Times are UTC microseconds; `parent`: it came of that order's protection."""

    order: Order
    broker_id: str
    submitted_at: int
    state: str = State.ACCEPTED
    filled: float = 0.0
    paid: float = 0.0  # dollars that changed hands
    updated_at: int = 0
    reason: str = ""
    parent: str = ""

    @property
    def left(self) -> float:
        """Shares that are still to change hands, of an order by quantity."""
        assert self.order.quantity is not None  # noqa: S101 - sales have one, `submit` sees to it
        return self.order.quantity - self.filled

    @property
    def unspent(self) -> float:
        """Dollars that are still to be spent, of an order by its amount."""
        assert self.order.notional is not None  # noqa: S101 - for the caller to know
        return self.order.notional - self.paid

    def report(self) -> OrderReport:
        """As the broker port tells it."""
        return OrderReport(
            client_order_id=self.order.client_order_id,
            broker_id=self.broker_id,
            symbol=self.order.symbol,
            side=Side(self.order.side),
            state=self.state,
            filled=self.filled,
            average=self.paid / self.filled if self.filled else 0.0,
            reason=self.reason,
            parent=self.parent,
        )
