"""A day of a shop, and the daemon that watches it: the real store, scorer, ticker and digest, in virtual time."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actors.alerts.incidents import IncidentBook
from actors.alerts.routing import Routing
from actors.billing.digest import Digest
from actors.billing.projection import Projector
from actors.billing.scorer import Scorer
from actors.billing.ticker import Ticker
from actors.billing.watch import Watch
from actors.kernel.clock import SECOND, ScaledClock, chance
from actors.kernel.mailbox import drop_oldest, reject
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Restart, Strategy, child, supervisor
from actors.store.driver import InlineDriver
from actors.store.records import Kind, NewEntry, Notification
from actors.store.store import SqliteStore
from tests.billing.stripe_events import START, Event, charge
from tests.kernel.stage import supervised

HOUR, DAY = 3600, 86_400
MIDNIGHT = int(datetime(2026, 5, 29, tzinfo=UTC).timestamp())  # a Friday, a few hours after START


class Town:
    """A day from MIDNIGHT on: what the shop sends, and a daemon that lives and dies."""

    def __init__(self, folder: Path, routing: Routing, every_s: float, on_write: Callable[[str], None]) -> None:
        self.routing = routing
        self._every_s = every_s
        self._folder = folder
        self._on_write = on_write
        self.clock = ScaledClock(MIDNIGHT * SECOND)
        self.store: SqliteStore
        self.traded: list[str] = []

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """One life; it ends at once, in the middle of whatever is done."""
        store = SqliteStore(self._folder, driver=InlineDriver(self._on_write), ballast_bytes=0)
        self.store = store

        def scorer() -> Scorer:
            self.watch = Watch(IncidentBook(self.routing))
            return Scorer(store, self.watch, self.clock, lambda _: None)

        def digest() -> Digest:
            return Digest(
                store,
                self.clock,
                every_s=self._every_s,
                audience=lambda: self.routing,
                tenants=lambda: self.watch.tenants,
                wake=lambda _: None,
                desk=lambda _since, _until: self.traded,
            )

        tree = supervisor(
            "town",
            Strategy.ONE_FOR_ONE,
            child("store", lambda: store, mailbox=reject(64), restart=Restart.NEVER, stop_s=10),
            child("scorer", scorer, mailbox=drop_oldest(4)),
            child("ticker", lambda: Ticker(store, self.clock)),
            child("digest", digest),
        )
        async with supervised(Supervisor(tree, clock=self.clock, rng=chance(1))):
            yield

    async def until(self, seconds: float) -> None:
        """Seconds after MIDNIGHT."""
        await self.clock.sleep_until(round((MIDNIGHT + seconds) * SECOND))

    async def happens(self, *events: Event, tenant: str = "acme") -> None:
        """Each arrives when it happens."""
        for one in events:
            await self.until(one["created"] - MIDNIGHT)
            data = Projector(bytes(32)).project(one)
            await self.store.append(NewEntry(Kind.EVENT, tenant, self.clock.now(), data, event_id=one["id"]))

    async def sent(self, channel: str = "ops") -> list[Notification]:
        return await self.store.due(channel, 1 << 60, 10_000)

    async def digests(self, channel: str = "ops") -> list[Notification]:
        return [one for one in await self.sent(channel) if one.kind == "digest"]


Play = Callable[[Callable[[Town], Coroutine[Any, Any, None]]], None]


def after(seconds: int) -> int:
    """Seconds after MIDNIGHT as the stories of other tests count them."""
    return MIDNIGHT - START + seconds


def twice(at: int, customer: str = "cus_1", amount: int = 2900) -> tuple[Event, Event]:
    """A customer charged twice: a warning."""
    return charge(after(at), customer=customer, amount=amount), charge(after(at + 60), customer=customer, amount=amount)


def declines(at: int, customer: str = "cus_9") -> list[Event]:
    """Five declines of one customer: info."""
    return [charge(after(at + 60 * n), customer=customer, failed=True) for n in range(5)]


def overpaid(at: int) -> Event:
    """More refunded than charged: critical."""
    return charge(after(at), amount=2000, refunded=5000) | {"type": "charge.refunded"}
