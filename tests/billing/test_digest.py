"""One message a period about what happened in it."""

import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from datetime import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from actors.alerts.routing import QuietHours, Route, Routing
from actors.billing.projection import Projector
from actors.store.records import Kind, NewEntry, Notification, Severity
from tests.billing.stripe_events import Event, charge, event
from tests.billing.subscribers import ended, subscribed
from tests.billing.town import DAY, HOUR, Play, Town, after, declines, overpaid, twice
from tests.simulation.loop import run_virtual

OPS, PHONE = Route("ops", for_people=False), Route("phone")


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: a tick a minute is written, and fsync proves nothing here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def town(folder: Path) -> Callable[..., Play]:
    def build(
        *routes: Route,
        every_s: float = HOUR,
        quiet: tuple[int, int] | None = None,
        on_write: Callable[[str], None] = lambda _: None,
        **routing: Any,
    ) -> Play:
        hours = quiet and QuietHours(time(quiet[0]), time(quiet[1]), ZoneInfo("UTC"))
        routes_ = Routing(routes or (OPS,), quiet_hours=hours, digests=True, **routing)

        def play(story: Callable[[Town], Coroutine[Any, Any, None]]) -> None:
            place = Town(folder, routes_, every_s, on_write)
            run_virtual(lambda: story(place), seed=3)

        return play

    return build


def said(digests: Sequence[Notification]) -> list[str]:
    return [one.payload["title"] for one in digests]


def test_a_refund_is_one_whichever_events_tell_of_it(town: Callable[..., Play]) -> None:
    """Two refunds: one that its charge tells of, twice, and one that only an event of its own does."""

    def refund(event_type: str) -> Event:
        made = {
            "id": "re_1",
            "object": "refund",
            "amount": 700,
            "charge": "ch_2",
            "currency": "eur",
            "status": "succeeded",
        }
        return event(event_type, made, after(HOUR + 900))

    async def story(place: Town) -> None:
        async with place.living():
            paid = charge(after(HOUR + 60), id_="ch_1", customer="cus_2", amount=2000)
            told = [charge(after(HOUR + at), id_="ch_1", refunded=500, kind="charge.refunded") for at in (600, 601)]
            await place.happens(*twice(HOUR + 600), paid, *told, refund("refund.created"), refund("refund.updated"))
            await place.until(2 * HOUR + 1)
            await place.happens(overpaid(2 * HOUR + 60))
            await place.until(3 * HOUR + 1)
            one, other = await place.digests()
        assert one.payload["text"].splitlines()[2] == "3 payments ($78.00), 2 refunds (€7.00 + $5.00)"
        assert other.payload["text"].splitlines()[-2] == "1 refund ($50.00)"

    town()(story)


def test_at_the_end_of_an_hour_one_message_tells_what_happened_in_it(town: Callable[..., Play]) -> None:
    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(*twice(HOUR + 600))
            await place.until(2 * HOUR - 1)
            assert await place.digests() == []
            await place.until(2 * HOUR + 1)
            (digest,) = await place.digests()
        payload = digest.payload
        assert (payload["kind"], payload["tenant"], payload["severity"]) == ("digest", "acme", "info")
        assert payload["title"] == "1 incident"
        first, incident, money, last = payload["text"].splitlines()
        assert first == "01:00 to 02:00 UTC: 1 incident"
        assert incident.startswith("● WARNING duplicate charge · ")
        assert " · 01:11, open · inc_" in incident
        assert (money, last) == ("2 payments ($58.00)", "more: nightdesk incidents · nightdesk mrr")
        assert payload["evidence"]["counts"] == {"opened": 1, "ended": 0, "open": 0}
        assert payload["evidence"]["tenants"][0]["currencies"][0]["paid_minor"] == 5800

    town()(story)


def test_what_goes_on_is_told_with_the_next_news_and_its_end_is_news(town: Callable[..., Play]) -> None:
    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(*twice(600), *twice(HOUR + 600, "cus_2"))
            await place.until(6 * HOUR)
            assert said(await place.digests()) == ["1 incident", "1 incident, 1 over", "1 over"]

    town()(story)


def test_hours_without_news_are_silent(town: Callable[..., Play]) -> None:
    """Payments come, and nothing else: that is no message."""

    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(*(charge(after(n * 1200), customer=f"cus_{n}") for n in range(24)))
            await place.until(10 * HOUR)
            assert await place.sent() == []

    town()(story)


