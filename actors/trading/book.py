"""The live book of one strategy: the lab's book, and beside it what is on its way to the broker and back.

Nothing here judges: what was filled is booked as it comes, by the formulas of the backtest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.kernel.frozen import frozen
from actors.trading.accounts import DUST
from actors.trading.ports import Side
from actors.trading.words import Booked, Intent, IntentOver, Purpose, Split, Verdict
from strategies.lab.book import Book, Exits, Position, Trade
from strategies.lab.costs import Costs
from strategies.lab.fills import SMALLEST_ORDER, Fill
from strategies.lab.trades import Reason

_REASONS = frozenset(Reason)


class BookError(Exception):
    """What is to be booked contradicts the book: nothing can be concluded, and nobody should trade on it."""


@frozen
class Flight:
    """An intent whose outcome is open; `budget` in dollars is what an entry may still take of the cash."""

    symbol: str
    purpose: Purpose
    budget: float
    at: int
    mid: float | None = None
    """Of the quote it was decided on."""


@dataclass(slots=True)
class Leaving:
    """The attempts to get out of a position: how many there were, and the base bar after which the last one ended."""

    attempts: int = 0
    ended_after: int = -1


class LiveBook:
    """Cash, positions and flights of one strategy. Symbols have places: those of the universe, then whatever came.

    A position outlives its symbol's place in the universe, so places are found by name and never move.
    """

    def __init__(self, symbols: Sequence[str], costs: Costs) -> None:
        """Of `costs` only the commission counts: what the broker takes beside the price."""
        self.symbols = list(symbols)
        self.book = Book(0.0)
        self.flights: dict[str, Flight] = {}
        self.leaving: dict[int, Leaving] = {}
        self.entered_by: dict[int, str] = {}  # the intent that opened each position
        self.closes: dict[int, float] = {}
        self._costs = costs
        self._places = {symbol: place for place, symbol in enumerate(self.symbols)}

    # --- what there is -----------------------------------------------------------------------------------------------

    def place(self, symbol: str) -> int:
        """Of any symbol; one that was never seen gets the next."""
        found = self._places.get(symbol)
        if found is None:
            found = self._places[symbol] = len(self.symbols)
            self.symbols.append(symbol)
        return found

    @property
    def held(self) -> Iterator[tuple[str, Position]]:
        """In the order of places."""
        for place in sorted(self.book.positions):
            yield self.symbols[place], self.book.positions[place]

    def position(self, symbol: str) -> Position | None:
        """What is held of it."""
        return self.book.positions.get(self.place(symbol))

    def flying(self, symbol: str) -> bool:
        """Whether anything of it is on its way."""
        return any(flight.symbol == symbol for flight in self.flights.values())

    def busy(self) -> set[str]:
        """What is held, or on its way."""
        return {symbol for symbol, _ in self.held} | {flight.symbol for flight in self.flights.values()}

    @property
    def entering(self) -> list[Flight]:
        """The entries on their way."""
        return [flight for flight in self.flights.values() if flight.purpose is Purpose.ENTER]

    def taken(self) -> int:
        """Positions that are, and those that may come of the entries on their way."""
        return len(self.book.positions.keys() | {self.place(flight.symbol) for flight in self.entering})

    def spendable(self) -> float:
        """Dollars that the cash covers with their fee, whatever becomes of the entries on their way."""
        costs = self._costs
        cash = self.book.cash - sum(self.cost_of(flight.budget) for flight in self.entering)
        return min(cash / (1.0 + costs.commission_bps / 10_000), cash - costs.commission_min)

    def cost_of(self, budget: float) -> float:
        """Dollars that an entry takes at most, its fee included."""
        return budget + self._costs.commission(budget)

    # --- what happens to it ------------------------------------------------------------------------------------------

    def fund(self, capital: float) -> None:
        """What it begins with; a book that has begun stays as it is."""
        if not self.book.capital:
            self.book = Book(capital)

    def launch(self, intent: Intent) -> None:
        """An intent is in the log."""
        place = self.place(intent.symbol)
        self.flights[intent.id] = Flight(intent.symbol, intent.purpose, intent.budget or 0.0, intent.at, intent.mid)
        if intent.purpose is Purpose.LEAVE and (position := self.book.positions.get(place)):
            position.order_exit(_reason(intent.reason))
            self.leaving.setdefault(place, Leaving()).attempts = intent.attempt

    def judged(self, verdict: Verdict) -> None:
        """Risk may have cut what an entry may take; what it refuses lands by itself."""
        if verdict.budget is not None and (flight := self.flights.get(verdict.intent)):
            self.flights[verdict.intent] = replace(flight, budget=verdict.budget)

    def land(self, over: IntentOver, base_time: int) -> None:
        """Nothing more comes of an intent: a position that was to leave and is still there has to be tried again.

        Of an entry that landed before, it tells of the exit that the broker made of its protection, for reason `why`.
        """
        flight = self.flights.pop(over.intent, None)
        place = next((place for place, intent in self.entered_by.items() if intent == over.intent), None)
        if flight is not None and flight.purpose is Purpose.LEAVE:
            self._ended(self.place(flight.symbol), base_time)
        elif flight is None and place is not None and over.why in _REASONS:
            self.book.positions[place].order_exit(Reason(over.why))
            self._ended(place, base_time)

    def _ended(self, place: int, base_time: int) -> None:
        if place in self.book.positions:
            self.leaving.setdefault(place, Leaving()).ended_after = base_time

    def booked(self, booked: Booked, exits: Exits) -> None:
        """Shares have changed hands; `exits` protect a position that is new. Raises BookError."""
        fill = Fill(booked.quantity, booked.price, booked.fee, booked.slippage)
        place = self.place(booked.symbol)
        position = self.book.positions.get(place)
        if booked.side is Side.SELL:
            self._sold(place, booked, fill)
            return
        if flight := self.flights.get(booked.intent):
            left = max(flight.budget - fill.notional, 0.0)
            self.flights[booked.intent] = replace(flight, budget=left)
        if position is None:
            self.book.open(place, booked.time, fill, exits)
            self.entered_by[place] = booked.intent
        else:
            self.book.cash -= fill.notional + fill.fee
            _grow(position, fill)

    def _sold(self, place: int, booked: Booked, fill: Fill) -> None:
        position = self.book.positions.get(place)
        if position is None or fill.quantity > position.quantity + DUST:
            held = position.quantity if position else 0
            raise BookError(f"{booked.strategy}: {fill.quantity:g} {booked.symbol} sold of {held:g} held")
        if abs(position.quantity - fill.quantity) <= DUST:
            position.quantity = fill.quantity
        reason = position.order_exit(_reason(booked.reason))
        flight = self.flights.get(booked.intent)
        if flight is None:  # the broker's own exit: until it is over the rest is on its way too
            self.flights[booked.intent] = Flight(booked.symbol, Purpose.LEAVE, 0.0, booked.at)
        self.book.reduce(place, booked.time, fill, reason)
        if place not in self.book.positions:
            self.leaving.pop(place, None)
            del self.entered_by[place]
            if flight is None:
                del self.flights[booked.intent]

    def take_trades(self) -> list[tuple[str, Trade]]:
        """Those closed since they were last taken, each with its symbol."""
        trades = [(self.symbols[trade.symbol], trade) for trade in self.book.trades]
        self.book.trades.clear()
        return trades

    def split(self, split: Split) -> None:
        """Each share has become `ratio` shares: nothing is worth more or less by that."""
        place, ratio = self.place(split.symbol), split.ratio
        if place in self.closes:
            self.closes[place] /= ratio
        if position := self.book.positions.get(place):
            position.quantity *= ratio
            position.high_water /= ratio
            position.entry = _split(position.entry, ratio)
            position.sold = [_split(fill, ratio) for fill in position.sold]

    def mark(self, closes: Mapping[int, float]) -> float:
        """Equity at the last known closes, of which these are the newest; what had none since its entry, at cost."""
        positions = self.book.positions
        known = {place: self.closes.get(place, position.entry.price) for place, position in positions.items()}
        self.closes = known | {place: closes[place] for place in closes if place in positions}
        return self.book.mark(self.closes)

    # --- on disk -----------------------------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """As JSON can say it; trades are the taker's to keep."""
        book = self.book
        return {
            "capital": book.capital,
            "cash": book.cash,
            "equity": book.equity,
            "peak": book.peak,
            "closes": {self.symbols[place]: close for place, close in sorted(self.closes.items())},
            "flights": self.flights,
            "positions": [
                {
                    "symbol": symbol,
                    "entry_time": position.entry_time,
                    "entry": list(position.entry),
                    "exits": [getattr(position.exits, name) for name in Exits.__slots__],
                    "quantity": position.quantity,
                    "high_water": position.high_water,
                    "bars_held": position.bars_held,
                    "leaving": position.leaving,
                    "sold": [list(fill) for fill in position.sold],
                    "entered_by": self.entered_by[position.symbol],
                    "attempts": self._attempts(position).attempts,
                    "ended_after": self._attempts(position).ended_after,
                }
                for symbol, position in self.held
            ],
        }

    def _attempts(self, position: Position) -> Leaving:
        return self.leaving.get(position.symbol) or Leaving()

    def load(self, saved: Mapping[str, Any]) -> None:
        """Be as it was when saved."""
        self.book = Book(saved["capital"], saved["peak"])
        self.book.cash, self.book.equity = saved["cash"], saved["equity"]
        self.closes = {self.place(symbol): close for symbol, close in saved["closes"].items()}
        self.flights = {
            id_: Flight(**one | {"purpose": Purpose(one["purpose"])}) for id_, one in saved["flights"].items()
        }
        self.leaving.clear()
        self.entered_by.clear()
        for one in saved["positions"]:
            place = self.place(one["symbol"])
            self.book.positions[place] = Position(
                place,
                one["entry_time"],
                Fill(*one["entry"]),
                Exits(*one["exits"]),
                one["quantity"],
                one["high_water"],
                one["bars_held"],
                one["leaving"] and Reason(one["leaving"]),
                [Fill(*fill) for fill in one["sold"]],
            )
            self.entered_by[place] = one["entered_by"]
            if one["attempts"] or one["ended_after"] >= 0:
                self.leaving[place] = Leaving(one["attempts"], one["ended_after"])


def covers(spendable: float) -> bool:
    """Whether it pays for the smallest order there is."""
    return spendable >= SMALLEST_ORDER


def _reason(text: str) -> Reason:
    """The lab knows no operator: what he ends is ended as by the kill switch."""
    return Reason(text) if text in _REASONS else Reason.KILL_SWITCH


def _grow(position: Position, fill: Fill) -> None:
    """One entry that came in several executions has their volume-weighted price."""
    entry = position.entry
    quantity = entry.quantity + fill.quantity
    price = (entry.notional + fill.notional) / quantity
    position.entry = Fill(quantity, price, entry.fee + fill.fee, entry.slippage + fill.slippage)
    position.quantity += fill.quantity
    if not position.bars_held:
        position.high_water = price


def _split(fill: Fill, ratio: float) -> Fill:
    return fill._replace(quantity=fill.quantity * ratio, price=fill.price / ratio)
