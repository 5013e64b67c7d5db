"""A process that dies anywhere: what survives is what survives a kill, and nothing of it is tidied up."""

import asyncio
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from actors.store.driver import InlineDriver
from actors.store.store import SqliteStore
from tests.simulation.loop import VirtualLoop

T_co = TypeVar("T_co", covariant=True)

_graveyard: list[Any] = []
"""Loops and tasks of ended lives. A killed process runs no `finally`, so nothing here may ever be collected."""


class Killed(BaseException):
    """The process is dead."""


class MortalLoop(VirtualLoop):
    """Ends after so many steps, wherever everyone is by then."""

    def __init__(self, seed: int, steps: int | None) -> None:
        super().__init__(seed)
        self._steps = steps

    def _run_once(self) -> None:
        if self._steps is not None:
            self._steps -= 1
            if self._steps < 0:
                raise Killed
        super()._run_once()


class Mortal(Protocol[T_co]):
    """One process, from start to kill or end."""

    async def run(self) -> T_co:
        """Live."""

    def drop(self) -> None:
        """What the system does with the files of a killed process."""


def live(loop: MortalLoop, life: Mortal[T_co]) -> T_co:
    """What that life comes to. Raises Killed, with its files dropped, where it ended before."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(life.run())
    except Killed:
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        _graveyard.append((loop, asyncio.all_tasks(loop), life))
        life.drop()
        raise
    finally:
        asyncio.set_event_loop(None)
        if not _graveyard or _graveyard[-1][0] is not loop:
            loop.close()


def drop_files(store: SqliteStore, driver: InlineDriver) -> None:
    """As the system does when a process is killed: locks fall, transactions under way are gone."""
    for connection in (driver._reader, driver._writer):
        if connection is not None:
            connection.close()
    if store._lock is not None:
        with suppress(OSError):  # it was on its way out, and has let go of it already
            store._lock.release()
