"""The broker desk's state as bytes, and back."""

from dataclasses import asdict
from typing import Any, TypeVar

import orjson

from actors.store.desk_records import DeskEntry
from actors.trading.accounts import Accounts
from actors.trading.journal import KINDS, Word, decode
from actors.trading.netting import Wish
from actors.trading.orders import Orders, Sent
from actors.trading.ports import Execution, OrderReport, Protection, Side
from actors.trading.words import Intent, OrderPlaced

VERSION = 1

W = TypeVar("W", bound=Word)


def pack(orders: Orders) -> bytes:
    """Everything that `Orders` holds."""
    return orjson.dumps(
        {
            "accounts": orders.accounts.save(),
            "intents": [asdict(intent) for intent in orders.intents.values()],
            "wishes": [asdict(wish) for wish in orders.wishes.values()],
            "crossed": orders.crossed,
            "unfinished": [asdict(order) for order in orders.unfinished.values()],
            "finished": [asdict(order) for order in orders.finished.values()],
            "executions": orders.executions,
            "unbooked": [asdict(execution) for execution in orders.unbooked.values()],
            "halted": sorted(orders.halted),
            "splitting": sorted(orders.splitting),
        }
    )


def unpack(state: bytes) -> Orders:
    """What `pack` was given."""
    saved: dict[str, Any] = orjson.loads(state)
    orders = Orders()
    orders.accounts = Accounts.load(saved["accounts"])
    orders.intents = {one["id"]: _word(Intent, one) for one in saved["intents"]}
    orders.wishes = {one["intent"]: _wish(one) for one in saved["wishes"]}
    orders.crossed = dict(saved["crossed"])
    orders.unfinished = dict(_sent(one) for one in saved["unfinished"])
    orders.finished = dict(_sent(one) for one in saved["finished"])
    orders.executions = {execution: (order, time) for execution, (order, time) in saved["executions"].items()}
    orders.unbooked = {one["execution_id"]: Execution(**one | {"side": Side(one["side"])}) for one in saved["unbooked"]}
    orders.halted = set(saved["halted"])
    orders.splitting = set(saved.get("splitting", ()))  # younger than the first states
    return orders


def _word(kind: type[W], data: dict[str, Any]) -> W:
    word = decode(DeskEntry(0, KINDS[kind], 0, data))
    assert isinstance(word, kind)  # noqa: S101 - the journal reads what it is asked to
    return word


def _wish(data: dict[str, Any]) -> Wish:
    protection = data["protection"]
    return Wish(
        **data | {"side": Side(data["side"]), "protection": None if protection is None else Protection(**protection)}
    )


def _sent(data: dict[str, Any]) -> tuple[str, Sent]:
    placed, report = _word(OrderPlaced, data["placed"]), data["report"]
    reported = None if report is None else OrderReport(**report | {"side": Side(report["side"])})
    return placed.client_order_id, Sent(**data | {"placed": placed, "report": reported})
