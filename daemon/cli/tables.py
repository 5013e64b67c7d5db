"""How commands show things: tables for people, JSON lines for scripts."""

import json
from collections.abc import Iterable, Sequence
from typing import Any


def show(headers: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print columns as wide as their widest cell, numbers to the right; `empty` where there is no row."""
    cells = [[_text(value) for value in row] for row in rows]
    if not cells:
        print(empty)
        return
    widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
    right = [all(_is_number(row[i]) for row in cells) for i in range(len(headers))]
    for row in [[header.upper() for header in headers], *cells]:
        padded = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        print("  ".join(padded).rstrip())


def _is_number(cell: str) -> bool:
    digits = cell.lstrip("+-").rstrip("%").replace(",", "").replace(".", "", 1)
    return digits.isdigit() or cell == "-"


def pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line."""
    listed = [(name, _text(value)) for name, value in rows]
    width = max(len(name) for name, _ in listed)
    for name, value in listed:
        print(f"{name.ljust(width)}  {value}")


def emit(value: Any) -> None:
    """Print one JSON document on one line."""
    print(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 bar`, `2,000 bars`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def clock_time(stamp: str | None) -> str:
    """`2026-11-22T02:14:09.120000Z` as `2026-11-22 02:14:09`."""
    return "-" if stamp is None else stamp[:19].replace("T", " ")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        size = abs(value)
        return f"{value:.0f}" if size >= 100 else "0.000" if 0 < size < 0.0005 else f"{value:.3g}"
    return str(value)
