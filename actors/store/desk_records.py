"""What the trading desk writes down. Times are UTC microseconds, prices 1/10,000 dollar, volumes 1/10,000 share."""

from array import array
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from actors.kernel.frozen import frozen

COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "trades")


class DeskKind(IntEnum):
    """Every input of a trading decision is in the desk's log, under its kind. Stored: never renumber."""

    BLOCK = 1  # the bars of one time, as they were when their block was closed
    REVISION = 2  # bars that came, or changed, after their block was closed: for the record, never for a decision
    GAP = 3  # bars may be missing: who trades on them stops
    REFILLED = 4  # that gap has been read anew: who stopped may go on


@frozen
class BarBlock:
    """The bars of one time, each column with one entry a symbol, raw as received.

    A symbol that is not here had no bar when the block was closed. `vwap` 0 and `trades` 0: the feed did not say.
    """

    feed: str  # iex | sip | delayed_sip | synthetic
    source: str  # stream | rest
    timeframe: int  # length of a bar, µs
    time: int  # start of the bars
    symbols: tuple[str, ...]
    open: "array[int]"
    high: "array[int]"
    low: "array[int]"
    close: "array[int]"
    volume: "array[int]"
    vwap: "array[int]"
    trades: "array[int]"


@frozen
class Gap:
    """Bars that start from `since` to before `until` may be missing; `symbols` empty: of all."""

    feed: str
    timeframe: int
    since: int
    until: int
    reason: str
    symbols: tuple[str, ...] = ()


DeskData = BarBlock | Gap | Mapping[str, Any]
"""A kind from 10 on carries JSON: an object."""


@frozen
class NewDeskEntry:
    """An input on its way into the desk's log; `at` is when it was received, by the daemon's clock.

    With a `key`, such as an execution's id, it is in the log at most once, for ever.
    """

    kind: int
    at: int
    data: DeskData
    key: str = ""


@frozen
class DeskEntry:
    """An input in the desk's log. `damage`: what is wrong with it on disk; `data` is then empty."""

    seq: int
    kind: int
    at: int
    data: DeskData
    damage: str = ""


Parts = Mapping[str, tuple[int, bytes]]
"""An actor's state: name of a part → version of its format, and the bytes."""


@frozen
class DeskMark:
    """Where a reader stands: it has read up to `cursor`, and its `parts` are its state as of `seq`."""

    cursor: int
    seq: int
    parts: Parts


@frozen
class DeskCommitted:
    """Entries up to the last of these are on disk; carried so that a reader that keeps up reads no log."""

    entries: tuple[DeskEntry, ...]

    @property
    def last(self) -> int:
        """The seq of the newest entry."""
        return self.entries[-1].seq
