"""From the outbox to a channel, in virtual time over the real store."""

import pytest

from actors.alerts.channels.base import RateLimit, RetryLater, Sent
from actors.alerts.dispatcher import DEADLINE_S
from actors.store.records import Delivery, Findings, Notification, Severity
from tests.alerts.conftest import Play
from tests.alerts.rig import FakeService, House, an_incident, fails_first
from tests.alerts.samples import HOUR, MINUTE, START, message


def test_what_is_pending_at_the_start_is_delivered(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock)
        await place.enqueue(message("a"), message("b"))
        async with place.dispatching("ops", service):
            await place.clock.sleep(1)
        assert service.got == ["a", "b"]
        assert await place.counts() == {"delivered": 2, "pending": 0, "failed": 0}

    play(scene)


def test_a_wake_delivers_at_once(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock)
        async with place.dispatching("ops", service) as dispatcher:
            await place.clock.sleep(100)
            await place.enqueue(message("a"), wake=[dispatcher])
            await place.clock.sleep(100)
        assert service.times == [pytest.approx(100, abs=0.01)]

    play(scene)


def test_what_is_held_back_goes_out_when_its_time_has_come_without_a_wake(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock)
        await place.enqueue(message("a", not_before=START + HOUR))
        async with place.dispatching("ops", service):
            await place.clock.sleep(2 * 3600)
        assert service.times == [pytest.approx(3600, abs=0.01)]

    play(scene)


def test_the_end_of_an_incident_never_overtakes_its_opening(play: Play) -> None:
    """Not even when the opening is being retried and the daemon was restarted meanwhile."""

    async def scene(place: House) -> None:
        service = FakeService(place.clock, lambda n: RetryLater("HTTP 500") if n.kind.endswith("opened") else Sent())
        opened = message("open", incident="inc_1")
        await place.enqueue(opened, message("other"))
        async with place.dispatching("ops", service) as dispatcher:
            await place.clock.sleep(20)
            await place.enqueue(message("over", incident="inc_1", kind="incident.resolved"), wake=[dispatcher])
            await place.clock.sleep(0.01)
        service.behaviour = lambda _: Sent()
        async with place.dispatching("ops", service):
            await place.clock.sleep(3600)
        assert [key for key in service.got if key != "other"] == ["open", "over"]

    play(scene)


def test_messages_of_one_incident_are_never_under_way_at_the_same_time(play: Play) -> None:
    async def scene(place: House) -> None:
        once = fails_first(1)
        service = FakeService(place.clock, lambda n: once(n) if n.key == "open" else Sent(), abreast=4, takes_s=1)
        await place.enqueue(
            message("open", incident="inc_1"), message("over", incident="inc_1", kind="incident.resolved")
        )
        async with place.dispatching("ops", service):
            await place.clock.sleep(60)
        assert service.got == ["open", "over"]

    play(scene)


def test_people_who_were_not_told_of_the_opening_read_the_newest_state_as_the_opening(
    play: Play,
) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, for_people=True)
        await place.enqueue(
            message("open", incident="inc_1"), message("worse", incident="inc_1", kind="incident.updated")
        )
        async with place.dispatching("ops", service):
            await place.clock.sleep(60)
        ((_, only, _),) = service.attempts
        assert (only.key, only.kind, only.payload["kind"]) == ("worse", "incident.opened", "incident.opened")

    play(scene)


def test_what_was_overtaken_by_worse_news_is_not_sent_later(play: Play) -> None:
    """Held by quiet hours as a warning, opened as critical meanwhile: the stale warning is settled, unsent."""

    async def scene(place: House) -> None:
        service = FakeService(place.clock)
        await place.enqueue(
            message("held", incident="inc_1", not_before=START + HOUR),
            message("worse", incident="inc_1", severity=Severity.CRITICAL),
        )
        async with place.dispatching("ops", service):
            await place.clock.sleep(2 * 3600)
        assert service.got == ["worse"]
        assert (await place.counts())["pending"] == 0

    play(scene)


def test_what_follows_a_message_knows_it_also_after_a_restart(play: Play) -> None:
    """As what the service knows the first message about an incident stands in the outbox, not in memory."""

    async def scene(place: House) -> None:
        ids = iter(range(501, 600))
        service = FakeService(place.clock, lambda _: Sent(f"{next(ids)}"))
        for key, kind in (("open", "opened"), ("worse", "updated"), ("over", "resolved")):
            await place.enqueue(message(key, incident="inc_1", kind=f"incident.{kind}"), message(f"{key} elsewhere"))
            async with place.dispatching("ops", service):
                await place.clock.sleep(60)
        told = {notification.key: notification.first_message for _, notification, _ in service.attempts}
        assert [told[key] for key in ("open", "worse", "over")] == ["", "501", "501"]
        assert {told[f"{key} elsewhere"] for key in ("open", "worse", "over")} == {""}

    play(scene)


def test_a_message_about_many_incidents_is_the_first_of_none(play: Play) -> None:
    """Else the end of one would overwrite what was said of all."""

    async def scene(place: House) -> None:
        service = FakeService(place.clock, lambda _: Sent("501"), for_people=True)
        await place.enqueue(*(message(f"m{n}", incident=f"inc_{n}") for n in range(9)))
        async with place.dispatching("ops", service) as dispatcher:
            await place.clock.sleep(60)
            await place.enqueue(message("over", incident="inc_3", kind="incident.resolved"), wake=[dispatcher])
            await place.clock.sleep(60)
        assert [notification.first_message for _, notification, _ in service.attempts] == ["", ""]

    play(scene)


