"""Supervision: who is started when, what happens when one fails, and how all of it stops.

A branch keeps its children in chains. In a chain every actor stands on those before it (rest-for-one); one-for-one is a branch of
chains of one. A chain knows a single move: find the first node that is down, stop what comes after it, start it, go on. Start-up
and recovery are therefore the same code.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Any, TypeAlias

import anyio

from actors.kernel.actor import Actor
from actors.kernel.clock import Clock, Random, monotonic
from actors.kernel.mailbox import Ask, Drained, Mailbox, Overflow

BACKOFF_BASE_S = 0.2
BACKOFF_CAP_S = 30.0
POISON_CRASHES = 3
"""Crashes over one message before it goes to the dead letters."""
DEAD_LETTER_S = 5.0
"""A dead letter that is not taken over within this time stays where it was."""
POLL_S = 1.0


class Restart(Enum):
    """What the end of an actor means."""

    PERMANENT = auto()
    """Started again whenever it ends."""
    TRANSIENT = auto()
    """Started again when it fails; returning from `run` is success."""
    TEMPORARY = auto()
    """Never started again."""
    NEVER = auto()
    """Its end is the end of the whole tree."""


class Strategy(Enum):
    """Who is restarted with a child that failed."""

    ONE_FOR_ONE = auto()
    """Nobody."""
    REST_FOR_ONE = auto()
    """The children after it, because they stand on it."""


class State(StrEnum):
    """Where an actor is in its life."""

    STOPPED = auto()
    STARTING = auto()
    RUNNING = auto()
    BACKING_OFF = auto()
    FAILED = auto()
    QUARANTINED = auto()


AT_REST = {State.STOPPED, State.FAILED, State.QUARANTINED}


class Fatal(Exception):
    """The tree cannot go on. Raised by an actor it ends the tree; raised by `Supervisor.run` its cause says why."""


class StuckTurn(Exception):
    """A turn took longer than the actor's `stuck_s`."""


class EndedUnasked(Exception):
    """`run` returned though nobody had told the actor to end."""


class WouldNotEnd(Exception):
    """The actor was cancelled and is still running, so no other may take its place."""


class ChildFailed(Exception):
    """A child of an escalating branch failed for good."""


@dataclass(frozen=True, slots=True)
class Started:
    """The actor is ready, after so many restarts."""

    name: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Crashed:
    """The actor failed; it is started again in `delay_s` seconds."""

    name: str
    error: BaseException
    restarts: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Stuck:
    """One turn has lasted `busy_s` seconds; the actor is cancelled and treated as crashed."""

    name: str
    busy_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The actor failed too often, or would not end; it rests until the operator restarts it."""

    name: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The actor blocked the loop in the last life of this process and was not started."""

    name: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The actor has ended, with `left` messages still waiting in its mailbox."""

    name: str
    left: int


@dataclass(frozen=True, slots=True)
class Unstopped:
    """The actor did not stop (in time); `error` is what its `stop` raised, if it did."""

    name: str
    error: BaseException | None = None


SupervisionEvent: TypeAlias = Started | Crashed | Stuck | Failed | Quarantined | Stopped | Unstopped


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that crashed its actor three times; `at` is UTC microseconds."""

    actor: str
    message: object
    error: str
    traceback: str
    at: int


@dataclass(frozen=True, slots=True)
class ActorStatus:
    """One line of `nightdesk actors`."""

    name: str
    state: State
    restarts: int
    depth: int
    high_water: int
    received: int
    finished: int
    dropped: dict[str, int]
    busy_s: float
    long_turns: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Child:
    """How to make one actor and what to do when it ends."""

    name: str
    factory: Callable[[], Actor[Any]]
    mailbox: Mailbox[Any]
    restart: Restart
    stop_s: float
    stuck_s: float
    critical: bool
    intensity: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Branch:
    """Children under one strategy."""

    name: str
    strategy: Strategy
    children: "tuple[Child | Branch, ...]"
    escalate: bool
    intensity: int
    period_s: float

    @property
    def stop_s(self) -> float:
        """The longest that stopping may take: the sum of the children's deadlines."""
        return sum(spec.stop_s for spec in self.children)


