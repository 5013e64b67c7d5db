"""The digest of the real process, across a kill."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.process.harness import RunningDaemon, Sink, charge, now_s, running, until

EVERY_S = 4


def settings(sink: Sink, **more: Any) -> dict[str, Any]:
    channel = {"name": "ops", "type": "webhook", "url": sink.url}
    return {"alerts": {"channels": [channel], "digest": {"every": EVERY_S}, **more}}


def digest(daemon: RunningDaemon) -> dict[str, Any]:
    """The next one."""
    return until(lambda: next((one for one in daemon.sink.all if one["kind"] == "digest"), None))


def test_a_kill_repeats_no_digest(tmp_path: Path) -> None:
    """Charged twice, killed, started anew: told in one digest, and after the next kill in none."""
    with running(tmp_path, start=False) as daemon:
        daemon.configure(settings(daemon.sink))
        daemon.start()
        for _ in range(2):
            assert daemon.deliver(charge(customer="cus_1", amount=2900)) == 200
        daemon.settled()
        daemon.kill()
        daemon.start()
        told = digest(daemon)
        assert (told["tenant"], told["signal"], told["severity"]) == ("acme", "digest", "info")
        assert told["evidence"]["counts"] == {"opened": 1, "ended": 0, "open": 0}
        assert told["evidence"]["opened"][0]["signal"] == "duplicate_charge"
        daemon.settled()  # what was under way at a kill may come twice
        daemon.kill()
        daemon.start()
        assert daemon.deliver(charge(customer="cus_2")) == 200
        daemon.settled()
        assert [one["kind"] for one in daemon.sink.all].count("digest") == 1
        assert sum(key.startswith("digest.") for key in daemon.sink.keys) == 1


def test_quiet_hours_let_critical_pass_and_hold_the_rest(tmp_path: Path) -> None:
    with running(tmp_path, start=False) as daemon:
        start, end = (datetime.fromtimestamp(now_s() + late, UTC).strftime("%H:%M") for late in (-3600, 3600))
        daemon.configure(settings(daemon.sink, quiet_hours={"start": start, "end": end}))
        daemon.start()
        for _ in range(2):
            daemon.deliver(charge(customer="cus_1", amount=2900))
        daemon.deliver(charge(amount=2000, amount_refunded=5000) | {"type": "charge.refunded"})
        assert daemon.sink.next()["signal"] == "refund_exceeds_charge"
        daemon.settled()
        assert {one["signal"] for one in daemon.incidents()} == {"duplicate_charge", "refund_exceeds_charge"}
        assert [one["signal"] for one in daemon.sink.all] == ["refund_exceeds_charge"]
