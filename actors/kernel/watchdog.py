"""What a blocked loop cannot see itself: which actor blocks it."""

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Self

HOPELESS = 5
"""So many times `blocked_s` without a sign of life, and the loop does not come back."""
FRAMES = 6
"""Innermost places that are told of an actor that blocks the loop."""


class Quarantine:
    """The actors not to be started, each with the place where it hung: a line of a file, for the process is killed."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self) -> list[str]:
        """Who is in quarantine."""
        return [*self._read()]

    def place(self, name: str) -> str:
        """Where it hung, file:line from the inside out; empty where that is not known."""
        return self._read().get(name, "")

    def add(self, name: str, place: str = "") -> None:
        """From the next start on, do not start it."""
        self._write(self._read() | {name: place})

    def release(self, name: str) -> None:
        """It may be started again."""
        places = self._read()
        if places.pop(name, None) is not None:
            self._write(places)

    def _read(self) -> dict[str, str]:
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return {name: place for name, _, place in (line.partition("\t") for line in lines) if name}

    def _write(self, places: dict[str, str]) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text("".join(f"{name}\t{place}\n" for name, place in places.items()))
        draft.replace(self._file)


class Watchdog:
    """A thread that asks the running loop for a sign of life.

    Without one for `blocked_s`, the actor whose task is running goes into quarantine for the next life of the process.
    A loop that comes back after all releases it. One that does not is the end of this life: `give_up` is called in the
    thread; None: systemd's watchdog sees to that.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        actors: Collection[str],
        *,
        blocked_s: float = 5.0,
        give_up: Callable[[], object] | None = None,
    ) -> None:
        self._quarantine = quarantine
        self._actors = actors
        self._blocked_s = blocked_s
        self._give_up = give_up
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._looping = threading.get_ident()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._blocked_s / 2):
            alive = threading.Event()
            self._loop.call_soon_threadsafe(alive.set)
            if not alive.wait(self._blocked_s):
                # The tasks of actors carry their names; a task started by an actor itself cannot be traced to it here.
                task = asyncio.current_task(self._loop)
                if task is not None and task.get_name() in self._actors:
                    self._quarantine.add(task.get_name(), self._place())
                    self._wait_or_give_up(alive)
                    self._quarantine.release(task.get_name())

    def _wait_or_give_up(self, alive: threading.Event) -> None:
        if self._give_up is not None and not alive.wait(HOPELESS * self._blocked_s):
            self._give_up()
        alive.wait()

    def _place(self) -> str:
        """Where the loop's thread is at this moment, from the inside out."""
        frame = sys._current_frames().get(self._looping)  # noqa: SLF001 - the only way to see another thread's stack
        stack = traceback.extract_stack(frame, None)[::-1] if frame is not None else []
        return ", ".join(f"{one.filename}:{one.lineno}" for one in stack[:FRAMES])
