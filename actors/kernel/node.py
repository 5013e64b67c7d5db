"""One place in the tree: what remains while actors come and go in it."""

import asyncio
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio

from actors.kernel import tree
from actors.kernel.actor import Actor
from actors.kernel.clock import Clock, Random, monotonic
from actors.kernel.mailbox import Ask, Drained, reject
from actors.kernel.tree import ActorFailed, Child, Fatal, Restart, State

BACKOFF_BASE_S = 0.2
BACKOFF_CAP_S = 30.0
POISON_CRASHES = 3  # over one message, which then goes to the dead letters
UNDER_WAY = (State.STARTING, State.BACKING_OFF)  # not up yet, but going to be
AT_REST = (State.STOPPED, State.FAILED, State.QUARANTINED)
DEAD_LETTER_S = 5.0  # a dead letter not taken over by then stays first in its mailbox


class WouldNotEnd(ActorFailed):
    """Cancelled and still running: no other actor may take its place."""


@dataclass
class Ports:
    """What the places of a tree share."""

    clock: Clock
    rng: Random
    spawn: Callable[..., "asyncio.Task[Any]"]
    observe: Callable[[tree.SupervisionEvent], None]
    dead_letter: Callable[[tree.DeadLetter], Awaitable[None] | None]
    stopping: bool = False