def child(
    name: str,
    factory: Callable[[], Actor[Any]],
    *,
    mailbox: Mailbox[Any] | None = None,
    restart: Restart = Restart.PERMANENT,
    stop_s: float = 2.0,
    stuck_s: float = 30.0,
    critical: bool = False,
    intensity: int = 5,
    period_s: float = 60.0,
) -> Child:
    """An actor of the tree. It may fail `intensity` times within `period_s`; critical: the process is sick without it."""
    mailbox = mailbox or Mailbox(1, Overflow.REJECT)
    return Child(name, factory, mailbox, restart, stop_s, stuck_s, critical, intensity, period_s)


def supervisor(
    name: str,
    strategy: Strategy,
    *children: Child | Branch,
    escalate: bool = False,
    intensity: int = 5,
    period_s: float = 60.0,
) -> Branch:
    """A branch. When a child fails for good the others go on, or (escalate) the branch as a whole is restarted."""
    return Branch(name, strategy, children, escalate, intensity, period_s)


class _Node:
    """One place in the tree: what remains while actors come and go in it."""

    def __init__(self, spec: Child | Branch, path: str, host: "Supervisor") -> None:
        self.path = path
        self.host = host
        self.restarts = 0
        self.last_error: BaseException | None = None
        self.state = State.STARTING
        self.due = 0.0
        self.changed: Callable[[], None] = lambda: None
        self.children: list[_Node] = []
        if isinstance(spec, Branch):
            self.children = [_Node(inner, f"{path}.{inner.name}".lstrip("."), host) for inner in spec.children]
            branch = spec
            spec = child(
                spec.name,
                lambda: _BranchActor(self.children, branch),
                stop_s=spec.stop_s + 1.0,
                stuck_s=float("inf"),
                intensity=spec.intensity,
                period_s=spec.period_s,
            )
        self.spec = spec
        self.mailbox = spec.mailbox
        self._actor: Actor[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._stuck: StuckTurn | None = None
        self._recalled = False
        self._began = 0.0
        self._crashes: deque[float] = deque()
        self._streak = 0
        self._suspect: tuple[object, int] = (None, 0)

    def walk(self) -> "Iterator[_Node]":
        yield self
        for node in self.children:
            yield from node.walk()

    # --- the questions a chain asks ----------------------------------------------------------------------------------

    @property
    def down(self) -> bool:
        """Whether this node needs the chain's attention."""
        if self._task is None:
            return self.state not in AT_REST
        return self._recalled or self._stuck is not None or self._task.done()

    # --- the life of one actor ---------------------------------------------------------------------------------------

    async def launch(self) -> None:
        """Start an actor in this place and wait until it is ready or has failed."""
        self.state = State.STARTING
        self.mailbox.open()
        self._ready = asyncio.get_running_loop().create_future()
        self._began = monotonic()
        self._task = self.host.spawn(self._live(self._ready), self.path)
        self._task.add_done_callback(lambda _: self._signal())
        await asyncio.wait([self._ready])

    def _signal(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self.changed()

    async def _live(self, ready: "asyncio.Future[None]") -> None:
        self.mailbox.adopt()
        actor = self.spec.factory()
        actor.name, actor.mailbox = self.path, self.mailbox
        self._actor = actor
        try:
            with actor.turn():
                await actor.start()
            self.state = State.RUNNING
            self.host.observe(Started(self.path, self.restarts))
            if not ready.done():
                ready.set_result(None)
            await actor.run()
        except Drained:
            return

    def poll(self, now: float) -> None:
        """Notice a turn that has lasted too long."""
        since = self.mailbox.busy_since
        if self._task is not None and self._stuck is None and since is not None and now - since > self.spec.stuck_s:
            self._stuck = StuckTurn(f"one turn lasted more than {self.spec.stuck_s} s")
            self.host.observe(Stuck(self.path, now - since))
            self._signal()

    def recall(self) -> None:
        """The operator wants this actor started afresh."""
        self._recalled = self._task is not None
        if self._task is None:
            self.renew()
        self.changed()

    def renew(self) -> None:
        """To be started as if it had never failed."""
        self.state, self.due, self._streak = State.STARTING, 0.0, 0
        self._crashes.clear()

    async def halt(self, *, drain: bool) -> None:
        """End the actor, if there is one: for good after what is queued (drain), or after the turn in hand, to start again."""
        if drain:
            self.mailbox.close(f"{self.path} has stopped")
        if self._task is not None:
            gone = await self._end(drain=drain)
            self.mailbox.recover()
            if not gone:
                self._fail(WouldNotEnd("cancelled, but still running"))
            elif drain:
                self._rest(State.STOPPED)
                self.host.observe(Stopped(self.path, self.mailbox.depth))
            else:
                self.state, self.due = State.BACKING_OFF, 0.0

    async def _end(self, *, drain: bool) -> bool:
        """Bring the actor to its end within `stop_s`; False when it would not go. The messages in hand are given back."""
        task, budget = self._task, self.spec.stop_s
        assert task is not None  # noqa: S101 - asked of nodes with an actor only
        deadline = monotonic() + budget
        if not task.done():
            if self._stuck is None and self.mailbox.wind_up(drain=drain):
                await asyncio.wait([task], timeout=budget / 2)
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=budget / 4)
            if not task.done():
                self.host.observe(Unstopped(self.path))
                return False
        if self._actor is not None:
            self._stopping = self._stopping or self.host.spawn(self._actor.stop(), f"{self.path}:stop")
            await asyncio.wait([self._stopping], timeout=max(0.0, deadline - monotonic()))
            self._check_stopped(self._stopping)
        self._task = self._actor = self._stopping = None
        return True

    def _check_stopped(self, stopping: "asyncio.Task[None]") -> None:
        if not stopping.done():
            stopping.cancel()
            self.host.observe(Unstopped(self.path))
        elif not stopping.cancelled() and (error := stopping.exception()) is not None:
            self.last_error = error
            self.host.observe(Unstopped(self.path, error))

    # --- after the end -----------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Clear away the actor that ended and decide what comes next. Raises Fatal when that is the end of the tree."""
        task = self._task
        if task is None:
            return
        if self._recalled and not task.done():
            self._recalled = False
            await self.halt(drain=False)
            return
        gone = await self._end(drain=False)
        error = self._error_of(task) if gone else WouldNotEnd("cancelled, but still running")
        suspect = self.mailbox.recover()
        self._stuck = None
        if error is not None:
            self.last_error = error
        if isinstance(error, Fatal) or self.spec.restart is Restart.NEVER:
            raise Fatal(f"{self.path} ended") from (
                error.__cause__ if isinstance(error, Fatal) and error.__cause__ else error
            )
        if error is None and self.spec.restart is Restart.PERMANENT:
            error = EndedUnasked("run returned")
        if error is None or self.spec.restart is Restart.TEMPORARY:
            self._rest(State.STOPPED)
            self.host.observe(Stopped(self.path, self.mailbox.depth))
        elif not gone:
            self._fail(error)
        else:
            await self._bury_poison(suspect, error)
            self._schedule(error)

    def _error_of(self, task: "asyncio.Task[None]") -> BaseException | None:
        if self._stuck is not None:
            return self._stuck
        if task.cancelled():
            return asyncio.CancelledError("cancelled from inside")
        return task.exception()

    async def _bury_poison(self, suspect: object | None, error: BaseException) -> None:
        last, crashes = self._suspect
        crashes = crashes + 1 if suspect is not None and suspect is last else 1
        self._suspect = (suspect, crashes)
        if suspect is None or crashes < POISON_CRASHES:
            return
        message = suspect.request if isinstance(suspect, Ask) else suspect
        trace = "".join(traceback.format_exception(error))
        letter = DeadLetter(self.path, message, repr(error), trace, self.host.clock.now())
        if await self.host.hand_over(letter):
            self.mailbox.bury(error)
            self._suspect = (None, 0)
            # The cause is gone, so its crashes count as one: a second poisonous message is not yet a crash loop.
            for _ in range(POISON_CRASHES - 1):
                if self._crashes:
                    self._crashes.pop()

    def _schedule(self, error: BaseException) -> None:
        now = monotonic()
        spec = self.spec
        if now - self._began >= spec.period_s:
            self._streak = 0
        self._crashes.append(now)
        while self._crashes[0] <= now - spec.period_s:
            self._crashes.popleft()
        if len(self._crashes) > spec.intensity:
            self._fail(error)
            return
        delay = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0**self._streak) * self.host.rng.uniform(0.5, 1.5)
        self._streak += 1
        self.restarts += 1
        self.state, self.due = State.BACKING_OFF, now + delay
        self.host.observe(Crashed(self.path, error, self.restarts, delay))

    def _fail(self, error: BaseException) -> None:
        self._rest(State.FAILED)
        self.host.observe(Failed(self.path, error))

    def _rest(self, state: State) -> None:
        self.state = state
        self.mailbox.close(f"{self.path} is {state}")
        self.mailbox.fail_asks(f"{self.path} is {state}")

    def quarantine(self) -> None:
        self._rest(State.QUARANTINED)
        self.host.observe(Quarantined(self.path))

    # --- what the world sees -----------------------------------------------------------------------------------------

    def status(self) -> ActorStatus:
        box = self.mailbox
        return ActorStatus(
            name=self.path,
            state=self.state,
            restarts=self.restarts,
            depth=box.depth,
            high_water=box.high_water,
            received=box.accepted,
            finished=box.finished,
            dropped=dict(box.dropped),
            busy_s=box.busy_s,
            long_turns=box.long_turns,
            last_error=None if self.last_error is None else repr(self.last_error),
        )


