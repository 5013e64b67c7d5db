"""What bars have to pass before they are kept: each gate yields a row and what is wrong with it.

A gate looks at one import as a whole, and at what the store has already. `impossible` comes first and has no way
round; what fails another gate may be right all the same, and who imports it may say so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from strategies.adjustments import Action
from strategies.bar_columns import NO_BARS, SHARE, Series, joined, places
from strategies.bar_gates import JUMP, NUMBERS, PRICES, TWIN_BARS, Table, fault_text, faults
from strategies.bars import EXACT_BELOW, RAW_UNITS_PER_DOLLAR, timeframe_text
from strategies.sessions import DAY, HOUR, MINUTE, Dates, exchange_dates, sessions_between

Ints = NDArray[np.int64]
Fault = tuple[int, str]  # a row of the batch, and what is wrong with it

TWIN_PRICES = 5  # a symbol that hardly moves may well have the closes of another
SHIFTED_BARS = 20
ALIKE = 0.002  # closes of one bar in two feeds, in log price
MOSTLY, HARDLY = 0.9, 0.5
NEARLY_A_DAY = 20 * HOUR  # days stamped in local time are 23 hours apart once a year
SESSION = 390 * MINUTE
SCALES = dict.fromkeys(PRICES, RAW_UNITS_PER_DOLLAR) | {"volume": SHARE}


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one import, in the order of the files. `codes` (rows,) index `symbols`; `time` (rows,) is in µs.

    `timeframe` is the length of a bar in µs. `stored` has the series of the store, of the same feed and timeframe, and
    `elsewhere` those of a symbol in other feeds; `actions` are the splits and dividends that are known.
    """

    tables: Sequence[Table]
    symbols: Sequence[str]
    codes: NDArray[np.intp]
    time: Ints
    timeframe: int
    actions: Sequence[Action] = ()
    stored: Callable[[str], Series] = lambda _: NO_BARS
    stored_symbols: Sequence[str] = ()
    elsewhere: Callable[[str], Sequence[Series]] = lambda _: ()

    @cached_property
    def places(self) -> Ints:
        """What each row is the bar of (rows,): see `bar_columns.places`."""
        return places(self.time, self.timeframe)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The rows by symbol and place; those of one place as they came."""
        return np.lexsort((self.places, self.codes))

    @cached_property
    def units(self) -> Mapping[str, Ints]:
        """The columns (rows,) as they will be kept."""
        columns = {name: np.concatenate([table.numbers[name] for table in self.tables]) for name in NUMBERS}
        # Rounded twice, as when bars are read from a file: what is meant as a tie is one.
        return {name: np.rint(np.round(column * SCALES[name], 4)).astype(np.int64) for name, column in columns.items()}

    @cached_property
    def rows(self) -> list[NDArray[np.intp]]:
        """For each symbol its rows by place, of those of one place the first."""
        codes, place = self.codes[self.order], self.places[self.order]
        first = np.append(True, (codes[1:] != codes[:-1]) | (place[1:] != place[:-1]))
        kept = self.order[first]
        return np.split(kept, np.searchsorted(self.codes[kept], np.arange(1, len(self.symbols))))

    def series(self, code: int) -> Series:
        """The bars of a symbol as they will be kept."""
        rows = self.rows[code]
        opens, highs, lows, closes, volume = (self.units[name][rows] for name in NUMBERS)
        unknown = np.zeros(len(rows), np.int64)
        return Series(self.time[rows], opens, highs, lows, closes, volume, vwap=unknown, trades=unknown)

    def seamed(self, code: int) -> tuple[Series, NDArray[np.intp]]:
        """A symbol's bars as the store will have them, and of each its row here; -1: the store has it already."""
        fresh = self.series(code)
        whole = joined(self.stored(self.symbols[code]), fresh, self.timeframe)
        rows = np.full(len(whole), -1, np.intp)
        rows[np.isin(whole.time, fresh.time)] = self.rows[code]
        return whole, rows

    def splits(self, symbol: str, dates: Dates) -> NDArray[np.float64]:
        """Of each bar (bars,) the logarithm of the splits since the bar before it; `dates` are the bars'."""
        logs = np.zeros(len(dates))
        for one in self._actions_of.get(symbol, ()):
            at = int(np.searchsorted(dates, np.datetime64(one.date)))
            if 0 < at < len(dates):
                logs[at] += np.log(one.split)
        return logs

    @cached_property
    def _actions_of(self) -> Mapping[str, Sequence[Action]]:
        actions: dict[str, list[Action]] = {}
        for one in self.actions:
            actions.setdefault(one.symbol, []).append(one)
        return actions

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
            (int(row), name, "is too large to be kept")
            for name, scale in SCALES.items()
            for row in np.flatnonzero(table.numbers[name] * scale >= EXACT_BELOW)
        ]
        told: set[int] = set()
        for row, field, reason in sorted(found, key=lambda fault: fault[0]):
            if row not in told:
                told.add(row)
                yield fault_text(table, row, field, reason)


def length_of(codes: NDArray[np.intp], time: Ints) -> int | None:
    """The length of a bar in µs: the least distance of two of a symbol, and a day where that is more, for gaps.

    None: nobody can know it. Most are a day apart, and some neither a day nor a part of a session.
    """
    by_symbol = np.lexsort((time, codes))
    steps = np.diff(time[by_symbol])[np.diff(codes[by_symbol]) == 0]
    least = int(steps[steps > 0].min(initial=DAY))
    if least >= NEARLY_A_DAY:
        return DAY
    return None if least > SESSION or np.mean(steps >= NEARLY_A_DAY) > HARDLY else least


