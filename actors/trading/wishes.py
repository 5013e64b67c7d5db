"""What a strategy wants of the broker just now, from what it has decided, the time and the quotes.

Exits go out as soon as they are decided. Entries wait for their symbol's own next open, which is its first quote after
the bar that decided; the best scores first, and each only when room and cash are certain whatever becomes of those
before it. So what is entered is what the backtest enters, which knows each fill before it looks at the next.
"""

import hashlib
from collections.abc import Callable, Iterator

from actors.kernel.clock import SECOND
from actors.trading.accounts import PRICE_UNITS
from actors.trading.book import covers
from actors.trading.journal import Word
from actors.trading.ports import Protection, Quote
from actors.trading.quotes import QuoteBoard
from actors.trading.trader import KILL_SWITCH, Trader, Wanted
from actors.trading.words import Instruction, Intent, Passed, Purpose, Told
from strategies.lab.book import Position
from strategies.sessions import MINUTE, session_of

PATIENCE_S = 30
"""So long entries wait for the room and the cash of exits that are on their way."""


def intent_id(strategy: str, symbol: str, bar_time: int, purpose: Purpose, attempt: int) -> str:
    """The same wish has the same id, however often it is decided."""
    words = "\0".join((strategy, symbol, str(bar_time), purpose, str(attempt)))
    return hashlib.blake2b(words.encode(), digest_size=12).hexdigest()