class _Chain:
    """Nodes of which each stands on those before it."""

    def __init__(self, nodes: list[_Node], *, escalate: bool) -> None:
        self.nodes = nodes
        self.passed = asyncio.Event()
        self._escalate = escalate
        self._changed = asyncio.Event()
        for node in nodes:
            node.changed = self._changed.set

    async def keep(self) -> None:
        """Keep the nodes up, in order, until cancelled; raises Fatal or ChildFailed when that is not possible."""
        while True:
            self._changed.clear()
            node = next((node for node in self.nodes if node.down), None)
            if node is None:
                self.passed.set()
                await self._changed.wait()
                continue
            for later in reversed(self.nodes[self.nodes.index(node) + 1 :]):
                await later.halt(drain=False)
            await node.settle()
            if self._escalate and node.state is State.FAILED:
                raise ChildFailed(node.path) from node.last_error
            if node.state in AT_REST:
                continue
            if node.restarts and len(self.nodes) == 1:
                # Nobody stands on it, so nobody waits for it.
                self.passed.set()
            with anyio.move_on_after(max(0.0, node.due - monotonic())) as nap:
                await self._changed.wait()
            if nap.cancelled_caught:
                await node.launch()


class _BranchActor(Actor[Any]):
    """Children kept by chains; to its parent an actor like any other, which is all there is to nesting and escalation."""

    def __init__(self, nodes: list[_Node], spec: Branch) -> None:
        groups = [nodes] if spec.strategy is Strategy.REST_FOR_ONE else [[node] for node in nodes]
        self._nodes = nodes
        self._chains = [_Chain(group, escalate=spec.escalate) for group in groups if group]
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for node in self._nodes:
            if node.state is not State.QUARANTINED:
                node.renew()
        for chain in self._chains:
            host = chain.nodes[0].host
            keeper = host.spawn(chain.keep(), f"{self.name}:keeper")
            self._keepers.append(keeper)
            passed = host.spawn(chain.passed.wait(), f"{self.name}:start")
            await asyncio.wait([keeper, passed], return_when=asyncio.FIRST_COMPLETED)
            passed.cancel()
            if keeper.done():
                keeper.result()

    async def run(self) -> None:
        done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_COMPLETED)
        for keeper in done:
            keeper.result()

    async def stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers)
        for node in reversed(self._nodes):
            await node.halt(drain=True)


