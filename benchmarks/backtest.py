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
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.backtest_cases import CASES

ROOT = Path(__file__).parent.parent
TOOL_LINE = "{tool:<16}{bars:>12,}{trades:>9,}{bars_s:>14,}{ratio:>9}{cold_s:>9.2f}{bars_s_cold:>14,}{rss_mb:>7}"
HEAD = (
    f"{'tool':<16}{'lane-bars':>12}{'trades':>9}{'bars/s':>14}{'ours is':>9}{'cold s':>9}{'cold bars/s':>14}{'MB':>7}"
)


def main() -> None:
    """Print a table of every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--harness", type=Path)
    parser.add_argument("--peer", action="append", default=[], metavar="TOOL=PYTHON")
    parser.add_argument("--slow", action="append", default=[], metavar="TOOL=FRACTION", help="of the lanes of c and d")
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
    """Print the table of one case."""
    case = CASES[name]
    print(f"\n{name}: {case.title}\n{HEAD}")
    harness = ["--harness", str(arguments.harness)] if arguments.harness else []
    ours = output([sys.executable, "-m", "benchmarks.backtest", "--measure", name, *harness])
    print_line("nightdesk", ours, ours)
    if case.peers is None:
        return
    pythons, slow = (dict(pair.split("=", 1) for pair in pairs) for pairs in (arguments.peer, arguments.slow))
    for tool, python in pythons.items():
        if arguments.harness is None or not Path(python).exists():
            print(f"{tool:<16}skipped: {'no harness given' if arguments.harness is None else f'{python} is missing'}")
            continue
        fraction = slow.get(tool, "1") if case.symbols > 1 else "1"
        print_line(tool, output([python, str(arguments.harness), tool, case.peers, fraction]), ours)


def output(command: list[str]) -> dict[str, Any] | str:
    """The JSON line of a measurement, or why there is none."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def print_line(tool: str, measured: dict[str, Any] | str, ours: dict[str, Any] | str) -> None:
    """One row of a table; the ratio is that of warm speeds."""
    if isinstance(measured, str):
        print(f"{tool:<16}failed: {measured}")
        return
    ratio = "" if isinstance(ours, str) or measured is ours else f"{ours['bars_s'] / measured['bars_s']:.1f} x"
    print(TOOL_LINE.format(tool=tool, ratio=ratio, **measured), flush=True)


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
