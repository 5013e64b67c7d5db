"""Bars of many symbols on one time axis: the only thing a strategy is ever shown.

Prices are integers in a symbol's own unit (1/10,000 dollar unless the series is adjusted), rounded once, on read: sums
and comparisons of them are exact, so a rule decides the same in any order of evaluation and on any machine.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from config.errors import BadInput
from strategies.sessions import DAY, HOUR, MINUTE, Dates, Micros, exchange_dates, sessions_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

RAW_UNITS_PER_DOLLAR = 10_000
LEAST_UNITS_WHEN_ADJUSTED = 100_000  # six digits
FRACTIONAL_SHARE = 10_000
EXACT_BELOW = 2**53  # the whole numbers that float64 has


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A run of consecutive bar times. Shapes: prices (time, 1, symbols), calendar (time,), minutes (time, 1, 1).

    Where a symbol has no bar, `present` is False, its prices repeat its last close (0 before its first bar) and its
    volume is 0. `members` says which present symbols belong to the universe at that time. The arrays are read-only.

    `volume` is in shares. `volume_units` are whole numbers, for sums that must be exact; how many make a share,
    `volume_scale` (symbols,), depends on bars yet to come, so a rule may compare ratios of them but not the units.
    """

    times: Micros
    dates: Dates
    session_open: Micros
    session_close: Micros
    last_of_session: Bools
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume_units: Ints
    volume_scale: Ints
    present: Bools
    members: Bools

    @property
    def volume(self) -> Floats:
        """Shares, (time, 1, symbols)."""
        shares: Floats = self.volume_units / self.volume_scale
        shares.flags.writeable = False
        return shares

    @property
    def minutes_after_open(self) -> Floats:
        """Minutes from the session's open to the start of the bar; NaN on a date without a session."""
        minutes = np.where(self.session_open < 0, np.nan, (self.times - self.session_open) / MINUTE)
        return minutes[:, None, None]

    @property
    def minutes_before_close(self) -> Floats:
        """Minutes from the start of the bar to the session's close; NaN on a date without a session."""
        minutes = np.where(self.session_open < 0, np.nan, (self.session_close - self.times) / MINUTE)
        return minutes[:, None, None]


COLUMNS = ("times", "open", "high", "low", "close", "volume", "present")


@dataclass(frozen=True, eq=False)
class Bars:
    """Recorded bars. `times` (time,) are bar starts in microseconds UTC, ascending; other columns (time, symbols).

    `price_scale` is units per dollar and `volume_scale` units per share, both (symbols,); `timeframe` the length of a
    bar in microseconds; `members` the point-in-time universe (None: everyone, always).
    """

    symbols: tuple[str, ...]
    times: Micros
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    present: Bools
    price_scale: Ints
    volume_scale: Ints
    timeframe: int
    members: Bools | None = None
    feed: str = "unknown"
    adjustment: str = "raw"
    synthetic: bool = False

    @classmethod
    def from_columns(
        cls,
        symbols: Sequence[str],
        symbol: Ints,
        time: Micros,
        open: Floats,  # noqa: A002 - the field's name
        high: Floats,
        low: Floats,
        close: Floats,
        volume: Floats,
        *,
        timeframe: int | None = None,
        feed: str = "unknown",
        adjustment: str = "raw",
        synthetic: bool = False,
    ) -> "Bars":
        """Lay rows out on one time axis. Each column has one entry a row; `symbol` indexes `symbols`.

        Rows must be valid: a time at most once a symbol, low <= open, close <= high, all positive and finite.
        Without `timeframe`, a bar is as long as the smallest distance of a symbol's times. Raises BadInput for a
        price that rounds to nothing and for a number that is too large to be kept exactly.
        """
        times = np.unique(time)
        cell = np.searchsorted(times, time) * len(symbols) + symbol
        shape = (len(times), len(symbols))
        price_scale = _price_scale(symbols, symbol, low, adjustment)
        volume_scale = np.ones(len(symbols), np.int64)
        volume_scale[symbol[volume != np.rint(volume)]] = FRACTIONAL_SHARE
        present = np.zeros(shape, np.bool_)
        present.ravel()[cell] = True

        def grid(column: Floats, scale: Ints) -> Ints:
            cells = np.zeros(shape, np.int64)
            cells.ravel()[cell] = _units(symbols, symbol, column, scale)
            return cells

        closes = carry_forward(grid(close, price_scale), present)
        opens, highs, lows = (np.where(present, grid(column, price_scale), closes) for column in (open, high, low))
        return cls(
            tuple(symbols),
            times,
            opens,
            highs,
            lows,
            closes,
            grid(volume, volume_scale),
            present,
            price_scale,
            volume_scale,
            timeframe or bar_length(times[own] for own in present.T),
            feed=feed,
            adjustment=adjustment,
            synthetic=synthetic,
        )

    @cached_property
    def dates(self) -> Dates:
        """The exchange date of each bar time, shape (time,)."""
        return exchange_dates(self.times, self.timeframe)

    @cached_property
    def _sessions(self) -> tuple[Micros, Micros]:
        return sessions_of(self.dates)

    @property
    def session_open(self) -> Micros:
        """Open of the session each bar time belongs to, shape (time,); -1 on a date without one."""
        return self._sessions[0]

    @property
    def session_close(self) -> Micros:
        """Close of the session each bar time belongs to, shape (time,); -1 on a date without one."""
        return self._sessions[1]

    @cached_property
    def last_of_session(self) -> Bools:
        """Whether a bar at this time reaches the close of its session, shape (time,)."""
        return (self.session_close >= 0) & (self.times + self.timeframe >= self.session_close)

    @cached_property
    def complete(self) -> bool:
        """Whether no bar is missing."""
        return bool(self.present.all())

    def rows(self, start: int, stop: int) -> "Bars":
        """The bars of times[start:stop] as a series of its own."""
        cut = {name: getattr(self, name)[start:stop] for name in COLUMNS}
        return replace(self, **cut, members=None if self.members is None else self.members[start:stop])

    def block(self, start: int, stop: int) -> Block:
        """The bars of times[start:stop]: read-only views of what the engine trades on, nothing is copied."""
        rows = slice(start, stop)
        present = self.present[rows, None]
        columns = (
            self.times[rows],
            self.dates[rows],
            self.session_open[rows],
            self.session_close[rows],
            self.last_of_session[rows],
            self.open[rows, None],
            self.high[rows, None],
            self.low[rows, None],
            self.close[rows, None],
            self.volume[rows, None],
            self.volume_scale[:],
            present,
            present if self.members is None else present & self.members[rows, None],
        )
        for column in columns:
            column.flags.writeable = False
        return Block(*columns)

    def __len__(self) -> int:
        return len(self.times)


