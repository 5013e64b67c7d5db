"""`nightdesk exchange`: a stock exchange of one's own, to test clients of Alpaca's API against."""

import argparse
from pathlib import Path

from daemon.cli.words import Commands


def register(commands: Commands) -> None:
    """Add the command. Its help is not made of FAULTS, for that would import the exchange for every --help."""
    exchange = commands.add_parser(
        "exchange",
        help="a simulated exchange that speaks Alpaca's API, and fails on demand",
        description="Serves Alpaca's trading API, market data API and both websockets on one port of this machine, "
        "with made-up or recorded prices and a paper account. Any client that takes other addresses can trade on it; "
        "it prints which. Its time begins a minute before the last session opened, or with the recording, so there is "
        "always trading, and it runs on at --speed.",
        epilog="faults: `nightdesk exchange --faults help` says what each one does.",
    )
    exchange.add_argument("--port", type=int, default=8790, help="port of 127.0.0.1; 0: any that is free (%(default)s)")
    exchange.add_argument("--faults", default="", metavar="NAME,…", help="what shall go wrong; help: a list of it all")
    exchange.add_argument("--seed", type=int, default=0, help="of prices, chance and faults (%(default)s)")
    exchange.add_argument("--speed", type=float, default=1.0, help="seconds there in one second here (%(default)g)")
    exchange.add_argument(
        "--bars",
        type=Path,
        metavar="PATH",
        help="recorded bars to play, as for backtest; longer ones than a minute in minutes",
    )
    exchange.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from daemon.cli.exchange_server import explain_faults, serve  # noqa: PLC0415 - numpy and aiohttp are for this command only

    if arguments.faults == "help":
        print(explain_faults())
        return 0
    faults = [name.strip() for name in arguments.faults.split(",") if name.strip()]
    return serve(arguments.port, faults, arguments.seed, arguments.speed, arguments.bars)
