"""What the desk has asked of its broker and what came of it: a fold over the desk's log.

An intent that risk allowed becomes a wish; wishes are netted into orders; executions are booked to the intents of
their order; when nothing more can come, the intent is over.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from actors.kernel.clock import SECOND
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind
from actors.trading.accounts import Accounts
from actors.trading.journal import decode
from actors.trading.netting import Wish
from actors.trading.ports import Execution, OrderReport, OrderUpdate, Side
from actors.trading.words import (
    Booked,
    Instruction,
    Intent,
    IntentOver,
    OrderMoved,
    OrderPlaced,
    Purpose,
    Split,
    Told,
    Verdict,
)

LOST = "the broker has never seen it"
"""Reason of the rejection that we make up ourselves when nobody knows of an order; the broker may yet."""

ROUNDED = 1e-6
"""Shares by which the parts of an order may miss its whole: each of them is rounded to nine decimals."""

KNOWN_FOR = 7 * 86_400 * SECOND
"""So long an execution is known as one that was seen; the broker is never asked for older ones."""

FINISHED_KEPT = 200


@dataclass(slots=True)
class Sent:
    """An order and its fate: `executed` shares for `dollars` in all, of which `booked` shares by intent."""

    placed: OrderPlaced
    report: OrderReport | None = None  # None: the broker has not answered yet
    executed: float = 0.0
    dollars: float = 0.0
    booked: dict[str, float] = field(default_factory=dict)
    told: bool = False  # that its intents are over

    @property
    def reason(self) -> str:
        """Why the broker made it, out of a protection; "": it did not."""
        return self.report.reason if self.report is not None and self.report.parent else ""

    @property
    def in_flight(self) -> bool:
        """Whether something may still happen to it."""
        return self.report is None or not self.report.over

    @property
    def lacks(self) -> float:
        """Shares that the broker has filled and not told us the executions of."""
        return 0.0 if self.report is None else self.report.filled - self.executed

    @property
    def complete(self) -> bool:
        """Over, with every execution known and booked."""
        unbooked = self.executed - sum(self.booked.values())
        return not self.in_flight and self.lacks <= ROUNDED and unbooked <= ROUNDED

    @property
    def finished(self) -> bool:
        """Complete, and those whom it concerns know it; of a protection that worked, the bookings say all."""
        worked = bool(self.reason) and self.report is not None and self.report.state == "filled"
        return self.complete and (self.told or worked)


class Orders:
    """All that the broker desk knows."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.intents: dict[str, Intent] = {}
        self.wishes: dict[str, Wish] = {}  # allowed, and in no order
        self.crossed: dict[str, float] = {}  # shares that wishes have got inside the house
        self.unfinished: dict[str, Sent] = {}  # by client_order_id
        self.finished: dict[str, Sent] = {}  # the newest of them
        self.executions: dict[str, tuple[str, int]] = {}  # execution → its order and time, oldest first
        self.unbooked: dict[str, Execution] = {}
        self.halted: set[str] = set()
        self.splitting: set[str] = set()  # symbols without a bar since their shares were split
        self.news: list[Booked] = []
        """What was booked since somebody last looked; not saved."""

    # --- questions ---------------------------------------------------------------------------------------------------

    def order(self, client_order_id: str) -> Sent | None:
        """By our id."""
        return self.unfinished.get(client_order_id) or self.finished.get(client_order_id)

    def knows(self, report: OrderReport) -> bool:
        """Whether it is of an order of ours, or of one that the broker made out of the protection of ours."""
        return self.order(report.client_order_id) is not None or self.order(report.parent) is not None

    def in_flight(self, symbol: str | None = None) -> Iterator[Sent]:
        """Orders to which something may still happen."""
        return (
            order for order in self.unfinished.values() if order.in_flight and symbol in (None, order.placed.symbol)
        )

    def busy(self) -> set[str]:
        """Symbols of which the broker may hold something else than the books say, because things are happening.

        A split is in the books at midnight; at the broker at some time before the open.
        """
        return {order.placed.symbol for order in self.unfinished.values() if not order.complete} | self.splitting

    def free(self) -> float:
        """Cash of all books on which no entry has a claim."""
        wished = sum(wish.amount for wish in self.wishes.values() if wish.side is Side.BUY)
        ordered = sum(
            max(0.0, (order.placed.notional or 0.0) - order.dollars)
            for order in self.unfinished.values()
            if order.placed.side is Side.BUY and order.in_flight
        )
        return self.accounts.cash - wished - ordered

    def is_halted(self, strategy: str) -> bool:
        """Whether it, or everyone, was told to enter nothing."""
        return "" in self.halted or strategy in self.halted

    def is_news(self, update: OrderUpdate) -> bool:
        """Whether it says of an order of ours what is not in the log yet; streams and polls repeat themselves."""
        report, execution = update.report, update.execution
        order = self.order(report.client_order_id)
        if order is None:
            return self.order(report.parent) is not None
        if execution is not None and execution.execution_id not in self.executions:
            # An order does not execute more than it fills: beyond that, we have made up what was never told.
            filled = max(report.filled, order.report.filled if order.report else 0.0)
            return order.executed + execution.quantity <= filled + ROUNDED
        return is_newer(report, order.report)

    # --- the fold ----------------------------------------------------------------------------------------------------

    def fold(self, entry: DeskEntry) -> None:  # noqa: C901 - one case a word
        """Take in one entry."""
        if entry.kind == DeskKind.BLOCK:
            assert isinstance(entry.data, BarBlock)  # noqa: S101 - the store sees to it
            if self.accounts.close(entry.data):
                self.splitting.difference_update(entry.data.symbols)
            return
        word = decode(entry)
        self.accounts.fold(word)
        match word:
            case Intent():
                self.intents[word.id] = word
            case Verdict(allowed=True):
                self._allowed(word)
            case OrderPlaced():
                self.unfinished[word.client_order_id] = Sent(word)
                for share in word.shares:
                    self.wishes.pop(share.intent, None)
            case OrderMoved():
                self._moved(word)
            case Booked():
                self._booked(word)
            case IntentOver():
                self._over(word)
            case Told():
                self._told(word)
            case Split():
                self.splitting.add(word.symbol)

    def _allowed(self, verdict: Verdict) -> None:
        if intent := self.intents.get(verdict.intent):
            amount = verdict.budget if intent.purpose is Purpose.ENTER else intent.quantity
            self.wishes[intent.id] = Wish(
                intent.id, intent.symbol, intent.side, amount or 0.0, intent.score, intent.at, intent.protection
            )

    def _moved(self, moved: OrderMoved) -> None:
        report, execution = moved.report, moved.execution
        order = self.order(report.client_order_id) or self._adopt(report, moved.at)
        if order is None:
            return
        if is_newer(report, order.report):
            order.report = report
        if execution is not None:
            order.executed += execution.quantity
            order.dollars += execution.quantity * execution.price
            self.executions[execution.execution_id] = report.client_order_id, execution.time
            self.unbooked[execution.execution_id] = execution
            self._forget_executions(execution.time - KNOWN_FOR)
        self._shelve(order)

    def _forget_executions(self, before: int) -> None:
        while (oldest := next(iter(self.executions.items())))[1][1] < before:
            del self.executions[oldest[0]]

    def _adopt(self, report: OrderReport, at: int) -> Sent | None:
        """An order that the broker made out of the protection of one of ours becomes ours when it is first heard of."""
        parent = self.order(report.parent)
        if parent is None:
            return None
        placed = replace(
            parent.placed,
            client_order_id=report.client_order_id,
            side=report.side,
            quantity=None,
            notional=None,
            protection=None,
            at=at,
        )
        return Sent(placed, report)

    def _booked(self, word: Booked) -> None:
        self.news.append(word)
        if known := self.executions.get(word.execution_id):
            self.unbooked.pop(word.execution_id, None)
            if order := self.order(known[0]):
                order.booked[word.intent] = order.booked.get(word.intent, 0.0) + word.quantity
                self._shelve(order)
        elif wish := self.wishes.get(word.intent):
            self.crossed[word.intent] = self.crossed.get(word.intent, 0.0) + word.quantity
            wish.amount -= word.quantity * word.price if word.side is Side.BUY else word.quantity

    def _over(self, word: IntentOver) -> None:
        self.wishes.pop(word.intent, None)
        self.crossed.pop(word.intent, None)
        concerned = [order for order in self.unfinished.values() if order.complete and _is_for(order, word.intent)]
        for order in concerned:
            order.told = True
            self._shelve(order)
        if not concerned:
            self.intents.pop(word.intent, None)

    def _shelve(self, order: Sent) -> None:
        """Where an order belongs: one that comes back to life, as those do that were given up too soon, too."""
        order_id = order.placed.client_order_id
        if not order.finished:
            self.finished.pop(order_id, None)
            self.unfinished[order_id] = order
            return
        self.unfinished.pop(order_id, None)
        self.finished[order_id] = order
        for old in list(self.finished.values())[: len(self.finished) - FINISHED_KEPT]:
            if not self._protects(old):
                del self.finished[old.placed.client_order_id]
                for share in old.placed.shares:
                    self.intents.pop(share.intent, None)

    def _protects(self, order: Sent) -> bool:
        """Whether the broker may yet make exits out of it."""
        intents = (self.intents.get(share.intent) for share in order.placed.shares)
        strategies = (intent.strategy for intent in intents if intent is not None)
        purses = (self.accounts.purses.get(strategy) for strategy in strategies)
        return order.placed.protection is not None and any(
            purse is not None and order.placed.symbol in purse.stakes for purse in purses
        )

    def _told(self, told: Told) -> None:
        if told.instruction is not Instruction.RESUME:
            self.halted.add(told.strategy)
        elif told.strategy:
            self.halted.discard(told.strategy)
        else:
            self.halted.clear()


def _is_for(order: Sent, intent: str) -> bool:
    return any(share.intent == intent for share in order.placed.shares)


def is_newer(report: OrderReport, known: OrderReport | None) -> bool:
    """More filled beats less, over beats live; after what we made up ourselves, anything the broker says is newer."""
    if known is None or (known.reason == LOST and report.reason != LOST):
        return True
    if report.filled < known.filled or (known.over and not report.over):
        return False
    return report.filled > known.filled or report.state != known.state
