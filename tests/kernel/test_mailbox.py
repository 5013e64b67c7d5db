"""What each overflow policy promises, for any sequence of offers and takes."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kernel.clock import io_sleep, monotonic
from actors.kernel.mailbox import (
    ActorDown,
    Ask,
    Gap,
    Mailbox,
    MailboxFull,
    Overflow,
    block,
    conflate,
    drop_oldest,
    reject,
)
from tests.simulation.loop import run_virtual

# An int offers that key's next message, a tuple takes up to so many, None lets the reader crash with what it took.
moves = st.lists(st.one_of(st.integers(0, 4), st.tuples(st.integers(1, 5)), st.none()), max_size=60)
capacities = st.integers(1, 6)


async def play(mailbox: Mailbox[Any], moves: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """What was accepted, what was refused, and what a reader finished, Gaps included."""
    accepted: list[Any] = []
    refused: list[Any] = []
    taken: list[Any] = []
    finished: list[Any] = []
    for number, move in enumerate([*moves, None, *[(5,)] * 80]):
        if move is None:
            mailbox.give_back()
            taken = []
        elif isinstance(move, tuple):
            if mailbox.depth or mailbox._gap:
                finished += taken
                taken = list(await mailbox.take(*move))
                assert 1 <= len(taken) <= move[0]
        else:
            message = (move, number)
            (accepted if mailbox.offer(message) else refused).append(message)
            assert mailbox.depth <= mailbox.capacity + len(moves)
    mailbox.done(len(mailbox.in_flight))
    return accepted, refused, finished + taken


@given(moves, capacities, st.sampled_from([Overflow.BLOCK, Overflow.REJECT]))
def test_what_was_accepted_is_taken_once_and_in_order(moves: list[Any], capacity: int, overflow: Overflow) -> None:
    mailbox: Mailbox[Any] = Mailbox(capacity, overflow)
    accepted, refused, finished = run_virtual(lambda: play(mailbox, moves))
    assert finished == accepted
    assert mailbox.meter.accepted == len(accepted)
    assert mailbox.meter.dropped["full"] == len(refused)


@given(moves, capacities)
def test_drop_oldest_keeps_the_newest_and_marks_every_gap(moves: list[Any], capacity: int) -> None:
    mailbox: Mailbox[Any] = drop_oldest(capacity)
    accepted, refused, finished = run_virtual(lambda: play(mailbox, moves))
    messages = [item for item in finished if not isinstance(item, Gap)]
    assert refused == []
    assert [message for message in accepted if message in messages] == messages
    assert sum(item.dropped for item in finished if isinstance(item, Gap)) == len(accepted) - len(messages)
    assert mailbox.meter.dropped["oldest"] == len(accepted) - len(messages)
    assert accepted[-1:] == messages[-1:]
    assert mailbox.meter.finished == len(messages)


@given(moves, capacities)
def test_a_gap_stands_exactly_where_messages_are_missing(moves: list[Any], capacity: int) -> None:
    mailbox: Mailbox[Any] = drop_oldest(capacity)
    accepted, _, finished = run_virtual(lambda: play(mailbox, moves))
    position = 0
    for item in finished:
        if isinstance(item, Gap):
            position += item.dropped
        else:
            assert accepted[position] == item
            position += 1
    assert position == len(accepted)


@given(moves, capacities)
def test_conflation_keeps_the_newest_of_each_key(moves: list[Any], capacity: int) -> None:
    mailbox: Mailbox[Any] = conflate(capacity, key=lambda message: message[0])
    accepted, refused, finished = run_virtual(lambda: play(mailbox, moves))
    for key in {message[0] for message in accepted}:
        mine = [message for message in finished if message[0] == key]
        assert mine == sorted(mine)
        assert mine[-1] == [message for message in accepted if message[0] == key][-1]
    assert len(accepted) == len(finished) + mailbox.meter.dropped["conflated"]
    assert mailbox.meter.dropped["full"] == len(refused)


async def test_a_conflated_message_keeps_the_place_of_the_first() -> None:
    mailbox: Mailbox[Any] = conflate(2, key=lambda quote: quote[0])
    assert [mailbox.offer(quote) for quote in ["a1", "b1", "a2", "c1"]] == [True, True, True, False]
    assert await mailbox.take() == ["a2", "b1"]


async def test_without_a_key_the_newest_replaces_all() -> None:
    mailbox: Mailbox[Any] = conflate(1)
    assert all(mailbox.offer(seq) for seq in range(10))
    assert await mailbox.take() == [9]


@pytest.mark.parametrize("seed", range(20))
def test_blocked_senders_get_in_as_there_is_room_each_in_its_own_order(seed: int) -> None:
    async def story() -> None:
        mailbox: Mailbox[Any] = block(2)
        depths: list[int] = []
        taken: list[Any] = []

        async def send(sender: str) -> None:
            for number in range(10):
                await mailbox.put((sender, number))

        async def read() -> None:
            while len(taken) < 30:
                depths.append(mailbox.depth)
                taken.extend(await mailbox.take(3))
                await io_sleep(1)

        await asyncio.gather(send("a"), send("b"), send("c"), read())
        for sender in "abc":
            assert [number for name, number in taken if name == sender] == list(range(10))
        assert max(depths) <= mailbox.high_water <= 2

    run_virtual(story, seed)


async def test_a_put_that_does_not_wait_says_so() -> None:
    mailbox = reject(1)
    await mailbox.put(1)
    with pytest.raises(MailboxFull):
        await mailbox.put(2)


async def test_a_sender_that_gave_up_waiting_leaves_nothing_behind() -> None:
    mailbox = block(1)
    await mailbox.put("first")
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await mailbox.put("too late")
    assert mailbox._blocked == {}
    assert await mailbox.take() == ["first"]
    assert mailbox.depth == 0


async def test_offers_do_not_overtake_blocked_senders() -> None:
    mailbox = block(1)
    await mailbox.put(1)
    async with asyncio.TaskGroup() as group:
        group.create_task(mailbox.put(2))
        await io_sleep(1)
        assert await mailbox.take() == [1]
        assert not mailbox.offer(3)
        assert await mailbox.take() == [2]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(0, 1000))
def test_a_cancelled_take_has_taken_nothing(pauses: list[int], seed: int) -> None:
    async def story() -> None:
        mailbox = reject(100)
        taken: list[Any] = []

        async def read() -> None:
            while True:
                try:
                    async with asyncio.timeout(1):
                        taken.extend(await mailbox.take(2))
                except TimeoutError:
                    continue

        reader = asyncio.create_task(read())  # noqa: TID251 - the test is the supervisor
        for number, pause in enumerate(pauses):
            await io_sleep(pause)
            mailbox.offer(number)
        await io_sleep(5)
        reader.cancel()
        assert taken == list(range(len(pauses)))

    run_virtual(story, seed)


async def test_what_was_in_flight_comes_back_first_and_one_by_one() -> None:
    mailbox = reject(10)
    for number in range(5):
        mailbox.offer(number)
    assert await mailbox.take(3) == [0, 1, 2]
    mailbox.done()
    mailbox.give_back()
    assert [await mailbox.take(), await mailbox.take(), await mailbox.take()] == [[1], [2], [3, 4]]


async def test_a_backlog_does_not_keep_others_from_running() -> None:
    mailbox = reject(10_000)
    for number in range(10_000):
        mailbox.offer(number)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while mailbox.depth:
            turns += 1
            await io_sleep(0)

    async def read(limit: int) -> None:
        while mailbox.depth:
            await mailbox.take(limit)

    await asyncio.gather(other(), read(1))
    assert turns >= 10_000 // 64 - 1


@pytest.mark.parametrize(("gather", "expected"), [(0, [0]), (3, [0, 1, 2]), (64, [0, 1, 2, 3, 4])])
def test_what_comes_turn_by_turn_is_gathered_until_it_is_enough_or_a_turn_brings_none(
    gather: int, expected: list[int]
) -> None:
    """In the order of a real loop, in which every turn is everyone's once."""
    mailbox = reject(64)

    async def send() -> None:
        for number in range(5):
            mailbox.offer(number)
            await io_sleep(0)

    async def story() -> None:
        taken, _ = await asyncio.gather(mailbox.take(gather=gather), send())
        assert taken == expected

    asyncio.run(story())


