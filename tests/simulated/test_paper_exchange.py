"""A paper account fills at the moving price, keeps what waits for the day, and holds to its rules."""

import pytest

from actors.simulated.exchange.faults import FaultPlan
from actors.simulated.exchange.orders import Declined
from actors.simulated.exchange.paper import PaperExchange
from actors.trading.ports import Bar, Execution, Holding, Order, OrderUpdate, Side
from strategies.lab.costs import Costs

NOW = 1_790_602_200_000_000


class Account:
    def __init__(self, *faults: str, participation: float = 1.0, cash: float = 10_000.0) -> None:
        self.faults = FaultPlan()
        for name in faults:
            self.faults.force(name)
        self.told: list[OrderUpdate] = []
        self.exchange = PaperExchange(
            ["AAPL", "MSFT"], Costs(participation=participation), cash=cash, faults=self.faults
        )
        self.exchange.sink = self.told.append

    def minute(self, price: float = 100.0, volume: float = 1_000.0, at: int = NOW) -> None:
        """A minute of one price begins."""
        units = round(price * 10_000)
        self.exchange.open_bars(at, [Bar("AAPL", at, units, units, units, units, volume)])

    def buy(self, identity: str, dollars: float = 1_000.0, symbol: str = "AAPL") -> None:
        self.exchange.submit(Order(identity, symbol, Side.BUY, notional=dollars), NOW + 1)

    def sell(self, identity: str, shares: float) -> None:
        self.exchange.submit(Order(identity, "AAPL", Side.SELL, quantity=shares), NOW + 1)

    def state(self, identity: str) -> str:
        return str(self.exchange.ticket(identity).state)

    @property
    def fills(self) -> list[Execution]:
        return self.exchange.executed


def test_an_order_fills_at_once_at_the_price_of_the_moment() -> None:
    account = Account()
    account.minute(100)
    account.exchange.move("AAPL", 101.0, NOW)
    account.buy("in", 1_010)
    assert [done.quantity for done in account.fills] == pytest.approx([10])
    assert account.fills[0].price == 101.0
    account.exchange.move("AAPL", 99.0, NOW)
    account.sell("out", account.fills[0].quantity)
    assert account.exchange.account().cash == pytest.approx(10_000 - 20)
    assert account.exchange.holdings() == []


def test_what_the_volume_of_a_minute_does_not_fill_waits_for_the_next() -> None:
    account = Account(participation=0.1)
    account.minute(volume=40)
    account.buy("in")
    account.exchange.move("AAPL", 100.0, NOW + 2)
    assert account.state("in") == "partially_filled"
    account.exchange.close_bars()
    account.minute(volume=80, at=NOW + 60_000_000)
    assert [done.quantity for done in account.fills] == pytest.approx([4, 6])
    assert account.state("in") == "filled"


def test_what_waits_at_the_close_expires_and_its_money_is_free_again() -> None:
    account = Account(participation=0.1)
    account.minute(volume=40)
    account.buy("in", 9_000)
    with pytest.raises(Declined, match="insufficient buying power"):
        account.buy("more", 1_001)
    account.exchange.close_bars()
    account.exchange.end_day(NOW + 2)
    assert account.state("in") == "expired"
    assert account.told[-1].report.state == "expired"
    assert account.exchange.account().buying_power == pytest.approx(9_600)


def test_an_order_outside_the_session_waits_for_the_open() -> None:
    account = Account()
    account.buy("in")
    assert account.state("in") == "new"
    assert account.fills == []
    account.minute(50)
    assert account.fills[0].price == 50


def test_a_halted_symbol_does_not_trade_and_another_does() -> None:
    account = Account()
    account.exchange.halted = {"AAPL"}
    units = 1_000_000
    account.exchange.open_bars(NOW, [Bar(s, NOW, units, units, units, units, 1e6) for s in ("AAPL", "MSFT")])
    account.buy("halted")
    account.buy("free", symbol="MSFT")
    assert (account.state("halted"), account.state("free")) == ("new", "filled")
    account.exchange.halted = set()
    account.exchange.move("AAPL", 100.0, NOW)
    assert account.state("halted") == "filled"


def test_the_other_side_of_a_waiting_order_is_a_wash_trade() -> None:
    account = Account()
    account.minute()
    account.buy("in")
    account.exchange.close_bars()
    account.sell("out", 5)
    with pytest.raises(Declined, match="wash trade"):
        account.buy("again")


def test_shares_promised_to_one_sale_cannot_be_sold_by_another() -> None:
    account = Account()
    account.minute()
    account.buy("in")
    account.exchange.close_bars()
    account.sell("half", 5)
    account.sell("rest", 5)
    with pytest.raises(Declined, match=r"requested: 1, available: 0"):
        account.sell("more", 1)


def test_parts_leave_no_dust() -> None:
    """Quantities are multiples of what a broker can count, however an order was cut up."""
    account = Account("partial")
    account.minute(33.33)
    account.buy("in", 1_000)
    for minute in range(1, 20):
        account.minute(33.33 + minute / 100, at=NOW + minute * 60_000_000)
    assert len(account.fills) > 3
    [held] = account.exchange.holdings()
    assert held.quantity == pytest.approx(round(held.quantity, 9), abs=1e-12)
    account.faults.lift("partial")
    account.sell("out", round(held.quantity, 9))
    assert account.exchange.holdings() == []


def test_the_parts_of_a_sale_add_up_to_it_as_they_are_told_in_nine_decimals() -> None:
    account = Account("partial")
    account.minute(100)
    account.exchange.endow(500.0, [Holding("AAPL", 20.965086119, 100.0)])
    account.sell("out", 20.965086119)
    for minute in range(1, 20):
        account.minute(100, at=NOW + minute * 60_000_000)
    assert len(account.fills) > 3
    assert sum(round(done.quantity * 1e9) for done in account.fills) == 20_965_086_119


def test_an_account_can_begin_where_an_earlier_one_ended() -> None:
    account = Account()
    account.exchange.endow(500.0, [Holding("AAPL", 3.0, 90.0)])
    assert account.exchange.account().equity == 770
    account.minute(100)
    account.sell("out", 3)
    assert account.exchange.account().cash == pytest.approx(800)
    assert account.exchange.holdings() == []
