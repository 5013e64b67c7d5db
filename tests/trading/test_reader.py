"""The base of all who trade: nothing is missed, nothing decided twice, whatever the mailbox and the store do."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import orjson

from actors.kernel.clock import ScaledClock
from actors.kernel.mailbox import Mailbox
from actors.store.desk_records import DeskEntry, NewDeskEntry, Parts
from actors.store.driver import InlineDriver
from actors.store.store import SqliteStore
from actors.trading.reader import WAITING_MAX, DeskReader, desk_mailbox
from tests.simulation.loop import nothing_left_to_do, run_virtual
from tests.store.running import running

QUESTION, ANSWER = 50, 51


class Answering(DeskReader):
    """To every question in the log one answer with its number, under a key where `keyed`."""

    def __init__(self, store: SqliteStore, *, keyed: bool = False) -> None:
        super().__init__("answering", store, ScaledClock(0))
        self.asked: list[int] = []
        self.answered: list[int] = []
        self.heard: list[object] = []
        self._keyed = keyed

    def restore(self, parts: Parts) -> bool:
        self.asked, self.answered = [], []
        if "all" in parts:
            version, state = parts["all"]
            if version != 1:
                return False
            self.asked, self.answered = orjson.loads(state)
        return True

    def save(self) -> Parts:
        return {"all": (1, orjson.dumps([self.asked, self.answered]))}

    def fold(self, entry: DeskEntry) -> None:
        assert isinstance(entry.data, dict)
        (self.asked if entry.kind == QUESTION else self.answered).append(entry.data["number"])

    def decide(self) -> Sequence[NewDeskEntry]:
        return [answer(number, keyed=self._keyed) for number in self.asked if number not in self.answered]

    async def hear(self, message: object) -> object:
        self.heard.append(message)
        return "heard"


def question(number: int) -> NewDeskEntry:
    return NewDeskEntry(QUESTION, number, {"number": number})


def answer(number: int, *, keyed: bool = False) -> NewDeskEntry:
    return NewDeskEntry(ANSWER, number, {"number": number}, f"answer {number}" if keyed else "")


@asynccontextmanager
async def at_work(reader: Answering, mailbox: "Mailbox[object] | None" = None) -> AsyncIterator[Answering]:
    reader.name, reader.mailbox = "answering", mailbox or desk_mailbox()
    await reader.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.run)
        await nothing_left_to_do()
        yield reader
        await nothing_left_to_do()
        tasks.cancel_scope.cancel()
    await reader.stop()


async def answers_in(store: SqliteStore) -> list[int]:
    entries = await store.desk.read(0, 100_000, (ANSWER,))
    return [int(entry.data["number"]) for entry in entries if isinstance(entry.data, dict)]


def alone(story: Callable[[Path], object], folder: Path) -> None:
    run_virtual(lambda: story(folder))  # type: ignore[arg-type, return-value]  # a coroutine function


async def _a_burst(folder: Path) -> None:
    async with running(folder, driver=InlineDriver()) as store, at_work(Answering(store)) as reader:
        for number in range(2 * WAITING_MAX):
            await store.desk.append([question(number)])
            reader.mailbox.offer(object())
        await nothing_left_to_do()
        assert await answers_in(store) == [*range(2 * WAITING_MAX)]


def test_every_question_is_answered_once_in_order(tmp_path: Path) -> None:
    alone(_a_burst, tmp_path)


async def _behind(folder: Path) -> None:
    async with running(folder, driver=InlineDriver()) as store:
        reader = Answering(store)
        reader.name, reader.mailbox = "answering", desk_mailbox()
        await reader.start()
        for number in range(WAITING_MAX + 50):  # nobody takes: the last ones find no room
            await store.desk.append([question(number)])
        assert reader.mailbox.meter.dropped["full"] == 50
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.run)
            await nothing_left_to_do()
            tasks.cancel_scope.cancel()
        assert await answers_in(store) == [*range(WAITING_MAX + 50)]


def test_who_is_too_far_behind_for_the_mailbox_reads_the_log(tmp_path: Path) -> None:
    alone(_behind, tmp_path)


async def _lives(folder: Path) -> None:
    async with running(folder, driver=InlineDriver()) as store:
        for life in range(5):
            await store.desk.append([question(2 * life)])  # while nobody is there
            async with at_work(Answering(store)):
                await store.desk.append([question(2 * life + 1)])
        assert await answers_in(store) == [*range(10)]
        assert (await store.desk.load("answering")).cursor == await store.desk.last_seq()


def test_what_was_said_between_two_lives_is_answered_in_the_next(tmp_path: Path) -> None:
    alone(_lives, tmp_path)


async def _said_before(folder: Path) -> None:
    async with running(folder, driver=InlineDriver()) as store:
        await store.desk.append([question(1)])
        reader = Answering(store, keyed=True)
        reader.name, reader.mailbox = "answering", desk_mailbox()
        await reader.start()
        store.desk.unfollow(reader.mailbox)
        await store.desk.append([answer(1, keyed=True)])  # by somebody else, and we did not hear it
        store.desk.follow(reader.mailbox)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.run)
            await nothing_left_to_do()
            await store.desk.append([question(2)])
            await nothing_left_to_do()
            tasks.cancel_scope.cancel()
        assert await answers_in(store) == [1, 2]


def test_what_somebody_said_already_is_read_and_not_said_again(tmp_path: Path) -> None:
    alone(_said_before, tmp_path)


async def _disk_trouble(folder: Path) -> None:
    failing = False

    def faults(when: str) -> None:
        if failing and when == "before":
            raise sqlite3.OperationalError("database is locked")

    async with running(folder, driver=InlineDriver(faults)) as store, at_work(Answering(store)) as reader:
        await store.desk.append([question(1)])
        failing = True
        reader.mailbox.offer(object())
        await anyio.sleep(10)  # noqa: TID251 - virtual seconds
        assert await answers_in(store) == []
        failing = False
        await anyio.sleep(10)  # noqa: TID251 - virtual seconds
        assert await answers_in(store) == [1]


def test_what_the_disk_refused_is_said_once_it_takes_it(tmp_path: Path) -> None:
    alone(_disk_trouble, tmp_path)


async def _unreadable(folder: Path) -> None:
    async with running(folder, driver=InlineDriver()) as store:
        async with at_work(Answering(store)):
            await store.desk.append([question(1)])
        last = await store.desk.last_seq()
        await store.desk.append([], cursor=("answering", last), parts={"all": (2, b"of a later version")})
        async with at_work(Answering(store)) as reader:
            assert (reader.asked, reader.answered) == ([1], [1])


def test_a_state_of_another_version_is_folded_anew_from_the_beginning(tmp_path: Path) -> None:
    alone(_unreadable, tmp_path)


async def _asked(folder: Path) -> None:
    async with running(folder, driver=InlineDriver()) as store, at_work(Answering(store)) as reader:
        assert await reader.mailbox.ask("how are you", timeout=1) == "heard"
        assert reader.heard == ["how are you"]


def test_an_ask_is_answered(tmp_path: Path) -> None:
    alone(_asked, tmp_path)
