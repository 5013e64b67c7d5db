"""What a blocked loop cannot see itself: which actor blocks it."""

import asyncio
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Self


class Quarantine:
    """The actors not to be started: one name a line in a file, so that a killed process does not forget them."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self) -> list[str]:
        """Who is in quarantine."""
        return [name for name in self._file.read_text().splitlines() if name] if self._file.exists() else []

    def add(self, name: str) -> None:
        """From the next start on, do not start it."""
        self._write([*dict.fromkeys([*self.names(), name])])

    def release(self, name: str) -> None:
        """It may be started again."""
        if name in self.names():
            self._write([other for other in self.names() if other != name])

    def _write(self, names: list[str]) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text("".join(f"{name}\n" for name in names))
        draft.replace(self._file)


class Watchdog:
    """A thread that asks the running loop for a sign of life.

    Without one for `blocked_s`, the actor whose task is running goes into quarantine for the next life of the process;
    to end this one is systemd's part. A loop that comes back after all releases it.
    """

    def __init__(self, quarantine: Quarantine, actors: Collection[str], *, blocked_s: float = 5.0) -> None:
        self._quarantine = quarantine
        self._actors = actors
        self._blocked_s = blocked_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
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
                    self._quarantine.add(task.get_name())
                    alive.wait()
                    self._quarantine.release(task.get_name())