def test_a_channel_that_hangs_changes_nothing_on_another(play: Play) -> None:
    async def scene(place: House) -> None:
        hanging, healthy = FakeService(place.clock, hangs=True), FakeService(place.clock)
        async with place.dispatching("slow", hanging) as slow, place.dispatching("ops", healthy) as ops:
            for n in range(60):
                await place.enqueue(message(f"s{n}", channel="slow"), message(f"o{n}"), wake=[slow, ops])
                await place.clock.sleep(1)
        assert [round(at, 2) for at in healthy.times] == [float(n) for n in range(60)]
        assert hanging.times[1] - hanging.times[0] >= DEADLINE_S

    play(scene)


def test_the_rate_limit_is_kept(play: Play) -> None:
    """A burst of 5, then one every 2 s."""

    async def scene(place: House) -> None:
        service = FakeService(place.clock, limit=RateLimit(per_minute=30, burst=5))
        await place.enqueue(*(message(f"m{n}") for n in range(15)))
        async with place.dispatching("ops", service):
            await place.clock.sleep(60)
        assert service.times == pytest.approx([0.0] * 5 + [2.0 * n for n in range(1, 11)], abs=0.01)

    play(scene)


def test_people_get_many_incidents_of_one_signal_as_one_message(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, for_people=True)
        await place.enqueue(*(message(f"m{n}") for n in range(47)), message("x", signal="refund_spike"))
        async with place.dispatching("ops", service):
            await place.clock.sleep(60)
        (_, many, _), (_, one, _) = service.attempts
        assert many.payload["title"] == "47 incidents: duplicate charge"
        assert "+37 more" in many.payload["text"]
        assert len(many.payload["evidence"]["incidents"]) == 47
        assert one.key == "x"
        assert (await place.counts())["delivered"] == 48

    play(scene)


def test_several_tenants_at_once_are_one_message_that_asks_about_stripe(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, for_people=True)
        await place.enqueue(*(message(f"m{n}", tenant=f"tenant{n}") for n in range(6)))
        async with place.dispatching("ops", service):
            await place.clock.sleep(60)
        ((_, only, _),) = service.attempts
        assert "6 tenants: is Stripe itself in trouble?" in only.payload["title"]

    play(scene)


def test_of_an_incident_that_opened_and_ended_while_held_people_read_only_the_end(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, for_people=True)
        await place.enqueue(
            message("open", incident="inc_1"), message("over", incident="inc_1", kind="incident.resolved")
        )
        async with place.dispatching("ops", service):
            await place.clock.sleep(60)
        assert service.got == ["over"]
        assert (await place.counts())["delivered"] == 2

    play(scene)


def test_a_lasting_failure_is_told_in_the_log_and_so_is_its_end(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, fails_first(4))
        await place.enqueue(message("a"))
        async with place.dispatching("ops", service):
            await place.clock.sleep(60)
        alarms = [entry.data for entry in await place.alarms()]
        assert [alarm.get("resolved", False) for alarm in alarms] == [False, False, True]
        assert alarms[0]["signal"] == "channel_failed"
        assert alarms[0]["scope"] == "ops"
        assert alarms[0]["evidence"]["error"] == "HTTP 500"

    play(scene)


def test_a_passing_failure_is_not_told(play: Play) -> None:
    async def scene(place: House) -> None:
        async with place.dispatching("ops", FakeService(place.clock, fails_first(2))):
            await place.enqueue(message("a"))
            await place.clock.sleep(60)
        assert await place.alarms() == []

    play(scene)


def test_a_failure_told_before_a_restart_ends_with_the_first_success_after_it(play: Play) -> None:
    async def scene(place: House) -> None:
        await place.store.commit_findings(Findings(cursor=0, incidents=(an_incident("inc_1"),)))
        await place.enqueue(message("a"))
        async with place.dispatching("ops", FakeService(place.clock)):
            await place.clock.sleep(60)
        assert [entry.data.get("resolved") for entry in await place.alarms()] == [True]

    play(scene)


def test_a_fault_of_ours_in_one_message_does_not_stop_the_channel(play: Play) -> None:
    def behave(notification: Notification) -> Sent:
        if notification.key == "bad":
            raise KeyError("title")
        return Sent()

    async def scene(place: House) -> None:
        service = FakeService(place.clock, behave)
        await place.enqueue(message("bad"), message("good"))
        async with place.dispatching("ops", service):
            await place.clock.sleep(60)
        assert service.got == ["good"]
        (bad,) = await place.outbox()
        assert (bad.state, bad.error) == (Delivery.PENDING, "internal fault: KeyError")

    play(scene)


def test_an_attempt_cut_short_by_a_stop_is_made_again_under_its_key(
    play: Play,
) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, hangs=True)
        await place.enqueue(message("a", created=START - MINUTE))
        async with place.dispatching("ops", service):
            await place.clock.sleep(1)
        service.hangs = False
        async with place.dispatching("ops", service):
            await place.clock.sleep(1)
        assert [notification.key for _, notification, _ in service.attempts] == ["a", "a"]

    play(scene)
