"""Commands of the bar store: what comes in, and what is there."""

import argparse
from pathlib import Path

from daemon.cli.words import Commands

GATES = ("order", "duplicate", "twin", "shifted", "jump", "gap", "changed")


def register(commands: Commands) -> None:
    """Add the commands."""
    import_ = commands.add_parser(
        "import-bars",
        help="CSV or Parquet into the bar store, through gates",
        description="Reads a CSV (symbol,time,open,high,low,close,volume), a Parquet file of the same columns, or a "
        "folder with one file per symbol, and merges it into the bar store: all of it, or, where a row fails a gate, "
        "nothing. Prices are kept as they were traded: give splits and dividends with --actions.",
        epilog="Gates: impossible (no such bar can be; there is no way round), order (rows out of order), duplicate (a "
        "bar twice), twin (the bars of another symbol), shifted (dates when the exchange was closed, or a session off "
        "from another feed), jump (half as much again from one bar to the next, and no split), gap (sessions without "
        "a bar), changed (other numbers than the store has). What was accepted is written down in the store.",
    )
    import_.add_argument("path", nargs="?", type=Path, metavar="PATH", help="CSV, Parquet, or a folder of them")
    import_.add_argument("--feed", default="file", help="whose trades these are: iex, sip, … (%(default)s)")
    import_.add_argument("--timeframe", metavar="T", help="length of a bar (default: the least distance of two)")
    import_.add_argument("--actions", type=Path, metavar="FILE", help="CSV symbol,date,split,dividend")
    import_.add_argument(
        "--accept", action="append", default=[], choices=GATES, metavar="GATE", help="pass this gate all the same"
    )
    add_store_options(import_)
    import_.add_argument("--json", action="store_true", help="one JSON object")
    import_.set_defaults(run=run_import)

    fetch = commands.add_parser(
        "fetch-bars",
        help="history from Alpaca into the bar store",
        description="Fetches what the bar store lacks of whole sessions, raw, with the splits and dividends of that "
        "time, by the keys and the feed of the config. After a break it goes on where it was; what is there is not "
        "fetched again. Alpaca's limit of requests is kept to.",
    )
    fetch.add_argument("--tickers", metavar="X,Y", help="symbols (default: trading.universe.symbols)")
    fetch.add_argument("--period", default="1y", help="how far back: 90d, 12w, 2y, or a first date (%(default)s)")
    fetch.add_argument("--timeframe", default="15m", metavar="T", help="1m, 5m, 15m, 30m or 1d (%(default)s)")
    add_store_options(fetch)
    fetch.add_argument("--json", action="store_true", help="one JSON object")
    fetch.set_defaults(run=run_fetch)

    data = commands.add_parser("data", help="what the bar store holds").add_subparsers(metavar="COMMAND", required=True)
    status = data.add_parser(
        "status",
        help="symbols, ranges, feeds, gaps",
        description="What the bar store holds: for each feed and length of bars the symbols, the times they reach "
        "over and the sessions without a bar; with symbols, each series and where it came from.",
    )
    status.add_argument("symbols", nargs="*", metavar="SYMBOL", help="only these, each on its own")
    add_store_options(status)
    status.add_argument("--json", action="store_true", help="one JSON object, every series on its own")
    status.set_defaults(run=run_status)


def add_store_options(command: argparse.ArgumentParser) -> None:
    """Which store: a folder, or the one in the data directory."""
    command.add_argument("--store", type=Path, metavar="FOLDER", help="the store (default: bars, in data_dir)")
    command.add_argument("--config", type=Path, metavar="FILE", help="the config that names data_dir")


def run_import(arguments: argparse.Namespace) -> int:
    """Import bars, splits and dividends."""
    from daemon.cli import bars_import  # noqa: PLC0415 - numpy is for this command, not for --help

    return bars_import.run(arguments)


def run_fetch(arguments: argparse.Namespace) -> int:
    """Fetch bars, splits and dividends."""
    from daemon.cli import bars_fetch  # noqa: PLC0415 - as run_import, and alpaca-py

    return bars_fetch.run(arguments)


def run_status(arguments: argparse.Namespace) -> int:
    """Say what is there."""
    from daemon.cli import bars_status  # noqa: PLC0415 - as run_import

    return bars_status.run(arguments)
