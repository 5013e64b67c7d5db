"""How a tree stops: from the right, each actor with what is queued, none beyond its deadline; who did not is named."""

import asyncio

import anyio
import pytest

from actors.kernel.actor import Actor
from actors.kernel.clock import ScaledClock, chance, io_sleep, monotonic
from actors.kernel.mailbox import ActorDown, Mailbox, block
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import (
    Branch,
    Crashed,
    Restart,
    State,
    Stopped,
    Strategy,
    SupervisionEvent,
    Unstopped,
    child,
    supervisor,
)
from tests.kernel.stage import Script, staged


async def test_children_stop_in_reverse_order_branches_included() -> None:
    script = Script()
    tree = supervisor(
        "root",
        Strategy.REST_FOR_ONE,
        child("store", script.actor),
        supervisor("billing", Strategy.ONE_FOR_ONE, child("gate", script.actor), child("scorer", script.actor)),
        child("alerts", script.actor),
    )
    async with staged(tree):
        script.diary.clear()
    assert script.diary == ["stop alerts", "stop billing.scorer", "stop billing.gate", "stop store"]


async def test_a_branch_with_nothing_to_keep_is_no_trouble() -> None:
    script = Script()
    tree = supervisor(
        "root", Strategy.ONE_FOR_ONE, supervisor("alerts", Strategy.ONE_FOR_ONE), child("store", script.actor)
    )
    async with staged(tree) as stage:
        await io_sleep(100)
        assert [actor.state for actor in stage.supervisor.status()] == [State.RUNNING, State.RUNNING]
    assert script.diary[-1] == "stop store"


async def test_what_is_queued_is_handled_before_the_end_and_what_comes_later_is_refused() -> None:
    script, box = Script(), block(100)
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box))):
        box.offer(lambda: io_sleep(0.5))
        for number in range(5):
            box.offer(number)
        asked = asyncio.gather(box.ask("asked", timeout=60), return_exceptions=True)
        await io_sleep(0)
    assert script.handled == [0, 1, 2, 3, 4, "asked"]
    assert monotonic() == pytest.approx(0.5, abs=0.01)
    assert list(await asked) == ["asked"]
    assert not box.offer("late")


async def test_actors_that_have_nothing_to_do_end_at_once() -> None:
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, *(child(name, Script().actor) for name in "abc"))):
        await io_sleep(1)
    assert monotonic() == pytest.approx(1, abs=0.01)


async def test_an_earlier_actor_still_serves_a_later_one_that_drains() -> None:
    """Strategies flush into the store: the store must still be there when they do."""
    store, flusher, box, work = Script(), Script(), block(100), block(100)

    async def flush() -> None:
        await io_sleep(0.2)
        await box.ask("flushed", timeout=1)

    tree = supervisor(
        "root",
        Strategy.REST_FOR_ONE,
        child("store", store.actor, mailbox=box),
        child("flusher", flusher.actor, mailbox=work),
    )
    async with staged(tree):
        work.offer(flush)
        work.offer(flush)
    assert store.handled == ["flushed", "flushed"]


class Sleeper(Actor[None]):
    """Takes its time at everything."""

    def __init__(self, stop_s: float) -> None:
        self._stop_s = stop_s

    async def run(self) -> None:
        await anyio.sleep_forever()

    async def stop(self) -> None:
        await io_sleep(self._stop_s)


async def test_a_deadline_of_its_own_for_each_and_who_missed_it_is_reported() -> None:
    tree = supervisor(
        "root",
        Strategy.ONE_FOR_ONE,
        child("quick", lambda: Sleeper(0.5), stop_s=2.0),
        child("slow", lambda: Sleeper(3.0), stop_s=2.0),
        child("patient", lambda: Sleeper(3.0), stop_s=4.0),
    )
    async with staged(tree) as stage:
        began = monotonic()
    assert stage.said(Unstopped) == [Unstopped("slow")]
    assert [event.name for event in stage.said(Stopped)] == ["patient", "slow", "quick"]
    assert monotonic() - began == pytest.approx(3.0 + 2.0 + 0.5, abs=0.01)
    assert tree.stop_s == 8.0


async def test_a_turn_that_does_not_end_is_cut_and_its_message_stays() -> None:
    script, box = Script(), block(100)
    async with staged(
        supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box, stop_s=2.0))
    ) as stage:
        box.offer(lambda: io_sleep(1000))
        box.offer("behind it")
        await io_sleep(1)
        began = monotonic()
    assert monotonic() - began <= 2.0
    assert script.diary[-1] == "stop a"
    assert stage.said(Stopped) == [Stopped("a", left=2)]


