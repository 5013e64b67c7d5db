"""How small and how quick the real daemon is: start to READY, resident memory when idle, event to notification.

python -m benchmarks.footprint [--events 500]
"""

import argparse
import tempfile
from pathlib import Path

from actors.kernel.clock import monotonic
from benchmarks.machine import machine, percentile
from tests.process.harness import RunningDaemon, charge, running


def resident_mb(daemon: RunningDaemon) -> float:
    """VmRSS of the daemon's process."""
    assert daemon.process is not None
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def starts(daemon: RunningDaemon, rounds: int) -> list[float]:
    """Seconds from the start of the process to READY."""
    taken = []
    for _ in range(rounds):
        began = monotonic()
        daemon.start()
        taken.append(monotonic() - began)
        daemon.stop()
    return taken


def notified_after_ms(daemon: RunningDaemon, events: int) -> list[float]:
    """From the answer 200 to the notification's arrival at the channel, for pairs of equal charges."""
    taken = []
    for number in range(events):
        customer = f"cus_{number}"
        daemon.deliver(charge(customer=customer, amount=2900))
        daemon.deliver(charge(customer=customer, amount=2900))
        acknowledged = monotonic()
        daemon.sink.next()
        taken.append((monotonic() - acknowledged) * 1000)
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500, help="pairs of charges to be told about (500)")
    parser.add_argument("--rounds", type=int, default=7, help="starts to be timed (7)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), start=False) as daemon:
        began = starts(daemon, arguments.rounds)
        daemon.start()
        idle = resident_mb(daemon)
        told = notified_after_ms(daemon, arguments.events)
        loaded = resident_mb(daemon)
    print(machine())
    print(f"{'figure':<44}{'measured':>12}{'budget':>10}{'ratio':>8}")
    for name, value, budget in (
        ("start to READY, median, s", percentile(began, 0.5), 1.0),
        ("resident when idle, MB", idle, 70.0),
        (f"resident after {2 * arguments.events} events, MB", loaded, 70.0),
        ("acknowledged to notification, p50, ms", percentile(told, 0.5), 150.0),
        ("acknowledged to notification, p99, ms", percentile(told, 0.99), 150.0),
    ):
        print(f"{name:<44}{value:>12.2f}{budget:>10.0f}{value / budget:>8.2f}")


if __name__ == "__main__":
    main()
