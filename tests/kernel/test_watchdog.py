"""An actor that spins blocks all others, the supervisor included; a thread sees it. The loop and the spin are real."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.kernel.actor import Actor
from actors.kernel.clock import WallClock, chance, io_sleep
from actors.kernel.mailbox import block
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Quarantined, State, Strategy, child, supervisor
from actors.kernel.watchdog import Quarantine, Watchdog
from tests.kernel.stage import Script, staged, supervised
from tests.patience import PATIENCE_S


class Spinner(Actor[threading.Event]):
    """Blocks the loop until the event is set, as a loop without end would."""

    async def receive(self, message: threading.Event) -> None:
        message.wait(PATIENCE_S)


@contextmanager
def real_loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        yield runner


def test_a_spinning_actor_is_named_while_it_spins_and_released_when_it_recovers(tmp_path: Path) -> None:
    quarantine, box, spin = Quarantine(tmp_path / "quarantine"), block(8), threading.Event()
    seen: list[list[str]] = []
    places: list[str] = []

    def look() -> None:
        while not (names := quarantine.names()):
            spin.wait(0.005)
        seen.append(names)
        places.append(quarantine.place("spinner"))
        spin.set()

    async def story() -> None:
        running = Supervisor(
            supervisor(
                "root", Strategy.ONE_FOR_ONE, child("spinner", Spinner, mailbox=box), child("calm", Script().actor)
            ),
            clock=WallClock(),
            rng=chance(0),
            quarantine=quarantine,
        )
        async with supervised(running):
            with Watchdog(quarantine, {"spinner", "calm"}, blocked_s=0.05):
                onlooker = threading.Thread(target=look)
                onlooker.start()
                await box.ask(spin, timeout=PATIENCE_S)
                onlooker.join()
                while quarantine.names():
                    await io_sleep(0.005)

    with real_loop() as runner:
        runner.run(story())
    assert seen == [["spinner"]]
    assert f"{__file__}:{Spinner.receive.__code__.co_firstlineno + 1}" in places[0]


def test_a_loop_that_does_not_come_back_is_given_up_with_its_actor_in_quarantine(tmp_path: Path) -> None:
    quarantine, box, spin = Quarantine(tmp_path / "quarantine"), block(8), threading.Event()
    at_the_end: list[list[str]] = []

    def give_up() -> None:
        at_the_end.append(quarantine.names())
        spin.set()

    async def story() -> None:
        running = Supervisor(
            supervisor("root", Strategy.ONE_FOR_ONE, child("spinner", Spinner, mailbox=box)),
            clock=WallClock(),
            rng=chance(0),
            quarantine=quarantine,
        )
        async with supervised(running):
            with Watchdog(quarantine, {"spinner"}, blocked_s=0.02, give_up=give_up):
                await box.ask(spin, timeout=PATIENCE_S)

    with real_loop() as runner:
        runner.run(story())
    assert at_the_end == [["spinner"]]


def test_a_loop_blocked_by_nobody_we_know_accuses_nobody(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "quarantine")

    async def story() -> None:
        with Watchdog(quarantine, {"spinner"}, blocked_s=0.02):
            threading.Event().wait(0.1)
            assert quarantine.names() == []

    with real_loop() as runner:
        runner.run(story())


async def test_who_is_in_quarantine_is_not_started_until_the_operator_says_so(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "quarantine")
    quarantine.add("b")
    quarantine.add("gone since the last version")
    script, box = Script(), block(8)
    tree = supervisor(
        "root",
        Strategy.REST_FOR_ONE,
        child("a", script.actor),
        child("b", script.actor, mailbox=box),
        child("c", script.actor),
    )
    async with staged(tree, quarantine=quarantine) as stage:
        assert [line for line in script.diary if "ready" in line] == ["ready a", "ready c"]
        assert stage.status("b").state is State.QUARANTINED
        assert stage.said(Quarantined) == [Quarantined("b")]
        assert not box.offer("nobody there")
        await stage.supervisor.restart("a")
        await io_sleep(1)
        assert stage.status("b").state is State.QUARANTINED
        await stage.supervisor.restart("b")
        assert await box.ask("hello", timeout=1) == "hello"
        assert "b" not in quarantine.names()


def test_quarantine_outlives_the_process_and_names_each_actor_once(tmp_path: Path) -> None:
    file = tmp_path / "quarantine"
    for _ in range(2):
        Quarantine(file).add("trading.strategy:breakout_20d")
    Quarantine(file).add("billing.scorer")
    assert Quarantine(file).names() == ["trading.strategy:breakout_20d", "billing.scorer"]
    Quarantine(file).release("billing.scorer")
    Quarantine(file).release("never was there")
    assert Quarantine(file).names() == ["trading.strategy:breakout_20d"]


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_means_nobody(tmp_path: Path, text: str) -> None:
    file = tmp_path / "quarantine"
    file.write_text(text)
    assert Quarantine(file).names() == []
