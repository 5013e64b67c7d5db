"""Recorded bars into the store, through the gates; all of them or none."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from config.errors import BadInput
from strategies import bar_gates, import_gates
from strategies.adjustments import Action
from strategies.bar_files import encode, read_tables
from strategies.bar_gates import refuse_odd_symbols
from strategies.bar_store import BarStore, Source
from strategies.bars import RAW_UNITS_PER_DOLLAR, timeframe_text
from strategies.import_gates import GATES, Batch
from strategies.sessions import exchange_dates

LINES = 10  # told of one gate: who has to mend more than that mends them at their source
IMPOSSIBLE = "impossible"
CHANGED, JUMP = import_gates.changed.__name__, import_gates.jump.__name__


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import brought. `accepted`: gate → what it said of the bars that were waved through."""

    feed: str
    timeframe: int
    symbols: tuple[str, ...]
    bars: int
    actions: int
    accepted: Mapping[str, Sequence[str]]


class Refused(BadInput):
    """Bars failed gates; nothing was imported. `lines`: each with file, row and gate."""

    def __init__(self, summary: str, lines: Sequence[str]) -> None:
        super().__init__(summary)
        self.lines = lines


def import_bars(
    store: BarStore,
    path: Path,
    *,
    feed: str,
    timeframe: int | None,
    actions: Sequence[Action],
    accept: Collection[str],
    at: str,
    by: str,
    progress: Callable[[str], None] = lambda _: None,
) -> Imported:
    """Check every row of a file or folder and merge it into the store. `accept` names gates to pass all the same.

    `at` and `by` say when it is imported and who answers for it; `progress` is told what is being done. Raises Refused,
    BadInput for what is no file of bars, and UserError when others are writing.
    """
    progress("reading")
    judged = store.manifest().generation
    batch = _batch(store, path, feed, timeframe, actions)
    if near := [f"{batch.locate(row)}: time: {text}" for row, text in islice(import_gates.too_near(batch), LINES + 1)]:
        length = timeframe_text(batch.timeframe)
        raise Refused(f"{path}: nothing was imported: these are no bars of {length}", _told(near, "time"))
    said = _said(batch, progress)
    for gate, lines in _of_actions(store, actions, (feed, batch.timeframe, batch.symbols)).items():
        said[gate] = [*lines, *said.get(gate, ())]
    _refuse(path, said, accept)
    series = {symbol: batch.series(code) for code, symbol in enumerate(batch.symbols)}
    source = Source(str(path.resolve()), at, by, said)
    progress("writing")
    store.add(feed, batch.timeframe, series, source, actions, judged)
    bars = sum(len(one) for one in series.values())
    return Imported(feed, batch.timeframe, tuple(batch.symbols), bars, len(actions), said)


def import_actions(
    store: BarStore, path: Path, actions: Sequence[Action], *, accept: Collection[str], at: str, by: str
) -> Imported:
    """Splits and dividends without bars; the rest as `import_bars`."""
    said = _of_actions(store, actions)
    _refuse(path, said, accept)
    store.add_actions(actions, Source(str(path.resolve()), at, by, said))
    return Imported("", 0, (), 0, len(actions), said)


def _refuse(path: Path, said: Mapping[str, Sequence[str]], accept: Collection[str]) -> None:
    if refusing := {gate: lines for gate, lines in said.items() if gate not in accept}:
        ways = " ".join(f"--accept {gate}" for gate in refusing)
        raise Refused(
            f"{path}: nothing was imported; mend it, or, where it is right as it is, import it with {ways}",
            [line for lines in refusing.values() for line in lines],
        )


def _batch(store: BarStore, path: Path, feed: str, length: int | None, actions: Sequence[Action]) -> Batch:
    tables = read_tables(path)
    if faults := list(islice(import_gates.impossible(tables), LINES + 1)):
        raise Refused(f"{path}: nothing was imported: such bars cannot be", _told(faults, IMPOSSIBLE))
    symbols, codes = encode(np.concatenate([table.symbol for table in tables]))
    refuse_odd_symbols(tables, symbols, codes)
    time = np.concatenate([table.time for table in tables])
    timeframe = length or import_gates.length_of(codes, time)
    if timeframe is None:
        raise BadInput(f"{path}: how long is a bar? Some of these days are stamped in another way; say --timeframe 1d")
    others = {part.feed for part in store.manifest().parts if part.timeframe == timeframe} - {feed}
    stored, elsewhere = store.opened(feed, timeframe), [store.opened(other, timeframe) for other in sorted(others)]
    return Batch(
        tables,
        symbols,
        codes,
        time,
        timeframe,
        list({(one.symbol, one.date): one for one in (*store.actions(), *actions)}.values()),
        stored.series,
        stored.symbols,
        lambda symbol: [other.series(symbol) for other in elsewhere],
    )


def _said(batch: Batch, progress: Callable[[str], None]) -> dict[str, list[str]]:
    """What each gate says that says something."""
    said = {}
    for name, gate in GATES.items():
        progress(f"gate {name}")
        if found := sorted(gate(batch)):
            lines = [f"{batch.locate(row)}: {name}: {text}" for row, text in found[:LINES]]
            said[name] = lines + [f"{name}: {len(found) - LINES} more such rows"] * (len(found) > LINES)
    return said


def _told(faults: Sequence[str], gate: str) -> list[str]:
    return [*faults[:LINES], *[f"{gate}: there are more such rows"] * (len(faults) > LINES)]


def _of_actions(
    store: BarStore, actions: Sequence[Action], judged: tuple[str, int, Collection[str]] = ("", 0, ())
) -> dict[str, list[str]]:
    """What gates say of splits and dividends beside what the store has; the series of `judged` have been looked at."""
    known = {(one.symbol, one.date): one for one in store.actions()}
    fresh = [one for one in actions if known.get((one.symbol, one.date)) != one]
    conflicts = [
        f"{one.symbol} {one.date}: {CHANGED}: the store has split {was.split:g}, dividend {was.dividend:g}"
        for one in fresh
        if (was := known.get((one.symbol, one.date)))
    ]
    said = {CHANGED: conflicts, JUMP: list(_jumps(store, fresh, judged))}
    return {gate: lines for gate, lines in said.items() if lines}


def _jumps(store: BarStore, fresh: Sequence[Action], judged: tuple[str, int, Collection[str]]) -> Iterator[str]:
    """Splits of which the prices that the store has know nothing, as when they are adjusted already."""
    for feed, timeframe in sorted({(part.feed, part.timeframe) for part in store.manifest().parts}):
        opened = store.opened(feed, timeframe)
        symbols = set(opened.symbols).difference(judged[2] if (feed, timeframe) == judged[:2] else ())
        for one in fresh:
            if one.symbol not in symbols or abs(np.log(one.split)) < bar_gates.JUMP:
                continue
            series = opened.series(one.symbol)
            at = int(np.searchsorted(exchange_dates(series.time, timeframe), np.datetime64(one.date)))
            if 0 < at < len(series):
                before, after = series.close[at - 1 : at + 1] / RAW_UNITS_PER_DOLLAR
                if abs(np.log(after / before * one.split)) >= bar_gates.JUMP:
                    yield (
                        f"{one.symbol} {one.date}: {JUMP}: the store's {timeframe_text(timeframe)} of {feed} go from"
                        f" {before:g} to {after:g} over a split of {one.split:g}: is it wrong, or are these adjusted?"
                    )
