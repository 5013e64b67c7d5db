"""Small CSV files that people write by hand: memberships, sectors, splits. Read strictly, each fault with its place."""

import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from config.errors import BadInput


def rows(path: Path, *columns: Sequence[str], optional: Sequence[Sequence[str]] = ()) -> list[tuple[str, list[str]]]:
    """Place and fields of each row; a column has one of its names, in any case. Only `optional` fields may be empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = {name.strip().lower(): name for name in reader.fieldnames or ()}
            found = [next((header[name] for name in names if name in header), None) for names in columns]
            for names, name in zip(columns, found, strict=True):
                if name is None:
                    raise BadInput(
                        f"{path}:1: {names[0]}: this column is missing (found: {', '.join(header) or 'nothing'})"
                    )
            lines = []
            for row in reader:
                place = f"{path}:{reader.line_num}"
                if (extra := row.get(None)) is not None:
                    raise BadInput(f"{place}: field {len(header) + 1} ({extra[0]!r}): there are {len(header)} columns")
                lines.append((place, [(row[name or ""] or "").strip() for name in found]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadInput(f"{path}: cannot be read: {reason}") from error
    for place, fields in lines:
        for names, field in zip(columns, fields, strict=True):
            if not field and names not in optional:
                raise BadInput(f"{place}: {names[0]}: is empty")
            if not field.isprintable():
                raise BadInput(f"{place}: {names[0]}: {field!r} has a character that cannot be seen")
    return lines


def parse_date(where: str, text: str) -> date:
    """YYYY-MM-DD. Raises BadInput."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{where}: {text!r} is not a date (YYYY-MM-DD)") from error
