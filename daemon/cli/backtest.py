"""`nightdesk backtest`: from options to bars, strategy and costs, one run, and what is printed of it."""

import argparse
import math
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import orjson

from config.errors import BadInput, UserError
from daemon.cli.backtest_output import as_json, as_text
from daemon.cli.bar_source import open_bars, warn
from strategies.bars import Bars, parse_timeframe, timeframe_text
from strategies.base import Overlay, Strategy
from strategies.lab.audit import look_ahead, sample
from strategies.lab.backtest import Progress, backtest
from strategies.lab.costs import parse_costs
from strategies.lab.metrics import Metrics
from strategies.lab.result import Account, Result
from strategies.registry import NAMES, load, parse_params
from strategies.sector_rotation import SectorRotation
from strategies.universe import sectors_of

OVERLAID = f"{SectorRotation.name}."
"""Begins a --param of the overlay."""

ReportWriter = Callable[[Path, Result, Metrics, Bars], None]


def run(arguments: argparse.Namespace) -> int:
    """Run the strategy and print the result; nothing is printed or written before all of it is known."""
    write_report = _report_writer(arguments.report) if arguments.report else None
    account = Account(
        capital=_number("--capital", arguments.capital, least=1, most=1_000_000_000_000),
        fraction=_number("--fraction", arguments.fraction, least=0.0001, most=1),
        max_positions=_whole("--max-positions", arguments.max_positions, least=1),
        lot=_number("--lot", arguments.lot, least=0, most=1_000_000_000),
    )
    costs, seed = parse_costs(arguments.costs), _whole("--seed", arguments.seed, least=0)
    with redirect_stdout(sys.stderr):  # what a user's own code prints is no part of the result
        kind = load(arguments.strategy)
        params = parse_params(kind, [text for text in arguments.param if not text.startswith(OVERLAID)])
        bars = open_bars(arguments)
        strategy = kind(bars.symbols, [params], overlays=_overlays(arguments, bars))
        _refuse_short_history(strategy, bars, arguments.bars)
        if arguments.strategy not in NAMES:
            _refuse_look_ahead(arguments.strategy, strategy, bars)
        _warn_of_the_unintended(arguments, strategy, bars)
        [result] = backtest(strategy, bars, account=account, costs=costs, seed=seed, progress=_progress())
    metrics = result.metrics()
    if write_report:
        try:
            write_report(arguments.report, result, metrics, bars)
        except OSError as error:
            raise UserError(f"--report: {arguments.report}: {error.strerror}") from error
    print(orjson.dumps(as_json(result, metrics, bars)).decode() if arguments.json else as_text(result, metrics, bars))
    return 0


def _overlays(arguments: argparse.Namespace, bars: Bars) -> list[Overlay]:
    assignments = [text.removeprefix(OVERLAID) for text in arguments.param if text.startswith(OVERLAID)]
    if arguments.overlay is None:
        if assignments:
            raise BadInput(f"--param {OVERLAID}{assignments[0]}: add --overlay {SectorRotation.name}")
        if arguments.sectors:
            raise BadInput(f"--sectors: only an overlay reads it; add --overlay {SectorRotation.name}")
        return []
    if arguments.overlay != SectorRotation.name:
        raise BadInput(f"--overlay: {arguments.overlay!r} is not an overlay; there is {SectorRotation.name}")
    if not arguments.sectors:
        raise BadInput("--overlay sector_rotation: needs --sectors FILE, a CSV symbol,sector")
    values = parse_params(SectorRotation, assignments)
    return [SectorRotation(bars.symbols, [values], sectors=sectors_of(bars.symbols, arguments.sectors))]


def _refuse_short_history(strategy: Strategy, bars: Bars, path: Path) -> None:
    """A signal needs the warm-up, and its order one bar more."""
    needed = max(part.warmup for part in (strategy, *strategy.overlays)) + 1
    longest = int(bars.present.sum(axis=0).max())
    if longest < needed:
        raise BadInput(f"{path}: {strategy.name} needs {needed} bars of a symbol, the longest series has {longest}")


def _warn_of_the_unintended(arguments: argparse.Namespace, strategy: Strategy, bars: Bars) -> None:
    """What runs, but hardly as it was meant."""
    if not arguments.timeframe and bars.timeframe != parse_timeframe(strategy.timeframe):
        given, meant = timeframe_text(bars.timeframe), strategy.timeframe
        remedy = f"; --timeframe {meant} makes them" if bars.timeframe < parse_timeframe(meant) else ""
        warn(f"{arguments.bars}: has {given} bars, {strategy.name} counts in bars of {meant}{remedy}")
    if strategy.values[0].get("calendar") == "":
        warn(f"{strategy.name}: enters nothing without --param calendar=FILE, a CSV symbol,date,timing")


def _refuse_look_ahead(path: str, strategy: Strategy, bars: Bars) -> None:
    """The ten are proved honest by their tests; a user's own file is tried on a sample of the bars."""
    shown = sample(bars, strategy.warmup)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # it will print again in its backtest
        leaks = look_ahead(lambda: type(strategy)(bars.symbols, strategy.values), shown)
    for leak in leaks:
        if leak.check != "restarted":
            raise BadInput(f"{path}: {leak}")
        warn(f"{path}: {leak}: remember in numbers and arrays, and indicators, that setup makes")


def _report_writer(path: Path) -> ReportWriter:
    """Found before the work begins, so that a missing library or folder does not cost a run."""
    if not path.parent.is_dir():
        raise BadInput(f"--report: {path.parent}: no such folder")
    if path.is_dir():
        raise BadInput(f"--report: {path}: is a folder; name a file")
    try:
        from strategies.lab.report import write_report  # noqa: PLC0415 - plotly is an extra
    except ModuleNotFoundError as error:
        raise UserError(f"--report: needs {error.name}; install it with: pip install 'nightdesk[report]'") from error
    return write_report


def _number(option: str, text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise BadInput(f"{option}: {text!r} is not a number from {least:,} to {most:,}")
    return number


def _whole(option: str, text: str, least: int) -> int:
    number = _number(option, text, least, most=1_000_000_000_000)
    if not number.is_integer():
        raise BadInput(f"{option}: {text!r} is not a whole number")
    return int(number)


def _progress() -> Progress | None:
    if not sys.stderr.isatty():
        return None

    def show(done: int, of: int) -> None:
        end = "\r" if done < of else "\r\033[K"
        print(f"{done / of:5.0%} of the bars", end=end, file=sys.stderr, flush=True)

    return show
