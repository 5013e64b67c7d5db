"""What is restarted when, how long after, and when no more."""

import pytest

from actors.kernel.actor import Actor
from actors.kernel.clock import io_sleep, monotonic
from actors.kernel.mailbox import block
from actors.kernel.tree import (
    Crashed,
    Failed,
    Fatal,
    Restart,
    Started,
    State,
    Stopped,
    Strategy,
    Stuck,
    child,
    supervisor,
)
from tests.kernel.stage import Script, staged


async def test_start_is_a_handshake_from_left_to_right() -> None:
    script = Script(start=lambda _: 3.0)
    names = ["store", "gate", "scorer"]
    tree = supervisor("root", Strategy.REST_FOR_ONE, *(child(name, script.actor) for name in names))
    async with staged(tree):
        assert script.diary == [line for name in names for line in (f"start {name}", f"ready {name}")]
        assert monotonic() == pytest.approx(9)


@pytest.mark.parametrize(
    ("strategy", "restarted"), [(Strategy.ONE_FOR_ONE, ["b"]), (Strategy.REST_FOR_ONE, ["b", "c", "d"])]
)
async def test_who_is_restarted_with_a_child_that_failed(strategy: Strategy, restarted: list[str]) -> None:
    script, box = Script(), block(8)
    tree = supervisor(
        "root", strategy, *(child(name, script.actor, mailbox=box if name == "b" else None) for name in "abcd")
    )
    async with staged(tree):
        script.diary.clear()
        crashes = iter([ValueError("once")])
        box.offer(lambda: fail_with(crashes))
        await io_sleep(5)
        assert [line for line in script.diary if "start" in line] == [f"start {name}" for name in restarted]
        later = [line for line in script.diary if "stop" in line and line != "stop b"]
        assert later == [f"stop {name}" for name in reversed(restarted) if name != "b"]


async def fail_with(errors: object) -> None:
    for error in errors:  # type: ignore[attr-defined]
        raise error


async def test_delays_grow_with_jitter_and_begin_anew_after_a_healthy_period() -> None:
    box, script = block(8), Script()
    tree = supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box, intensity=9, period_s=60.0))
    async with staged(tree) as stage:
        for number in range(6):
            box.offer(
                lambda number=number: fail_with([ValueError(number)]) if script.lives <= number + 1 else io_sleep(0)
            )
        await io_sleep(30)
        delays = [event.delay_s for event in stage.said(Crashed)]
        assert len(delays) == 6
        for exponent, delay in enumerate(delays):
            assert 0.5 <= delay / (0.2 * 2**exponent) <= 1.5
        assert len({delay / 0.2 / 2**exponent for exponent, delay in enumerate(delays)}) == 6
        await io_sleep(61)
        box.offer(lambda: fail_with([ValueError("again")]) if script.lives == 7 else io_sleep(0))
        await io_sleep(5)
        assert stage.said(Crashed)[-1].delay_s <= 0.3


async def test_a_crash_loop_ends_in_failed_and_the_others_go_on() -> None:
    def broken(life: int) -> None:
        raise RuntimeError(f"life {life}")

    loop, fine, box = Script(start=broken), Script(), block(8)
    tree = supervisor(
        "root", Strategy.REST_FOR_ONE, child("loop", loop.actor, intensity=3), child("fine", fine.actor, mailbox=box)
    )
    async with staged(tree) as stage:
        assert stage.status("loop").state is State.FAILED
        assert stage.status("loop").last_error == "RuntimeError('life 4')"
        assert loop.lives == 4
        assert [type(event) for event in stage.events[:5]] == [Crashed, Crashed, Crashed, Failed, Started]
        assert loop.diary == ["start loop", "stop loop"] * 4
        assert await box.ask("hello", timeout=1) == "hello"


async def test_in_one_for_one_nobody_waits_for_a_child_that_cannot_start() -> None:
    def broken(_: int) -> None:
        raise RuntimeError

    loop, fine = Script(start=broken), Script()
    async with staged(
        supervisor("root", Strategy.ONE_FOR_ONE, child("loop", loop.actor), child("fine", fine.actor))
    ) as stage:
        assert monotonic() == pytest.approx(0, abs=0.01)
        assert stage.status("loop").state is State.BACKING_OFF
        assert stage.status("fine").state is State.RUNNING


async def test_an_operator_restarts_a_failed_actor_and_its_mailbox_is_still_there() -> None:
    box = block(8)
    script = Script(start=lambda life: fail_now() if life <= 2 else None)
    tree = supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box, intensity=1))
    box.offer("told before the first start")
    async with staged(tree) as stage:
        await io_sleep(10)
        assert stage.status("a").state is State.FAILED
        await stage.supervisor.restart("a")
        await io_sleep(1)
        assert stage.status("a").state is State.RUNNING
        assert script.handled == ["told before the first start"]
        with pytest.raises(KeyError):
            await stage.supervisor.restart("b")


