"""A strategy that is not there (it failed, it hung, the config does not name it any more) leaves a book behind.

Somebody has to mark that book, keep the stops of what is held, and obey halt, flatten and kill switch. A caretaker is
the strategy's own runner with nobody to decide: it enters nothing. It goes when the strategy comes back.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Never

import anyio
import structlog

from actors.kernel.actor import Actor
from actors.kernel.clock import Clock
from actors.kernel.mailbox import Mailbox
from actors.store.alarm import UNTIL_RESOLVED_S, Alarm
from actors.store.desk_records import DeskEntry, Parts
from actors.store.protocol import Store
from actors.store.records import Severity
from actors.trading import trader_state
from actors.trading.book import BookError
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import desk_mailbox
from actors.trading.runner import READERS, Runner
from actors.trading.trader import Trader
from strategies.bars import Block
from strategies.base import Signals, Strategy

log = structlog.get_logger()

RETIRED = "the config does not name it any more"


class Nobody(Strategy):
    """Stands where a strategy is missing, and is never asked."""

    def step(self, bars: Block) -> Signals:
        """There is nothing to say."""
        raise NotImplementedError


class Caretaker(Runner):
    """Has the book as its strategy left it."""

    def __init__(
        self,
        make: Callable[[int | None], Trader],
        why: str,
        store: Store,
        clock: Clock,
        board: QuoteBoard,
        session_open: Callable[[int], int | None],
        alarm: Callable[[Alarm], object],
    ) -> None:
        """`make` gives a trader with Nobody and bars as long as the strategy's were; None: that is not known.

        `why` the strategy is not there; the rest is a Runner's.
        """
        self._timeframe: int | None = None
        self._why = why
        self._told: bool | None = None  # whether people know that it holds something; None: nothing, in this life
        super().__init__(lambda: make(self._timeframe), store, clock, board, session_open, alarm)

    def restore(self, parts: Parts) -> bool:
        """As `DeskReader`; the strategy's own state is not needed, and begins anew when it is back."""
        self._timeframe = trader_state.timeframe_of(parts)
        restored = super().restore(parts)
        self._cold = False
        self._decide_nothing()
        return restored

    def fold(self, entry: DeskEntry) -> None:
        """As `DeskReader`."""
        super().fold(entry)
        self._decide_nothing()

    def _decide_nothing(self) -> None:
        self.trader.failure = self._why
        self.trader.wanted.clear()

    async def settled(self) -> None:
        """Of who failed people know; of who was taken out of the config they hear as long as it holds something."""
        held = [symbol for symbol, _ in self.trader.book.held]
        if self._why is RETIRED and self._told is not bool(held):
            self._told = bool(held)
            self._alarm(_retired(self.trader.name, held))


def _retired(strategy: str, held: list[str]) -> Alarm:
    if not held:
        return Alarm("strategy_failed", strategy, None)
    return Alarm(
        "strategy_failed",
        strategy,
        f"{strategy} is not traded any more and still holds {', '.join(held)}",
        first=f"Its stops are kept, and it enters nothing: nightdesk flatten {strategy} sells what it holds.",
        evidence={"held": held},
        quiet_s=UNTIL_RESOLVED_S,
    )


@dataclass
class _Post:
    caretaker: Caretaker
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    left: anyio.Event = field(default_factory=anyio.Event)


class Custody:
    """Which strategies are not there, and who has their books. Outlives the actors; a book has one keeper at a time."""

    def __init__(self) -> None:
        self.absent: dict[str, str] = {}
        """Strategy → why."""
        self.posts: dict[str, _Post] = {}
        self.changed = anyio.Event()

    @property
    def mailboxes(self) -> list[Mailbox[object]]:
        """Of all caretakers."""
        return [post.caretaker.mailbox for post in self.posts.values()]

    def take(self, strategy: str, why: str) -> None:
        """It is not there any more, and whoever ran it has ended."""
        self.absent[strategy] = why
        self.changed.set()

    async def give_back(self, strategy: str) -> None:
        """It is there again. Returns when nobody else has its book."""
        self.absent.pop(strategy, None)
        if post := self.posts.get(strategy):
            post.scope.cancel()
            await post.left.wait()


class Caretakers(Actor[Never]):
    """Keeps a caretaker at work for each strategy that is not there."""

    def __init__(
        self,
        custody: Custody,
        store: Store,
        make: Callable[[str, str], Caretaker],
        *,
        traded: Collection[str],
        booked: Callable[[], Iterable[str]],
        alarm: Callable[[Alarm], object],
    ) -> None:
        """`make` is given a strategy and why it is not there. Who has a book (`booked`) and is not `traded`, is not."""
        self._custody = custody
        self._store = store
        self._make = make
        self._traded = traded
        self._booked = booked
        self._alarm = alarm

    async def start(self) -> None:
        """Find out who was traded once: has a book, or left a state, without which the log could never be pruned."""
        left = {reader.removeprefix(READERS) for reader in await self._store.desk.readers(READERS)}
        for strategy in sorted(left.union(self._booked()).difference(self._traded)):
            self._custody.take(strategy, RETIRED)

    async def run(self) -> None:
        """For ever."""
        custody = self._custody
        async with anyio.create_task_group() as tasks:
            while True:
                for strategy in custody.absent.keys() - custody.posts.keys():
                    post = custody.posts[strategy] = _Post(self._make(strategy, custody.absent[strategy]))
                    post.caretaker.name, post.caretaker.mailbox = f"{self.name}.{strategy}", desk_mailbox()
                    tasks.start_soon(self._keep, strategy, post)
                custody.changed = anyio.Event()
                await custody.changed.wait()

    async def _keep(self, strategy: str, post: _Post) -> None:
        caretaker = post.caretaker
        try:
            with post.scope:
                await caretaker.start()
                await caretaker.run()
        except BookError as error:
            self._tell_of_a_spoilt_book(strategy, error)
            self._custody.absent.pop(strategy)
        finally:
            with anyio.CancelScope(shield=True):
                await caretaker.stop()
            del self._custody.posts[strategy]
            post.left.set()
            self._custody.changed.set()

    def _tell_of_a_spoilt_book(self, strategy: str, error: BookError) -> None:
        log.error("book_unkept", strategy=strategy, error=str(error))
        self._alarm(
            Alarm(
                "strategy_failed",
                strategy,
                f"{strategy} is not there, and its book cannot be kept: {error}",
                Severity.CRITICAL,
                first="Nobody judges its stops. nightdesk positions shows what it holds; sell that at the broker.",
                quiet_s=UNTIL_RESOLVED_S,
            )
        )