async def test_a_closed_mailbox_refuses_everyone_and_those_who_waited() -> None:
    mailbox = block(1)
    mailbox.offer(1)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(expect_down(mailbox.put(2))), group.create_task(expect_down(mailbox.ask(3, 10)))]
        await io_sleep(1)
        mailbox.close("the actor has failed")
    assert [task.result() for task in waiting] == ["the actor has failed"] * 2
    assert not mailbox.offer(4)
    assert await expect_down(mailbox.ask(5, 10)) == "the actor has failed"
    assert mailbox.meter.dropped["closed"] == 2
    assert mailbox.depth == 1


async def expect_down(sending: Any) -> str:
    with pytest.raises(ActorDown) as caught:
        await sending
    return str(caught.value)


async def test_an_expired_ask_is_discarded_when_taken() -> None:
    mailbox = reject(10)
    with pytest.raises(TimeoutError):
        await mailbox.ask("late", timeout=1)
    mailbox.offer("fresh")
    assert await mailbox.take() == ["fresh"]
    assert mailbox.meter.dropped["expired"] == 1


async def test_a_thousand_expired_asks_are_passed_over_at_once() -> None:
    mailbox = reject(2000)
    asked = [mailbox.ask(number, timeout=1) for number in range(1500)]
    assert {type(error) for error in await asyncio.gather(*asked, return_exceptions=True)} == {TimeoutError}
    mailbox.offer("fresh")
    assert await mailbox.take(1) == ["fresh"]


async def test_an_ask_waits_for_room_no_longer_than_its_deadline() -> None:
    mailbox = block(1)
    mailbox.offer("in the way")
    with pytest.raises(TimeoutError):
        await mailbox.ask("no room", timeout=3)
    assert monotonic() == pytest.approx(3)
    await mailbox.take()
    assert mailbox.depth == 0


async def test_asks_are_refused_dropped_or_kept_as_the_policy_says() -> None:
    full = reject(1)
    full.offer("in the way")
    with pytest.raises(MailboxFull):
        await full.ask("no room", timeout=3)
    pushing: Mailbox[Any] = drop_oldest(1)

    async def ask_and_be_dropped() -> None:
        with pytest.raises(MailboxFull, match="newer"):
            await pushing.ask("old", timeout=3)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask_and_be_dropped())
        await io_sleep(1)
        pushing.offer("new")
    newest: Mailbox[Any] = conflate(3)
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(newest.ask(number, timeout=3)) for number in range(3)]
        await io_sleep(1)
        for ask in await newest.take():
            assert isinstance(ask, Ask)
            ask.answer(ask.request)
    assert sorted(answer.result() for answer in answers) == [0, 1, 2]


def test_a_mailbox_is_always_bounded() -> None:
    with pytest.raises(ValueError, match="at least one"):
        block(0)
