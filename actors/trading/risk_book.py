"""What the limits are measured on: equity, its peak, the day's loss, what is wanted and not yet bought, who is stopped.

A fold over the desk's log. Who is named "" is the account: all strategies together.
"""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from actors.kernel.clock import SECOND
from actors.store.desk_records import BarBlock, DeskEntry, DeskKind
from actors.trading.accounts import Accounts
from actors.trading.journal import KINDS, decode
from actors.trading.ports import Side
from actors.trading.words import Booked, Funded, Instruction, Intent, IntentOver, Purpose, Told, Verdict
from strategies.sessions import exchange_dates

ACCOUNT = ""
KILL_SWITCH = "kill_switch"
MINUTE = 60 * SECOND
STOPPED_OUT = frozenset({"stop_loss", "trailing_stop"})


def exchange_day(time: int, timeframe: int = 0) -> str:
    """The exchange's date (YYYY-MM-DD) of a moment, or of a bar that starts then."""
    return str(exchange_dates(np.array([time], np.int64), timeframe)[0])


@dataclass(slots=True)
class Claim:
    """An entry that was allowed and is not over: the dollars of its budget that are not spent yet."""

    strategy: str
    symbol: str
    budget: float


class RiskBook:
    """All that risk knows. Money in dollars, times in UTC microseconds."""

    def __init__(self, kill_switch_drawdown: float, daily_loss: float) -> None:
        self.accounts = Accounts()
        self.unjudged: dict[str, Intent] = {}
        self.claims: dict[str, Claim] = {}  # by intent
        self.orders: deque[int] = deque()  # when intents were allowed, the last minute of them
        self.stopped_out: dict[tuple[str, str], int] = {}  # (strategy, symbol) → when a stop last ended a position
        self.halted: dict[str, str] = {}  # who → by whom
        self.peak = 0.0
        self.equity = 0.0
        self.day = ""
        self.closing: dict[str, float] = {}
        """Equity at the end of the newest bars: at a day's first, where the day before has ended."""
        self.opening: dict[str, float] = {}
        self.lost: dict[str, float] = {}  # who may enter nothing more today → what was lost when that was seen
        self.fallen = False
        """Whether the account stands so far below its peak that all is to be sold; until an operator resumes."""
        self.refusals: list[tuple[Intent, Verdict]] = []
        """Since somebody last took them; not saved."""
        self._kill_switch_drawdown = kill_switch_drawdown
        self._daily_loss = daily_loss

    def fold(self, entry: DeskEntry) -> None:
        """Take in one entry."""
        if entry.kind == DeskKind.BLOCK:
            assert isinstance(entry.data, BarBlock)  # noqa: S101 - the store sees to it
            self._close(entry.data)
            return
        word = decode(entry)
        self.accounts.fold(word)
        match word:
            case Intent():
                self.unjudged[word.id] = word
            case Verdict():
                self._judged(word)
            case Booked():
                self._booked(word)
            case IntentOver():
                self.claims.pop(word.intent, None)
                self.unjudged.pop(word.intent, None)
            case Told():
                self._told(word)
            case Funded():
                self.peak += word.capital
                self.equity += word.capital
                for equity in (self.opening, self.closing):
                    equity[word.strategy] = word.capital
                    equity[ACCOUNT] = equity.get(ACCOUNT, 0.0) + word.capital

    def drawdown(self) -> float:
        """Of the account, from its peak, as a fraction of what all began with."""
        capital = self.accounts.capital
        return (self.peak - self.equity) / capital if capital > 0 else 0.0

    def equity_of(self, who: str) -> float:
        """At the last closes."""
        purses = self.accounts.purses
        return self.accounts.equity(who) if who else sum(self.accounts.equity(name) for name in purses)

    def _equities(self) -> dict[str, float]:
        return {who: self.equity_of(who) for who in (ACCOUNT, *self.accounts.purses)}

    def free(self) -> float:
        """Cash of all books on which no entry has a claim."""
        return self.accounts.cash - sum(claim.budget for claim in self.claims.values())

    def _close(self, block: BarBlock) -> None:
        if not self.accounts.close(block):
            return
        if (day := exchange_day(block.time, block.timeframe)) > self.day:
            self.day, self.opening = day, dict(self.closing)
            self.lost.clear()
        self.closing = self._equities()
        self.equity = self.closing[ACCOUNT]
        self.peak = max(self.peak, self.equity)
        if self.accounts.capital > 0 and self.drawdown() >= self._kill_switch_drawdown:
            self.fallen = True
        for who, equity in self.closing.items():
            opening = self.opening.setdefault(who, equity)  # who has no money yet has no day before
            loss = opening - equity
            if loss >= self._daily_loss * opening > 0:
                self.lost.setdefault(who, loss)

    def _judged(self, verdict: Verdict) -> None:
        intent = self.unjudged.pop(verdict.intent, None)
        if intent is None:
            return
        if not verdict.allowed:
            self.refusals.append((intent, verdict))
            return
        self.orders.append(verdict.at)
        while self.orders[0] <= verdict.at - MINUTE:
            self.orders.popleft()
        if intent.purpose is Purpose.ENTER and verdict.budget is not None:
            self.claims[intent.id] = Claim(intent.strategy, intent.symbol, verdict.budget)

    def _booked(self, word: Booked) -> None:
        if word.side is Side.SELL and word.reason in STOPPED_OUT:
            self.stopped_out[word.strategy, word.symbol] = word.time
        if word.side is Side.BUY and (claim := self.claims.get(word.intent)):
            claim.budget = max(0.0, claim.budget - word.quantity * word.price)

    def _told(self, told: Told) -> None:
        if told.instruction is not Instruction.RESUME:
            if self.halted.get(told.strategy) != KILL_SWITCH:
                self.halted[told.strategy] = told.by
            return
        if told.strategy:
            self.halted.pop(told.strategy, None)
        else:
            self.halted.clear()
            if self.fallen:
                self.peak, self.fallen = self.equity, False

    def save(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "accounts": self.accounts.save(),
            "unjudged": [asdict(intent) for intent in self.unjudged.values()],
            "claims": {intent: [claim.strategy, claim.symbol, claim.budget] for intent, claim in self.claims.items()},
            "orders": list(self.orders),
            "stopped_out": [[*who, at] for who, at in self.stopped_out.items()],
            "halted": self.halted,
            "peak": self.peak,
            "equity": self.equity,
            "day": self.day,
            "closing": self.closing,
            "opening": self.opening,
            "lost": self.lost,
            "fallen": self.fallen,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Be as `save` said."""
        self.accounts = Accounts.load(saved["accounts"])
        unjudged = [decode(DeskEntry(0, KINDS[Intent], 0, intent)) for intent in saved["unjudged"]]
        self.unjudged = {intent.id: intent for intent in unjudged if isinstance(intent, Intent)}
        self.claims = {intent: Claim(*claim) for intent, claim in saved["claims"].items()}
        self.orders = deque(saved["orders"])
        self.stopped_out = {(strategy, symbol): at for strategy, symbol, at in saved["stopped_out"]}
        self.halted, self.opening, self.lost = dict(saved["halted"]), dict(saved["opening"]), dict(saved["lost"])
        self.peak, self.equity, self.day, self.fallen = saved["peak"], saved["equity"], saved["day"], saved["fallen"]
        self.closing = dict(saved.get("closing") or self._equities())  # which the first version did not save
