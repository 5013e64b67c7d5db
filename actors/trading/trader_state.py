"""A trader on disk: what it was asked to be and what has become of it. What cannot be read is never guessed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from actors.store.desk_records import Parts
from actors.trading.quality import Quality
from actors.trading.trader import Trader, Wanted
from actors.trading.words import Decided
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


def save(trader: Trader) -> dict[str, tuple[int, bytes]]:
    """Everything; of the record the months that changed."""
    plain = {name: getattr(trader, name) for name in _PLAIN}
    wanted = {symbol: [one.score, one.bar_time] for symbol, one in trader.wanted.items()}
    exits = [getattr(trader.exits, name) for name in Exits.__slots__]
    book = {"plain": plain, "wanted": wanted, "exits": exits, "unsaid": trader.unsaid}
    book |= {"book": trader.book.save(), "quality": trader.quality.save()}
    head = {
        "fingerprint": trader.by,
        "timeframe": trader.timeframe,
        "resampler": trader.resampler.state().hex(),
    }
    signals = pack_states(head, {"strategy": trader.strategy.state(), "blocks": trader.blocks.state()})
    return {BOOK: (VERSION, orjson.dumps(book)), STRATEGY: (VERSION, signals), **trader.record.save()}


def load(trader: Trader, parts: Parts) -> bool:
    """Be as `save` said. False: the book cannot be read."""
    try:
        version, text = parts[BOOK]
        if version != VERSION:
            return False
        saved = orjson.loads(text)
        trader.book.load(saved["book"])
        trader.record.load(parts)
        trader.quality = Quality(**saved["quality"])
        for name in _PLAIN:
            setattr(trader, name, saved["plain"][name])
        # The universe may be another by now.
        trader.wanted = {name: Wanted(*one) for name, one in saved["wanted"].items() if name in trader.symbols}
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
        saved, state = unpack_states(packed)
        trader.resampler.restore(bytes.fromhex(saved["resampler"]))  # the market's bars, whoever the strategy is
        if saved["fingerprint"] != trader.by:
            return False
        trader.strategy.restore(state["strategy"])
        trader.blocks.restore(state["blocks"])
    except (ValueError, KeyError, TypeError, StateMismatch):
        return False
    return True


def timeframe_of(parts: Parts) -> int | None:
    """The length of the bars of the strategy that was saved, in microseconds; None: that is not known."""
    try:
        timeframe: int | None = unpack_states(parts[STRATEGY][1])[0]["timeframe"]
    except (ValueError, KeyError, TypeError):
        return None
    return timeframe


def pack_states(head: Mapping[str, Any], states: Mapping[str, State]) -> bytes:
    """A line of JSON, and below it the arrays; `unpack_states` reads it."""
    arrays, columns = [], []
    for owner, state in states.items():
        for path, array in state.items():
            arrays.append([owner, path, array.dtype.str, array.shape])
            columns.append(np.ascontiguousarray(array).tobytes())
    return b"\n".join((orjson.dumps({**head, "arrays": arrays}), b"".join(columns)))


def unpack_states(packed: bytes) -> tuple[dict[str, Any], dict[str, State]]:
    """Head and states. Raises ValueError, KeyError or TypeError for what cannot be read."""
    line, _, columns = packed.partition(b"\n")
    head = orjson.loads(line)
    states: dict[str, State] = {}
    offset = 0
    for owner, path, kind, shape in head["arrays"]:
        dtype = np.dtype(kind)
        count = int(np.prod(shape))
        states.setdefault(owner, {})[path] = np.frombuffer(columns, dtype, count, offset).reshape(shape).copy()
        offset += count * dtype.itemsize
    return head, states


def _decided(saved: dict[str, Any]) -> Decided:
    return Decided(
        **saved
        | {name: tuple(saved[name]) for name in ("held", "leave")}
        | {"enter": tuple((symbol, score) for symbol, score in saved["enter"])}
    )