class Node:
    """The actors in one place, one after the other: launch, settle when it is over, launch again, halt.

    Whether and when is for the node's chain to say; the node tells it with `changed` that there is something to see.
    """

    def __init__(self, spec: Child, path: str, ports: Ports, children: "Sequence[Node]" = ()) -> None:
        self.spec = spec
        self.path = path
        self.children = children
        self.mailbox = spec.mailbox or reject(1)
        self.state = State.STARTING
        self.restarts = 0
        self.last_error: BaseException | None = None
        self.changed: Callable[[], None] = lambda: None
        self._ports = ports
        self._actor: Actor[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: ActorFailed | None = None
        self._recalled = False
        self._began = 0.0
        self._crashes: deque[float] = deque()
        self._streak = 0
        self._suspect: tuple[object, int, int] = (None, 0, 0)

    @property
    def vacant(self) -> bool:
        """Whether an actor is to be launched here now."""
        return self.state is State.STARTING and self._task is None

    @property
    def over(self) -> bool:
        """Whether the actor here has ended or must end: `settle` is called for."""
        return self._task is not None and (self._task.done() or self._stuck is not None or self._recalled)

    def launch(self) -> None:
        """Begin to start an actor."""
        self._began = monotonic()
        self._task = self._ports.spawn(self._live(), name=self.path)
        self._task.add_done_callback(lambda _: self.changed())

    async def _live(self) -> None:
        self.mailbox.adopt()
        actor = self.spec.factory()
        actor.name, actor.mailbox = self.path, self.mailbox
        self._actor = actor
        with actor.turn():
            await actor.start()
        self.state = State.RUNNING
        self._ports.observe(tree.Started(self.path, self.restarts))
        self.changed()
        with suppress(Drained):
            await actor.run()

    def poll(self, now: float) -> None:
        """Notice a turn that lasts too long."""
        since = self.mailbox.busy_since
        if self._task is not None and self._stuck is None and since is not None and now - since > self.spec.stuck_s:
            self._stuck = ActorFailed(f"one turn lasted more than {self.spec.stuck_s:g} s")
            self._ports.observe(tree.Stuck(self.path, now - since))
            self.changed()

    def recall(self) -> None:
        """Have an actor started here afresh, as if nothing had ever failed."""
        self._crashes.clear()
        self._streak = 0
        self._recalled = self._task is not None
        if self._task is None:
            self._vacate()
        self.changed()

    def quarantine(self, place: str) -> None:
        """Have no actor here; it blocked the loop at `place`."""
        self._rest(State.QUARANTINED, tree.Quarantined(self.path, place))

    async def halt(self) -> None:
        """End the actor, to be launched again; when the whole tree stops, for good and with what is queued."""
        if self._task is None and self.state in AT_REST:
            return
        if self._ports.stopping:
            self.mailbox.close(f"{self.path} has stopped", drain=True)
        error = await self._end() if self._task is not None else None
        self.mailbox.give_back()
        if isinstance(error, WouldNotEnd):
            self._rest(State.FAILED, tree.Failed(self.path, error))
        elif self._ports.stopping:
            self._rest(State.STOPPED, tree.Stopped(self.path, self.mailbox.depth))
        else:
            self._vacate()

    async def settle(self) -> None:
        """Clear away an actor that is over and decide what comes next; Fatal when that is the end of the tree."""
        if self._recalled:
            await self.halt()
            return
        error, restart = await self._end(), self.spec.restart
        if error is None and restart in (Restart.PERMANENT, Restart.NEVER):
            error = ActorFailed("run returned unasked")
        fatal = isinstance(error, Fatal) or restart is Restart.NEVER
        lost = fatal or isinstance(error, WouldNotEnd)
        again = error is not None and not lost and restart is not Restart.TEMPORARY
        if error is not None and again:
            error = await self._bury_poison(error)
        self.mailbox.give_back()
        self.last_error = error or self.last_error
        if error is not None and again:
            self._back_off(error)
        elif error is not None and lost:
            self._rest(State.FAILED, tree.Failed(self.path, error))
        else:
            self._rest(State.STOPPED, tree.Stopped(self.path, self.mailbox.depth))
        if fatal:
            raise error if isinstance(error, Fatal) else Fatal(f"{self.path} has ended") from error

    async def _end(self) -> BaseException | None:
        """Bring the actor to its end within `stop_s`; returns what it died of, WouldNotEnd if it did not."""
        task, stuck, stop_s = self._task, self._stuck, self.spec.stop_s
        assert task is not None  # noqa: S101 - the callers have looked
        deadline = monotonic() + stop_s
        if self._ports.stopping and stuck is None and not self.mailbox.idle:
            await asyncio.wait([task], timeout=stop_s / 2)
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=stop_s / 4)
        self._stuck, self._recalled = None, False
        if not task.done():
            self._ports.observe(tree.Unstopped(self.path))
            return WouldNotEnd("cancelled, but still running")
        if self._actor is not None:
            self._stopping = self._stopping or self._ports.spawn(self._actor.stop(), name=f"{self.path}:stop")
            await asyncio.wait([self._stopping], timeout=max(0.0, deadline - monotonic()))
            if not self._stopping.done():
                self._stopping.cancel()
                self._ports.observe(tree.Unstopped(self.path))
            elif (trouble := _error_of(self._stopping)) is not None:
                self._ports.observe(tree.Unstopped(self.path, trouble))
        self._task = self._actor = self._stopping = None
        return stuck or _error_of(task)

    async def _bury_poison(self, error: BaseException) -> BaseException:
        """Hold the crash against the first message in flight; the third makes it a dead letter. Returns the error."""
        in_flight, finished = self.mailbox.in_flight, self.mailbox.meter.finished
        if not in_flight:
            return error
        suspect, crashes, as_of = self._suspect
        crashes = crashes + 1 if suspect is in_flight[0] and as_of == finished else 1
        self._suspect = (in_flight[0], crashes, finished)
        if crashes < POISON_CRASHES:
            return error
        culprit = in_flight[0]
        message = culprit.request if isinstance(culprit, Ask) else culprit
        trace = "".join(traceback.format_exception(error))
        letter = tree.DeadLetter(self.path, message, repr(error), trace, self._ports.clock.now())
        try:
            with anyio.fail_after(DEAD_LETTER_S):
                handing_over = self._ports.dead_letter(letter)
                if handing_over is not None:
                    await handing_over
        except Exception as trouble:  # noqa: BLE001 - whatever it is, the message stays where it is and this is reported
            return trouble
        self.mailbox.discard("dead_letter")
        if isinstance(culprit, Ask):
            culprit.fail(error)
        # The cause is gone, so its crashes count as one: a second poisonous message is not yet a crash loop.
        self._streak = max(0, self._streak - POISON_CRASHES + 1)
        for _ in range(min(len(self._crashes), POISON_CRASHES - 1)):
            self._crashes.pop()
        return error

    def _back_off(self, error: BaseException) -> None:
        now, spec = monotonic(), self.spec
        if now - self._began >= spec.period_s:
            self._streak = 0
        self._crashes.append(now)
        while self._crashes[0] <= now - spec.period_s:
            self._crashes.popleft()
        if len(self._crashes) > spec.intensity:
            self._rest(State.FAILED, tree.Failed(self.path, error))
            return
        delay = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(self._streak, 20)) * self._ports.rng.uniform(0.5, 1.5)
        self._streak += 1
        self.restarts += 1
        self.state = State.BACKING_OFF
        self._timer = asyncio.get_running_loop().call_later(delay, self._vacate)
        self._ports.observe(tree.Crashed(self.path, error, self.restarts, delay))

    def _vacate(self) -> None:
        self._cancel_timer()
        self.mailbox.open()
        self.state = State.STARTING
        self.changed()

    def _rest(self, state: State, event: tree.SupervisionEvent) -> None:
        self.close(state)
        self._ports.observe(event)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def close(self, state: State) -> None:
        """Have no actor here nor below."""
        self._cancel_timer()
        self.state = state
        self.mailbox.close(f"{self.path} is {state}")
        for node in self.children:
            if node.state is not State.QUARANTINED:
                node.close(state)

    def status(self) -> tree.ActorStatus:
        """How the actor here is."""
        meter = self.mailbox.meter
        return tree.ActorStatus(
            self.path,
            self.state,
            self.restarts,
            last_error=None if self.last_error is None else repr(self.last_error),
            depth=self.mailbox.depth,
            high_water=self.mailbox.high_water,
            received=meter.accepted,
            finished=meter.finished,
            dropped=dict(meter.dropped),
            busy_s=meter.busy_s,
            long_turns=meter.long_turns,
        )


def _error_of(task: "asyncio.Task[None]") -> BaseException | None:
    return asyncio.CancelledError("cancelled from inside") if task.cancelled() else task.exception()