async def test_an_actor_that_cannot_be_cancelled_does_not_hold_up_the_others() -> None:
    others = Script()

    class Deaf(Actor[None]):
        async def run(self) -> None:
            until = monotonic() + 1000
            while monotonic() < until:
                try:
                    await io_sleep(until - monotonic())
                except asyncio.CancelledError:
                    continue

    tree = supervisor("root", Strategy.ONE_FOR_ONE, child("first", others.actor), child("deaf", Deaf, stop_s=4.0))
    async with staged(tree) as stage:
        began = monotonic()
    assert others.diary[-1] == "stop first"
    assert Unstopped("deaf") in stage.events
    assert monotonic() - began <= tree.stop_s
    await io_sleep(1000)


async def test_an_error_in_stop_is_reported_and_stopping_goes_on() -> None:
    class Clumsy(Actor[None]):
        async def stop(self) -> None:
            raise OSError("cannot close")

    first = Script()
    async with staged(
        supervisor("root", Strategy.ONE_FOR_ONE, child("first", first.actor), child("clumsy", Clumsy))
    ) as stage:
        pass
    assert [(event.name, repr(event.error)) for event in stage.said(Unstopped)] == [
        ("clumsy", "OSError('cannot close')")
    ]
    assert first.diary[-1] == "stop first"


async def test_stop_is_called_once_for_every_start_also_when_start_failed() -> None:
    box = block(8)
    script = Script(start=lambda life: fail() if life == 1 else None)
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box))):
        box.offer(ValueError("poison"))
        await io_sleep(10)
    assert [line.split()[0] for line in script.diary] == ["start", "stop", *["start", "ready", "stop"] * 4]


def fail() -> None:
    raise RuntimeError("not yet")


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.5, 2.5, 3.5, 20.0])
async def test_a_tree_can_be_stopped_while_it_starts_or_restarts(after_s: float) -> None:
    """Whatever was started has been stopped, whenever it comes."""
    script, box = Script(start=lambda _: 1.0), block(8)
    tree = supervisor(
        "root",
        Strategy.REST_FOR_ONE,
        *(child(name, script.actor, mailbox=box if name == "a" else None) for name in "abc"),
    )
    running = Supervisor(tree, clock=ScaledClock(0), rng=chance(1))
    box.offer(ValueError("poison"))
    async with anyio.create_task_group() as group:
        group.start_soon(running.run)
        await io_sleep(after_s)
        running.stop()
    for name in "abc":
        assert script.diary.count(f"start {name}") == script.diary.count(f"stop {name}")
    assert {status.state for status in running.status()} == {State.STOPPED}


async def test_asks_left_behind_are_told() -> None:
    script, box = Script(), block(8)
    answers: list[object] = []

    async def ask() -> None:
        try:
            answers.append(await box.ask("too late", timeout=600))
        except ActorDown as error:
            answers.append(str(error))

    tree = supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box))
    async with anyio.create_task_group() as group, staged(tree):
        box.offer(lambda: io_sleep(1000))
        await io_sleep(1)
        group.start_soon(ask)
        await io_sleep(1)
    assert answers == ["a is stopped"]


async def test_cancelling_run_stops_the_tree_as_well() -> None:
    script = Script()
    running = Supervisor(one(script, block(1)), clock=ScaledClock(0), rng=chance(1))
    with anyio.move_on_after(5):
        await running.run()
    assert script.diary == ["start a", "ready a", "stop a"]


async def test_a_mailbox_lives_through_every_restart() -> None:
    script, box = Script(), block(1000)
    events: list[SupervisionEvent] = []
    running = Supervisor(one(script, box), clock=ScaledClock(0), rng=chance(1), observe=events.append)
    async with anyio.create_task_group() as group:
        group.start_soon(running.run)
        for number in range(60):
            box.offer(number)
            if number % 20 == 10:
                box.offer(ValueError(number))
            await io_sleep(0.1)
        await io_sleep(30)
        running.stop()
    assert script.handled == list(range(60))
    assert sum(isinstance(event, Crashed) for event in events) == 9


def one(script: Script, box: Mailbox[object]) -> Branch:
    return supervisor(
        "root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box, restart=Restart.PERMANENT, intensity=10)
    )
