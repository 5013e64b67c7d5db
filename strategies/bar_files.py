"""Bars on disk: CSV, gzipped CSV, Parquet, or a folder with one file per symbol. Read strictly or not at all."""

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from config.errors import BadInput
from strategies.bar_gates import (
    EARLIEST,
    LATEST,
    NUMBERS,
    Locate,
    Table,
    refuse_disorder,
    refuse_impossible,
    refuse_odd_symbols,
)
from strategies.bars import Bars

COLUMNS = ("symbol", "time", *NUMBERS)
TEXT = np.dtype("S40")  # wide enough for any symbol or time; what fills it may have been cut and is refused
SUFFIX = re.compile(r"\.(csv|csv\.gz|parquet)$", re.IGNORECASE)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_tables(path: Path) -> list[Table]:
    """Every row of a file or folder, as it is written, a table for each file.

    Columns are found by name; `time` is the start of the bar, ISO 8601 or unix seconds, UTC where it does not say.
    A file in a folder may leave the symbol to its name. What cannot be read raises BadInput with file, line and field.
    """
    if path.is_dir():
        named = ((file, SUFFIX.search(file.name)) for file in sorted(path.iterdir()))
        tables = [_read(file, symbol=file.name[: suffix.start()]) for file, suffix in named if suffix]
    else:
        tables = [_read(path, symbol=None)]
    if not tables:
        raise BadInput(f"{path}: no .csv, .csv.gz or .parquet file in this folder")
    return tables


def read_bars(path: Path) -> Bars:
    """Every bar of a file or folder, as `read_tables` reads them.

    Rows of different symbols may interleave. The first row that cannot be a bar raises BadInput with file, line and
    field.
    """
    tables = read_tables(path)
    for table in tables:
        refuse_impossible(table)
    symbols, codes = encode(np.concatenate([table.symbol for table in tables]))
    time = np.concatenate([table.time for table in tables])
    refuse_odd_symbols(tables, symbols, codes)
    refuse_disorder(tables, codes, time)
    return Bars.from_columns(
        symbols,
        codes,
        time,
        *(np.concatenate([table.numbers[name] for table in tables]) for name in NUMBERS),
    )


def _read(path: Path, symbol: str | None) -> Table:
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_csv
    try:
        table = read(path, symbol)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadInput(f"{path}: cannot be read: {reason}") from error
    if not table.time.size:
        raise BadInput(f"{path}: has no bars")
    return table


def _read_csv(path: Path, symbol: str | None) -> Table:
    header: list[str] = []
    try:
        with _open(path) as file:
            header = [name.strip().lower() for name in next(csv.reader([file.readline()]), [])]
            if not header:
                raise BadInput(f"{path}: is empty")
            _check_header(f"{path}:1", header, symbol)
            names = [name if name in COLUMNS else f"other {n}" for n, name in enumerate(header)]
            kinds = [(name, np.dtype(np.float64) if name in NUMBERS else TEXT) for name in names]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "no data" is said by _read, in our words
                rows = np.loadtxt(file, dtype=kinds, delimiter=",", quotechar='"', comments=None, ndmin=1)
    except ValueError as error:  # loadtxt counts rows, not lines, and does not name the field
        raise _first_unreadable_row(path, header) or BadInput(f"{path}: cannot be read: {error}") from error

    def locate(row: int) -> tuple[str, Mapping[str, str]]:
        line, fields = next(entry for n, entry in enumerate(_lines(path)) if n == row)
        return f"{path}:{line}", dict(zip(header, fields, strict=True))

    return Table(
        symbol=_symbol_column(symbol, rows.size) if "symbol" not in header else rows["symbol"],
        time=_times(rows["time"], locate),
        numbers={name: rows[name] for name in NUMBERS},
        locate=locate,
    )


