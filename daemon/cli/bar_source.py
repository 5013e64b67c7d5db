"""Where a command's bars come from: files as they are, or the bar store, adjusted as of a day."""

import argparse
import datetime as dt
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from config.errors import BadInput
from config.paths import BARS, data_dir_of
from strategies.adjustments import SPLITS, adjusted
from strategies.bar_files import read_bars
from strategies.bar_gates import doubts
from strategies.bar_store import BarStore
from strategies.bars import Bars
from strategies.calendar_file import CalendarFile
from strategies.resample import resample
from strategies.stored_bars import read_store
from strategies.universe import restrict

STORE = Path("store")
"""As a value of --bars: the store in the data directory."""

DOUBTS_SHOWN = 5


def store_of(folder: Path | None, config: Path | None) -> BarStore:
    """The store in this folder; without one, that in the data directory which the config (None: the default) names.

    From now on the exchange's days are as its calendar says.
    """
    folder = folder or data_dir_of(config) / BARS
    CalendarFile(folder).apply()
    return BarStore(folder)


@contextmanager
def handing_over(store: BarStore, folder: Path | None) -> Iterator[None]:
    """What root writes meanwhile into the data directory (no `folder`), also when broken off, becomes the service's.

    It could not write what is root's.
    """
    try:
        yield
    finally:
        if folder is None and os.geteuid() == 0 and store.folder.exists():
            owner = store.folder.parent.stat()
            for path in (store.folder, *store.folder.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid)


def open_bars(arguments: argparse.Namespace) -> Bars:
    """The bars as the options of `lab.add_bar_options` want them; what is doubtful in them is said on stderr."""
    path: Path = arguments.bars
    if path == STORE or BarStore.is_one(path):
        bars = _stored(arguments, store_of(None if path == STORE else path, arguments.config))
    else:
        for option in ("feed", "adjust", "as_of"):
            if getattr(arguments, option) is not None:
                raise BadInput(f"--{option.replace('_', '-')}: only bars of the store have it; import them first")
        bars = read_bars(path)
    found = list(doubts(bars))
    for doubt in found[:DOUBTS_SHOWN]:
        warn(f"{path}: {doubt}")
    if len(found) > DOUBTS_SHOWN:
        warn(f"{path}: {len(found) - DOUBTS_SHOWN} more such doubts")
    if arguments.timeframe is not None:
        bars = resample(bars, arguments.timeframe)
    return restrict(bars, arguments.membership) if arguments.membership else bars


def _stored(arguments: argparse.Namespace, store: BarStore) -> Bars:
    as_of = None
    if arguments.as_of is not None:
        try:
            as_of = dt.date.fromisoformat(arguments.as_of)
        except ValueError as error:
            raise BadInput(f"--as-of: {arguments.as_of!r} is not a date (YYYY-MM-DD)") from error
    bars = read_store(store, timeframe=arguments.timeframe, feed=arguments.feed)
    return adjusted(bars, store.actions(), arguments.adjust or SPLITS, as_of)


def time_text(micros: int) -> str:
    """RFC 3339 UTC with six decimals."""
    return str(np.datetime_as_string(np.datetime64(micros, "us"), timezone="UTC"))


def warn(text: str) -> None:
    """Say on stderr what is no error, but may well be one."""
    print(f"nightdesk: warning: {text}", file=sys.stderr)
