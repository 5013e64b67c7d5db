"""How Alpaca writes things down: orders, positions, bars and quotes as its JSON has them."""

import datetime as dt
from hashlib import blake2b
from typing import Any
from uuid import UUID

from actors.simulated.exchange.core import dollars
from actors.simulated.exchange.orders import State, Ticket
from actors.trading.ports import AccountState, Bar, Execution, Holding, Quote
from strategies.sessions import NEW_YORK

Json = dict[str, Any]

DECIMALS = 9  # of a quantity
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def moment(time: int) -> dt.datetime:
    """UTC microseconds as a time with its zone."""
    return EPOCH + dt.timedelta(microseconds=time)


def stamp(time: int) -> str:
    """RFC 3339 in UTC."""
    return moment(time).isoformat().replace("+00:00", "Z")


def utc_date(time: int) -> str:
    """YYYY-MM-DD."""
    return moment(time).date().isoformat()


def local_stamp(time: int) -> str:
    """RFC 3339 in New York, to the second."""
    return moment(time).astimezone(NEW_YORK).isoformat(timespec="seconds")


def clock_time(time: int) -> str:
    """The hour in New York, as the calendar has it."""
    return f"{moment(time).astimezone(NEW_YORK):%H:%M}"


def micros(text: str) -> int:
    """Of RFC 3339, or of a date. Raises ValueError."""
    time = dt.datetime.fromisoformat(text)
    aware = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
    return (aware - EPOCH) // dt.timedelta(microseconds=1)


def number(value: float) -> str:
    """Quantities and money are texts."""
    return f"{round(value, DECIMALS):.{DECIMALS}f}".rstrip("0").rstrip(".")


def asset_id(symbol: str) -> str:
    """A symbol's id, the same everywhere."""
    return str(UUID(bytes=blake2b(symbol.encode(), digest_size=16).digest(), version=4))


def asset(symbol: str) -> Json:
    """A stock that may be bought in fractions, and not be sold short."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": f"{symbol} (simulated)",
        "status": "active",
        "tradable": True,
        "marginable": False,
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": True,
        "attributes": [],
    }


def account(state: AccountState) -> Json:
    """A cash account."""
    worth = number(state.equity)
    return {
        "id": asset_id("account"),
        "account_number": "PA0SIMULATED",
        "status": "ACTIVE",
        "currency": "USD",
        "cash": number(state.cash),
        "equity": worth,
        "last_equity": worth,
        "portfolio_value": worth,
        "long_market_value": number(state.equity - state.cash),
        "short_market_value": "0",
        "buying_power": number(state.buying_power),
        "regt_buying_power": number(state.buying_power),
        "non_marginable_buying_power": number(state.buying_power),
        "multiplier": "1",
        "shorting_enabled": False,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": state.blocked,
        "trade_suspended_by_user": False,
        "created_at": stamp(0),
    }


def order(ticket: Ticket) -> Json:
    """An order; what was not asked for is null."""
    asked, ended = ticket.order, stamp(ticket.updated_at)
    report = ticket.report()
    return {
        "id": ticket.broker_id,
        "client_order_id": asked.client_order_id,
        "created_at": stamp(ticket.submitted_at),
        "submitted_at": stamp(ticket.submitted_at),
        "updated_at": ended,
        "filled_at": ended if ticket.state == State.FILLED else None,
        "expired_at": ended if ticket.state == State.EXPIRED else None,
        "canceled_at": ended if ticket.state == State.CANCELED else None,
        "failed_at": ended if ticket.state == State.REJECTED else None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": asset_id(asked.symbol),
        "symbol": asked.symbol,
        "asset_class": "us_equity",
        "notional": None if asked.notional is None else f"{asked.notional:.2f}",
        "qty": None if asked.quantity is None else number(asked.quantity),
        "filled_qty": number(ticket.filled),
        "filled_avg_price": number(report.average) if ticket.filled else None,
        "order_class": "",
        "order_type": "market",
        "type": "market",
        "side": asked.side.value,
        "time_in_force": "day",
        "limit_price": None,
        "stop_price": None,
        "status": str(ticket.state),
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
    }


def position(held: Holding, price: float) -> Json:
    """Shares held, at `price` now."""
    cost, worth = held.average * held.quantity, price * held.quantity
    return {
        "asset_id": asset_id(held.symbol),
        "symbol": held.symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": False,
        "qty": number(held.quantity),
        "qty_available": number(held.quantity),
        "avg_entry_price": number(held.average),
        "side": "long",
        "market_value": number(worth),
        "cost_basis": number(cost),
        "unrealized_pl": number(worth - cost),
        "unrealized_plpc": number(worth / cost - 1),
        "current_price": number(price),
    }


def activity(done: Execution, ticket: Ticket, cumulative: float) -> Json:
    """A fill, as the account's activities tell it; `cumulative`: shares of its order that had filled by then."""
    left = 0.0 if ticket.order.quantity is None else ticket.order.quantity - cumulative
    whole = ticket.state == State.FILLED and cumulative >= ticket.filled
    return {
        "id": f"{moment(done.time):%Y%m%d%H%M%S%f}::{done.execution_id}",
        "activity_type": "FILL",
        "type": "fill" if whole else "partial_fill",
        "transaction_time": stamp(done.time),
        "symbol": done.symbol,
        "side": done.side.value,
        "price": number(done.price),
        "qty": number(done.quantity),
        "cum_qty": number(cumulative),
        "leaves_qty": number(max(left, 0.0)),
        "order_id": ticket.broker_id,
        "order_status": str(ticket.state),
    }


def bar(one: Bar) -> Json:
    """A bar of the streams; in the history it has no symbol of its own. `t` is in microseconds until it is sent."""
    return {
        "t": one.time,
        "o": dollars(one.open),
        "h": dollars(one.high),
        "l": dollars(one.low),
        "c": dollars(one.close),
        "v": int(one.volume) if float(one.volume).is_integer() else one.volume,
        "n": one.trades,
        "vw": dollars(one.vwap or one.close),
    }


def quote(one: Quote) -> Json:
    """As `bar`."""
    sides = {"bx": "V", "bp": dollars(one.bid), "bs": 1, "ax": "V", "ap": dollars(one.ask), "as": 1}
    return {"t": one.time, **sides, "c": ["R"], "z": "C"}


def trade(one: Quote, identity: int) -> Json:
    """A trade of a hundred shares in the middle of a quote."""
    middle = round(dollars(one.bid + one.ask) / 2, 2)
    return {"t": one.time, "i": identity, "x": "V", "p": middle, "s": 100, "c": ["@"], "z": "C"}