def _read_parquet(path: Path, symbol: str | None) -> Table:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - 40 MB that only readers of Parquet pay for
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise BadInput(f"{path}: Parquet needs pyarrow; install it with: pip install 'nightdesk[parquet]'") from error
    try:
        rows = pq.read_table(path)
        _check_header(str(path), rows.column_names, symbol)
        numbers = {name: rows[name].cast(pa.float64()).to_numpy() for name in NUMBERS}
        text = {
            name: np.array(rows[name].cast(pa.string()).fill_null("").to_pylist(), TEXT)
            for name in ("symbol", "time")
            if name in rows.column_names and not pa.types.is_temporal(rows[name].type)
        }
        stamps = None if "time" in text else rows["time"].cast(pa.timestamp("us", tz="UTC"))
    except pa.ArrowException as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    except UnicodeEncodeError as error:
        raise BadInput(f"{path}: {error.object!r} is not plain ASCII") from error

    def locate(row: int) -> tuple[str, Mapping[str, str]]:
        return f"{path}: row {row + 1}", {name: str(rows[name][row].as_py()) for name in rows.column_names}

    return Table(
        symbol=text.get("symbol", _symbol_column(symbol, rows.num_rows)),
        time=_times(text["time"], locate) if stamps is None else stamps.cast(pa.int64()).to_numpy(),
        numbers=numbers,
        locate=locate,
    )


def _open(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _check_header(place: str, header: Sequence[str], symbol: str | None) -> None:
    for name in COLUMNS:
        if name not in header and not (name == "symbol" and symbol is not None):
            raise BadInput(f"{place}: {name}: this column is missing (found: {', '.join(header)})")
        if header.count(name) > 1:
            raise BadInput(f"{place}: {name}: there are {header.count(name)} columns of this name")


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows below the header with their line numbers, counted as numpy counts them: empty lines are none."""
    with _open(path) as file:
        rows = csv.reader(file)
        next(rows)
        yield from ((rows.line_num, fields) for fields in rows if fields)


def _first_unreadable_row(path: Path, header: Sequence[str]) -> BadInput | None:
    try:
        for line, fields in _lines(path):
            if len(fields) != len(header):
                return BadInput(f"{path}:{line}: {len(fields)} fields where the header names {len(header)}")
            for name, text in zip(header, fields, strict=True):
                if name in NUMBERS and not _is_number(text):
                    return BadInput(f"{path}:{line}: {name}: {text!r} is not a number")
                if not text.isascii():
                    return BadInput(f"{path}:{line}: {name}: {text!r} is not plain ASCII")
    except (UnicodeDecodeError, csv.Error, StopIteration):
        return BadInput(f"{path}: is not a CSV file in UTF-8")
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _symbol_column(symbol: str | None, size: int) -> NDArray[np.bytes_]:
    return np.full(size, (symbol or "").encode(), TEXT)


def encode(column: NDArray[np.bytes_]) -> tuple[list[str], NDArray[np.intp]]:
    """The symbols in alphabetical order, and for each row the number of its symbol."""
    starts = np.flatnonzero(np.append(True, column[1:] != column[:-1]))
    symbols, codes = np.unique(column[starts], return_inverse=True)
    return [symbol.decode("latin-1") for symbol in symbols], np.repeat(codes, np.diff(starts, append=column.size))


def _times(column: NDArray[np.bytes_], locate: Locate) -> NDArray[np.int64]:
    """Microseconds since 1970. Each distinct text is parsed once: symbols share their bar times."""
    texts = column.tolist()
    micros: dict[bytes, int] = {}
    for text in dict.fromkeys(texts):
        try:
            micros[text] = _micros(text.decode())
        except ValueError as error:
            place, fields = locate(texts.index(text))
            raise BadInput(f"{place}: time: {fields['time']!r} {error}") from error
    return np.fromiter(map(micros.__getitem__, texts), np.int64, len(texts))


def _micros(text: str) -> int:
    if text.removeprefix("-").isdecimal() and len(text) != len("20150102"):  # eight digits are a date
        micros = int(text) * 1_000_000
        if micros >= LATEST:
            raise ValueError("is too late to be unix seconds (milliseconds?)")
        if micros < EARLIEST:
            raise ValueError("is too early to be unix seconds")
        return micros
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("is neither ISO 8601 nor unix seconds") from error
    since: timedelta = stamp.replace(tzinfo=stamp.tzinfo or UTC) - EPOCH
    return since // timedelta(microseconds=1)
