"""What a trader does beside the backtest's rules: a broker that keeps no stops, splits, failures, and operators."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from actors.store.desk_records import DeskEntry, DeskKind, NewDeskEntry
from actors.trading import trader_state
from actors.trading.blocks import block_of
from actors.trading.book import BookError
from actors.trading.journal import Word, encode
from actors.trading.ports import Bar, Quote, Side
from actors.trading.quotes import QuoteBoard
from actors.trading.trader import Rules, Trader
from actors.trading.wishes import PATIENCE_S, Wishes
from actors.trading.words import (
    Booked,
    Funded,
    Instruction,
    Intent,
    IntentOver,
    Passed,
    Purpose,
    Split,
    Told,
)
from strategies.bars import Block
from strategies.base import Signals, Strategy
from strategies.registry import load
from strategies.sessions import MINUTE

OPEN = 1_764_599_400_000_000  # 2025-12-01 09:30 in New York
SECOND = 1_000_000
USUAL = Rules(0.5, 2, 0.15)


class Eager(Strategy):
    """Buys whatever it sees; stops 5 % below, takes 10 %; leaves what costs more than 200 dollars."""

    def step(self, bars: Block) -> Signals:
        return Signals(bars.close > 0, bars.close > 2_000_000, 0.0, stop_loss=0.05, take_profit=0.1)


class Desk:
    """A trader at a broker that keeps no stops; the test is the market, risk and broker."""

    def __init__(
        self,
        symbols: Sequence[str] = ("A", "B"),
        rules: Rules = USUAL,
        kind: type[Strategy] = Eager,
        capital: float = 10_000,
    ) -> None:
        self.trader = Trader("eager", lambda: kind(symbols), rules, base=MINUTE, timeframe=MINUTE)
        self.board = QuoteBoard()
        self.board.trusted = True
        self.wishes = Wishes(self.trader, self.board, lambda at: OPEN if at >= OPEN else None)
        self.now = OPEN
        self.seq = 0
        self.fills = 0
        if capital:
            self.say(Funded("eager", capital, 0))

    def commit(self, entry: NewDeskEntry) -> None:
        self.seq += 1
        self.trader.fold(DeskEntry(self.seq, entry.kind, entry.at, entry.data))

    def say(self, *words: Word) -> None:
        for word in words:
            self.commit(encode(word))

    def minute(self, closes: Mapping[str, float], *, low: float | None = None) -> list[Word]:
        """A minute passes, at one price each but for `low`; what the trader says then."""
        time = self.now
        self.now += MINUTE
        bars = {
            symbol: Bar(symbol, time, units(close), units(close), units(low or close), units(close), 1_000)
            for symbol, close in closes.items()
        }
        self.commit(NewDeskEntry(DeskKind.BLOCK, self.now, block_of("iex", "stream", MINUTE, time, bars)))
        return self.speaks()

    def quoted(self, **prices: float) -> list[Word]:
        self.now += SECOND
        for symbol, price in prices.items():
            self.board.show(Quote(symbol, self.now, units(price), units(price)))
        return self.speaks()

    def speaks(self) -> list[Word]:
        said: list[Word] = []
        while words := list(self.wishes.now(self.now)):
            self.say(*words)
            said += words
        return said

    def fill(self, intent: Intent, price: float, quantity: float | None = None) -> list[Word]:
        quantity = quantity or intent.quantity or (intent.budget or 0) / price
        self.fills += 1
        self.say(
            Booked(f"x{self.fills}", "eager", intent.id, intent.symbol, intent.side, quantity, price, 0, 0, self.now,
                   intent.reason, self.now),
        )  # fmt: skip
        return []

    def over(self, intent: Intent, outcome: str = "filled") -> list[Word]:
        self.say(IntentOver(intent.id, "eager", outcome, self.now))
        return self.speaks()

    def bought(self, symbol: str, price: float) -> None:
        """Held at that price, from a decision of the minute before."""
        self.minute({symbol: price})
        [intent] = intents(self.quoted(**{symbol: price}))
        self.fill(intent, price)
        self.over(intent)


def units(dollars: float) -> int:
    return round(dollars * 10_000)


def intents(words: Sequence[Word]) -> list[Intent]:
    return [word for word in words if isinstance(word, Intent)]


def test_a_stop_is_judged_on_the_markets_bars_and_sent_at_once() -> None:
    desk = Desk()
    desk.bought("A", 100)
    assert intents(desk.minute({"A": 96}, low=95.01)) == []
    [exit_] = intents(desk.minute({"A": 96}, low=95.0))
    assert (exit_.purpose, exit_.reason, exit_.symbol, exit_.quantity) == (Purpose.LEAVE, "stop_loss", "A", 50)


def test_a_low_from_before_the_entry_stops_nobody() -> None:
    """The bar in which it was bought says what was traded before, too; only its close is later than the entry."""
    desk = Desk()
    desk.minute({"A": 100})
    [entry] = intents(desk.quoted(A=100))
    desk.fill(entry, 100)
    desk.over(entry)
    desk.now -= SECOND
    assert intents(desk.minute({"A": 99}, low=50)) == []


def test_an_exit_that_was_rejected_is_tried_again_after_the_next_bar_under_another_id() -> None:
    desk = Desk()
    desk.bought("A", 100)
    [first] = intents(desk.minute({"A": 90}))
    assert desk.over(first, "rejected") == []
    [second] = intents(desk.minute({"A": 90}))
    assert (second.attempt, second.reason) == (2, "stop_loss")
    assert second.id != first.id


def test_the_rest_of_a_partial_exit_is_tried_again() -> None:
    desk = Desk()
    desk.bought("A", 100)
    [first] = intents(desk.minute({"A": 90}))
    desk.fill(first, 90, 30)
    desk.over(first, "partial")
    [second] = intents(desk.minute({"A": 91}))
    assert second.quantity == 20
    desk.fill(second, 91)
    [(symbol, trade)] = desk.trader.record.trades
    assert (symbol, trade.quantity) == ("A", 50)
    assert trade.exit_price == pytest.approx(90.4)


def test_entries_wait_half_a_minute_for_exits_and_no_longer() -> None:
    """An exit on its way may free the room and the cash that an entry lacks."""
    desk = Desk(rules=Rules(0.5, 1, 0.9))
    desk.bought("A", 100)
    [leave] = intents(desk.minute({"A": 90, "B": 50}))
    assert leave.symbol == "A"
    assert intents(desk.quoted(A=90, B=50)) == []
    desk.now += PATIENCE_S * SECOND
    [passed] = desk.speaks()
    assert isinstance(passed, Passed)
    assert (passed.symbol, passed.why) == ("B", "no room: max_positions are held")


def test_an_entry_is_sized_by_the_equity_of_the_last_close_and_needs_a_quote_of_its_own_next_bar() -> None:
    desk = Desk()
    desk.minute({"A": 100})
    desk.board.show(Quote("A", desk.now - 1, units(100), units(100)))
    assert desk.speaks() == []
    desk.board.show(Quote("A", desk.now, 0, units(100)))
    assert desk.speaks() == []
    [entry] = intents(desk.quoted(A=101))
    assert (entry.budget, entry.mid, entry.bar_time) == (5_000, 101, OPEN)


@pytest.mark.parametrize(
    ("bid", "ask", "rule", "why"),
    [
        (None, None, "stale_after", "there was no quote of A in the bar after that decision"),
        (100, 0, "price_collar", "bid 100.0 and ask 0.0"),
    ],
)
def test_an_entry_whose_open_passes_without_a_valid_quote_is_told_once_with_rule_and_numbers(
    bid: float | None, ask: float | None, rule: str, why: str
) -> None:
    desk = Desk()
    desk.minute({"A": 100})
    if bid is not None and ask is not None:
        desk.board.show(Quote("A", desk.now, units(bid), units(ask)))
    said = [word for word in desk.minute({"A": 100}) if isinstance(word, Passed)]
    assert [(one.symbol, one.bar_time, one.rule, one.why) for one in said] == [("A", OPEN, rule, why)]
    assert desk.trader.wanted["A"].bar_time == OPEN + MINUTE  # decided anew, and not passed by
    assert desk.speaks() == []


def test_nobody_enters_while_the_feed_is_not_trusted_or_the_symbol_is_halted() -> None:
    desk = Desk()
    desk.minute({"A": 100})
    desk.board.trusted = False
    assert desk.quoted(A=100) == []
    desk.board.trusted = True
    desk.board.halt("A", halted=True)
    assert desk.quoted(A=100) == []
    desk.board.halt("A", halted=False)
    assert len(intents(desk.quoted(A=100))) == 1


def test_what_missed_its_open_is_not_entered_late() -> None:
    desk = Desk(("A",))
    desk.minute({"A": 100})
    desk.minute({"A": 150})
    [entry] = intents(desk.quoted(A=150))
    assert entry.bar_time == OPEN + MINUTE


def test_who_has_no_capital_yet_decides_and_enters_nothing_and_has_no_record() -> None:
    """The broker is asked what the account holds while bars come already."""
    desk = Desk(capital=0)
    desk.minute({"A": 100})
    assert intents(desk.quoted(A=100)) == []
    desk.say(Funded("eager", 10_000, desk.now))
    desk.minute({"A": 100})
    assert [entry.budget for entry in intents(desk.quoted(A=100))] == [5_000]
    assert desk.trader.record.equity.tolist() == [10_000]


def test_what_was_wanted_of_a_symbol_that_left_the_universe_is_forgotten() -> None:
    """And what is held of it is still there after the restart, to be sold."""
    desk = Desk()
    desk.bought("A", 100)
    desk.minute({"A": 100, "B": 50})
    assert desk.trader.wanted.keys() == {"B"}
    parts = trader_state.save(desk.trader)
    other = Desk(("C",)).trader
    assert trader_state.load(other, parts)
    assert not trader_state.load_strategy(other, parts)
    assert other.wanted == {}
    assert [symbol for symbol, _ in other.book.held] == ["A"]


def test_on_a_half_day_the_session_ends_at_one() -> None:
    """The day after Thanksgiving: what is not held over night leaves at 12:59, when the last bar opens."""

    class Flat(Eager):
        def step(self, bars: Block) -> Signals:
            return Signals(bars.close > 0, False, 0.0, session_end=True)

    desk = Desk(kind=Flat)
    desk.now = OPEN - 3 * 24 * 60 * MINUTE + 205 * MINUTE  # Friday, 12:55
    desk.wishes = Wishes(desk.trader, desk.board, lambda _: desk.now - MINUTE)
    for _ in range(3):
        assert intents(desk.minute({"A": 100})) == []
        for entry in intents(desk.quoted(A=100)):
            desk.fill(entry, 100)
            desk.over(entry)
        desk.now -= SECOND
    assert [(one.symbol, one.reason, one.at) for one in intents(desk.minute({"A": 100}))] == [
        ("A", "session_end", OPEN - 3 * 24 * 60 * MINUTE + 209 * MINUTE)
    ]
    assert intents(desk.quoted(A=100, B=100)) == []


def test_a_split_changes_shares_and_prices_and_nothing_else() -> None:
    """Four for one: equity, stop and kill switch see no fall of 75 %."""
    desk = Desk()
    desk.bought("A", 100)
    equity = desk.trader.book.book.equity
    desk.say(Split("A", 4.0, desk.now, desk.now))
    assert intents(desk.minute({"A": 25})) == []
    position = desk.trader.book.position("A")
    assert position is not None
    assert (position.quantity, position.entry.price, position.stop) == (200, 25, 23.75)
    assert desk.trader.book.book.equity == equity
    assert desk.trader.killed_at is None


def test_the_kill_switch_sells_everything_once_and_stays_down_until_an_operator_resumes() -> None:
    desk = Desk(rules=Rules(0.5, 2, 0.02))
    desk.bought("A", 100)
    words = desk.minute({"A": 95.5, "B": 10})
    assert [(word.symbol, word.reason) for word in intents(words)] == [("A", "kill_switch")]
    assert Told(Instruction.HALT, "eager", desk.now, by="kill_switch") in words
    assert desk.quoted(B=10) == []
    assert intents(desk.minute({"A": 94, "B": 10})) == []
    [exit_] = [*desk.trader.book.flights]
    desk.say(
        Booked("last", "eager", exit_, "A", Side.SELL, 50, 94, 0, 0, desk.now, "kill_switch", desk.now),
        IntentOver(exit_, "eager", "filled", desk.now),
        Told(Instruction.RESUME, "eager", desk.now, by="operator"),
    )
    assert intents(desk.minute({"B": 10})) == []
    assert [word.symbol for word in intents(desk.quoted(B=10))] == ["B"]
    assert desk.trader.killed_at is None


def test_a_halt_between_the_peak_and_the_fall_leaves_the_peak_where_it_is() -> None:
    desk = Desk(rules=Rules(0.5, 2, 0.02))
    desk.bought("A", 100)
    desk.minute({"A": 97})
    for instruction in (Instruction.HALT, Instruction.RESUME):
        desk.say(Told(instruction, "eager", desk.now, by="operator"))
    assert [word.reason for word in intents(desk.minute({"A": 95.5}))] == ["kill_switch"]


def test_flatten_sells_what_is_held_and_what_is_still_being_bought() -> None:
    desk = Desk()
    desk.minute({"A": 100})
    [entry] = intents(desk.quoted(A=100))
    desk.say(Told(Instruction.FLATTEN, "", desk.now, by="operator"))
    desk.fill(entry, 100)
    [exit_] = intents(desk.over(entry))
    assert (exit_.symbol, exit_.reason) == ("A", "flatten")


def test_a_fill_that_cannot_be_stops_the_strategy() -> None:
    """Sold, and never held: whoever trades on such a book makes it worse."""
    desk = Desk()
    with pytest.raises(BookError, match="3 A sold of 0 held"):
        desk.say(Booked("x", "eager", "?", "A", Side.SELL, 3, 100, 0, 0, desk.now, "signal", desk.now))


def test_a_strategy_that_raises_is_not_asked_again_and_its_stops_go_on(tmp_path: Path) -> None:
    """File and line are told; the position it left behind is still looked after."""
    file = tmp_path / "own.py"
    file.write_text(
        "from strategies.base import Signals, Strategy\n"
        "class Own(Strategy):\n"
        '    """Buys once, then breaks."""\n'
        "    def setup(self, shape):\n"
        "        self.steps = 0\n"
        "    def step(self, bars):\n"
        "        self.steps += 1\n"
        "        if self.steps > 2:\n"
        "            raise ValueError('no more')\n"
        "        return Signals(bars.close > 0, False, 0.0, stop_loss=0.05)\n"
    )
    desk = Desk(("A",), kind=load(str(file)))
    desk.bought("A", 100)
    desk.minute({"A": 100})
    assert desk.minute({"A": 100})[0].enter == ()  # type: ignore[union-attr]  # what it decided: nothing
    assert desk.trader.failure == f"{file}:9: ValueError: no more"
    [exit_] = intents(desk.minute({"A": 94}))
    assert exit_.reason == "stop_loss"
