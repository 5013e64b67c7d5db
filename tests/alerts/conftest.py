"""A scene between an outbox and a channel, in virtual time over the real store."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.alerts.rig import House, house
from tests.simulation.loop import run_virtual

Scene = Callable[[House], Awaitable[None]]
Play = Callable[[Scene], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a scene in virtual time."""

    def run(scene: Scene) -> None:
        async def main() -> None:
            async with house(tmp_path) as place:
                place.clock.now()
                await scene(place)

        run_virtual(main)

    return run
