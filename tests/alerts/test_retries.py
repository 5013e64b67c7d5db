"""What a channel does not take: tried again when it asks for that, or in the end given up."""

from itertools import pairwise

from actors.alerts.channels.base import Refused, RetryLater, Sent
from actors.alerts.pace import DAY
from actors.kernel.clock import SECOND
from actors.store.records import Notification
from tests.alerts.conftest import Play
from tests.alerts.rig import FakeService, House, fails_first
from tests.alerts.samples import message


def test_retries_double_and_then_it_is_delivered_under_the_same_key(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, fails_first(5))
        await place.enqueue(message("a"))
        async with place.dispatching("ops", service):
            await place.clock.sleep(120)
        gaps = [later - earlier for earlier, later in pairwise(service.times)]
        assert {notification.key for _, notification, _ in service.attempts} == {"a"}
        assert all(0.75 * 2**n <= gap <= 1.26 * 2**n for n, gap in enumerate(gaps)), gaps
        assert service.got == ["a"]

    play(scene)


def test_the_time_a_service_asks_for_is_kept(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, fails_first(1, "HTTP 429", after=90))
        await place.enqueue(message("a"), message("b"))
        async with place.dispatching("ops", service):
            await place.clock.sleep(300)
        assert service.times[1] >= 90
        assert service.got == ["a", "b"]

    play(scene)


def test_a_service_that_asks_for_ages_is_told_at_once_and_asked_again_within_the_hour(
    play: Play,
) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, fails_first(1, "HTTP 429", after=1e20))
        await place.enqueue(message("a"))
        async with place.dispatching("ops", service):
            await place.clock.sleep(60)
            (alarm,) = await place.alarms()
            assert (alarm.data["signal"], alarm.data["scope"]) == ("channel_failed", "ops")
            await place.clock.sleep(3700)
        assert service.got == ["a"]

    play(scene)


def test_the_time_a_service_asks_for_is_kept_also_when_it_took_some_messages_first(
    play: Play,
) -> None:
    taken: list[str] = []

    def two_and_then_wait(notification: Notification) -> Sent | RetryLater:
        if len(taken) == 2:
            taken.append("")
            return RetryLater("HTTP 429", after=90)
        taken.append(notification.key)
        return Sent()

    async def scene(place: House) -> None:
        service = FakeService(place.clock, two_and_then_wait)
        await place.enqueue(*(message(f"m{n}") for n in range(5)))
        async with place.dispatching("ops", service):
            await place.clock.sleep(300)
        assert service.times[2] < 1
        assert service.times[3] >= 90
        assert len(service.got) == 5

    play(scene)


def test_the_time_a_service_asks_for_is_kept_also_through_a_restart(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, fails_first(1, "HTTP 429", after=90))
        await place.enqueue(message("a"))
        for seconds in (10, 300):
            async with place.dispatching("ops", service):
                await place.clock.sleep(seconds)
        assert service.times[1] >= 90

    play(scene)


def test_what_was_gathered_stays_together_through_its_retries(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, fails_first(4), for_people=True)
        await place.enqueue(*(message(f"m{n}") for n in range(20)))
        async with place.dispatching("ops", service):
            await place.clock.sleep(300)
        assert [len(n.payload["evidence"]["incidents"]) for _, n, _ in service.attempts] == [20] * 5

    play(scene)


def test_what_is_refused_is_marked_failed_and_not_tried_again(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, lambda n: Refused("HTTP 400") if n.key == "a" else Sent())
        await place.enqueue(message("a"), message("b"))
        async with place.dispatching("ops", service):
            await place.clock.sleep(3600)
        assert len(service.attempts) == 2
        assert await place.counts() == {"delivered": 1, "pending": 0, "failed": 1}

    play(scene)


def test_after_a_day_of_failures_it_is_marked_failed(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, fails_first(10_000))
        await place.enqueue(*(message(f"m{n}") for n in range(20)))
        async with place.dispatching("ops", service):
            await place.clock.sleep(20 * 3600)
            assert (await place.counts())["failed"] == 0
            await place.clock.sleep(10 * 3600)
        assert await place.counts() == {"delivered": 0, "pending": 0, "failed": 20}
        assert len(service.attempts) < 200

    play(scene)


def test_one_message_that_always_fails_does_not_hold_up_the_others(play: Play) -> None:
    async def scene(place: House) -> None:
        service = FakeService(place.clock, lambda n: RetryLater("HTTP 500") if n.key == "bad" else Sent())
        await place.enqueue(message("bad"), *(message(f"m{n}") for n in range(20)))
        async with place.dispatching("ops", service):
            await place.clock.sleep(10)
            assert len(service.got) == 20
            await place.clock.sleep(2 * DAY / SECOND)
        assert await place.counts() == {"delivered": 20, "pending": 0, "failed": 1}

    play(scene)
