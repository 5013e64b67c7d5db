"""The desk's words as entries of its log, and back: JSON that says exactly the same, floats to the last bit."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from actors.store.desk_records import DeskEntry, DeskKind, NewDeskEntry
from actors.trading.ports import Execution, OrderReport, Protection, Side
from actors.trading.words import (
    Booked,
    Decided,
    Funded,
    Instruction,
    Intent,
    IntentOver,
    OrderMoved,
    OrderPlaced,
    Passed,
    Purpose,
    Share,
    Split,
    Told,
    Verdict,
    WarmedUp,
)

Word: TypeAlias = (
    Intent
    | Verdict
    | OrderPlaced
    | OrderMoved
    | Booked
    | IntentOver
    | Told
    | Funded
    | Split
    | Decided
    | Passed
    | WarmedUp
)

KINDS: Mapping[type[object], int] = {
    Intent: 10,
    Verdict: 11,
    OrderPlaced: 12,
    OrderMoved: 13,
    Booked: 14,
    IntentOver: 15,
    Told: 16,
    Funded: 17,
    Split: 18,
    Decided: 19,
    Passed: 20,
    WarmedUp: 21,
}
"""Stored: never renumber. Below 10 are the market's: `DeskKind`."""

_READERS: dict[int, Callable[[dict[str, Any]], Word]] = {
    10: lambda data: Intent(**data | {"purpose": Purpose(data["purpose"]), "protection": _protection(data)}),
    11: lambda data: Verdict(**data),
    12: lambda data: OrderPlaced(
        **data
        | {
            "side": Side(data["side"]),
            "shares": tuple(Share(**share) for share in data["shares"]),
            "protection": _protection(data),
        }
    ),
    13: lambda data: OrderMoved(
        report=OrderReport(**_sided(data["report"])),
        execution=None if data["execution"] is None else Execution(**_sided(data["execution"])),
        at=data["at"],
    ),
    14: lambda data: Booked(**_sided(data)),
    15: lambda data: IntentOver(**data),
    16: lambda data: Told(**data | {"instruction": Instruction(data["instruction"])}),
    17: lambda data: Funded(**data),
    18: lambda data: Split(**data),
    19: lambda data: Decided(
        **data
        | {name: tuple(data[name]) for name in ("held", "leave")}
        | {"enter": tuple((symbol, score) for symbol, score in data["enter"])}
    ),
    20: lambda data: Passed(**data),
    21: lambda data: WarmedUp(**data | {"strategies": tuple(data["strategies"])}),
}


def encode(word: Word) -> NewDeskEntry:
    """The entry that says it; what must not happen twice (an intent, an order, an execution) under its key."""
    return NewDeskEntry(KINDS[type(word)], word.at, _plain(word), _key(word))


def _plain(word: Any) -> dict[str, Any]:
    """As `dataclasses.asdict`, which takes ten times as long: it copies every text and number."""
    return {name: _nested(getattr(word, name)) for name in word.__slots__}


def _nested(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return _plain(value)
    if isinstance(value, tuple) and value and hasattr(value[0], "__dataclass_fields__"):
        return tuple(map(_plain, value))
    return value


def _key(word: Word) -> str:
    match word:
        case Intent(id=intent, bar_time=time):
            # The time comes first, so that what is said together stands together on disk: a page, not one for each.
            return f"intent:{time}:{intent}"
        case OrderPlaced(client_order_id=order):
            return f"order:{order}"
        case OrderMoved(execution=Execution(execution_id=execution)):
            return f"execution:{execution}"
    return ""


def decode(entry: DeskEntry) -> Word | None:
    """What an entry says; None: it is the market's, or (`damage`) cannot be read.

    Raises KeyError, TypeError or ValueError for what no version of this module has written.
    """
    if entry.damage or entry.kind <= DeskKind.REFILLED:
        return None
    return _READERS[entry.kind](cast("dict[str, Any]", entry.data))


def _sided(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"side": Side(data["side"])}


def _protection(data: dict[str, Any]) -> Protection | None:
    said = data["protection"]
    return None if said is None else Protection(**said)
