"""Channels of the real daemon, when one of them does not work."""

from pathlib import Path

from tests.process.harness import Sink, charge, running, until


def test_a_failing_channel_is_told_on_the_others_until_it_works_again(tmp_path: Path) -> None:
    broken = Sink()
    broken.behave = lambda: 500
    try:
        with running(tmp_path, start=False) as daemon:
            channels = [
                {"name": "ops", "type": "webhook", "url": daemon.sink.url},
                {"name": "broken", "type": "webhook", "url": broken.url},
            ]
            daemon.configure({"alerts": {"channels": channels}})
            daemon.start()
            for _ in range(2):
                assert daemon.deliver(charge(customer="cus_1", amount=2900)) == 200
            assert daemon.sink.next()["signal"] == "duplicate_charge"
            failed = daemon.sink.next()
            assert (failed["signal"], failed["scope"], failed["kind"]) == (
                "channel_failed",
                "broken",
                "incident.opened",
            )
            assert failed["evidence"]["error"] == "HTTP 500"
            broken.behave = lambda: 200
            over = daemon.sink.next()
            assert (over["id"], over["kind"]) == (failed["id"], "incident.resolved")
            assert [message["signal"] for message in broken.all] == ["duplicate_charge"]
    finally:
        broken.close()


def test_what_is_refused_is_failed_and_visible(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.sink.behave = lambda: 400
        for _ in range(2):
            assert daemon.deliver(charge(customer="cus_1", amount=2900)) == 200
        counts = until(lambda: found if (found := daemon.get("/status")["notifications"])["failed"] else None)
        assert counts == {"delivered": 0, "pending": 0, "failed": 1}
        (incident,) = until(lambda: daemon.incidents("channel_failed") or None)
        assert incident["title"] == "the channel ops does not deliver: HTTP 400"


def test_an_address_that_a_tenant_chose_does_not_lead_inside(tmp_path: Path) -> None:
    with running(tmp_path, start=False) as daemon:
        daemon.configure({"alerts": {"channels": [
            {"name": "theirs", "type": "webhook", "url": daemon.sink.url, "public_only": True}
        ]}})  # fmt: skip
        daemon.start()
        for _ in range(2):
            assert daemon.deliver(charge(customer="cus_1", amount=2900)) == 200
        until(lambda: daemon.incidents("channel_failed") or None)
        (failed,) = daemon.incidents("channel_failed")
        assert failed["evidence"]["error"] == "cannot connect: the address is not public"
        assert daemon.sink.all == []
