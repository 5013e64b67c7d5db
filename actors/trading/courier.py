"""Carries orders to the broker, each once, and brings back what it says of them.

A POST whose answer was not read is a question, never a reason for another POST: the broker is asked for the order by
our id until it has answered.
"""

import structlog

from actors.kernel.clock import Clock, io_sleep, monotonic
from actors.trading.consequences import PATIENCE
from actors.trading.orders import LOST
from actors.trading.ports import Broker, InDoubt, Order, OrderReport, Refused, Side, Unreachable
from actors.trading.words import OrderPlaced

log = structlog.get_logger()

DOUBT_S = 15.0
"""For so long after the deadline of its POST, an order that nobody knows of may still be on its way."""

ENTRY_S = 60.0
"""For so long it is tried to send an entry."""

RETRY_S = 1.0
RETRY_MAX_S = 30.0


class Courier:
    """Answers with where an order stands; waits as long as the broker does not answer."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker, self._clock = broker, clock

    async def place(self, placed: OrderPlaced, *, ask_first: bool) -> OrderReport:
        """Send an order, unless (`ask_first`: an earlier life may have sent it) the broker knows of it."""
        if ask_first:
            if (known := await self._asked(placed.client_order_id)) is not None:
                return known
            if placed.side is Side.BUY and self._clock.now() >= placed.at + PATIENCE:
                return rejection(placed, "it is too late to send it")
        order = Order(
            placed.client_order_id, placed.symbol, placed.side, placed.quantity, placed.notional, placed.protection
        )
        until, pause = monotonic() + ENTRY_S, RETRY_S
        while True:
            try:
                return await self._broker.submit(order)
            except Refused as refusal:
                # A known id is refused too: then the order is there.
                return await self._asked(placed.client_order_id) or rejection(placed, str(refusal))
            except InDoubt as trouble:
                log.warning("order_in_doubt", order=placed.client_order_id, symbol=placed.symbol, reason=str(trouble))
                return await self._resolved(placed)
            except Unreachable as trouble:
                # It never got there: an exit goes on trying, an entry is soon a thing of the past.
                log.warning("order_not_sent", order=placed.client_order_id, symbol=placed.symbol, reason=str(trouble))
                if placed.side is Side.BUY and monotonic() >= until:
                    return rejection(placed, f"the broker cannot be reached: {trouble}")
            await io_sleep(pause)
            pause = min(2 * pause, RETRY_MAX_S)

    async def _resolved(self, placed: OrderPlaced) -> OrderReport:
        until, pause = monotonic() + DOUBT_S, RETRY_S
        while True:
            if (known := await self._asked(placed.client_order_id)) is not None:
                return known
            if monotonic() >= until:
                return rejection(placed, LOST)
            await io_sleep(pause)
            pause = min(2 * pause, RETRY_MAX_S)

    async def _asked(self, client_order_id: str) -> OrderReport | None:
        pause = RETRY_S
        while True:
            try:
                return await self._broker.order(client_order_id)
            except Unreachable as trouble:
                log.warning("broker_unreachable", order=client_order_id, reason=str(trouble))
            except Refused as refusal:
                # It is a question: that it is not answered now says nothing about the order.
                log.error("broker_refuses", order=client_order_id, reason=str(refusal))  # noqa: TRY400 - its words say it all
            await io_sleep(pause)
            pause = min(2 * pause, RETRY_MAX_S)

    async def cancel(self, client_order_id: str) -> bool:
        """Ask for an order to be ended, and say whether that was heard; how it ended is told like everything else."""
        try:
            await self._broker.cancel(client_order_id)
        except (Unreachable, Refused) as trouble:
            log.warning("cancel_failed", order=client_order_id, reason=str(trouble))
            return False
        return True


def rejection(placed: OrderPlaced, reason: str) -> OrderReport:
    """An order that never came to be."""
    return OrderReport(placed.client_order_id, "", placed.symbol, placed.side, "rejected", 0.0, 0.0, reason)
