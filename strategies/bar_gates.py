"""What a bar must be, and what makes a series doubtful."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from config.errors import BadInput
from strategies.bars import RAW_UNITS_PER_DOLLAR, Bars

PRICES = ("open", "high", "low", "close")
NUMBERS = (*PRICES, "volume")
MOST = 1e12  # dollars or shares: beyond any market, and within 64-bit units
# Before there was an exchange, and beyond what its calendar can know: such a time is a mistake.
EARLIEST, LATEST = (np.datetime64(f"{year}-01-01", "us").astype(np.int64) for year in (1800, 2100))
JUMP = 0.4  # in log price, half as much again from one bar to the next: a split of 3:2 and more
TWIN_BARS = 20  # identical closes over fewer bars may be chance

Locate = Callable[[int], tuple[str, Mapping[str, str]]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file as columns; `time` is in µs, `locate(row)` says where a row is and what is written there."""

    symbol: NDArray[np.bytes_]
    time: NDArray[np.int64]
    numbers: Mapping[str, NDArray[np.float64]]
    locate: Locate


def refuse_impossible(table: Table) -> None:
    """Raise BadInput for the first row that cannot be a bar: file, line, field, and why."""
    found = [(int(bad.argmax()), field, reason) for field, bad, reason in faults(table) if bad.any()]
    if found:
        row, field, reason = min(found, key=lambda fault: fault[0])
        raise BadInput(fault_text(table, row, field, reason))


def fault_text(table: Table, row: int, field: str, reason: str) -> str:
    """One of the `faults` with its place."""
    place, text = table.locate(row)
    return f"{place}: {field}: {text.get(field) or 'it'} {reason.format_map(text)}"


def faults(table: Table) -> Iterator[tuple[str, Mask, str]]:
    """Field, rows at fault, reason; of several faults in one row the first counts."""
    widest = table.symbol.dtype.itemsize
    lengths = np.strings.str_len(table.symbol)
    yield "symbol", lengths == 0, "is empty"
    yield "symbol", lengths == widest, f"is longer than {widest - 1} characters"
    yield "time", ~((table.time >= EARLIEST) & (table.time < LATEST)), "is not from 1800 to 2099"
    for name in NUMBERS:
        yield name, ~np.isfinite(table.numbers[name]), "is not a finite number"
        yield name, table.numbers[name] > MOST, f"is more than {MOST:g}"
    for name in PRICES:
        yield name, table.numbers[name] <= 0, "is not positive"
    yield "volume", table.numbers["volume"] < 0, "is negative"
    yield "high", table.numbers["high"] < table.numbers["low"], "is below low {low}"
    # Rounded as the bars will be: adjusted prices carry noise in their last digits.
    with np.errstate(over="ignore", invalid="ignore"):  # such numbers are refused above
        units = {name: np.rint(table.numbers[name] * RAW_UNITS_PER_DOLLAR) for name in PRICES}
    for name in PRICES:
        yield name, units[name] < 1, f"rounds to no 1/{RAW_UNITS_PER_DOLLAR} dollar"
    for name in ("open", "close"):
        yield name, units[name] > units["high"], "is above high {high}"
        yield name, units[name] < units["low"], "is below low {low}"


def refuse_odd_symbols(tables: Sequence[Table], symbols: Sequence[str], codes: NDArray[np.intp]) -> None:
    """Raise BadInput for the first symbol that is printed as something else than it is; `codes` index `symbols`."""
    for code, symbol in enumerate(symbols):
        if symbol != symbol.strip() or not (symbol.isascii() and symbol.isprintable()):
            place, _ = _locate(tables, int((codes == code).argmax()))
            raise BadInput(f"{place}: symbol: {symbol!r} has a blank at an end, or more than printable ASCII")


def refuse_disorder(tables: Sequence[Table], symbol: NDArray[np.intp], time: NDArray[np.int64]) -> None:
    """Raise BadInput for the first row that is not later than its symbol's row before it.

    `symbol` and `time` have an entry for every row of all tables.
    """
    order = np.argsort(symbol, kind="stable")  # keeps the rows of a symbol as they came
    same = symbol[order][1:] == symbol[order][:-1]
    late = np.flatnonzero(same & (np.diff(time[order]) <= 0))
    if not late.size:
        return
    at = late[order[late + 1].argmin()]
    row, before = int(order[at + 1]), int(order[at])
    (place, text), (_, earlier) = _locate(tables, row), _locate(tables, before)
    fault = "repeats a bar" if time[row] == time[before] else f"comes after {earlier['time']}, a later bar"
    raise BadInput(f"{place}: time: {text['time']} {fault} of this symbol")


def _locate(tables: Sequence[Table], row: int) -> tuple[str, Mapping[str, str]]:
    for table in tables:
        if row < table.time.size:
            return table.locate(row)
        row -= table.time.size
    raise IndexError(row)


def doubts(bars: Bars) -> Iterator[str]:
    """What looks wrong in bars that are possible: two symbols with one series, and jumps that look like splits."""
    first: dict[bytes, str] = {}
    for column, symbol in enumerate(bars.symbols):
        there = bars.present[:, column]
        closes = bars.close[there, column]
        if closes.size >= TWIN_BARS:
            series = bars.times[there].tobytes() + closes.tobytes()
            twin = first.setdefault(series, symbol)
            if twin != symbol:
                yield f"{symbol} has the same bars as {twin}"
        jumps = np.flatnonzero(np.abs(np.log(closes[1:] / closes[:-1])) >= JUMP)
        if jumps.size:
            before, after = closes[jumps[0] : jumps[0] + 2] / bars.price_scale[column]
            day = bars.dates[there][jumps[0] + 1]
            more = f", and {jumps.size - 1} more jumps" if jumps.size > 1 else ""
            yield f"{symbol} jumps from {before:g} to {after:g} on {day}{more}: are splits adjusted for?"
