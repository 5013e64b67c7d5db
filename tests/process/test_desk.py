"""The real process trades on a real server through the real client, and every order is there once."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from actors.simulated.exchange.faults import FAULTS
from tests.process.desk import Exchange, trading
from tests.process.harness import RunningDaemon, until

ROUNDS = 10
BARS = 2
"""A bar is a second here: so long each fault holds."""
SHARES = 1e-6


def agreed(daemon: RunningDaemon, exchange: Exchange) -> bool | None:
    """Whether books and broker say the same, with nothing under way; None: not yet."""
    answer = daemon.get("/positions")
    books = Counter[str]()
    for row in answer["positions"]:
        books[row["symbol"]] += row["quantity"]
    same = dict(books) == pytest.approx(exchange.holdings(), abs=SHARES)
    return True if same and answer["account"]["reconciled"] else None


def test_an_order_taken_just_before_a_kill_is_there_once(tmp_path: Path) -> None:
    """Ten times the process is killed when the exchange has taken an order and not answered yet."""
    exchange = Exchange()
    with exchange.open(), trading(tmp_path, exchange) as daemon:

        def kill() -> None:
            exchange.taken = lambda: None
            assert daemon.process is not None
            os.kill(daemon.process.pid, signal.SIGKILL)

        for _ in range(ROUNDS):
            daemon.start()
            exchange.taken = kill
            assert daemon.process is not None
            assert daemon.process.wait(30) == -signal.SIGKILL
        daemon.start()
        daemon.ask("/flatten", {})
        until(lambda: True if not exchange.holdings() else None)
        until(lambda: agreed(daemon, exchange))
        assert max(Counter(exchange.posts).values()) == 1
        orders = [ticket.order.client_order_id for ticket in exchange.account.tickets()]
        assert sorted(orders) == sorted(exchange.posts)
        assert not daemon.incidents("broker_mismatch")


def test_after_every_fault_books_and_broker_agree(tmp_path: Path) -> None:
    """One after the other, while it trades. Meanwhile nothing is entered on a word that nobody has confirmed."""
    exchange = Exchange()
    with exchange.open(), trading(tmp_path, exchange) as daemon:
        daemon.start()
        until(lambda: True if len(exchange.posts) > 3 else None)
        for fault in [name for name in FAULTS if name != "half-day"]:
            exchange.faults.force(fault)
            over = exchange.now() + BARS * 60_000_000
            until(lambda over=over: True if exchange.now() > over else None)  # type: ignore[misc]
            exchange.faults.lift(fault)
            until(lambda: agreed(daemon, exchange), patience_s=30)
        assert max(Counter(exchange.posts).values()) == 1
        assert all(incident["state"] == "resolved" for incident in daemon.incidents("broker_mismatch"))
        before = len(exchange.posts)
        until(lambda: True if len(exchange.posts) > before + 3 else None, patience_s=40)
        daemon.ask("/flatten", {})
        until(lambda: True if not exchange.holdings() else None)
        until(lambda: agreed(daemon, exchange))
        assert daemon.stop() == 0