def test_a_day_and_a_week_end_at_midnight_and_a_week_on_sunday(town: Callable[..., Play]) -> None:
    async def story(place: Town) -> None:
        await place.until(3 * DAY - 2 * HOUR)  # Sunday evening
        async with place.living():
            await place.happens(*twice(3 * DAY - HOUR))
            await place.until(3 * DAY + 60)
            (digest,) = await place.digests()
        assert digest.payload["text"].startswith("2026-05-25 00:00 to 2026-06-01 00:00 UTC: 1 incident")

    town(every_s=7 * DAY)(story)


def test_people_read_of_info_only_there_and_programs_hear_of_it_at_once(town: Callable[..., Play]) -> None:
    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(*declines(600))
            await place.until(2 * HOUR)
            assert [one.kind for one in await place.sent("phone")] == ["digest"]
            assert [one.kind for one in await place.sent()] == ["incident.opened", "digest", "incident.resolved"]
            (digest,) = await place.digests("phone")
        assert "· INFO decline spike · " in digest.payload["text"]

    town(OPS, PHONE)(story)


def test_quiet_hours_hold_a_warning_for_the_digest_at_their_end_and_critical_passes(town: Callable[..., Play]) -> None:
    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(*twice(HOUR), overpaid(2 * HOUR))
            await place.until(6 * HOUR - 1)
            assert [(one.kind, one.severity) for one in await place.sent("phone")] == [
                ("incident.opened", Severity.CRITICAL),
                ("incident.resolved", Severity.CRITICAL),
            ]
            assert [one.kind for one in await place.sent()] == ["incident.opened", "incident.resolved"]
            await place.until(6 * HOUR + 1)
            for channel in ("ops", "phone"):
                (digest,) = await place.digests(channel)
                assert digest.payload["title"] == "2 incidents"
                assert digest.payload["text"].startswith("05-28 23:00 to 06:00 UTC") or digest.payload[
                    "text"
                ].startswith("00:00 to 06:00 UTC")

    town(OPS, PHONE, quiet=(22, 6))(story)


def test_a_channel_for_worse_things_gets_a_digest_only_of_what_was_kept_from_it(town: Callable[..., Play]) -> None:
    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(*twice(HOUR), *twice(8 * HOUR, "cus_2"))
            await place.until(12 * HOUR)
            assert said(await place.digests("loud")) == ["1 incident"]
            assert await place.sent("pager") == []

    loud, pager = Route("loud", min_severity=Severity.WARNING), Route("pager", min_severity=Severity.CRITICAL)
    town(loud, pager, quiet=(22, 6))(story)


def test_what_moved_of_recurring_revenue_is_told_once_however_late_it_comes(town: Callable[..., Play]) -> None:
    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(subscribed(after(600), 1), subscribed(after(700), 2, amount=5000))
            await place.until(2 * HOUR)
            late = subscribed(after(500), 3, amount=1000)
            await place.store.append(
                NewEntry(Kind.EVENT, "acme", place.clock.now(), Projector(bytes(32)).project(late), event_id=late["id"])
            )
            await place.happens(ended(after(2 * HOUR + 60), 1))
            await place.until(5 * HOUR)
            digests = await place.digests()
        assert said(digests) == ["MRR +$80.00", "1 incident · MRR -$20.00", "1 over"]
        assert "MRR $80.00 (+$80.00): 2 new +$80.00" in digests[0].payload["text"]
        assert "MRR $60.00 (-$20.00): 1 new +$10.00, 1 churn -$30.00" in digests[1].payload["text"]

    town()(story)


def test_each_channel_reads_only_of_the_tenants_it_serves(town: Callable[..., Play]) -> None:
    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(*twice(600), tenant="acme")
            await place.happens(*twice(900, "cus_secret"), subscribed(after(1000), 7), tenant="globex")
            await place.until(HOUR + 1)
            (acme,) = await place.digests("acme-only")
            (ops,) = await place.digests()
        assert acme.payload["tenant"] == "acme"
        assert "globex" not in str(acme.payload)
        assert (ops.payload["tenant"], ops.payload["title"]) == ("", "2 incidents · MRR +$30.00")
        assert "globex · duplicate charge" in ops.payload["text"]

    tenants = {"acme": frozenset(("ops", "acme-only")), "globex": frozenset(("ops",))}
    town(OPS, Route("acme-only"), tenants=tenants)(story)


