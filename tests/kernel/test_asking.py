"""Who learns of a failure: the asker of an ask, the supervisor of a tell; and asking in a circle is refused."""

import asyncio

import pytest

from actors.kernel.clock import io_sleep, monotonic
from actors.kernel.mailbox import ActorDown, AskCycle, Mailbox, MailboxFull, block, reject
from actors.kernel.tree import Crashed, Failed, State, Strategy, child, supervisor
from tests.kernel.stage import Script, staged


async def test_the_value_of_receive_answers_an_ask() -> None:
    mailbox, script = block(8), Script()
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("echo", script.actor, mailbox=mailbox))):
        assert await mailbox.ask("hello", timeout=1) == "hello"


async def test_an_ask_that_fails_is_the_askers_problem_and_the_actor_lives() -> None:
    mailbox, script = block(8), Script()
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("picky", script.actor, mailbox=mailbox))) as stage:
        with pytest.raises(ValueError, match="no such thing"):
            await mailbox.ask(ValueError("no such thing"), timeout=1)
        assert await mailbox.ask("next", timeout=1) == "next"
        assert script.lives == 1
        assert stage.said(Crashed) == []


async def test_a_tell_that_fails_kills_the_actor_and_a_new_one_goes_on() -> None:
    mailbox, script = block(8), Script()
    crashes = 1

    async def fail_once() -> None:
        nonlocal crashes
        if crashes:
            crashes = 0
            raise ValueError("once")

    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=mailbox))) as stage:
        for message in ["before", fail_once, "after"]:
            mailbox.offer(message)
        await io_sleep(2)
        assert script.handled == ["before", "after"]
        assert script.lives == 2
        assert [str(event.error) for event in stage.said(Crashed)] == ["once"]


async def test_an_ask_nobody_waits_for_any_more_is_not_handled() -> None:
    mailbox, script = block(8), Script()
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("slow", script.actor, mailbox=mailbox))) as stage:
        mailbox.offer(lambda: io_sleep(10))
        with pytest.raises(TimeoutError):
            await mailbox.ask("order", timeout=5)
        await io_sleep(20)
        assert script.handled == []
        assert stage.status("slow").dropped == {"expired": 1}


async def test_an_ask_ends_at_its_deadline_though_the_answer_comes_later() -> None:
    mailbox, script = block(8), Script()
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("slow", script.actor, mailbox=mailbox))):
        began = monotonic()
        with pytest.raises(TimeoutError):
            await mailbox.ask(lambda: io_sleep(10), timeout=5)
        assert monotonic() - began == pytest.approx(5)
        assert await mailbox.ask("next", timeout=6) == "next"


async def test_whoever_asks_a_dead_actor_learns_it_at_once() -> None:
    mailbox, script = block(8), Script()
    tree = supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=mailbox, intensity=0))
    async with staged(tree) as stage:
        mailbox.offer(ValueError("broken"))
        mailbox.offer("left")
        asked = asyncio.gather(mailbox.ask("queued", timeout=9), return_exceptions=True)
        await io_sleep(1)
        assert stage.status("a").state is State.FAILED
        assert [str(error) for error in await asked] == ["a is failed"]
        with pytest.raises(ActorDown):
            await mailbox.ask("late", timeout=9)
        assert not mailbox.offer("late")
        assert len(stage.said(Failed)) == 1
        await stage.supervisor.restart("a")


class Triangle:
    """Three actors that pass a question on to the next for as long as it says."""

    def __init__(self) -> None:
        self.boxes: list[Mailbox[object]] = [block(8), block(8), block(8)]
        self.scripts = [Script(), Script(), Script()]
        self.tree = supervisor(
            "root",
            Strategy.ONE_FOR_ONE,
            *(
                child(f"actor{number}", script.actor, mailbox=box)
                for number, (script, box) in enumerate(zip(self.scripts, self.boxes, strict=True))
            ),
        )

    def question(self, hops: int, at: int = 0) -> object:
        async def pass_on() -> object:
            if hops == 0:
                return "answer"
            following = (at + 1) % len(self.boxes)
            return await self.boxes[following].ask(self.question(hops - 1, following), timeout=60)

        return pass_on


async def test_asking_along_a_line_works_and_around_a_circle_is_refused_at_once() -> None:
    triangle = Triangle()
    async with staged(triangle.tree):
        assert await triangle.boxes[0].ask(triangle.question(hops=2), timeout=60) == "answer"
        with pytest.raises(AskCycle):
            await triangle.boxes[0].ask(triangle.question(hops=3), timeout=60)
        assert monotonic() == pytest.approx(0, abs=0.01)


async def test_an_answered_ask_leads_nowhere_any_more() -> None:
    """The first asks the second and later the second the first: no circle, for they do not wait at the same time."""
    triangle = Triangle()
    async with staged(triangle.tree):
        for at in (0, 1, 2, 1, 0):
            assert await triangle.boxes[at].ask(triangle.question(hops=2, at=at), timeout=60) == "answer"


async def test_two_actors_asking_each_other_at_the_same_moment_do_not_lock() -> None:
    """Each is in a turn of its own and none was asked by the other: only who waits for whom shows the circle."""
    triangle = Triangle()
    errors: list[Exception] = []

    async def ask_after(seconds: float, box: Mailbox[object]) -> None:
        await io_sleep(seconds)
        try:
            await box.ask("hello", timeout=60)
        except Exception as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    async with staged(triangle.tree):
        triangle.boxes[0].offer(lambda: ask_after(1, triangle.boxes[1]))
        triangle.boxes[1].offer(lambda: ask_after(1, triangle.boxes[0]))
        await io_sleep(2)
        assert [type(error) for error in errors] == [AskCycle]
        assert triangle.scripts[0].handled + triangle.scripts[1].handled == ["hello"]


async def test_an_actor_that_asks_itself_is_refused() -> None:
    mailbox, script = block(8), Script()
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=mailbox))):
        with pytest.raises(AskCycle):
            await mailbox.ask(lambda: mailbox.ask("me", timeout=60), timeout=60)


async def test_a_full_rejecting_mailbox_tells_the_asker() -> None:
    mailbox, script = reject(1), Script()
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("busy", script.actor, mailbox=mailbox))):
        mailbox.offer(lambda: io_sleep(5))
        await io_sleep(1)
        mailbox.offer("waiting")
        with pytest.raises(MailboxFull):
            await mailbox.ask("no room", timeout=60)