class Wishes:
    """Asks a trader's state what follows from it. Remembers only since when it has been patient."""

    def __init__(self, trader: Trader, board: QuoteBoard, session_open: Callable[[int], int | None]) -> None:
        """`session_open` tells when the session in progress at a moment began; None: there is none."""
        self._trader = trader
        self._board = board
        self._session_open = session_open
        self._patient_since: int | None = None

    def now(self, at: int) -> Iterator[Word]:
        """Everything that is not in the log yet."""
        trader = self._trader
        yield from trader.unsaid
        if trader.untold_kill:
            yield Told(Instruction.HALT, trader.name, at, by=KILL_SWITCH)
        session_over = trader.flat_by_session and at >= trader.flat_from
        for symbol, position in trader.book.held:
            if (position.leaving or session_over) and self._may_try(symbol, position):
                yield self._leave(symbol, position, at)
        if trader.may_enter:
            yield from (self._miss(symbol, wanted, at) for symbol, wanted in trader.missed.items())
        if session_over:
            yield from (self._pass_by(symbol, at, "the session is over") for symbol in trader.wanted)
        elif trader.wanted and trader.may_enter:
            yield from self._enter(at)

    def due(self, at: int) -> int | None:
        """When to look again though nothing happens."""
        trader = self._trader
        times = [] if self._patient_since is None else [self._patient_since + PATIENCE_S * SECOND]
        if trader.flat_by_session and (trader.wanted or trader.book.book.positions):
            times.append(trader.flat_from)
        return min((time for time in times if time > at), default=None)

    # --- exits -------------------------------------------------------------------------------------------------------

    def _may_try(self, symbol: str, position: Position) -> bool:
        """Nothing of it is on its way, and after a failure it has its own next open, or its next bar."""
        trader = self._trader
        if trader.book.flying(symbol):
            return False
        before = trader.book.leaving.get(position.symbol)
        return before is None or trader.triggers_inside or trader.base_time > before.ended_after

    def _leave(self, symbol: str, position: Position, at: int) -> Intent:
        trader = self._trader
        before = trader.book.leaving.get(position.symbol)
        attempt = before.attempts + 1 if before else 1
        quote = self._board.newest(symbol)
        return Intent(
            intent_id(trader.name, symbol, trader.bar_time, Purpose.LEAVE, attempt),
            trader.name,
            symbol,
            trader.bar_time,
            Purpose.LEAVE,
            attempt,
            at,
            trader.leaving_because(position),
            _mid(quote) if quote is not None and quote.valid else None,
            quantity=position.quantity,
        )

    # --- entries -----------------------------------------------------------------------------------------------------

    def _enter(self, at: int) -> Iterator[Word]:
        due = self._due(at)
        if not due or self._waits_for_exits(at):
            return
        trader = self._trader
        dates, _, _ = session_of(at - at % MINUTE, MINUTE)  # of the minute, for all strategies ask within a few
        members = trader.blocks.members(dates[0])
        room = trader.rules.max_positions - trader.book.taken()
        spendable = trader.book.spendable()
        budget = trader.rules.fraction * trader.book.book.equity
        certain = not trader.book.entering  # nothing is on its way whose outcome matters
        if not certain and (room <= 0 or spendable < budget):
            return
        for symbol, wanted, quote in sorted(due, key=lambda one: (-one[1].score, trader.book.place(one[0]))):
            if not members[trader.book.place(symbol)]:
                yield self._pass_by(symbol, at, "no longer in the universe")
            elif room > 0 and spendable >= budget:
                yield self._entry(symbol, wanted, quote, budget, at)
                room -= 1
                spendable -= trader.book.cost_of(budget)
                certain = False
            elif not certain:
                return  # what is on its way decides; then this is looked at again
            elif room > 0 and covers(spendable):
                yield self._entry(symbol, wanted, quote, spendable, at)
                return
            else:
                yield self._pass_by(symbol, at, "no cash" if room > 0 else "no room: max_positions are held")

    def _due(self, at: int) -> list[tuple[str, Wanted, Quote]]:
        """What has an open now."""
        trader, board = self._trader, self._board
        opened = self._session_open(at)
        if opened is None or not board.trusted:
            return []
        return [
            (symbol, wanted, quote)
            for symbol, wanted in trader.wanted.items()
            if (quote := board.fresh(symbol, max(opened, wanted.bar_time + trader.timeframe))) is not None
            and symbol not in board.halted
        ]

    def _waits_for_exits(self, at: int) -> bool:
        """Exits that were on their way when their symbols opened: their room and cash come first."""
        if self._trader.triggers_inside:
            return False  # such an exchange tells who left at an open before it quotes it; who stayed is for the next
        flights = self._trader.book.flights.values()
        leaving = any(
            flight.purpose is Purpose.LEAVE and self._board.fresh(flight.symbol, flight.at + 1) is not None
            for flight in flights
        )
        if not leaving:
            self._patient_since = None
            return False
        if self._patient_since is None:
            self._patient_since = at
        return at < self._patient_since + PATIENCE_S * SECOND

    def _entry(self, symbol: str, wanted: Wanted, quote: Quote, budget: float, at: int) -> Intent:
        trader = self._trader
        exits = trader.exits
        protection = None
        if trader.triggers_inside and exits.touches:
            protection = Protection(exits.stop_loss, exits.take_profit, exits.trailing_stop)
        return Intent(
            intent_id(trader.name, symbol, wanted.bar_time, Purpose.ENTER, 1),
            trader.name,
            symbol,
            wanted.bar_time,
            Purpose.ENTER,
            1,
            at,
            "signal",
            _mid(quote),
            budget=budget,
            score=wanted.score,
            protection=protection,
        )

    def _pass_by(self, symbol: str, at: int, why: str) -> Passed:
        return Passed(self._trader.name, symbol, self._trader.wanted[symbol].bar_time, at, why)

    def _miss(self, symbol: str, wanted: Wanted, at: int) -> Passed:
        """Told by the rules of risk, which never saw it."""
        board, trader = self._board, self._trader
        quote = board.newest(symbol)
        rule, why = "stale_after", f"the next bar of {symbol} was over before it could be entered"
        if symbol in board.halted:
            rule, why = "halt", f"trading in {symbol} is halted"
        elif not board.trusted:
            why = "bars are missing, or the feed is silent"
        elif quote is None or quote.time < wanted.bar_time + trader.timeframe:
            why = f"there was no quote of {symbol} in the bar after that decision"
        elif not quote.valid:
            rule, why = "price_collar", f"bid {quote.bid / PRICE_UNITS} and ask {quote.ask / PRICE_UNITS}"
        return Passed(trader.name, symbol, wanted.bar_time, at, why, rule)


def _mid(quote: Quote) -> float:
    return (quote.bid + quote.ask) / 20_000