def carry_forward(closes: Ints, present: Bools) -> Ints:
    """Closes (time, symbols) with each missing one replaced by the symbol's last, 0 before its first."""
    if present.all():
        return closes
    last_seen = np.maximum.accumulate(np.where(present, np.arange(len(closes))[:, None], -1), axis=0)
    return np.where(last_seen < 0, 0, np.take_along_axis(closes, np.maximum(last_seen, 0), axis=0))


def parse_timeframe(text: str) -> int:
    """Microseconds of "15m", "2h" or "1d". Raises BadInput."""
    units = {"m": MINUTE, "h": HOUR, "d": DAY}
    if text[-1:] not in units or not text[:-1].isdecimal() or int(text[:-1]) == 0:
        raise BadInput(f"timeframe {text!r}: a number and m, h or d is needed, such as 15m, 2h or 1d")
    return int(text[:-1]) * units[text[-1]]


def timeframe_text(micros: int) -> str:
    """15m, 2h, 1d; what is no whole number of minutes in seconds."""
    for unit, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if micros % unit == 0:
            return f"{micros // unit}{letter}"
    return f"{micros / 1_000_000:g}s"


def adjusted_scale(lowest: Floats) -> Ints:
    """Units per dollar for adjusted series whose lowest prices, in dollars, are these: six digits remain."""
    digits = np.ceil(np.log10(LEAST_UNITS_WHEN_ADJUSTED / lowest)).clip(4, 12)
    return (10**digits).astype(np.int64)


def _units(symbols: Sequence[str], symbol: Ints, column: Floats, scale: Ints) -> Ints:
    units = column * scale[symbol]
    if units.max(initial=0) >= EXACT_BELOW:
        raise BadInput(f"{symbols[symbol[units.argmax()]]}: {column[units.argmax()]:g} is too large a number")
    # Rounded twice: 1.00005 dollars are 10000.500000000002 units in binary, but meant as a tie.
    return np.rint(np.round(units, 4)).astype(np.int64)


def _price_scale(symbols: Sequence[str], symbol: Ints, low: Floats, adjustment: str) -> Ints:
    scale = np.full(len(symbols), RAW_UNITS_PER_DOLLAR, np.int64)
    if adjustment != "raw":
        lowest = np.full(len(symbols), float(LEAST_UNITS_WHEN_ADJUSTED))
        np.minimum.at(lowest, symbol, low)
        scale = adjusted_scale(lowest)
    vanishing = np.flatnonzero(np.rint(low * scale[symbol]) < 1)
    if vanishing.size:
        name, price, unit = symbols[symbol[vanishing[0]]], low[vanishing[0]], 1 / scale[symbol[vanishing[0]]]
        raise BadInput(f"{name}: a price of {price:g} rounds to nothing in units of {unit:g} dollar")
    return scale


def bar_length(axes: Iterable[Micros]) -> int:
    """The length of a bar: the smallest distance of one symbol's times, for symbols may tick at different moments.

    Daily bars stamped in local time are 23 hours apart once a year.
    """
    least = min((int(np.diff(times).min()) for times in axes if len(times) > 1), default=DAY)
    return DAY if 20 * HOUR <= least <= 28 * HOUR else least
