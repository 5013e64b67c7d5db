"""One strategy as an actor: its state is in the log's keeping, its wishes are committed before anyone acts on them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from anyio.lowlevel import checkpoint

from actors.kernel.clock import SECOND, Clock
from actors.kernel.frozen import frozen
from actors.store.alarm import UNTIL_RESOLVED_S, Alarm
from actors.store.desk_records import DeskEntry, DeskKind, NewDeskEntry, Parts
from actors.store.protocol import Store
from actors.store.records import Severity
from actors.trading import trader_state
from actors.trading.journal import KINDS, decode, encode
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import PAGE, DeskReader
from actors.trading.risk import NEWS_S, refused
from actors.trading.trader import Trader
from actors.trading.wishes import Wishes
from actors.trading.words import Passed, WarmedUp

log = structlog.get_logger()

READERS = "strategy/"
"""Begins the names under which strategies' states are kept."""


@frozen
class Quoted:
    """There are new quotes on the board."""


class Runner(DeskReader):
    """Its mailbox is a `desk_mailbox`; it takes Quoted besides.

    A strategy that raises is not asked again until it is another; its book goes on being looked after.
    """

    def __init__(
        self,
        make: Callable[[], Trader],
        store: Store,
        clock: Clock,
        board: QuoteBoard,
        session_open: Callable[[int], int | None],
        alarm: Callable[[Alarm], object],
        *,
        book_is_free: Callable[[], Awaitable[object]] = checkpoint,
    ) -> None:
        """`make` gives a trader that knows nothing; `session_open` is as in `Wishes`.

        `book_is_free` returns when nobody else keeps the strategy's book.
        """
        self.trader = make()
        super().__init__(f"{READERS}{self.trader.name}", store, clock)
        self._make = make
        self._board = board
        self._session_open = session_open
        self._alarm = alarm
        self._book_is_free = book_is_free
        self._missed: list[Passed] = []  # of which people were not told
        self._told_failure: str | None = None  # None: nothing was told in this life
        self._cold = False
        self._wishes = Wishes(self.trader, board, session_open)

    # --- what makes a reader -----------------------------------------------------------------------------------------

    def restore(self, parts: Parts) -> bool:
        """As `DeskReader`. A strategy that is not the one that was saved is folded again from its first bar."""
        self.trader = self._make()
        self._wishes = Wishes(self.trader, self._board, self._session_open)
        if not parts:
            return True
        if not trader_state.load(self.trader, parts):
            return False
        self._cold = not trader_state.load_strategy(self.trader, parts)
        return True

    def save(self) -> Parts:
        """As `DeskReader`."""
        return trader_state.save(self.trader)

    def fold(self, entry: DeskEntry) -> None:
        """As `DeskReader`."""
        self.trader.fold(entry)
        if entry.kind == KINDS[Passed] and not self.trader.ignores(entry):
            passed = decode(entry)
            if isinstance(passed, Passed) and passed.rule and passed.at > self.clock.now() - NEWS_S * SECOND:
                self._missed.append(passed)

    def ignores(self, entries: Sequence[DeskEntry]) -> bool:
        """As `DeskReader`: most commits are what other strategies say."""
        return all(self.trader.ignores(entry) for entry in entries)

    def decide(self) -> Sequence[NewDeskEntry]:
        """As `DeskReader`."""
        return [encode(word) for word in self._wishes.now(self.clock.now())]

    def due(self) -> int | None:
        """As `DeskReader`."""
        return self._wishes.due(self.clock.now())

    async def settled(self) -> None:
        """Tell people what their strategy did, and what it could not."""
        missed, self._missed = self._missed, []
        counts = Counter(one.rule for one in missed)
        for one in {one.rule: one for one in missed}.values():
            self._alarm(refused(self.trader.name, one.symbol, one.rule, one.why, counts[one.rule]))
        failure = self.trader.failure
        if failure == self._told_failure:
            return
        self._told_failure = failure
        if not failure:
            self._alarm(Alarm("strategy_failed", self.trader.name, None))
            return
        log.error("strategy_failed", strategy=self.trader.name, error=failure)
        self._alarm(
            Alarm(
                "strategy_failed",
                self.trader.name,
                f"{self.trader.name} has failed and decides nothing more: {failure}",
                Severity.CRITICAL,
                first=f"Mend it there, then: nightdesk restart trading.strategy:{self.trader.name}. "
                "What it holds is looked after: stops go on, nightdesk flatten sells it.",
                evidence={"error": failure, "held": [symbol for symbol, _ in self.trader.book.held]},
                quiet_s=UNTIL_RESOLVED_S,
            )
        )

    async def hear(self, message: Any) -> object:
        """Quoted: `decide` looks at the board itself."""
        return None if isinstance(message, Quoted) else await super().hear(message)

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """As `DeskReader`; then, where the saved strategy is another, its bars once more from the first one kept."""
        await self._book_is_free()
        await super().start()
        if self._cold:
            await self._fold_strategy_again()
            self._cold = False

    async def _fold_strategy_again(self) -> None:
        log.warning("strategy_refolded", strategy=self.trader.name, reason="its code, parameters or symbols are others")
        twin, position = self._make(), 0
        while entries := await self._store.desk.read(position, PAGE, (DeskKind.BLOCK, KINDS[WarmedUp])):
            for entry in entries:
                if entry.seq <= self.position and not entry.damage:
                    twin.fold(entry)
            position = entries[-1].seq
        self.trader.take_over(twin)