def test_a_restart_repeats_none_and_loses_none(town: Callable[..., Play]) -> None:
    """Killed twice within an hour, and away over the ends of two: one digest each time there is something to say."""

    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(*twice(600))
        async with place.living():
            await place.until(HOUR + 60)
        async with place.living():
            await place.happens(*twice(HOUR + 600, "cus_2"))
        await place.until(4 * HOUR + 60)
        async with place.living():
            await place.until(9 * HOUR)
            digests = await place.digests()
        assert said(digests) == ["1 incident", "1 incident, 1 over", "1 over"]
        assert sum(one.payload["evidence"]["counts"]["opened"] for one in digests) == 2
        assert sum(one.payload["evidence"]["counts"]["ended"] for one in digests) == 2
        assert sum(one.payload["evidence"]["tenants"][0]["paid"] for one in digests) == 4

    town()(story)


class Broken(Routing):
    """Its last channel cannot be asked whom it serves."""

    def serves(self, channel: str, tenant: str) -> bool:
        if channel == "phone":
            raise KeyError(channel)
        return super().serves(channel, tenant)


def test_a_digest_that_cannot_be_made_says_so_and_keeps_back_no_other(folder: Path) -> None:
    routing = Routing((OPS, PHONE), digests=True)

    async def story() -> None:
        place = Town(folder, routing, HOUR, lambda _: None)
        async with place.living():
            await place.happens(*twice(600))
            place.routing = Broken((OPS, PHONE), digests=True)
            await place.until(3 * HOUR)
            assert said(await place.digests()) == ["1 incident", "1 over"]
            assert said(await place.digests("phone"))[0] == (
                "This digest could not be written (KeyError): nightdesk incidents shows what happened"
            )

    run_virtual(story, seed=1)


@pytest.mark.parametrize(("every_s", "titles"), [(DAY, ["what the desk did"]), (HOUR, [])])
def test_what_was_traded_is_news_once_a_day(folder: Path, every_s: int, titles: list[str]) -> None:
    async def story() -> None:
        place = Town(folder, Routing((OPS,), digests=True), every_s, lambda _: None)
        place.traded = ["desk: $10,100.00 (+$100.00)"]
        await place.until(DAY - 2 * HOUR)
        async with place.living():
            await place.until(DAY + 60)
            digests = await place.digests()
        assert said(digests) == titles
        assert all(place.traded[0] in one.payload["text"].splitlines() for one in digests)

    run_virtual(story, seed=1)


def test_a_false_positive_is_no_news(town: Callable[..., Play]) -> None:
    async def story(place: Town) -> None:
        async with place.living():
            await place.happens(*twice(600))
            await place.until(700)
            (incident,) = await place.store.incidents(tenant="acme")
            word = {"command": "false_positive", "incident": incident.id, "by": 0}
            await place.store.append(NewEntry(Kind.COMMAND, "acme", place.clock.now(), word))
            await place.until(2 * HOUR)
            assert await place.digests() == []

    town()(story)


class Dies(Exception):
    """The process, between two writes."""


def test_killed_just_before_or_just_after_a_digest_is_written_there_is_one(folder: Path) -> None:
    """At each write of the hour's end in turn: before it happens, and after it has happened and nobody knows."""
    for when in ("before", "after"):
        for nth in range(4):
            left = [nth]
            armed = [False]

            def on_write(moment: str, left: list[int] = left, armed: list[bool] = armed, when: str = when) -> None:
                if armed[0] and moment == when:
                    left[0] -= 1
                    if left[0] < 0:
                        armed[0] = False
                        raise Dies

            place = Town(folder / f"{when}{nth}", Routing((OPS,), digests=True), HOUR, on_write)

            async def story(place: Town = place, armed: list[bool] = armed) -> None:
                with suppress(Exception):  # the store's end is the life's
                    async with place.living():
                        await place.happens(*twice(600))
                        await place.until(HOUR - 1)
                        armed[0] = True
                        await place.until(HOUR + 1)
                armed[0] = False
                async with place.living():
                    await place.until(HOUR + 600)
                    assert said(await place.digests()) == ["1 incident"]

            run_virtual(story, seed=nth)
