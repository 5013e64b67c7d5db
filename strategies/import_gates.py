"""What bars have to pass before they are kept: each gate yields a row and what is wrong with it.

A gate looks at one import as a whole, and at what the store has already. `impossible` comes first and has no way
round; what fails another gate may be right all the same, and who imports it may say so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from strategies.adjustments import Action
from strategies.bar_columns import NO_BARS, SHARE, Series
from strategies.bar_gates import JUMP, NUMBERS, PRICES, TWIN_BARS, Table, fault_text, faults
from strategies.bars import EXACT_BELOW, RAW_UNITS_PER_DOLLAR, bar_length
from strategies.sessions import DAY, Dates, exchange_dates, sessions_between

Ints = NDArray[np.int64]
Fault = tuple[int, str]  # a row of the batch, and what is wrong with it

TWIN_PRICES = 5  # a symbol that hardly moves may well have the closes of another
SHIFTED_BARS = 20
ALIKE = 0.002  # closes of one bar in two feeds, in log price
MOSTLY, HARDLY = 0.9, 0.5


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one import, in the order of the files. `codes` (rows,) index `symbols`; `time` (rows,) is in µs.

    `length` of a bar is found where it is not given. `stored` has the series of the store, of the same feed and
    timeframe, and `elsewhere` those of a symbol in other feeds; `actions` are the splits and dividends that are known.
    """

    tables: Sequence[Table]
    symbols: Sequence[str]
    codes: NDArray[np.intp]
    time: Ints
    length: int | None = None
    actions: Sequence[Action] = ()
    stored: Callable[[str], Series] = lambda _: NO_BARS
    stored_symbols: Sequence[str] = ()
    elsewhere: Callable[[str], Sequence[Series]] = lambda _: ()

    @cached_property
    def timeframe(self) -> int:
        """The length of a bar in µs."""
        return self.length or bar_length(self.time[rows] for rows in self.rows)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The rows by symbol and time; those of one time as they came."""
        return np.lexsort((self.time, self.codes))

    @cached_property
    def units(self) -> Mapping[str, Ints]:
        """The columns (rows,) as they will be kept."""
        columns = {name: np.concatenate([table.numbers[name] for table in self.tables]) for name in NUMBERS}
        scales = dict.fromkeys(PRICES, RAW_UNITS_PER_DOLLAR) | {"volume": SHARE}
        # Rounded twice, as when bars are read from a file: what is meant as a tie is one.
        return {name: np.rint(np.round(column * scales[name], 4)).astype(np.int64) for name, column in columns.items()}

    @cached_property
    def rows(self) -> list[NDArray[np.intp]]:
        """For each symbol its rows by time, of those of one time the first."""
        codes, time = self.codes[self.order], self.time[self.order]
        first = np.append(True, (codes[1:] != codes[:-1]) | (time[1:] != time[:-1]))
        kept = self.order[first]
        return np.split(kept, np.searchsorted(self.codes[kept], np.arange(1, len(self.symbols))))

    def series(self, code: int) -> Series:
        """The bars of a symbol as they will be kept."""
        rows = self.rows[code]
        opens, highs, lows, closes, volume = (self.units[name][rows] for name in NUMBERS)
        unknown = np.zeros(len(rows), np.int64)
        return Series(self.time[rows], opens, highs, lows, closes, volume, vwap=unknown, trades=unknown)

    def dates(self, series: Series) -> Dates:
        """The exchange date of each bar."""
        return exchange_dates(series.time, self.timeframe)

    def locate(self, row: int) -> str:
        """File and line."""
        for table in self.tables:
            if row < table.time.size:
                return table.locate(row)[0]
            row -= table.time.size
        raise IndexError(row)


def impossible(tables: Sequence[Table]) -> Iterator[str]:
    """Rows that are no bars at all, each with its place."""
    for table in tables:
        found = [(int(row), field, reason) for field, bad, reason in faults(table) for row in np.flatnonzero(bad)]
        found += [
            (int(row), "volume", "is too large to be kept")
            for row in np.flatnonzero(table.numbers["volume"] * SHARE >= EXACT_BELOW)
        ]
        told: set[int] = set()
        for row, field, reason in sorted(found, key=lambda fault: fault[0]):
            if row not in told:
                told.add(row)
                yield fault_text(table, row, field, reason)


def order(batch: Batch) -> Iterator[Fault]:
    """Rows that are older than their symbol's row before them."""
    as_they_came = np.argsort(batch.codes, kind="stable")
    same = batch.codes[as_they_came][1:] == batch.codes[as_they_came][:-1]
    for at in np.flatnonzero(same & (np.diff(batch.time[as_they_came]) < 0)):
        yield int(as_they_came[at + 1]), "is older than the row of this symbol before it"


def duplicate(batch: Batch) -> Iterator[Fault]:
    """Rows whose symbol has an earlier row of the same time."""
    rows = batch.order
    same = (batch.codes[rows][1:] == batch.codes[rows][:-1]) & (np.diff(batch.time[rows]) == 0)
    for at in np.flatnonzero(same):
        alike = all(batch.units[name][rows[at]] == batch.units[name][rows[at + 1]] for name in NUMBERS)
        yield (
            int(rows[at + 1]),
            f"repeats a bar of this symbol, {'with the same' if alike else 'but with other'} numbers",
        )


def twin(batch: Batch) -> Iterator[Fault]:
    """Symbols that have the closes of another one."""
    known = [(symbol, batch.stored(symbol)) for symbol in batch.stored_symbols]
    for code, symbol in enumerate(batch.symbols):
        series = batch.series(code)
        for other, theirs in known:
            if other != symbol and _twins(series, theirs):
                yield int(batch.rows[code][0]), f"{symbol} has the same bars as {other}"
                break
        known.append((symbol, series))


