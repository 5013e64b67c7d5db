"""Whatever comes in whatever pieces: the live book's money adds up, and it is read back as it was written."""

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.trading.book import BookError, LiveBook
from actors.trading.ports import Side
from actors.trading.words import Booked, Intent, IntentOver, Purpose, Split, Verdict
from strategies.lab.book import Exits
from strategies.lab.costs import Costs

CAPITAL = 10_000.0
COSTS = Costs(commission_bps=10, commission_min=1)
SYMBOLS = ("A", "B", "LATER")
PRICES = st.floats(1, 500)
PARTS = st.lists(st.floats(0.01, 1), min_size=1, max_size=5)


@dataclass
class Story:
    """A book, and beside it what a child would count: dollars paid and taken, shares of each symbol."""

    book: LiveBook = field(default_factory=lambda: LiveBook(SYMBOLS[:2], COSTS))
    paid: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)
    said: int = 0

    def intend(self, symbol: str, purpose: Purpose, *, budget: float | None = None) -> Intent:
        self.said += 1
        held = self.book.position(symbol)
        quantity = held.quantity if held and purpose is Purpose.LEAVE else None
        intent = Intent(
            f"i{self.said}", "s", symbol, 0, purpose, 1, self.said, "signal", None, budget=budget, quantity=quantity
        )
        self.book.launch(intent)
        return intent

    def fill(self, intent: Intent, quantity: float, price: float) -> None:
        self.said += 1
        fee = COSTS.commission(quantity * price)
        self.book.booked(
            Booked(f"x{self.said}", "s", intent.id, intent.symbol, intent.side, quantity, price, fee, 0.5, self.said,
                   intent.reason, self.said),
            Exits(stop_loss=0.1),
        )  # fmt: skip
        sign = 1 if intent.side is Side.BUY else -1
        self.paid += sign * quantity * price + fee
        self.shares[intent.symbol] = self.shares.get(intent.symbol, 0.0) + sign * quantity

    def over(self, intent: Intent) -> None:
        self.book.land(IntentOver(intent.id, "s", "partial", self.said), 0)

    def check(self) -> None:
        assert self.book.book.cash == pytest.approx(CAPITAL - self.paid)
        held = {symbol: position.quantity for symbol, position in self.book.held}
        assert held == pytest.approx({symbol: shares for symbol, shares in self.shares.items() if shares > 1e-9})
        again = LiveBook(SYMBOLS[:2], COSTS)
        again.load(orjson.loads(orjson.dumps(self.book.save())))
        assert again.save() == self.book.save()


@st.composite
def stories(draw: Any) -> Story:
    """Buys and sells of three symbols, each in parts, some left half done."""
    story = Story()
    story.book.fund(CAPITAL)
    for _ in range(draw(st.integers(1, 8))):
        symbol = draw(st.sampled_from(SYMBOLS))
        if position := story.book.position(symbol):
            intent = story.intend(symbol, Purpose.LEAVE)
            parts = draw(PARTS)
            whole = position.quantity
            if draw(st.booleans()):  # all of it, the last part takes the rest
                scale = whole / sum(parts)
                sold = [part * scale for part in parts[:-1]]
                for quantity in [*sold, whole - sum(sold)]:
                    story.fill(intent, quantity, draw(PRICES))
            else:
                story.fill(intent, whole * min(parts[0], 0.9), draw(PRICES))
        else:
            intent = story.intend(symbol, Purpose.ENTER, budget=draw(st.floats(1, 500)))
            for part in draw(PARTS):
                story.fill(intent, part, draw(PRICES))
        story.over(intent)
        story.check()
    return story


@settings(max_examples=150)
@given(stories())
def test_cash_and_shares_are_what_was_paid_and_bought_and_trades_explain_the_rest(story: Story) -> None:
    """Σ P&L of what is closed, and the cost of what is held, is all that cash has lost."""
    book = story.book
    closed = sum(trade.pnl for _, trade in book.take_trades())
    held = sum(position.entry.notional + position.entry.fee for _, position in book.held)
    sold = sum(fill.notional - fill.fee for _, position in book.held for fill in position.sold)
    assert book.book.cash == pytest.approx(CAPITAL + closed - held + sold)
    assert not book.flights


@settings(max_examples=100)
@given(stories(), st.sampled_from([0.1, 0.5, 2.0, 4.0, 20.0]))
def test_a_split_changes_no_dollar(story: Story, ratio: float) -> None:
    book = story.book
    before = book.mark(dict.fromkeys(book.book.positions, 50.0))
    levels = {symbol: (position.stop, position.entry.notional) for symbol, position in book.held}
    for symbol in SYMBOLS:
        book.split(Split(symbol, ratio, 0, 0))
    assert book.mark(dict.fromkeys(book.book.positions, 50.0 / ratio)) == pytest.approx(before)
    for symbol, position in book.held:
        stop, cost = levels[symbol]
        assert position.stop * ratio == pytest.approx(stop)
        assert position.entry.notional == pytest.approx(cost)


@given(st.floats(1, 3_000), st.floats(1, 3_000))
def test_what_is_on_its_way_is_not_spent_twice(first: float, second: float) -> None:
    """Two budgets with their fees, then a verdict that cuts one, a fill of the other, and its end."""
    story = Story()
    story.book.fund(CAPITAL)
    one = story.intend("A", Purpose.ENTER, budget=first)
    two = story.intend("B", Purpose.ENTER, budget=second)
    assert story.book.taken() == 2
    promised = sum(story.book.cost_of(budget) for budget in (first, second))
    assert story.book.spendable() == pytest.approx(min((CAPITAL - promised) / 1.001, CAPITAL - promised - 1))
    story.book.judged(Verdict(one.id, allowed=True, at=0, budget=first / 2))
    story.over(two)
    left = CAPITAL - story.book.cost_of(first / 2)
    assert story.book.spendable() == pytest.approx(min(left / 1.001, left - 1))
    story.fill(one, first / 4 / 10, 10)
    assert story.book.taken() == 1
    story.over(one)
    assert story.book.spendable() == pytest.approx(min(story.book.book.cash / 1.001, story.book.book.cash - 1))


def test_a_sale_in_parts_each_rounded_to_nine_decimals_ends_the_position() -> None:
    story = Story()
    story.book.fund(CAPITAL)
    intent = story.intend("A", Purpose.ENTER, budget=100)
    story.fill(intent, 20.965086119, 100)
    story.over(intent)
    leave = story.intend("A", Purpose.LEAVE)
    for part in (8.386034448, 5.031620669, 3.018972401, 4.528458602):
        story.fill(leave, part, 100)
    assert not story.book.book.positions


def test_more_than_is_held_cannot_be_sold() -> None:
    story = Story()
    story.book.fund(CAPITAL)
    intent = story.intend("A", Purpose.ENTER, budget=100)
    story.fill(intent, 1, 100)
    story.over(intent)
    with pytest.raises(BookError, match="2 A sold of 1 held"):
        story.fill(story.intend("A", Purpose.LEAVE), 2, 100)


def test_the_rounding_of_sums_leaves_no_dust_behind() -> None:
    """0.1 + 0.2 shares are bought, 0.3 are sold: that is a trade, not a position of 0.00000000000000004."""
    story = Story()
    story.book.fund(CAPITAL)
    intent = story.intend("A", Purpose.ENTER, budget=100)
    story.fill(intent, 0.1, 100)
    story.fill(intent, 0.2, 100)
    story.over(intent)
    story.fill(story.intend("A", Purpose.LEAVE), 0.3, 100)
    assert not story.book.book.positions
    assert len(story.book.take_trades()) == 1
