"""A stage for supervision tests: a tree that runs while the test plays with it, and actors that do as they are told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from actors.kernel.actor import Actor
from actors.kernel.clock import ScaledClock, chance, io_sleep
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import ActorStatus, Branch, DeadLetter, SupervisionEvent
from actors.kernel.watchdog import Quarantine


@dataclass
class Script:
    """What an actor is to do, and what it did, over all its lives."""

    diary: list[str] = field(default_factory=list)
    handled: list[Any] = field(default_factory=list)
    start: Callable[[int], object] = lambda life: None  # noqa: ARG005 - may raise, or return seconds to take
    lives: int = 0

    def actor(self) -> "Scripted":
        return Scripted(self)


class Scripted(Actor[Any]):
    """Handles what it is sent: an exception is raised, a callable called (and awaited), anything else noted."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def start(self) -> None:
        self._script.lives += 1
        self._script.diary.append(f"start {self.name}")
        seconds = self._script.start(self._script.lives)
        if isinstance(seconds, float):
            await io_sleep(seconds)
        self._script.diary.append(f"ready {self.name}")

    async def receive(self, message: Any) -> Any:
        if isinstance(message, Exception):
            raise message
        if callable(message):
            return await message()
        self._script.handled.append(message)
        return message

    async def stop(self) -> None:
        self._script.diary.append(f"stop {self.name}")


@dataclass
class Stage:
    supervisor: Supervisor
    events: list[SupervisionEvent] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)

    def said(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    def status(self, name: str) -> ActorStatus:
        return next(status for status in self.supervisor.status() if status.name == name)


@asynccontextmanager
async def supervised(supervisor: Supervisor) -> AsyncIterator[None]:
    """Its tree is ready until the block ends; then it is stopped."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await supervisor.ready.wait()
        yield
        supervisor.stop()


@asynccontextmanager
async def staged(
    tree: Branch,
    *,
    seed: int = 0,
    dead_letter: Callable[[DeadLetter], Awaitable[None] | None] | None = None,
    quarantine: Quarantine | None = None,
) -> AsyncIterator[Stage]:
    """The tree, ready, until the block ends; then it is stopped. Raises what `Supervisor.run` raises."""
    events: list[SupervisionEvent] = []
    letters: list[DeadLetter] = []
    clock = ScaledClock(0)
    assert clock.now() == 0
    supervisor = Supervisor(
        tree,
        clock=clock,
        rng=chance(seed),
        observe=events.append,
        dead_letter=dead_letter or letters.append,
        quarantine=quarantine,
    )
    failure: list[BaseException] = []

    async def run() -> None:
        try:
            await supervisor.run()
        except Exception as error:  # noqa: BLE001 - raised again below, outside the task group
            failure.append(error)
            supervisor.ready.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await supervisor.ready.wait()
        if not failure:
            try:
                yield Stage(supervisor, events, letters)
            finally:
                supervisor.stop()
    if failure:
        raise failure[0]
