"""Supervision: who is started when, what happens when one fails, and how all of it stops.

A branch keeps its children in chains. In a chain each actor stands on those before it (rest-for-one); one-for-one is a
branch of chains of one. A chain looks at its nodes from the left, again and again, and sees to the first that needs it;
starting for the first time and recovering are therefore the same thing. A branch is itself an actor in its parent's
chain, and that is all there is to nesting and escalation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any

import anyio

from actors.kernel.actor import Actor
from actors.kernel.clock import Clock, Random, monotonic
from actors.kernel.node import UNDER_WAY, Node, Ports
from actors.kernel.tree import (
    ActorFailed,
    ActorStatus,
    Branch,
    Child,
    DeadLetter,
    Fatal,
    State,
    Strategy,
    SupervisionEvent,
)
from actors.kernel.watchdog import Quarantine

POLL_S = 1.0


class _Chain:
    """Nodes of which each stands on those before it."""

    def __init__(self, nodes: Sequence[Node], *, escalate: bool) -> None:
        self.passed = asyncio.Event()
        self._nodes = nodes
        self._escalate = escalate
        self._changed = asyncio.Event()
        for node in nodes:
            node.changed = self._changed.set

    async def keep(self) -> None:
        """Keep the nodes up until cancelled; Fatal, or ActorFailed when a node failed and that is to be escalated."""
        while True:
            self._changed.clear()
            for place, node in enumerate(self._nodes):
                if node.over:
                    await self._settle(node, self._nodes[place + 1 :])
                if node.vacant:
                    node.launch()
                if node.state in UNDER_WAY:
                    break
            else:
                self.passed.set()
            if len(self._nodes) == 1 and self._nodes[0].restarts:
                # Nobody stands on it, so the start of the others does not wait until it is well.
                self.passed.set()
            await self._changed.wait()

    async def _settle(self, node: Node, later: Sequence[Node]) -> None:
        await node.settle()
        if self._escalate and node.state is State.FAILED:
            raise ActorFailed(f"{node.path} has failed for good") from node.last_error
        if node.state is not State.STOPPED:
            for dependent in reversed(later):
                await dependent.halt()


class _BranchActor(Actor[Any]):
    """Starts, keeps and stops the nodes of one branch."""

    def __init__(self, spec: Branch, nodes: Sequence[Node], ports: Ports) -> None:
        groups = [nodes] if spec.strategy is Strategy.REST_FOR_ONE else [[node] for node in nodes]
        self._nodes = nodes
        self._ports = ports
        self._chains = [_Chain(group, escalate=spec.escalate) for group in groups]
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for node in self._nodes:
            if node.state is not State.QUARANTINED:
                node.recall()
        for chain in self._chains:
            keeper = self._ports.spawn(chain.keep(), name=f"{self.name}:keep")
            self._keepers.append(keeper)
            passed = self._ports.spawn(chain.passed.wait(), name=f"{self.name}:start")
            await asyncio.wait([keeper, passed], return_when=asyncio.FIRST_COMPLETED)
            passed.cancel()
            if keeper.done():
                keeper.result()

    async def run(self) -> None:
        if not self._keepers:
            await super().run()  # nothing to keep; only the end ends it
        done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_COMPLETED)
        for keeper in done:
            keeper.result()

    async def stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for node in reversed(self._nodes):
            await node.halt()


class Supervisor:
    """Runs a tree: `run` until `stop`; `status`, `healthy` and `restart` meanwhile."""

    def __init__(
        self,
        tree: Branch,
        *,
        clock: Clock,
        rng: Random,
        observe: Callable[[SupervisionEvent], None] = lambda _: None,
        dead_letter: Callable[[DeadLetter], Awaitable[None] | None] = lambda _: None,
        quarantine: Quarantine | None = None,
    ) -> None:
        self.ready = anyio.Event()
        self._tree = tree
        self._quarantine = quarantine
        self._scope = anyio.CancelScope()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ports = Ports(clock, rng, self._spawn, observe, dead_letter)
        self._top = [_plant(spec, spec.name, self._ports) for spec in tree.children]
        self._nodes = {node.path: node for node in _walk(self._top)}

    async def run(self, *, started: Callable[[], None] = lambda: None) -> None:
        """Start the tree, keep it up until `stop`, then stop it in reverse order. Raises Fatal when it cannot go on."""
        for name in self._quarantine.names() if self._quarantine else ():
            if name in self._nodes:
                self._nodes[name].quarantine(self._quarantine.place(name) if self._quarantine else "")
        root = _BranchActor(self._tree, self._top, self._ports)
        root.name = self._tree.name
        poll = self._spawn(self._poll(), name=f"{root.name}:poll")
        try:
            with self._scope:
                await root.start()
                self.ready.set()
                started()
                await root.run()
        except ActorFailed as failed:
            raise Fatal(str(failed)) from failed.__cause__
        finally:
            self._ports.stopping = True
            with anyio.CancelScope(shield=True):
                await root.stop()
            poll.cancel()

    def stop(self) -> None:
        """Begin to stop."""
        self._scope.cancel()

    async def restart(self, name: str) -> None:
        """Start an actor or a branch afresh, also when failed or in quarantine; KeyError when there is none such.

        In a branch that has failed nobody lives alone: the whole branch is started.
        """
        node = self._nodes[name]
        if self._quarantine:
            self._quarantine.release(name)
        branches = [outer for path, outer in self._nodes.items() if name.startswith(f"{path}.")]
        next((outer for outer in branches if outer.state is State.FAILED), node).recall()

    def status(self) -> list[ActorStatus]:
        """Every actor, in the order of the tree."""
        return [node.status() for node in self._nodes.values() if not node.children]

    def healthy(self) -> bool:
        """Whether no critical actor has failed or is stuck."""
        now = monotonic()
        return not any(
            node.state is State.FAILED or now - (node.mailbox.busy_since or now) > node.spec.stuck_s
            for node in self._nodes.values()
            if node.spec.critical
        )

    def complete(self) -> bool:
        """Whether it is healthy and every critical actor runs: one that is being restarted again and again does not."""
        critical = (node for node in self._nodes.values() if node.spec.critical)
        return self.healthy() and all(node.state is State.RUNNING for node in critical)

    async def _poll(self) -> None:
        while True:
            for node in self._nodes.values():
                node.poll(monotonic())
            await asyncio.sleep(POLL_S)  # noqa: TID251 - the supervisor's own heartbeat

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        # Not in a task group: one actor that will not end must not keep the others from ending.
        task = asyncio.create_task(work, name=name)  # noqa: TID251 - this is the supervisor
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _plant(spec: Child | Branch, path: str, ports: Ports) -> Node:
    if isinstance(spec, Child):
        return Node(spec, path, ports)
    branch, nodes = spec, [_plant(inner, f"{path}.{inner.name}", ports) for inner in spec.children]
    place = Child(
        branch.name,
        lambda: _BranchActor(branch, nodes, ports),
        stop_s=branch.stop_s + POLL_S,
        stuck_s=float("inf"),
        intensity=branch.intensity,
        period_s=branch.period_s,
    )
    return Node(place, path, ports, nodes)


def _walk(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _walk(node.children)