def too_near(batch: Batch) -> Iterator[Fault]:
    """Rows that begin before the bar before them is over."""
    if batch.timeframe >= DAY:
        return  # two of one day are duplicates
    for rows in batch.rows:
        steps = np.diff(batch.time[rows])
        for at in np.flatnonzero(steps < batch.timeframe):
            yield int(rows[at + 1]), f"begins {timeframe_text(int(steps[at]))} after the bar of this symbol before it"


def order(batch: Batch) -> Iterator[Fault]:
    """Rows that are older than their symbol's row before them."""
    as_they_came = np.argsort(batch.codes, kind="stable")
    same = batch.codes[as_they_came][1:] == batch.codes[as_they_came][:-1]
    for at in np.flatnonzero(same & (np.diff(batch.time[as_they_came]) < 0)):
        yield int(as_they_came[at + 1]), "is older than the row of this symbol before it"


def duplicate(batch: Batch) -> Iterator[Fault]:
    """Rows whose symbol has an earlier row of the same time, or the same day."""
    rows = batch.order
    same = (batch.codes[rows][1:] == batch.codes[rows][:-1]) & (np.diff(batch.places[rows]) == 0)
    for at in np.flatnonzero(same):
        alike = all(batch.units[name][rows[at]] == batch.units[name][rows[at + 1]] for name in NUMBERS)
        yield (
            int(rows[at + 1]),
            f"repeats a bar of this symbol, {'with the same' if alike else 'but with other'} numbers",
        )


def twin(batch: Batch) -> Iterator[Fault]:
    """Symbols that have the closes of another one."""
    fresh = [_Closes.of(batch, batch.series(code)) for code in range(len(batch.symbols))]
    twins: dict[int, str] = {}
    for other in batch.stored_symbols:  # one at a time: all that a store has may be more than memory
        theirs = _Closes.of(batch, batch.stored(other))
        for code, symbol in enumerate(batch.symbols):
            if code not in twins and other != symbol and fresh[code].twins(theirs):
                twins[code] = other
    for before, code in combinations(range(len(fresh)), 2):
        if code not in twins and fresh[code].twins(fresh[before]):
            twins[code] = batch.symbols[before]
    for code, other in twins.items():
        yield int(batch.rows[code][0]), f"{batch.symbols[code]} has the same bars as {other}"


@dataclass(frozen=True, slots=True, eq=False)
class _Closes:
    places: Ints
    close: Ints

    @classmethod
    def of(cls, batch: Batch, series: Series) -> "_Closes":
        return cls(places(series.time, batch.timeframe), series.close)

    def twins(self, other: "_Closes") -> bool:
        if not self.close.size or not other.close.size:
            return False
        # The newest bar that both could have is looked at first: hardly any pair gets further.
        last = min(self.places[-1], other.places[-1])
        ends = [one.close[np.searchsorted(one.places, last, side="right") - 1] for one in (self, other)]
        if ends[0] != ends[1]:
            return False
        _, mine, theirs = np.intersect1d(self.places, other.places, assume_unique=True, return_indices=True)
        closes = self.close[mine]
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
    """Closes half as much again as the one before, or more, or two thirds of it, and no split says why.

    Also splits over which they do not change: such prices are adjusted already, and would be once more.
    """
    for code, symbol in enumerate(batch.symbols):
        series, rows = batch.seamed(code)
        splits = batch.splits(symbol, batch.dates(series))[1:]
        unexplained = np.abs(np.diff(np.log(series.close)) + splits) >= JUMP
        row = np.where(rows[1:] >= 0, rows[1:], rows[:-1])
        for at in np.flatnonzero(unexplained & (row >= 0)):
            before, after = series.close[at : at + 2] / RAW_UNITS_PER_DOLLAR
            why = (
                f" over a split of {np.exp(splits[at]):g}: is it wrong, or are these adjusted?"
                if splits[at]
                else ", and no split is known (--actions FILE)"
            )
            yield int(row[at]), f"{symbol} goes from {before:g} to {after:g}{why}"


def gap(batch: Batch) -> Iterator[Fault]:
    """Sessions between a symbol's bars without any."""
    for code, symbol in enumerate(batch.symbols):
        series, rows = batch.seamed(code)
        dates, first = np.unique(batch.dates(series), return_index=True)
        sessions = sessions_between(dates[0], dates[-1]).dates
        sessions = sessions[(sessions > dates[0]) & (sessions < dates[-1])]
        missing = sessions[~np.isin(sessions, dates)]
        # Sessions that miss one after the other are one gap: they lie between the same two dates.
        after, counts = np.unique(np.searchsorted(dates, missing), return_counts=True)
        for number, count in zip(after, counts, strict=True):
            at = first[number]
            row = rows[at] if rows[at] >= 0 else rows[at - 1]
            if row >= 0:
                sessions_ = "1 session has" if count == 1 else f"{count} sessions have"
                yield int(row), f"{sessions_} no bar of {symbol} after {dates[number - 1]}"


def changed(batch: Batch) -> Iterator[Fault]:
    """Bars that the store has with other numbers."""
    for code, symbol in enumerate(batch.symbols):
        series, before = batch.series(code), batch.stored(symbol)
        known = places(before.time, batch.timeframe)
        _, mine, theirs = np.intersect1d(
            places(series.time, batch.timeframe), known, assume_unique=True, return_indices=True
        )
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
