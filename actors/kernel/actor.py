"""An actor: a mailbox read one message at a time, and a life from start to stop."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic

from actors.kernel.clock import monotonic
from actors.kernel.mailbox import Ask, M, Mailbox


class Actor(Generic[M]):
    """Override `receive`, or `run` for work that does not come by mailbox (a server, a ticker)."""

    name: str
    """Dotted path in the tree; set before `start`."""
    mailbox: Mailbox[M]
    """Outlives this actor; set before `start`."""

    async def start(self) -> None:
        """Get ready: when this returns, the next actor of the tree is started. Starting is also the whole recovery."""

    async def receive(self, message: M) -> Any:
        """One turn. The value answers an ask, and so does an exception; an exception on a tell ends this actor."""
        raise NotImplementedError(f"{type(self).__name__} takes no messages")

    async def stop(self) -> None:
        """Release what `start` acquired, even if it failed half-way. Not called when `start` was not."""

    async def run(self) -> None:
        """Receive until told to end. An override that takes batches itself gets the same guarantees from `take`."""
        while True:
            for message in await self.mailbox.take():
                if not isinstance(message, Ask):
                    await self.receive(message)
                elif message.expired:
                    self.mailbox.discard("expired")
                    continue
                else:
                    await self._answer(message)
                self.mailbox.done()

    async def _answer(self, ask: Ask[M]) -> None:
        try:
            ask.answer(await self.receive(ask.request))
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the asker's to know
            ask.fail(error)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Mark work that did not come by mailbox, so that being stuck in it is noticed."""
        self.mailbox.busy_since = monotonic()
        try:
            yield
        finally:
            self.mailbox.done(0)
