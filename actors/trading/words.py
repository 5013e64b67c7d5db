"""What the desk writes into its log: the words in which feed, strategies, risk and broker meet.

Each entry is committed before anyone acts on it, and each actor's state is a fold over them. Prices and money are
dollars, quantities shares, times UTC microseconds.
"""

from enum import StrEnum

from actors.kernel.frozen import frozen
from actors.trading.ports import Execution, OrderReport, Protection, Side


class Purpose(StrEnum):
    """What an intent is for."""

    ENTER = "enter"
    LEAVE = "leave"


@frozen
class Intent:
    """A strategy wants to trade. (strategy, symbol, bar_time, purpose, attempt) is its identity, `id` their hash.

    An entry has a `budget` in dollars, an exit a `quantity`. `bar_time` is the bar whose close decided.
    """

    id: str
    strategy: str
    symbol: str
    bar_time: int
    purpose: Purpose
    attempt: int
    at: int
    reason: str  # signal, stop_loss, take_profit, trailing_stop, max_holding, session_end, kill_switch, flatten
    mid: float | None  # of the quote it was decided on
    budget: float | None = None
    quantity: float | None = None
    score: float = 0.0
    protection: Protection | None = None

    @property
    def side(self) -> Side:
        """Long only: entering buys."""
        return Side.BUY if self.purpose is Purpose.ENTER else Side.SELL


@frozen
class Verdict:
    """What risk said to an intent: allowed (a budget may have been cut), or refused by a rule, with its numbers."""

    intent: str
    allowed: bool
    at: int
    budget: float | None = None
    rule: str = ""
    numbers: str = ""


@frozen
class Share:
    """What part of an order is for one intent: shares of a sell, dollars of a buy."""

    intent: str
    part: float


@frozen
class OrderPlaced:
    """Committed before the order is sent: its id, and whose intents it nets."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: float | None
    notional: float | None
    shares: tuple[Share, ...]
    at: int
    protection: Protection | None = None


@frozen
class OrderMoved:
    """The broker said something new of an order; an execution is in the log once, by its id."""

    report: OrderReport
    execution: Execution | None
    at: int


@frozen
class Booked:
    """Shares that changed hands for one intent: its part of an execution, or a crossing inside the house.

    `parent`: an exit the broker made of that intent's protection, for `reason`.
    """

    execution_id: str  # of a crossing: both intents' ids
    strategy: str
    intent: str
    symbol: str
    side: Side
    quantity: float
    price: float
    fee: float
    slippage: float
    time: int
    reason: str
    at: int


@frozen
class IntentOver:
    """Nothing more will happen for this intent: what it got is booked, the rest is not coming."""

    intent: str
    strategy: str
    outcome: str  # filled, partial, rejected, canceled, expired, refused
    at: int
    why: str = ""


class Instruction(StrEnum):
    """What an operator, or a rule, tells the desk."""

    HALT = "halt"
    RESUME = "resume"
    FLATTEN = "flatten"


@frozen
class Told:
    """An instruction to one strategy, or ("") to all."""

    instruction: Instruction
    strategy: str
    at: int
    by: str  # operator, kill_switch …


@frozen
class Funded:
    """What a strategy begins with, once and for ever: its initial capital in dollars."""

    strategy: str
    capital: float
    at: int


@frozen
class Split:
    """From the bars that start at `time` on, each share of the symbol has become `ratio` shares (4.0: four for one)."""

    symbol: str
    ratio: float
    time: int
    at: int


@frozen
class Decided:
    """What a strategy concluded at the close of a bar, and what its book was worth there.

    `enter`: what its signals say to buy, with scores, whether it can or not; `held`: what it held of the symbols with a
    bar; `leave`: those of them that its signals say to sell. `by` tells its code and parameters from others it has had.
    """

    strategy: str
    bar_time: int
    enter: tuple[tuple[str, float], ...]
    held: tuple[str, ...]
    leave: tuple[str, ...]
    equity: float
    cash: float
    killed: bool
    at: int
    by: str = ""


@frozen
class Passed:
    """An entry was due and is not taken, because of what `why` says; with a `rule` the backtest would have taken it."""

    strategy: str
    symbol: str
    bar_time: int
    at: int
    why: str
    rule: str = ""


@frozen
class WarmedUp:
    """The past of these strategies follows: blocks of `timeframe` (microseconds) that start before `until`.

    Their signals begin anew from the first of them; books, and what was decided before, stay.
    """

    strategies: tuple[str, ...]
    timeframe: int
    until: int
    at: int