def fail_now() -> None:
    raise RuntimeError("not yet")


async def test_an_operator_restarts_a_running_actor_and_those_that_stand_on_it() -> None:
    script, box = Script(), block(8)
    tree = supervisor(
        "root",
        Strategy.REST_FOR_ONE,
        *(child(name, script.actor, mailbox=box if name == "b" else None) for name in "abc"),
    )
    async with staged(tree) as stage:
        script.diary.clear()
        await stage.supervisor.restart("b")
        assert await box.ask("hello", timeout=1) == "hello"
        await io_sleep(1)
        assert [line for line in script.diary if "start" in line] == ["start b", "start c"]
        assert stage.said(Crashed) == []


@pytest.mark.parametrize(
    ("restart", "error", "lives", "state"),
    [
        (Restart.PERMANENT, None, 2, State.RUNNING),
        (Restart.PERMANENT, ValueError(), 2, State.RUNNING),
        (Restart.TRANSIENT, None, 1, State.STOPPED),
        (Restart.TRANSIENT, ValueError(), 2, State.RUNNING),
        (Restart.TEMPORARY, None, 1, State.STOPPED),
        (Restart.TEMPORARY, ValueError(), 1, State.STOPPED),
    ],
)
async def test_what_the_end_of_an_actor_means(
    restart: Restart, error: Exception | None, lives: int, state: State
) -> None:
    lived = 0

    class Ending(Actor[None]):
        async def run(self) -> None:
            nonlocal lived
            lived += 1
            await io_sleep(1 if lived == 1 else 1000)
            if error is not None:
                raise error

    neighbour = Script()
    tree = supervisor(
        "root", Strategy.REST_FOR_ONE, child("a", Ending, restart=restart), child("neighbour", neighbour.actor)
    )
    async with staged(tree) as stage:
        await io_sleep(5)
        assert lived == lives
        assert stage.status("a").state is state
        assert neighbour.lives == lives
        assert [event.name for event in stage.said(Stopped)] == (["a"] if state is State.STOPPED else [])


async def test_the_end_of_a_never_child_is_the_end_of_the_tree() -> None:
    script, box = Script(), block(8)
    tree = supervisor(
        "root",
        Strategy.REST_FOR_ONE,
        child("store", script.actor, mailbox=box, restart=Restart.NEVER),
        child("gate", script.actor),
        child("scorer", script.actor),
    )
    with pytest.raises(Fatal, match="store has ended") as fatal:  # noqa: PT012 - the block is the life of the tree
        async with staged(tree):
            box.offer(OSError("disk on fire"))
            await io_sleep(100)
    assert repr(fatal.value.__cause__) == "OSError('disk on fire')"
    assert script.diary[-3:] == ["stop store", "stop scorer", "stop gate"]


async def test_any_actor_may_end_the_tree() -> None:
    script, box = Script(), block(8)
    tree = supervisor(
        "root", Strategy.ONE_FOR_ONE, supervisor("wing", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box))
    )
    with pytest.raises(Fatal, match="enough"):  # noqa: PT012 - as above
        async with staged(tree):
            box.offer(Fatal("enough"))
            await io_sleep(100)
    assert script.diary[-1] == "stop wing.a"


async def test_a_never_child_that_cannot_start_ends_the_tree_before_it_is_ready() -> None:
    script = Script(start=lambda _: fail_now())
    later = Script()
    tree = supervisor(
        "root", Strategy.REST_FOR_ONE, child("store", script.actor, restart=Restart.NEVER), child("gate", later.actor)
    )
    with pytest.raises(Fatal):
        async with staged(tree):
            raise AssertionError("must not become ready")
    assert later.lives == 0


async def test_escalation_restarts_the_branch_and_in_the_end_ends_the_tree() -> None:
    """One failure for good of `a` fails the wing; the wing may fail twice."""
    broken, sibling, outside = Script(start=lambda _: fail_now()), Script(), Script()
    wing = supervisor(
        "wing",
        Strategy.REST_FOR_ONE,
        child("sibling", sibling.actor),
        child("a", broken.actor, intensity=1),
        escalate=True,
        intensity=2,
    )
    with pytest.raises(Fatal, match="wing has failed for good"):
        async with staged(
            supervisor("root", Strategy.REST_FOR_ONE, child("outside", outside.actor), wing, escalate=True)
        ):
            raise AssertionError("must not become ready")
    assert broken.lives == 2 * 3
    assert sibling.lives == 3
    assert outside.diary == ["start outside", "ready outside", "stop outside"]