def _twins(one: Series, other: Series) -> bool:
    if not len(one) or not len(other):
        return False
    # The newest bar that both could have is looked at first: hardly any pair gets further.
    last = min(one.time[-1], other.time[-1])
    ends = [series.close[np.searchsorted(series.time, last, side="right") - 1] for series in (one, other)]
    if ends[0] != ends[1]:
        return False
    _, mine, theirs = np.intersect1d(one.time, other.time, assume_unique=True, return_indices=True)
    closes = one.close[mine]
    return (
        len(closes) >= TWIN_BARS
        and len(np.unique(closes)) >= TWIN_PRICES
        and bool((closes == other.close[theirs]).all())
    )


def shifted(batch: Batch) -> Iterator[Fault]:
    """Bars of days on which the exchange was closed; days' closes that another feed has a session before or after."""
    for code, symbol in enumerate(batch.symbols):
        series = batch.series(code)
        dates = batch.dates(series)
        sessions = sessions_between(dates[0], dates[-1]).dates
        closed = np.flatnonzero(~np.isin(dates, sessions))
        for at in closed:
            weekday = dates[at].item().strftime("%A")
            yield int(batch.rows[code][at]), f"the exchange was closed on {weekday}, {dates[at]}: are dates shifted?"
        if batch.timeframe < DAY or closed.size:
            continue
        for other in batch.elsewhere(symbol):
            if days := _days_off(series, dates, other, batch.dates(other)):
                where = "before" if days > 0 else "after"
                yield int(batch.rows[code][0]), f"another feed has these closes of {symbol} a session {where}"


def _days_off(series: Series, dates: Dates, other: Series, other_dates: Dates) -> int:
    """1: the other has these closes a session earlier, -1: later, 0: neither."""

    def alike(offset: int) -> float:
        sessions = sessions_between(min(dates[0], other_dates[0]), max(dates[-1], other_dates[-1])).dates
        mine = np.searchsorted(sessions, dates) - offset
        _, here, there = np.intersect1d(mine, np.searchsorted(sessions, other_dates), return_indices=True)
        if len(here) < SHIFTED_BARS:
            return 0.0
        return float(np.mean(np.abs(np.log(series.close[here] / other.close[there])) < ALIKE))

    if not len(other) or alike(0) >= HARDLY:
        return 0
    return next((offset for offset in (1, -1) if alike(offset) > MOSTLY), 0)


def jump(batch: Batch) -> Iterator[Fault]:
    """Closes that are half as much again as the one before, or more, or two thirds of it, and no split says why."""
    for code, symbol in enumerate(batch.symbols):
        series = batch.series(code)
        before = batch.stored(symbol)
        before = before.rows(before.time < series.time[0]).rows(slice(-1, None))
        closes = np.concatenate((before.close, series.close))
        dates = np.concatenate((batch.dates(before), batch.dates(series)))
        steps = np.diff(np.log(closes))
        for at in np.flatnonzero(np.abs(steps) >= JUMP):
            split = np.prod(
                [one.split for one in batch.actions if one.symbol == symbol and dates[at] < one.date <= dates[at + 1]]
            )
            if abs(steps[at] + np.log(split)) >= JUMP:
                prices = closes[at : at + 2] / RAW_UNITS_PER_DOLLAR
                yield (
                    int(batch.rows[code][at + 1 - len(before)]),
                    f"{symbol} goes from {prices[0]:g} to {prices[1]:g}, and no split is known (--actions FILE)",
                )


def gap(batch: Batch) -> Iterator[Fault]:
    """Sessions between a symbol's bars without any."""
    for code, symbol in enumerate(batch.symbols):
        series = batch.series(code)
        before = batch.stored(symbol)
        before = before.rows(before.time < series.time[0]).rows(slice(-1, None))
        dates = np.unique(np.concatenate((batch.dates(before), batch.dates(series))))
        sessions = sessions_between(dates[0], dates[-1]).dates
        sessions = sessions[(sessions > dates[0]) & (sessions < dates[-1])]
        missing = sessions[~np.isin(sessions, dates)]
        # Sessions that miss one after the other are one gap: they lie between the same two dates.
        after, counts = np.unique(np.searchsorted(dates, missing), return_counts=True)
        own = batch.dates(series)
        for number, count in zip(after, counts, strict=True):
            row = batch.rows[code][np.searchsorted(own, dates[number])]
            sessions_ = "1 session has" if count == 1 else f"{count} sessions have"
            yield int(row), f"{sessions_} no bar of {symbol} after {dates[number - 1]}"


def changed(batch: Batch) -> Iterator[Fault]:
    """Bars that the store has with other numbers."""
    for code, symbol in enumerate(batch.symbols):
        series, before = batch.series(code), batch.stored(symbol)
        _, mine, theirs = np.intersect1d(series.time, before.time, assume_unique=True, return_indices=True)
        other = np.zeros(len(mine), np.bool_)
        for name in NUMBERS:
            other |= getattr(series, name)[mine] != getattr(before, name)[theirs]
        for at in np.flatnonzero(other):
            was = before.close[theirs[at]] / RAW_UNITS_PER_DOLLAR
            yield (
                int(batch.rows[code][mine[at]]),
                f"the store has this bar of {symbol} with other numbers (close {was:g})",
            )


GATES: Mapping[str, Callable[[Batch], Iterator[Fault]]] = {
    gate.__name__: gate for gate in (order, duplicate, twin, shifted, jump, gap, changed)
}
