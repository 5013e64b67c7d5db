"""Whether webhooks notice that the desk trades: with trading off, and while a block of bars comes each second.

python -m benchmarks.burst [--symbols 500] [--events 3000]

The same daemon in both runs, one connection, one webhook after the other. Its clock runs sixty times as fast, so every
second is a minute of trading; the made-up exchange is inside the process, where a stream would have to be parsed.
"""

import argparse
import http.client
import json
import tempfile
from pathlib import Path
from typing import Any

from actors.billing.signature import sign
from actors.kernel.clock import SECOND, WallClock, monotonic
from benchmarks.footprint import resident_mb
from benchmarks.machine import machine, percentile
from tests.process.at_another_time import OtherClock
from tests.process.desk import OPEN, SPEED
from tests.process.harness import SECRET, TOKEN, charge, running, until

WARM_UP = 100


def latencies_ms(folder: Path, events: int, trading: dict[str, Any] | None) -> tuple[list[float], float]:
    """Of each webhook, and the daemon's resident megabytes at the end."""
    began = WallClock().now() / SECOND
    settings = {} if trading is None else {"trading": trading}
    with running(folder, settings, start=False) as daemon:
        daemon.program = ["benchmarks.pastless", str(began), str(OPEN), str(SPEED)]
        daemon.start()
        if trading is not None:
            until(lambda: True if daemon.get("/strategies")["strategies"][0]["capital"] else None)
        clock = OtherClock(began, OPEN, SPEED)
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port)
        taken = []
        for _ in range(WARM_UP + events):
            at = clock.now()
            body = json.dumps(charge(created=at // SECOND)).encode()
            headers = {"Stripe-Signature": sign(body, SECRET.encode(), at)}
            asked = monotonic()
            connection.request("POST", f"/webhook/{TOKEN}", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            taken.append((monotonic() - asked) * 1000)
            assert answer.status == 200, said
        connection.close()
        return taken[WARM_UP:], resident_mb(daemon)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500, help="how many (500)")
    parser.add_argument("--events", type=int, default=3000, help="webhooks in each run (3000)")
    arguments = parser.parse_args()
    desk = {
        "enabled": True,
        "broker": "simulated",
        "universe": {"symbols": [f"S{n:03}" for n in range(arguments.symbols)]},
    }
    print(machine())
    print(f"{'webhooks, one after the other':<40}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>8}{'MB':>8}")
    before = 0.0
    for name, trading in (("trading off", None), (f"a block of {arguments.symbols} bars a second", desk)):
        with tempfile.TemporaryDirectory() as folder:
            taken, megabytes = latencies_ms(Path(folder), arguments.events, trading)
        p99 = percentile(taken, 0.99)
        before = before or p99
        print(f"{name:<40}{percentile(taken, 0.5):>9.2f}{p99:>9.2f}{p99 / before:>8.2f}{megabytes:>8.0f}")


if __name__ == "__main__":
    main()
