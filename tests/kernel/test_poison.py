"""A message that kills its actor is tried three times, then put aside; its neighbours notice nothing but a delay."""

from typing import Any

import pytest

from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, io_sleep
from actors.kernel.mailbox import Ask, block, drop_oldest
from actors.kernel.tree import Branch, Crashed, DeadLetter, Failed, State, Strategy, child, supervisor
from tests.kernel.stage import Script, staged


def alone(script: Script, box: Any, **options: Any) -> Branch:
    return supervisor("root", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box, **options))


async def test_the_third_crash_makes_a_dead_letter_and_order_is_kept() -> None:
    script, box = Script(), block(100)
    async with staged(alone(script, box)) as stage:
        for message in [1, 2, ValueError("poison"), 3, 4]:
            box.offer(message)
        await io_sleep(10)
        assert script.handled == [1, 2, 3, 4]
        assert script.lives == 4
        (letter,) = stage.letters
        assert (letter.actor, repr(letter.message), letter.error) == (
            "a",
            "ValueError('poison')",
            "ValueError('poison')",
        )
        assert "stage.py" in letter.traceback
        assert 0 < letter.at < 10 * SECOND
        status = stage.status("a")
        assert (status.received, status.finished, status.dropped) == (5, 4, {"dead_letter": 1})


async def test_two_crashes_are_no_poison() -> None:
    script, box = Script(), block(100)
    failures = iter([ValueError(), ValueError()])

    async def twice() -> None:
        for error in failures:
            raise error
        script.handled.append("third time")

    async with staged(alone(script, box)) as stage:
        box.offer(twice)
        await io_sleep(10)
        assert script.handled == ["third time"]
        assert stage.letters == []


async def test_a_dead_letter_counts_as_one_crash() -> None:
    """Four poisonous messages are twelve crashes, but not a crash loop: each time the cause was removed."""
    script, box = Script(), block(100)
    async with staged(alone(script, box, intensity=5, period_s=600.0)) as stage:
        for number in range(4):
            box.offer(ValueError(number))
            box.offer(number)
        await io_sleep(300)
        assert script.handled == [0, 1, 2, 3]
        assert [letter.error for letter in stage.letters] == [f"ValueError({number})" for number in range(4)]
        assert stage.status("a").state is State.RUNNING


async def test_the_same_object_sent_again_is_another_message() -> None:
    """It failed twice and was then handled; when sent again its count begins anew."""
    script, box = Script(), block(100)
    failures = iter([1, 1, 0, 1, 1, 0])

    async def wobbly() -> None:
        if next(failures):
            raise ValueError
        script.handled.append("handled")

    async with staged(alone(script, box, period_s=1.0)) as stage:
        box.offer(wobbly)
        await io_sleep(10)
        box.offer(wobbly)
        await io_sleep(10)
        assert script.handled == ["handled", "handled"]
        assert stage.letters == []


class Batches(Actor[Any]):
    """Handles batch by batch, as the store does: a bad message spoils the whole batch."""

    handled: list[Any]

    async def run(self) -> None:
        while True:
            batch = await self.mailbox.take()
            for message in batch:
                if isinstance(message, Exception):
                    raise message
            self.handled.extend(batch)


async def test_in_a_batch_the_culprit_is_found_by_taking_one_by_one() -> None:
    box, handled = block(100), []  # type: ignore[var-annotated]  # whatever was offered

    def batches() -> Batches:
        actor = Batches()
        actor.handled = handled
        return actor

    async with staged(supervisor("root", Strategy.ONE_FOR_ONE, child("a", batches, mailbox=box))) as stage:
        for message in [1, 2, ValueError("poison"), 3]:
            box.offer(message)
        await io_sleep(20)
        assert handled == [1, 2, 3]
        assert [letter.error for letter in stage.letters] == ["ValueError('poison')"]
        assert stage.status("a").state is State.RUNNING


@pytest.mark.parametrize("trouble", ["raises", "hangs"])
async def test_a_dead_letter_nobody_takes_over_is_not_lost(trouble: str) -> None:
    script, box = Script(), block(100)
    healed = False
    letters: list[DeadLetter] = []

    async def dead_letter(letter: DeadLetter) -> None:
        if healed:
            letters.append(letter)
        elif trouble == "raises":
            raise OSError("no room for letters")
        else:
            await io_sleep(1000)

    async with staged(alone(script, box, intensity=3), dead_letter=dead_letter) as stage:
        box.offer(ValueError("poison"))
        box.offer("after")
        await io_sleep(60)
        assert stage.status("a").state is State.FAILED
        assert isinstance(stage.said(Failed)[0].error, OSError | TimeoutError)
        assert box.depth == 2
        healed = True
        await stage.supervisor.restart("a")
        await io_sleep(60)
        assert script.handled == ["after"]
        assert len(letters) == 1


async def test_a_message_is_not_lost_when_its_branch_is_restarted_while_its_letter_is_handed_over() -> None:
    script, box = Script(), block(100)

    async def slowly(_: DeadLetter) -> None:
        await io_sleep(4)

    wing = supervisor("wing", Strategy.ONE_FOR_ONE, child("a", script.actor, mailbox=box))
    tree = supervisor("root", Strategy.ONE_FOR_ONE, wing)
    async with staged(tree, dead_letter=slowly) as stage:
        box.offer(ValueError("poison"))
        box.offer("behind it")
        while script.lives < 3:
            await io_sleep(0.1)
        await io_sleep(0.5)
        await stage.supervisor.restart("wing")
        await io_sleep(60)
        assert script.handled == ["behind it"]
        status = stage.status("wing.a")
        assert (status.finished, status.dropped) == (1, {"dead_letter": 1})


async def test_an_ask_that_gets_its_actor_stuck_three_times_fails() -> None:
    script, box = Script(), block(100)
    async with staged(alone(script, box, stuck_s=5.0)) as stage:
        with pytest.raises(Exception, match="more than 5 s"):
            await box.ask(lambda: io_sleep(1000), timeout=500)
        assert len(stage.letters) == 1
        assert not isinstance(stage.letters[0].message, Ask)
        assert len(stage.said(Crashed)) == 3


async def test_a_culprit_pushed_out_by_newer_messages_is_gone_with_them() -> None:
    script, box = Script(), drop_oldest(2)
    async with staged(alone(script, box)) as stage:
        box.offer(ValueError("old"))
        await io_sleep(0.01)
        for number in range(5):
            box.offer(number)
        await io_sleep(5)
        assert [item for item in script.handled if isinstance(item, int)] == [3, 4]
        assert stage.letters == []
