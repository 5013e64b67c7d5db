"""The fence: all that the desk knows of a market and of a broker. Two of each exist: Alpaca's, and one in the process.

Prices on the market's side are whole 1/10,000 dollars, on the broker's side (averages of fills) dollars. Times are UTC
microseconds; a bar's time is its start. A sink is called from the event loop, must not raise and must not wait.
"""

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import Protocol

from actors.kernel.frozen import frozen


@frozen
class Bar:
    """One bar of one symbol, raw, as the feed sent it. `volume` in shares; `vwap` 0 where the feed gives none."""

    symbol: str
    time: int
    open: int
    high: int
    low: int
    close: int
    volume: float
    vwap: int = 0
    trades: int = 0


@frozen
class Quote:
    """Best bid and ask. A side that nobody offers is 0."""

    symbol: str
    time: int
    bid: int
    ask: int

    @property
    def valid(self) -> bool:
        """Whether it can price an order: both sides there, and not crossed."""
        return 0 < self.bid <= self.ask


@frozen
class BarSeen:
    """A bar has closed; `revised`: it replaces one that was sent before."""

    bar: Bar
    revised: bool = False


@frozen
class QuoteSeen:
    """The newest quote of a symbol."""

    quote: Quote


@frozen
class Halted:
    """Trading in a symbol has stopped, or goes on."""

    symbol: str
    halted: bool
    time: int


@frozen
class Link:
    """The stream is up and subscribed, or (with the reason) not; what was missed meanwhile has to be asked for."""

    up: bool
    reason: str = ""


MarketMessage = BarSeen | QuoteSeen | Halted | Link


@frozen
class Session:
    """One trading day: `date` as YYYY-MM-DD (New York), open and close."""

    date: str
    open: int
    close: int


@frozen
class SplitDay:
    """On this date (YYYY-MM-DD, New York) each share of the symbol becomes `ratio` shares (4.0: four for one)."""

    symbol: str
    date: str
    ratio: float


class MarketData(Protocol):
    """Where bars and quotes come from. Methods raise Unreachable where no answer came in time."""

    feed: str  # iex | sip | delayed_sip | synthetic …: what these bars are, recorded with each
    timeframe: int  # microseconds of a streamed bar

    async def run(self, symbols: Collection[str], sink: Callable[[MarketMessage], None]) -> None:
        """Stream until cancelled; reconnects by itself. Raises Refused where trying again is of no use."""

    async def history(self, symbols: Collection[str], timeframe: int, start: int, end: int) -> list[Bar]:
        """Raw bars with start <= time < end, by time, then symbol."""

    async def quotes(self, symbols: Collection[str]) -> list[Quote]:
        """The newest quote of each symbol that has one."""

    async def sessions(self, first: str, last: str) -> list[Session]:
        """The exchange's days from date to date, both included."""

    async def splits(self, symbols: Collection[str], first: str, last: str) -> list[SplitDay]:
        """The splits on the dates from first to last, both included."""


class Side(StrEnum):
    """What an order does."""

    BUY = "buy"
    SELL = "sell"


@frozen
class Protection:
    """Exits that a broker which triggers inside the bar keeps itself; fractions of the fill price."""

    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop: float | None = None


@frozen
class Order:
    """A market order for the day. A buy has either; a sell has a quantity. `notional` in dollars."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: float | None = None
    notional: float | None = None
    protection: Protection | None = None


TERMINAL = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})
"""States after which an order does nothing more. Every other word, known or not, means that it is in flight."""


@frozen
class OrderReport:
    """Where an order stands. `filled` shares so far, at `average` dollars.

    An order which the broker made itself, out of another's protection, names that one as `parent`, and the `reason`.
    """

    client_order_id: str
    broker_id: str
    symbol: str
    side: Side
    state: str
    filled: float
    average: float
    reason: str = ""
    parent: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.state in TERMINAL


@frozen
class Execution:
    """Shares that changed hands, once. `price` and `fee` in dollars; `reference` is the price before any cost."""

    execution_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: float
    price: float
    time: int
    fee: float = 0.0
    reference: float | None = None


@frozen
class OrderUpdate:
    """Something happened to an order; with an execution where shares changed hands."""

    report: OrderReport
    execution: Execution | None = None


BrokerMessage = OrderUpdate | Link


@frozen
class Holding:
    """What the account holds of a symbol: shares, and their average price in dollars."""

    symbol: str
    quantity: float
    average: float


@frozen
class AccountState:
    """Dollars."""

    equity: float
    cash: float
    buying_power: float
    blocked: bool = False


class Unreachable(Exception):
    """No answer, or one that says nothing: nothing is known, and nothing may be concluded."""


class InDoubt(Unreachable):
    """The order may have been taken or not: ask for it by its client_order_id."""


class Refused(Exception):
    """A definite no, in the broker's words: trying the same again is of no use."""


class Broker(Protocol):
    """Who takes orders. Methods raise Unreachable where no answer came in time, Refused for a definite no."""

    triggers_inside: bool
    """Whether it keeps the protection of orders itself; else the desk judges stops on the bars it sees."""

    async def run(self, sink: Callable[[BrokerMessage], None]) -> None:
        """Stream what happens to orders until cancelled; reconnects by itself."""

    async def submit(self, order: Order) -> OrderReport:
        """Send once, never again by itself. InDoubt: it may be there. A known client_order_id is Refused."""

    async def order(self, client_order_id: str) -> OrderReport | None:
        """By our id; None: the broker has never seen it."""

    async def open_orders(self) -> list[OrderReport]:
        """All that are not over."""

    async def cancel(self, client_order_id: str) -> None:
        """Ask for it to be ended; how it ended comes as an update. What is over already is no error."""

    async def account(self) -> AccountState:
        """Its money."""

    async def holdings(self) -> list[Holding]:
        """Its positions."""

    async def executions(self, after: int) -> Sequence[Execution]:
        """Everything filled since, oldest first."""
