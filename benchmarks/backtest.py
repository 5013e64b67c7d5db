"""Backtest speed, beside other tools on the same bars in one run.

    python -m benchmarks.backtest
    python -m benchmarks.backtest --harness peers.py --peer vectorbt=envs/vectorbt/bin/python --slow backtrader=0.02

Every measurement is a process of its own: cold is import plus first run, warm the best of the following ones, memory
the peak. A harness is a script that is called `python harness.py TOOL CASE FRACTION`, prints one JSON line for it, and
has `gen(symbols, bars, minute)`, from which our bars come then too; FRACTION of the lanes are run by a slow tool.
"""

import argparse
import gc
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.backtest_cases import CASES

ROOT = Path(__file__).parent.parent
COLUMNS = ("tool", "lane-bars", "trades", "bars/s", "ours is", "cold s", "cold bars/s", "ours is", "MB")
WIDTHS = (16, 11, 9, 13, 10, 8, 13, 10, 6)

Measured = dict[str, Any] | str  # the figures of one process, or why there are none


def main() -> None:
    """Print a table of every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--harness", type=Path)
    parser.add_argument("--peer", action="append", default=[], metavar="TOOL=PYTHON")
    parser.add_argument("--slow", action="append", default=[], metavar="TOOL=FRACTION", help="of the lanes of c and d")
    parser.add_argument("--rounds", type=int, default=1, help="the best counts (%(default)s)")
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.harness)))
        return
    print(f"{machine()}\nrule: Bollinger bands, bought below the lower, sold above the middle, at the next open")
    print("costs: 5 bps commission and 5 bps slippage a fill; 'ten': those of --costs default")
    for name in arguments.cases.split(","):
        compare(name, arguments)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Print the table of one case: the best of a few rounds, so that a busy moment falls on no tool alone."""
    commands = commands_of(name, arguments)
    rounds = [{tool: output(command) for tool, command in commands.items()} for _ in range(arguments.rounds)]
    best = {tool: best_of([figures[tool] for figures in rounds]) for tool in commands}
    print(f"\n{name}: {CASES[name].title}")
    print_row(COLUMNS)
    for tool, measured in best.items():
        print_row((tool, measured) if isinstance(measured, str) else row(tool, measured, best["nightdesk"]))


def commands_of(name: str, arguments: argparse.Namespace) -> dict[str, list[str]]:
    """What measures the case, for each tool that is there."""
    case, harness = CASES[name], arguments.harness and str(arguments.harness.absolute())
    ours = [sys.executable, "-m", "benchmarks.backtest", "--measure", name]
    commands = {"nightdesk": [*ours, "--harness", harness] if harness else ours}
    pythons, slow = (dict(pair.split("=", 1) for pair in pairs) for pairs in (arguments.peer, arguments.slow))
    for tool, python in pythons.items() if case.peers else ():
        fraction = slow.get(tool, "1") if case.symbols > 1 else "1"
        commands[tool] = [str(Path(python).absolute()), harness or "", tool, str(case.peers), fraction]
    return commands


def output(command: list[str]) -> Measured:
    """The JSON line of a measurement, or why there is none."""
    if not Path(command[0]).exists() or not command[1]:
        return f"skipped: {f'{command[0]} is missing' if command[1] else 'no --harness'}"
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1]}"
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def best_of(rounds: list[Measured]) -> Measured:
    """The highest speeds, warm and cold, of the rounds that succeeded."""
    figures = [measured for measured in rounds if not isinstance(measured, str)]
    if not figures:
        return rounds[0]
    cold = max(figures, key=lambda one: float(one["bars_s_cold"]))
    warm = max(figures, key=lambda one: float(one["bars_s"]))
    return warm | {"cold_s": cold["cold_s"], "bars_s_cold": cold["bars_s_cold"]}


def row(tool: str, measured: dict[str, Any], ours: Measured) -> tuple[str, ...]:
    """One tool's figures, and how many times faster ours are."""

    def ratio(speed: str) -> str:
        return "" if measured is ours or isinstance(ours, str) else f"{ours[speed] / measured[speed]:,.1f} x"

    return (
        tool,
        f"{measured['bars']:,}",
        f"{measured['trades']:,}",
        f"{measured['bars_s']:,}",
        ratio("bars_s"),
        f"{measured['cold_s']:.2f}",
        f"{measured['bars_s_cold']:,}",
        ratio("bars_s_cold"),
        str(measured["rss_mb"]),
    )


def print_row(cells: Sequence[str]) -> None:
    """One line of a table: the first cell to the left, the others to the right."""
    aligned = (f"{cell:>{width}}" for cell, width in zip(cells[1:], WIDTHS[1:], strict=False))
    print(f"{cells[0]:<{WIDTHS[0]}}" + "".join(aligned), flush=True)


def measure(name: str, harness: Path | None) -> dict[str, Any]:
    """One case, in this process: what the harness's JSON line holds, too."""
    case = CASES[name]
    start = time.perf_counter()
    ours = import_module("benchmarks.backtest_ours")
    imported = time.perf_counter() - start
    run = ours.runner(name, ours.random_bars(case, harness))
    first, trades = timed(run)
    best = min(timed(run)[0] for _ in range(5 if first < 0.5 else 3))
    bars = case.bars * case.symbols * case.sets
    return {
        "bars": bars,
        "trades": trades,
        "bars_s": round(bars / best),
        "cold_s": imported + first,
        "bars_s_cold": round(bars / (imported + first)),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def timed(run: Callable[[], int]) -> tuple[float, int]:
    """Seconds and trades of one run."""
    gc.collect()
    start = time.perf_counter()
    trades = run()
    return time.perf_counter() - start, trades


def machine() -> str:
    """Processor, cores, memory, system and Python."""
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{models[0]}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
