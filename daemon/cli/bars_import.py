"""`nightdesk import-bars`: from options to the gates, and what came of it."""

import argparse
import getpass
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from actors.kernel.clock import WallClock
from config.errors import BadInput
from daemon.cli.bar_source import handing_over, store_of, time_text
from daemon.cli.tables import counted, emit
from strategies.adjustments import read_actions
from strategies.bar_import import Imported, Refused, import_actions, import_bars
from strategies.bars import parse_timeframe, timeframe_text

FEED = re.compile(r"[a-z][a-z0-9_]{0,31}")


def run(arguments: argparse.Namespace) -> int:
    """Import, or say which rows are in the way."""
    if not FEED.fullmatch(arguments.feed):
        raise BadInput(
            f"--feed: {arguments.feed!r}: small letters, digits and _ make a feed's name, such as iex or sip"
        )
    if arguments.path is None and arguments.actions is None:
        raise BadInput("import-bars: name a PATH, or --actions FILE")
    length = None if arguments.timeframe is None else parse_timeframe(arguments.timeframe)
    actions = [] if arguments.actions is None else read_actions(arguments.actions)
    store = store_of(arguments.store, arguments.config)
    at, by = time_text(WallClock().now()), getpass.getuser()
    with _lines_told(), handing_over(store, arguments.store):
        if arguments.path is None:
            imported = import_actions(store, arguments.actions, actions, accept=arguments.accept, at=at, by=by)
        else:
            imported = import_bars(
                store,
                arguments.path,
                feed=arguments.feed,
                timeframe=length,
                actions=actions,
                accept=arguments.accept,
                at=at,
                by=by,
                progress=_show,
            )
    _show("")
    if arguments.json:
        timeframe = timeframe_text(imported.timeframe) if imported.timeframe else None
        emit(asdict(imported) | {"feed": imported.feed or None, "timeframe": timeframe, "store": str(store.folder)})
    else:
        _tell(imported, str(store.folder))
    return 0


@contextmanager
def _lines_told() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        _show("")
        for line in refused.lines:
            print(f"nightdesk: {line}", file=sys.stderr)
        raise


def _show(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\033[K{what}", end="\r", file=sys.stderr, flush=True)


def _tell(imported: Imported, folder: str) -> None:
    if imported.bars:
        bars, symbols = counted(imported.bars, "bar"), counted(len(imported.symbols), "symbol")
        print(f"{bars} of {timeframe_text(imported.timeframe)} of {symbols} from {imported.feed}: {folder}")
    if imported.actions:
        print(f"{counted(imported.actions, 'split or dividend', 'splits and dividends')}: {folder}")
    if imported.accepted:
        print("accepted, and written down in the store:")
    for lines in imported.accepted.values():
        for line in lines:
            print(f"  {line}")
