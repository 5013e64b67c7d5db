"""Commands of the lab: backtest and its kin."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse gives this type no public name


def register(commands: "Commands") -> None:
    """Add the lab's commands."""
    backtest = commands.add_parser("backtest", help="run one strategy on recorded bars")
    backtest.set_defaults(run=run_backtest)
    backtest.add_argument("strategy", metavar="STRATEGY", help="a strategy's name, or the path of your own file")
    add_bar_options(backtest)
    backtest.add_argument(
        "--param",
        metavar="k=v",
        action="append",
        default=[],
        help="set a parameter; sector_rotation.k=v: of the overlay",
    )
    backtest.add_argument("--costs", default="default", help="default, none, or k=v,… starting from none")
    backtest.add_argument("--capital", default="100000", help="dollars to start with (%(default)s)")
    backtest.add_argument("--fraction", default="0.1", help="of equity in one position (%(default)s)")
    backtest.add_argument("--max-positions", default="10", help="held at once (%(default)s)")
    backtest.add_argument("--lot", default="0", help="shares are bought in multiples of this; 0: fractions")
    backtest.add_argument("--overlay", metavar="NAME", help="sector_rotation: enter only the strongest sectors")
    backtest.add_argument("--sectors", metavar="FILE", type=Path, help="CSV symbol,sector for sector_rotation")
    backtest.add_argument("--seed", default="0", help="of rejected and worse fills (%(default)s)")
    backtest.add_argument("--json", action="store_true", help="one JSON object")
    backtest.add_argument("--report", metavar="FILE", type=Path, help="write an HTML page")


def add_bar_options(command: argparse.ArgumentParser) -> None:
    """Which bars; `bar_source.open_bars` reads what they say."""
    command.add_argument(
        "--bars", metavar="PATH", type=Path, required=True, help="CSV, Parquet, a folder of them, or store"
    )
    command.add_argument("--timeframe", metavar="T", help="resample the bars, such as 15m, 2h or 1d")
    command.add_argument("--feed", metavar="NAME", help="of the store's feeds, where there are several")
    command.add_argument(
        "--adjust",
        choices=("raw", "splits", "all"),
        help="the store's bars for splits (the default), for dividends too (all), or not",
    )
    command.add_argument("--as-of", metavar="DATE", help="the store as it looked at the end of that day")
    command.add_argument("--membership", metavar="FILE", type=Path, help="CSV symbol,start,end: who may be traded when")
    command.add_argument("--config", metavar="FILE", type=Path, help="the config whose data_dir has the store")


def run_backtest(arguments: argparse.Namespace) -> int:
    """Run one strategy on recorded bars and print what came of it."""
    from daemon.cli import backtest  # noqa: PLC0415 - numpy is for this command, not for --help

    return backtest.run(arguments)
