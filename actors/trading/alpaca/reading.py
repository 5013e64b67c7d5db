"""Alpaca's JSON as values of the fence: unknown fields are ignored, what makes no sense is no value."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from actors.kernel.clock import SECOND
from actors.trading.ports import (
    AccountState,
    Bar,
    Execution,
    Halted,
    Holding,
    OrderReport,
    Quote,
    Session,
    Side,
    SplitDay,
    Unreachable,
)
from strategies.adjustments import Action
from strategies.bars import RAW_UNITS_PER_DOLLAR
from strategies.sessions import NEW_YORK

Json = Mapping[str, Any]

SENSELESS = (AttributeError, KeyError, TypeError, ValueError, ArithmeticError)
"""What reading raises where something is missing, of another type, or no number."""

IMPOSSIBLE = 10**15
"""No price in units and no volume is so large; both have to fit 64 bits."""

HALTS = frozenset({"H", "P", "2"})
"""Trading halt and pause of tape C; halt of tapes A and B."""
RESUMES = frozenset({"T", "3"})


def mapping(answer: Any) -> Json:
    """An answer that has to be an object. Raises Unreachable when it is none."""
    if not isinstance(answer, Mapping):
        raise Unreachable("the answer makes no sense")
    return answer


def listed(answer: Any) -> list[Any]:
    """An answer that has to be a list. Raises Unreachable when it is none."""
    if not isinstance(answer, list):
        raise Unreachable("the answer makes no sense")
    return answer


def by_symbol(answer: Any) -> Iterator[tuple[str, Any]]:
    """What an answer has of each symbol; null, as Alpaca writes it, is none."""
    return iter(mapping({} if answer is None else answer).items())


def bar(symbol: str, data: Json) -> Bar | None:
    """None: not a possible bar."""
    try:
        opened, high, low, close = (_units(data[name]) for name in "ohlc")
        volume = float(data["v"])
        at = _time(data["t"])
        vwap, trades = _units(data.get("vw") or 0), int(data.get("n") or 0)
    except SENSELESS:
        return None
    if not (0 < low <= min(opened, close) and max(opened, close) <= high < IMPOSSIBLE and 0 <= volume < IMPOSSIBLE):
        return None
    return Bar(symbol, at, opened, high, low, close, volume, vwap, trades)


def quote(symbol: str, data: Json) -> Quote | None:
    """None: not a quote. A side that nobody offers is 0."""
    try:
        return Quote(symbol, _time(data["t"]), _units(data.get("bp") or 0), _units(data.get("ap") or 0))
    except SENSELESS:
        return None


def halted(symbol: str, data: Json) -> Halted | None:
    """None: a status that neither stops trading nor lets it go on."""
    try:
        code = data["sc"]
        return Halted(symbol, halted=code in HALTS, time=_time(data["t"])) if code in HALTS | RESUMES else None
    except SENSELESS:
        return None


def session(data: Json) -> Session:
    """A day of the calendar, which has New York's times. Raises Unreachable when it makes no sense."""
    try:
        day = date.fromisoformat(data["date"])
        opens, closes = (
            int(datetime.combine(day, time.fromisoformat(data[name]), NEW_YORK).timestamp()) * SECOND
            for name in ("open", "close")
        )
    except SENSELESS as error:
        raise Unreachable("the calendar's answer makes no sense") from error
    return Session(day.isoformat(), opens, closes)


def split(data: Json) -> SplitDay:
    """A forward or reverse split. Raises Unreachable when it makes no sense."""
    try:
        ratio = _number(data["new_rate"]) / _number(data["old_rate"])
        return SplitDay(str(data["symbol"]), date.fromisoformat(data["ex_date"]).isoformat(), ratio)
    except SENSELESS as error:
        raise Unreachable("a split makes no sense") from error


def dividend(data: Json) -> Action:
    """A cash dividend. Raises Unreachable when it makes no sense."""
    try:
        return Action(str(data["symbol"]), date.fromisoformat(data["ex_date"]), dividend=_number(data["rate"]))
    except SENSELESS as error:
        raise Unreachable("a dividend makes no sense") from error


