"""What every strategy owns, as the bookings say: what risk measures, and what the broker's word is held against."""

from dataclasses import dataclass, field
from typing import Any

from actors.store.desk_records import BarBlock
from actors.trading.ports import Side
from actors.trading.words import Booked, Funded, Split

PRICE_UNITS = 10_000
"""Units of a price in a dollar, in bars and quotes."""

DUST = 1e-7
"""Shares that are none: an order may come in a hundred parts, each of them rounded to nine decimals."""


@dataclass(slots=True)
class Stake:
    """Shares held of one symbol, and what was paid for them, in dollars without fees."""

    quantity: float = 0.0
    cost: float = 0.0

    @property
    def average(self) -> float:
        """Dollars a share."""
        return self.cost / self.quantity


@dataclass(slots=True)
class Purse:
    """What one strategy owns, in dollars and shares."""

    capital: float = 0.0
    cash: float = 0.0
    stakes: dict[str, Stake] = field(default_factory=dict)


class Accounts:
    """The purse of every strategy, and the last close of every symbol in dollars."""

    def __init__(self) -> None:
        self.purses: dict[str, Purse] = {}
        self.closes: dict[str, float] = {}
        self.closed_until = 0
        """The end of the newest bars."""

    @property
    def capital(self) -> float:
        """What all began with."""
        return sum(purse.capital for purse in self.purses.values())

    @property
    def cash(self) -> float:
        """Of all."""
        return sum(purse.cash for purse in self.purses.values())

    def fold(self, word: object) -> None:
        """Take in what concerns it."""
        match word:
            case Booked():
                self._book(word)
            case Funded():
                self.purses[word.strategy] = Purse(word.capital, word.capital)
            case Split():
                self._split(word)

    def _book(self, word: Booked) -> None:
        purse = self.purses.setdefault(word.strategy, Purse())
        stake = purse.stakes.setdefault(word.symbol, Stake())
        amount = word.quantity * word.price
        if word.side is Side.BUY:
            purse.cash -= amount + word.fee
            stake.quantity += word.quantity
            stake.cost += amount
            return
        purse.cash += amount - word.fee
        left = stake.quantity - word.quantity
        if abs(left) <= DUST:
            del purse.stakes[word.symbol]
        else:
            stake.cost *= left / stake.quantity if stake.quantity else 0.0
            stake.quantity = left

    def _split(self, word: Split) -> None:
        for purse in self.purses.values():
            if stake := purse.stakes.get(word.symbol):
                stake.quantity *= word.ratio
        if word.symbol in self.closes:
            self.closes[word.symbol] /= word.ratio

    def close(self, block: BarBlock) -> bool:
        """Bars have closed. False: these are older than what is known (a strategy's warm-up), and change nothing."""
        end = block.time + block.timeframe
        if end <= self.closed_until:
            return False
        self.closed_until = end
        for symbol, close in zip(block.symbols, block.close, strict=True):
            self.closes[symbol] = close / PRICE_UNITS
        return True

    def worth(self, strategy: str, symbol: str) -> float:
        """What a strategy's shares of a symbol are worth at the last close; where there is none, what they cost."""
        stake = self.purses[strategy].stakes.get(symbol)
        if stake is None:
            return 0.0
        close = self.closes.get(symbol)
        return stake.cost if close is None else stake.quantity * close

    def gross(self, strategy: str) -> float:
        """What all its shares are worth."""
        return sum(self.worth(strategy, symbol) for symbol in self.purses[strategy].stakes)

    def equity(self, strategy: str) -> float:
        """Its cash and its shares."""
        return self.purses[strategy].cash + self.gross(strategy)

    def shares(self) -> dict[str, float]:
        """Of each symbol, what all strategies hold together."""
        held: dict[str, float] = {}
        for purse in self.purses.values():
            for symbol, stake in purse.stakes.items():
                held[symbol] = held.get(symbol, 0.0) + stake.quantity
        return held

    def save(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "closed_until": self.closed_until,
            "closes": self.closes,
            "purses": {
                name: {
                    "capital": purse.capital,
                    "cash": purse.cash,
                    "stakes": {symbol: [stake.quantity, stake.cost] for symbol, stake in purse.stakes.items()},
                }
                for name, purse in self.purses.items()
            },
        }

    @classmethod
    def load(cls, saved: dict[str, Any]) -> "Accounts":
        """From what `save` gave."""
        accounts = cls()
        accounts.closed_until, accounts.closes = saved["closed_until"], dict(saved["closes"])
        accounts.purses = {
            name: Purse(one["capital"], one["cash"], {symbol: Stake(*stake) for symbol, stake in one["stakes"].items()})
            for name, one in saved["purses"].items()
        }
        return accounts
