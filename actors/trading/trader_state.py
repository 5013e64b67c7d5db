"""A trader on disk: what it was asked to be and what has become of it. What cannot be read is never guessed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from actors.store.desk_records import Parts
from actors.trading.trader import Trader, Wanted
from actors.trading.words import Decided
from strategies.base import Strategy
from strategies.lab.book import Exits
from strategies.lanes import State, StateMismatch

BOOK, STRATEGY = "book", "strategy"
VERSION = 1

_PLAIN = (
    "flat_by_session",
    "base_time",
    "bar_time",
    "flat_from",
    "warming_until",
    "killed_at",
    "halted_by",
    "flatten",
    "failure",
    "untold_kill",
)


def fingerprint(strategy: Strategy, timeframe: int) -> str:
    """One hash for all that a saved state of the strategy depends on: code, parameters, symbols, length of its bars."""
    parts = (strategy, *strategy.overlays)
    depends = [[part.code_hash() for part in parts], [part.values for part in parts], strategy.shape.symbols, timeframe]
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def save(trader: Trader) -> dict[str, tuple[int, bytes]]:
    """Everything; of the record the months that changed."""
    plain = {name: getattr(trader, name) for name in _PLAIN}
    wanted = {symbol: [one.score, one.bar_time] for symbol, one in trader.wanted.items()}
    exits = [getattr(trader.exits, name) for name in Exits.__slots__]
    book = {"plain": plain, "wanted": wanted, "exits": exits, "unsaid": trader.unsaid, "book": trader.book.save()}
    return {
        BOOK: (VERSION, orjson.dumps(book)),
        STRATEGY: (VERSION, _pack(trader)),
        **trader.record.save(),
    }


def load(trader: Trader, parts: Parts) -> bool:
    """Be as `save` said. False: the book cannot be read."""
    try:
        version, text = parts[BOOK]
        if version != VERSION:
            return False
        saved = orjson.loads(text)
        trader.book.load(saved["book"])
        trader.record.load(parts)
        for name in _PLAIN:
            setattr(trader, name, saved["plain"][name])
        trader.wanted = {symbol: Wanted(*one) for symbol, one in saved["wanted"].items()}
        trader.exits = Exits(*saved["exits"])
        trader.unsaid = [_decided(one) for one in saved["unsaid"]]
    except (ValueError, KeyError, TypeError):
        return False
    return True


def load_strategy(trader: Trader, parts: Parts) -> bool:
    """Have the strategy object go on where it stood. False: it is of other code or parameters, or cannot be read."""
    try:
        version, packed = parts[STRATEGY]
        if version != VERSION:
            return False
        head, _, columns = packed.partition(b"\n")
        saved = orjson.loads(head)
        if saved["fingerprint"] != fingerprint(trader.strategy, trader.timeframe):
            return False
        state = _unpack(saved["arrays"], columns)
        trader.strategy.restore(state["strategy"])
        trader.blocks.restore(state["blocks"])
        trader.resampler.restore(bytes.fromhex(saved["resampler"]))
    except (ValueError, KeyError, TypeError, StateMismatch):
        return False
    return True


def _pack(trader: Trader) -> bytes:
    arrays, columns = [], []
    for owner, state in (("strategy", trader.strategy.state()), ("blocks", trader.blocks.state())):
        for path, array in state.items():
            arrays.append([owner, path, array.dtype.str, array.shape])
            columns.append(np.ascontiguousarray(array).tobytes())
    head = {
        "fingerprint": fingerprint(trader.strategy, trader.timeframe),
        "arrays": arrays,
        "resampler": trader.resampler.state().hex(),
    }
    return b"\n".join((orjson.dumps(head), b"".join(columns)))


def _unpack(arrays: list[Any], columns: bytes) -> Mapping[str, State]:
    states: dict[str, State] = {"strategy": {}, "blocks": {}}
    offset = 0
    for owner, path, kind, shape in arrays:
        dtype = np.dtype(kind)
        count = int(np.prod(shape))
        states[owner][path] = np.frombuffer(columns, dtype, count, offset).reshape(shape).copy()
        offset += count * dtype.itemsize
    return states


def _decided(saved: dict[str, Any]) -> Decided:
    return Decided(
        **saved
        | {name: tuple(saved[name]) for name in ("held", "leave")}
        | {"enter": tuple((symbol, score) for symbol, score in saved["enter"])}
    )
