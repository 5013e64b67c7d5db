"""Random trees under random trouble: an accepted message is handled once, or a dead letter, or counted as dropped."""

from collections import Counter
from typing import Any

import anyio
import pytest

from actors.kernel.actor import Actor
from actors.kernel.clock import Random, ScaledClock, chance, io_sleep
from actors.kernel.mailbox import ActorDown, Gap, Mailbox, MailboxFull, Overflow
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Branch, DeadLetter, Strategy, child, supervisor
from tests.simulation.loop import run_virtual, seeds

MESSAGES = 60


class World:
    """A tree of one to six actors, grouped at random, each with a mailbox of some policy, and what happened in it."""

    def __init__(self, seed: int) -> None:
        self.rng: Random = chance(seed)
        self.calm = False
        self.handled: Counter[Any] = Counter()
        self.order: dict[str, list[int]] = {}
        self.letters: Counter[Any] = Counter()
        self.boxes: dict[str, Mailbox[Any]] = {}
        wings = [self._wing(f"wing{number}") for number in range(self.rng.randint(1, 3))]
        self.tree = supervisor("root", self._strategy(), *wings)

    def _wing(self, name: str) -> Branch:
        names = [f"actor{number}" for number in range(self.rng.randint(1, 2))]
        for path in (f"{name}.{actor}" for actor in names):
            overflow = self.rng.choice(list(Overflow))
            key = (lambda message: message[1] % 3) if overflow is Overflow.CONFLATE else None
            self.boxes[path] = Mailbox(self.rng.randint(2, 12), overflow, key=key)
            self.order[path] = []
        children = [
            child(actor, lambda: Troubled(self), mailbox=self.boxes[f"{name}.{actor}"], stuck_s=3.0, intensity=10_000)
            for actor in names
        ]
        return supervisor(name, self._strategy(), *children)

    def _strategy(self) -> Strategy:
        return self.rng.choice(list(Strategy))

    async def bury(self, letter: DeadLetter) -> None:
        await io_sleep(self.rng.random())
        self.letters[letter.message] += 1

    async def live(self) -> None:
        running = Supervisor(self.tree, clock=ScaledClock(0), rng=self.rng, dead_letter=self.bury)
        async with anyio.create_task_group() as group:
            group.start_soon(running.run)
            async with anyio.create_task_group() as senders:
                for path in self.boxes:
                    senders.start_soon(self._send, path)
                senders.start_soon(self._meddle, running)
            self.calm = True
            await io_sleep(300)
            running.stop()

    async def _send(self, path: str) -> None:
        for number in range(MESSAGES):
            message, box = (path, number), self.boxes[path]
            way = self.rng.choice(["offer", "put", "ask"])
            try:
                if way == "offer":
                    box.offer(message)
                elif way == "put":
                    await box.put(message)
                else:
                    await box.ask(message, timeout=self.rng.choice([0.5, 20.0]))
            except (MailboxFull, ActorDown, TimeoutError, ZeroDivisionError):
                pass
            await io_sleep(self.rng.choice([0, 0, 0.2, 2.0]))

    async def _meddle(self, running: Supervisor) -> None:
        for _ in range(5):
            await io_sleep(self.rng.uniform(0, 20))
            await running.restart(self.rng.choice([*self.boxes, *(path.split(".")[0] for path in self.boxes)]))


class Troubled(Actor[Any]):
    """Fails to start, crashes before its work is done or gets stuck, as chance has it; some messages always kill."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def start(self) -> None:
        await io_sleep(self._world.rng.random() / 10)
        self._fail(0.1)

    async def receive(self, message: Any) -> None:
        if isinstance(message, Gap):
            return
        rng = self._world.rng
        if message[1] % 29 == 7:
            raise ZeroDivisionError(message)
        await io_sleep(rng.choice([0, 0, 0.01, 0.3] if self._world.calm or rng.random() < 0.97 else [60]))
        self._fail(0.05)
        self._world.handled[message] += 1
        self._world.order[self.name].append(message[1])

    async def stop(self) -> None:
        await io_sleep(self._world.rng.random() / 10)

    def _fail(self, likelihood: float) -> None:
        if not self._world.calm and self._world.rng.random() < likelihood:
            raise ZeroDivisionError("bad luck")


@pytest.mark.parametrize("seed", seeds(200))
def test_no_message_is_lost_or_handled_twice(seed: int) -> None:
    world = World(seed)
    run_virtual(world.live, seed)
    assert all(times == 1 for times in world.handled.values())
    assert all(times == 1 for times in world.letters.values())
    assert not world.handled.keys() & world.letters.keys()
    for path, box in world.boxes.items():
        meter = box.meter
        assert box.depth == 0, "the calm was too short"
        lost = sum(meter.dropped[reason] for reason in ("oldest", "conflated", "expired", "dead_letter"))
        assert meter.accepted == meter.finished + lost
        assert sum(message[0] == path for message in world.letters) == meter.dropped["dead_letter"]
        # An ask that failed is finished but not handled.
        assert sum(message[0] == path for message in world.handled) <= meter.finished
        if box.overflow is not Overflow.CONFLATE:
            assert world.order[path] == sorted(world.order[path])


def test_the_worlds_are_not_harmless() -> None:
    """Over the seeds, everything that is to be survived does happen, and most messages are handled nevertheless."""
    reasons: Counter[str] = Counter()
    handled = 0
    for seed in range(20):
        world = World(seed)
        run_virtual(world.live, seed)
        handled += world.handled.total()
        for box in world.boxes.values():
            reasons += box.meter.dropped
    assert reasons.keys() >= {"full", "oldest", "conflated", "expired", "dead_letter"}
    assert handled > reasons.total()
