"""What one tenant's troubles cost another: answers to webhooks and delay of alerts, beside the same without trouble.

python -m benchmarks.isolation [--pairs 150]

The neighbour may send 200 events a second. Of the victim pairs of equal charges are sent one after the other; each pair
is an alert. `x`: against the same without trouble, measured right before. `others`, `refused`: what came of the
neighbour meanwhile, taken and refused.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from actors.kernel.clock import chance, monotonic
from benchmarks.machine import machine, percentile
from tests.process.harness import RunningDaemon, Sink, charge, running, signed

VICTIM, NEIGHBOUR = "whsec_victim", "whsec_neighbour"
STRANGE: tuple[Any, ...] = (None, True, -1, 1 << 70, "", "x" * 5000, [], [[]], {}, {"id": {}}, [{"data": None}])


Trouble = Callable[[RunningDaemon], AbstractContextManager[None]]


def billing(port: int) -> dict[str, object]:
    """Two tenants, each with a channel of its own."""
    return {
        "listen": f"127.0.0.1:{port}",
        "tenants": [
            {"name": "victim", "token": "victim-token", "webhook_secrets": [VICTIM], "channels": ["ops"]},
            {
                "name": "neighbour",
                "token": "neighbour-token",
                "webhook_secrets": [NEIGHBOUR],
                "channels": ["hangs"],
                "rate_limit": {"per_second": 200, "burst": 200},
            },
        ],
    }


@contextmanager
def _load(daemon: RunningDaemon, secret: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.load", str(daemon.port), "/webhook/neighbour-token", secret]
    with subprocess.Popen([*command, "30000", "32"], stdout=subprocess.DEVNULL) as flood:
        before = daemon.get("/status")["events"]["rejected"]
        while daemon.get("/status")["events"]["rejected"] == before:  # it builds its requests first
            threading.Event().wait(0.05)
        yield
        flood.kill()


@contextmanager
def flood(daemon: RunningDaemon) -> Iterator[None]:
    """As many signed events as 32 connections can carry: most are answered 429."""
    with _load(daemon, NEIGHBOUR):
        yield


@contextmanager
def forged(daemon: RunningDaemon) -> Iterator[None]:
    """As many with a signature that does not match."""
    with _load(daemon, "whsec_wrong"):
        yield


@contextmanager
def _meanwhile(act: Callable[[int], None]) -> Iterator[None]:
    over = threading.Event()

    def go_on() -> None:
        number = 0
        while not over.is_set():
            act(number)
            number += 1
            over.wait(0.005)

    thread = threading.Thread(target=go_on)
    thread.start()
    yield
    over.set()
    thread.join()


@contextmanager
def poison(daemon: RunningDaemon) -> Iterator[None]:
    """Signed events in which any value may be anything."""
    rng = chance(1)

    def send(_number: int) -> None:
        event = charge()
        subject = event["data"]["object"]
        for key in rng.sample(sorted(subject), 4):
            subject[key] = rng.choice(STRANGE)
        event[rng.choice(("type", "created", "request", "account", "api_version"))] = rng.choice(STRANGE)
        body = json.dumps(event).encode()
        daemon.post(body, signed(body, NEIGHBOUR), "/webhook/neighbour-token")

    with _meanwhile(send):
        yield


@contextmanager
def hanging_channel(daemon: RunningDaemon) -> Iterator[None]:
    """Its alerts go to a channel that takes none."""

    def send(number: int) -> None:
        for _ in range(2):
            body = json.dumps(charge(customer=f"cus_n{number}", amount=2900)).encode()
            daemon.post(body, signed(body, NEIGHBOUR), "/webhook/neighbour-token")

    with _meanwhile(send):
        yield


def suffered(daemon: RunningDaemon, pairs: int, round_: int) -> tuple[list[float], list[float]]:
    """Of the victim: milliseconds to each answer, and from the second answer of a pair to its alert."""
    answers, alerts = [], []
    for number in range(pairs):
        answered = 0.0
        for _ in range(2):
            body = json.dumps(charge(customer=f"cus_{round_}_{number}", amount=2900)).encode()
            headers, began = signed(body, VICTIM), monotonic()
            assert daemon.post(body, headers, "/webhook/victim-token") == 200
            answered = monotonic()
            answers.append((answered - began) * 1000)
        daemon.sink.next()
        alerts.append((monotonic() - answered) * 1000)
    return answers, alerts


def measured(daemon: RunningDaemon, trouble: Trouble, pairs: int, rounds: Iterator[int]) -> list[float]:
    """One line of the table; the ratios are against a round without trouble right before."""
    quiet = suffered(daemon, pairs, next(rounds))
    with trouble(daemon):
        before, began = daemon.get("/status")["events"], monotonic()
        found = suffered(daemon, pairs, next(rounds))
        after, seconds = daemon.get("/status")["events"], monotonic() - began
    return [
        *(percentile(values, share) for values in found for share in (0.5, 0.99)),
        *(percentile(ours, 0.5) / percentile(alone, 0.5) for ours, alone in zip(found, quiet, strict=True)),
        (after["stored"] - before["stored"] - 2 * pairs) / seconds,
        (after["rejected"] - before["rejected"]) / seconds,
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=150, help="pairs of charges in each round (150)")
    pairs = parser.parse_args().pairs
    print(machine())
    columns = ("answer p50", "p99 ms", "alert p50", "p99 ms", "answer x", "alert x", "others/s", "refused/s")
    print(f"{'trouble of the neighbour':<26}{''.join(f'{name:>11}' for name in columns)}")
    hangs = Sink()
    hangs.behave = lambda: 200 if threading.Event().wait(5.0) else 500
    try:
        with tempfile.TemporaryDirectory() as folder, running(Path(folder), start=False) as daemon:
            urls = {"ops": daemon.sink.url, "hangs": hangs.url}
            channels = [{"name": name, "type": "webhook", "url": url} for name, url in urls.items()]
            daemon.configure({"billing": billing(daemon.port), "alerts": {"channels": channels}})
            daemon.start()
            rounds = count()
            suffered(daemon, pairs // 5, next(rounds))  # all that is made at first use is made
            for trouble in (flood, forged, poison, hanging_channel):
                cells = measured(daemon, trouble, pairs, rounds)
                shown = "".join(f"{cell:>11.2f}" for cell in cells)
                print(f"{trouble.__name__.replace('_', ' '):<26}{shown}", flush=True)
    finally:
        hangs.close()


if __name__ == "__main__":
    main()
