"""A seeded event loop in virtual time: the same code as in production, in an order that the seed decides.

Nothing waits: when every task waits, time jumps to the next timer. Ready callbacks, and timers due at the same instant,
run in an order drawn from the seed, so many seeds try many interleavings and one seed always gives the same one. When
nothing can happen any more, that is a deadlock and says so. Threads and sockets are outside virtual time: it would jump
while they work.
"""

import asyncio
import itertools
import os
import selectors
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, NoReturn, TypeVar

from actors.kernel.clock import chance, io_sleep

T = TypeVar("T")

RESOLUTION_S = 1e-6
"""Were it finer, adding it to a time far from zero would change nothing: a timer not quite due would spin the loop."""

JITTER_S = 1e-9
"""Timers of one instant differ by less than this, in an order drawn from the seed."""

STANDSTILL = 1_000_000
"""Iterations of the loop at one instant after which it is taken to be spinning."""


class Deadlock(BaseException):
    """Every task waits for another. Not an Exception, so that no code under test can handle it."""


class _JumpingSelector(selectors.DefaultSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            self.loop.give_up("deadlock: nothing can happen any more")
        self.loop.advance(timeout)
        return super().select(0)


class _Numbered(asyncio.Task[Any]):
    """Knows how many tasks there were before it."""

    number = 0


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that starts at time 0 and never waits."""

    def __init__(self, seed: int = 0) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self._now = 0.0
        self._still = 0
        self._chance = chance(seed)
        super().__init__(selector)
        self._clock_resolution = RESOLUTION_S
        self._numbers = itertools.count(1)
        self.set_task_factory(self._numbered)

    def _numbered(self, _: asyncio.AbstractEventLoop, work: Any, **more: Any) -> _Numbered:
        task = _Numbered(work, loop=self, **more)
        task.number = next(self._numbers)
        return task

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let that much time pass at once."""
        now = round(self._now + seconds, 6)
        self._still = 0 if now > self._now else self._still + 1
        if self._still > STANDSTILL:
            self.give_up(f"no time passed in {STANDSTILL} iterations")
        # A timer that fires a rounding error before its deadline, and looks (anyio's do), sets itself anew for ever.
        self._now = round(now + RESOLUTION_S, 6) if self._still % 1000 == 999 else now

    def give_up(self, why: str) -> NoReturn:
        """Raise Deadlock with the place at which each task waits."""
        waits = []
        for task in asyncio.all_tasks(self):
            frames = task.get_stack(limit=1)
            place = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "?"
            waits.append(f"  {task.get_name()} at {place}")
        raise Deadlock("\n".join([why, *sorted(waits)]))

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As in any loop; timers of one instant fire in an order drawn from the seed."""
        return super().call_at(when + self._chance.random() * JITTER_S, callback, *args, context=context)

    def run_in_executor(self, *_: object) -> NoReturn:
        """Refused: time would jump while the thread works."""
        raise RuntimeError("threads are outside virtual time: use a synchronous driver here")

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1:
            # Tasks that are cancelled together become ready in the order of a set, which is that of their addresses.
            handles = sorted(ready, key=_number_of)
            self._chance.shuffle(handles)
            ready.clear()
            ready.extend(handles)
        super()._run_once()  # type: ignore[misc]


def _number_of(handle: asyncio.Handle) -> int:
    task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return task.number if isinstance(task, _Numbered) else 0


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]], seed: int = 0) -> T:
    """Run `main` to its end in virtual time, in the order of `seed`."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(main())


async def nothing_left_to_do() -> None:
    """Until all waits for something else or for a later time: until then a virtual clock stands."""
    await io_sleep(0.001)


def virtual_loops() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What a conftest returns from `pytest_asyncio_loop_factories` to put its folder's tests into virtual time."""
    return {"virtual": VirtualLoop}


def seeds(usual: int) -> range:
    """The seeds to try: `usual` many, as many as NIGHTDESK_SEEDS says, or NIGHTDESK_SEED alone."""
    if one := os.environ.get("NIGHTDESK_SEED"):
        return range(int(one), int(one) + 1)
    return range(int(os.environ.get("NIGHTDESK_SEEDS", usual)))