@pytest.mark.parametrize("restarted", ["wing", "wing.sibling"])
async def test_a_branch_that_failed_shows_in_its_actors_until_it_or_one_of_them_is_restarted(restarted: str) -> None:
    script = Script(start=lambda life: fail_now() if life <= 4 else None)
    sibling, box = Script(), block(8)
    wing = supervisor(
        "wing",
        Strategy.REST_FOR_ONE,
        child("sibling", sibling.actor, mailbox=box),
        child("a", script.actor, intensity=1),
        escalate=True,
        intensity=1,
    )
    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, wing)) as stage:
        await io_sleep(20)
        assert {status.name: status.state for status in stage.supervisor.status()} == {
            "wing.sibling": State.FAILED,
            "wing.a": State.FAILED,
        }
        assert not box.offer("nobody there")
        await stage.supervisor.restart(restarted)
        await io_sleep(20)
        assert {status.state for status in stage.supervisor.status()} == {State.RUNNING}
        assert await box.ask("hello", timeout=1) == "hello"


async def test_a_stuck_turn_is_cancelled_and_the_message_tried_again() -> None:
    script, box = Script(), block(8)
    tree = supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box, stuck_s=30.0))
    async with staged(tree) as stage:
        attempts = iter([1000.0, 1.0])
        box.offer(lambda: io_sleep(next(attempts)))
        box.offer("after")
        await io_sleep(40)
        assert script.handled == ["after"]
        assert script.lives == 2
        (stuck,) = stage.said(Stuck)
        assert 30 <= stuck.busy_s <= 32
        assert "more than 30 s" in str(stage.said(Crashed)[0].error)


async def test_a_stuck_start_is_restarted() -> None:
    script = Script(start=lambda life: 1000.0 if life == 1 else None)
    tree = supervisor(
        "root", Strategy.REST_FOR_ONE, child("a", script.actor, stuck_s=5.0), child("after", Script().actor)
    )
    async with staged(tree) as stage:
        assert script.lives == 2
        assert 5 <= monotonic() <= 8
        assert len(stage.said(Stuck)) == 1


async def test_a_long_backlog_of_short_turns_is_not_stuck() -> None:
    script, box = Script(), block(100)
    tree = supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box, stuck_s=5.0))
    async with staged(tree) as stage:
        for _ in range(60):
            box.offer(lambda: io_sleep(1))
        await io_sleep(70)
        assert stage.said(Stuck) == []
        status = stage.status("a")
        assert (status.finished, status.long_turns) == (60, 60)
        assert status.busy_s == pytest.approx(60, abs=0.1)


async def test_work_outside_the_mailbox_can_be_stuck_too() -> None:
    lives = 0

    class Ticker(Actor[None]):
        async def run(self) -> None:
            nonlocal lives
            lives += 1
            while True:
                await io_sleep(100)
                with self.turn():
                    await io_sleep(1000 if lives == 1 else 1)

    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("ticker", Ticker, stuck_s=10.0))) as stage:
        await io_sleep(500)
        assert lives == 2
        assert len(stage.said(Stuck)) == 1


async def test_an_actor_that_will_not_end_is_not_replaced_until_it_has() -> None:
    lives = 0
    box = block(8)

    class Stubborn(Actor[str]):
        async def receive(self, _: str) -> None:
            nonlocal lives
            lives += 1
            until = monotonic() + (1000 if lives == 1 else 0)
            while monotonic() < until:
                try:
                    await io_sleep(until - monotonic())
                except BaseException:  # noqa: BLE001 - that is what makes it stubborn
                    continue

    async with staged(
        supervisor("root", Strategy.ONE_FOR_ONE, child("a", Stubborn, mailbox=box, stuck_s=5.0))
    ) as stage:
        box.offer("go")
        await io_sleep(100)
        assert stage.status("a").state is State.FAILED
        assert lives == 1
        await stage.supervisor.restart("a")
        await io_sleep(100)
        assert stage.status("a").state is State.FAILED
        await io_sleep(1000)
        await stage.supervisor.restart("a")
        await io_sleep(1)
        assert stage.status("a").state is State.RUNNING


async def test_health_is_that_no_critical_actor_has_failed_or_is_stuck() -> None:
    box, other = block(8), block(8)
    script = Script()
    tree = supervisor(
        "root",
        Strategy.ONE_FOR_ONE,
        child("gate", script.actor, mailbox=box, critical=True, intensity=0, stuck_s=30.0),
        child("nice to have", script.actor, mailbox=other, intensity=0),
    )
    async with staged(tree) as stage:
        other.offer(ValueError())
        await io_sleep(1)
        assert stage.status("nice to have").state is State.FAILED
        assert stage.supervisor.healthy()
        crashes = iter([ValueError()])
        box.offer(lambda: fail_with(crashes))
        await io_sleep(1)
        assert not stage.supervisor.healthy()
        await stage.supervisor.restart("gate")
        await io_sleep(1)
        assert stage.supervisor.healthy()