def order(data: Json) -> OrderReport:
    """Where an order stands, also in a state never heard of. Raises Unreachable when the answer makes no sense."""
    try:
        return OrderReport(
            client_order_id=str(data["client_order_id"]),
            broker_id=str(data["id"]),
            symbol=str(data["symbol"]),
            side=_side(data["side"]),
            state=str(data["status"]),
            filled=_number(data.get("filled_qty") or 0),
            average=_number(data.get("filled_avg_price") or 0),
            reason=str(data.get("reject_reason") or ""),
        )
    except SENSELESS as error:
        raise Unreachable("an order's answer makes no sense") from error


def execution(update: Json, of: OrderReport) -> Execution | None:
    """The shares of a fill on the stream. Raises Unreachable when the message makes no sense."""
    try:
        if update["event"] not in {"fill", "partial_fill"}:
            return None
        quantity, price = _number(update["qty"]), _number(update["price"])
        at = _time(update["timestamp"])
    except SENSELESS as error:
        raise Unreachable("a fill makes no sense") from error
    return Execution(execution_id(of.broker_id, of.filled), of.client_order_id, of.symbol, of.side, quantity, price, at)


def activity(data: Json, client_order_id: str) -> Execution:
    """A fill as the account's history tells it. Raises Unreachable when it makes no sense."""
    try:
        return Execution(
            execution_id(str(data["order_id"]), _number(data["cum_qty"])),
            client_order_id,
            str(data["symbol"]),
            _side(data["side"]),
            _number(data["qty"]),
            _number(data["price"]),
            _time(data["transaction_time"]),
        )
    except SENSELESS as error:
        raise Unreachable("the account's history makes no sense") from error


def execution_id(broker_id: str, filled: float) -> str:
    """One name for a fill: the order, and how much of it was filled with this one.

    The stream's `execution_id` is not in the account's history, and what is told twice must be known by its name.
    """
    return f"{broker_id}:{filled:.9f}"


def account(data: Json) -> AccountState:
    """Raises Unreachable when the answer makes no sense: a missing number is no zero."""
    try:
        blocked = any(data.get(name) for name in ("trading_blocked", "account_blocked", "trade_suspended_by_user"))
        return AccountState(
            _number(data["equity"]),
            _number(data["cash"]),
            _number(data["buying_power"]),
            blocked=blocked or data.get("status", "ACTIVE") != "ACTIVE",
        )
    except SENSELESS as error:
        raise Unreachable("the account's answer makes no sense") from error


def time_there(data: Json) -> tuple[int, float]:
    """What a clock shows, and how many times as fast as ours it runs: the simulated exchange's says so.

    Raises Unreachable when the answer makes no sense.
    """
    try:
        there, speed = _time(data["timestamp"]), _number(data.get("speed", 1))
    except SENSELESS as error:
        raise Unreachable("the clock's answer makes no sense") from error
    if speed <= 0:
        raise Unreachable("the clock's answer makes no sense")
    return there, speed


def holding(data: Json) -> Holding:
    """Raises Unreachable when the answer makes no sense."""
    try:
        return Holding(str(data["symbol"]), _number(data["qty"]), _number(data["avg_entry_price"]))
    except SENSELESS as error:
        raise Unreachable("a position makes no sense") from error


def _side(text: str) -> Side:
    return Side.BUY if text == "buy" else Side.SELL  # sell_short is one too


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _units(price: Any) -> int:
    # Rounded twice: 1.00005 dollars are 10000.500000000002 units in binary, but meant as a tie.
    return round(round(float(price) * RAW_UNITS_PER_DOLLAR, 4))


def _time(value: Any) -> int:
    """A msgpack timestamp, or RFC 3339 with up to nanoseconds, in microseconds."""
    if isinstance(value, str):
        whole, _, fraction = value.removesuffix("Z").partition(".")
        digits, offset = fraction, ""
        for sign in "+-":
            digits, found, rest = digits.partition(sign)
            offset = found + rest or offset
        stamp = datetime.fromisoformat(whole + offset)
        stamp = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
        return int(stamp.timestamp()) * SECOND + int((digits + "000000")[:6])
    return int(value.to_unix_nano()) // 1000