class Supervisor:
    """Runs a tree: `run` until `stop`, `status` and `restart` meanwhile."""

    def __init__(
        self,
        tree: Branch,
        *,
        clock: Clock,
        rng: Random,
        observe: Callable[[SupervisionEvent], None] = lambda _: None,
        dead_letter: Callable[[DeadLetter], Awaitable[None] | None] = lambda _: None,
        quarantined: Collection[str] = (),
    ) -> None:
        self.clock = clock
        self.rng = rng
        self.observe = observe
        self.ready = anyio.Event()
        self.beat = 0.0
        self._dead_letter = dead_letter
        self._quarantined = frozenset(quarantined)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._scope = anyio.CancelScope()
        self._spec = tree
        self._nodes = [_Node(spec, spec.name, self) for spec in tree.children]
        self._all = {node.path: node for top in self._nodes for node in top.walk()}

    async def run(self, *, started: Callable[[], None] = lambda: None) -> None:
        """Start the tree, keep it up until `stop`, then stop it in reverse order. Raises Fatal when it cannot go on."""
        for name in self._quarantined & self._all.keys():
            self._all[name].quarantine()
        root = _BranchActor(self._nodes, self._spec)
        root.name = self._spec.name
        poll = self.spawn(self._poll(), "supervisor:poll")
        try:
            with self._scope:
                await root.start()
                self.ready.set()
                started()
                await root.run()
        except ChildFailed as failed:
            raise Fatal(str(failed)) from failed.__cause__
        finally:
            with anyio.CancelScope(shield=True):
                await root.stop()
            poll.cancel()

    def stop(self) -> None:
        """Begin to stop."""
        self._scope.cancel()

    async def restart(self, name: str) -> None:
        """Start the actor (or branch) afresh, also a failed or quarantined one; KeyError when there is none of that name."""
        self._all[name].recall()

    def status(self) -> list[ActorStatus]:
        """Every actor, in the order of the tree."""
        return [node.status() for node in self._all.values() if not node.children]

    def healthy(self) -> bool:
        """Whether every critical actor is up or being brought up, and none of them is stuck."""
        now = monotonic()
        return not any(
            node.state is State.FAILED or now - (node.mailbox.busy_since or now) > node.spec.stuck_s
            for node in self._all.values()
            if node.spec.critical
        )

    # --- for the nodes -----------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task under this supervisor. Not in a task group: one that will not end must not keep the others from ending."""
        task = asyncio.create_task(work, name=name)  # noqa: TID251 - this is the supervisor
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def hand_over(self, letter: DeadLetter) -> bool:
        """Give a dead letter to the application; False when it was not taken over."""
        try:
            with anyio.fail_after(DEAD_LETTER_S):
                taken = self._dead_letter(letter)
                if taken is not None:
                    await taken
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the message stays in its mailbox
            self.observe(Failed(f"{letter.actor}:dead-letter", error))
            return False
        return True

    async def _poll(self) -> None:
        while True:
            self.beat = monotonic()
            for node in self._all.values():
                node.poll(self.beat)
            await asyncio.sleep(POLL_S)  # noqa: TID251 - the supervisor's own heartbeat
