"""How quickly bars are read, resampled and committed, and in how much memory.

python -m benchmarks.bars [--symbols 500] [--days 252] [--folder DIR]

Reading and resampling run in processes of their own, on files that are in the system's cache; their memory is the
process's highest resident size, mapped files included. `ratio` compares with what cannot be avoided, in the same run:
of opening, numpy's own load and conversion of the columns; of resampling, one look at each number (the maximum of every
column); of a commit, a bare insert of as many bytes.
"""

import argparse
import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

import numpy as np
import orjson

from actors.store.desk_log import pack
from actors.store.desk_records import COLUMNS, BarBlock, DeskKind, NewDeskEntry
from benchmarks.machine import machine, percentile
from strategies.bar_columns import Series
from strategies.bar_store import BarStore, Source
from strategies.sessions import DAY, MINUTE, Micros, sessions_between
from strategies.stored_bars import read_store
from tests.store.running import running

SESSIONS = sessions_between(np.datetime64("2019"), np.datetime64("2024"))
DAILY_BARS = 1_260
ROUNDS = 9
MINUTES = 300


def walk(times: Micros, seed: int) -> Series:
    """Bars of a random walk in cents, with whole shares, as the tape has them."""
    rng = np.random.default_rng(seed)
    close = (100 * (20_000 + np.cumsum(rng.integers(-5, 6, len(times))))).clip(10_000)
    above, below = rng.integers(0, 6, (2, len(times))) * 100
    return Series(
        times,
        close - below,
        close + above,
        close - below,
        close,
        rng.integers(1, 20_000, len(times)) * 10_000,
        vwap=np.zeros_like(times),
        trades=np.zeros_like(times),
    )


def build(folder: Path, symbols: int, days: int) -> int:
    """A store of daily bars and of minutes; returns how many minutes."""
    names = [f"S{number:03}" for number in range(symbols)]
    BarStore(folder / "days").add(
        "sip", DAY, {name: walk(SESSIONS.opens[:DAILY_BARS], n) for n, name in enumerate(names)}, Source("walk")
    )
    months = SESSIONS.dates[:days].astype("datetime64[M]")
    made = 0
    for month in np.unique(months):
        spans = zip(SESSIONS.opens[:days][months == month], SESSIONS.closes[:days][months == month], strict=True)
        times = np.concatenate([np.arange(first, end, MINUTE) for first, end in spans])
        BarStore(folder / "minutes").add(
            "sip", MINUTE, {name: walk(times, n) for n, name in enumerate(names)}, Source("walk")
        )
        made += len(times) * symbols
    return made


def opening(folder: Path) -> dict[str, float]:
    """Milliseconds to have all daily bars as `Bars`."""
    store = BarStore(folder / "days")

    def bare() -> None:
        for path in (folder / "days").glob("*/*/*/*.npy"):
            np.load(path).astype(np.int64)

    ours = median(seconds(lambda: read_store(store)) for _ in range(ROUNDS))
    return {"ms": ours * 1_000, "ratio": median(seconds(bare) for _ in range(ROUNDS)) / ours}


def resampling(folder: Path) -> dict[str, float]:
    """Seconds to make two hours of all minutes, and the memory of it."""
    store = BarStore(folder / "minutes")
    ours = seconds(lambda: read_store(store, timeframe="2h"))
    memory = highest_resident_mb()

    def bare() -> None:
        for part, columns in store.opened("sip", MINUTE).parts:
            for start, stop in part.rows.values():
                for column in columns.values():
                    column[start:stop].max()

    return {"s": ours, "mb": memory, "ratio": seconds(bare) / ours}


def highest_resident_mb() -> float:
    """Of this process; getrusage would count the parent's memory, from before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def seconds(work: Callable[[], object]) -> float:
    """Of CPU: the machine may be shared."""
    started = time.process_time()
    work()
    return time.process_time() - started


async def committing(folder: Path, symbols: int) -> dict[str, float]:
    """Milliseconds until a minute's bars are on disk, one minute after the other."""
    names = tuple(f"S{number:03}" for number in range(symbols))
    rng = np.random.default_rng(0)
    columns = [array("q", rng.integers(1_000, 5_000_000, symbols).tolist()) for _ in COLUMNS]
    blocks = [BarBlock("iex", "stream", MINUTE, minute * MINUTE, names, *columns) for minute in range(MINUTES)]
    taken = []
    async with running(folder) as store:
        for block in blocks:
            started = time.perf_counter()
            await store.desk.append([NewDeskEntry(DeskKind.BLOCK, block.time, block)])
            taken.append((time.perf_counter() - started) * 1_000)
    bare = []
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE bars (data BLOB)")
        for packed in map(pack, blocks):
            started = time.perf_counter()
            connection.execute("INSERT INTO bars VALUES (?)", (packed,))
            bare.append((time.perf_counter() - started) * 1_000)
    return {"p50_ms": median(taken), "p99_ms": percentile(taken, 0.99), "ratio": median(bare) / median(taken)}


def apart(what: str, folder: Path) -> dict[str, float]:
    """Run one of the measurements in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bars", "--only", what, "--folder", str(folder)]
    figures: dict[str, float] = orjson.loads(subprocess.check_output(command))
    return figures


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--days", type=int, default=252)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=("opening", "resampling"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        measure = {"opening": opening, "resampling": resampling}[arguments.only]
        sys.stdout.buffer.write(orjson.dumps(measure(arguments.folder)))
        return
    print(machine())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        minutes = build(folder, arguments.symbols, arguments.days)
        size = sum(path.stat().st_size for path in (folder / "minutes").rglob("*.npy"))
        one = apart("opening", folder)
        print(
            f"open {arguments.symbols} symbols x {DAILY_BARS} days: {one['ms']:.0f} ms of CPU, ratio {one['ratio']:.2f}"
        )
        one = apart("resampling", folder)
        rate = minutes / one["s"] / 1e6
        print(
            f"{minutes / 1e6:.1f} million minutes, {size / minutes:.1f} bytes each, into 2h:"
            f" {rate:.0f} million bars/s of CPU, ratio {one['ratio']:.2f}, {one['mb']:.0f} MB"
        )
        one = asyncio.run(committing(folder, arguments.symbols))
        print(
            f"commit a minute of {arguments.symbols} bars: p50 {one['p50_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms,"
            f" ratio {one['ratio']:.2f}"
        )


if __name__ == "__main__":
    main()
