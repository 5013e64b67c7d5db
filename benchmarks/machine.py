"""What a figure was measured on: without it a figure says nothing."""

import os
import platform
import sqlite3
from pathlib import Path


def machine() -> str:
    """One line: processor, cores, Python, SQLite."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
