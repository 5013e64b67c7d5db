"""A whole night in virtual time: the real actors over a real database, in lives that end anywhere.

The seed decides everything: what the shop sends and in which order, when the store, the disk and the channels fail, and
after how many steps of the loop the process dies. What survives a life is what survives a kill: the files, what the
shop was answered, and what the channel took.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import orjson

from actors.alerts.channels.base import Outcome, RateLimit, RetryLater, Sent
from actors.alerts.dispatcher import Dispatcher, Wake
from actors.alerts.incidents import IncidentBook
from actors.alerts.routing import Route, Routing
from actors.billing.digest import Digest
from actors.billing.scorer import Scorer
from actors.billing.signature import sign
from actors.billing.ticker import Ticker
from actors.billing.watch import Watch
from actors.billing.webhook import Gate, Refused, Tenant, verdict
from actors.kernel.clock import SECOND, Clock, Random, ScaledClock, chance
from actors.kernel.mailbox import Mailbox, conflate, drop_oldest, reject
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Branch, Fatal, Restart, Strategy, child, supervisor
from actors.store.driver import InlineDriver
from actors.store.records import Committed, DeadLetter, EventRow, Incident, LogEntry, Notification
from actors.store.store import SqliteStore
from tests.billing import stripe_events as shop
from tests.simulation.mortal import Killed, MortalLoop, drop_files, live

SECRET = b"whsec_simulated"
TENANT = "acme"
CHANNELS = ("ops", "pager")
START = shop.START * SECOND
LATEST_S = 6 * 3600
SENDERS = 3
PATIENCE_S = 12 * 3600.0
DIGEST_S = 1800.0
ROUTING = Routing(tuple(Route(name, for_people=False) for name in CHANNELS), digests=True)


@dataclass
class Faults:
    """What goes wrong, drawn as it happens; `calm` makes an end of it, so that every story ends."""

    rng: Random
    calm: bool = False
    met: Counter[str] = field(default_factory=Counter)

    def strike(self, what: str, probability: float) -> bool:
        if self.calm or self.rng.random() >= probability:
            return False
        self.met[what] += 1
        return True

    def on_write(self, when: str) -> None:
        if when == "before":
            if self.strike("locked", 0.02):
                raise sqlite3.OperationalError("database is locked")
            if self.strike("full", 0.02):
                raise sqlite3.OperationalError("database or disk is full")
        elif self.strike("killed after the commit", 0.004):
            raise Killed


class FaultyChannel:
    """Takes notifications, with outages: refuses, hangs, breaks off, or takes one and breaks off before it says so."""

    limit = RateLimit(per_minute=6000, burst=100)
    for_people = False
    abreast = 4

    def __init__(self, name: str, world: "World", clock: Clock) -> None:
        self._name, self._world, self._clock = name, world, clock

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, notification: Notification) -> Outcome:
        faults = self._world.faults
        await self._clock.sleep(faults.rng.uniform(0.0, 0.2))
        if faults.strike("channel refuses", 0.15):
            return RetryLater("503", after=faults.rng.choice([None, 1.0, 60.0]))
        if faults.strike("channel hangs", 0.05):
            await self._clock.sleep(3600)
        if faults.strike("channel breaks off", 0.05):
            raise ConnectionResetError
        self._world.taken.append((self._name, notification.key))
        if faults.strike("channel forgets to answer", 0.05):
            raise ConnectionResetError
        return Sent()


class World:
    """What outlives every life."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        self.rng = chance(seed)
        self.faults = Faults(chance(seed + 1_000_003))
        self.events = _story(self.rng)
        self.waiting = _deliveries(self.events, self.rng)
        self.acknowledged: set[str] = set()
        self.taken: list[tuple[str, str]] = []
        self.deaths = 0
        self.now = START + LATEST_S * SECOND

    def live_through(self) -> None:
        """Life after life until all is delivered, scored and told."""
        while not self._one_life():
            self.deaths += 1
            self.faults.calm = self.deaths >= 6

    def _one_life(self) -> bool:
        steps = None if self.faults.calm else int(self.rng.expovariate(1 / 1500))
        loop = MortalLoop(self.rng.randrange(1 << 30), steps)
        try:
            return live(loop, Life(self))
        except Killed:
            return False
        finally:
            self.now += round(loop.time() * SECOND)


class Life:
    """One process, from start to kill or end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._driver = InlineDriver(world.faults.on_write)
        self._store = SqliteStore(world.folder, driver=self._driver, ballast_bytes=0)
        self._queue = list(world.waiting)

    async def run(self) -> bool:
        """True when nothing is left to do; False when the store ended the process."""
        clock = ScaledClock(self._world.now)
        gate = Gate(self._store, clock, [Tenant(TENANT, "token", (SECRET,), 1e6, 1_000_000)], archive="redacted")
        tenders = Supervisor(self._tree(clock), clock=clock, rng=self._world.rng)

        async def shop_and_end() -> None:
            await tenders.ready.wait()
            await gate.open()
            async with anyio.create_task_group() as senders:
                for _ in range(SENDERS):
                    senders.start_soon(self._send, gate, clock)
            await self._at_rest(clock)
            tenders.stop()

        died = False
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(shop_and_end)
                await tenders.run()
                tasks.cancel_scope.cancel()
        except* Fatal:
            died = True
        return not died

    def _tree(self, clock: Clock) -> Branch:
        commits: Mailbox[Committed] = drop_oldest(2)
        outbox: dict[str, Mailbox[Wake]] = {name: conflate(1) for name in CHANNELS}

        def wake(channels: Iterable[str]) -> None:
            for name in channels:
                outbox[name].offer(Wake())

        def scorer() -> Scorer:
            self._watch = Watch(book())
            return Scorer(self._store, self._watch, clock, wake)

        def digest() -> Digest:
            return Digest(
                self._store,
                clock,
                every_s=DIGEST_S,
                audience=lambda: ROUTING,
                tenants=lambda: self._watch.tenants,
                wake=wake,
            )

        def dispatcher(name: str) -> Dispatcher:
            channel = FaultyChannel(name, self._world, clock)
            return Dispatcher(name, channel, self._store, clock, self._world.rng)

        return supervisor(
            "simulated",
            Strategy.ONE_FOR_ONE,
            child("store", lambda: self._store, mailbox=reject(64), restart=Restart.NEVER, stop_s=10),
            *(child(name, lambda name=name: dispatcher(name), mailbox=outbox[name]) for name in CHANNELS),  # type: ignore[misc]
            child("scorer", scorer, mailbox=commits, intensity=50),
            child("ticker", lambda: Ticker(self._store, clock), intensity=50),
            child("digest", digest, intensity=50),
        )

    async def _send(self, gate: Gate, clock: Clock) -> None:
        """As Stripe: what was not answered 200 comes again, later."""
        world = self._world
        while self._queue:
            event = self._queue.pop()
            await clock.sleep(world.rng.expovariate(1 / 5.0))
            body = orjson.dumps(event)
            door = gate.door("/webhook/token")
            assert door is not None
            try:
                stored = gate.admit(door, sign(body, SECRET, clock.now()), body)
                await asyncio.wait((stored,))
                status = verdict(stored).status
            except Refused as refused:
                status = refused.verdict.status
            if status == 503:
                self._queue.insert(0, event)
                continue
            assert status == 200
            world.acknowledged.add(event["id"])
            world.waiting.remove(event)

    async def _at_rest(self, clock: Clock) -> None:
        """Until everything stored is scored, everything found is told, and every incident has had time to end."""
        self._world.faults.calm = True
        with anyio.fail_after(PATIENCE_S):
            while True:
                status = await self._store.status()
                pending = status.notifications.get("pending", 0)
                if status.last_seq == status.cursor and not pending and not status.open_incidents:
                    return
                await clock.sleep(30)

    def drop(self) -> None:
        """It was killed."""
        drop_files(self._store, self._driver)


def book() -> IncidentBook:
    return IncidentBook(ROUTING)


def _story(rng: Random) -> list[shop.Event]:
    """Ordinary charges, and among them each thing that an incident is to be opened for."""
    events: list[shop.Event] = []
    for _ in range(rng.randrange(20, 50)):
        customer = f"cus_{rng.randrange(12)}"
        at = rng.randrange(LATEST_S)
        events.append(shop.charge(at, customer=customer, amount=rng.randrange(500, 9900), failed=rng.random() < 0.2))
    for number in range(rng.randrange(1, 4)):
        at = rng.randrange(LATEST_S)
        events += [shop.charge(at + late, customer=f"cus_twice_{number}", amount=2900) for late in (0, 60)]
    if rng.random() < 0.7:
        at = rng.randrange(LATEST_S)
        events += [shop.charge(at + 30 * n, customer="cus_declined", failed=True) for n in range(6)]
    if rng.random() < 0.7:
        charge = shop.charge(rng.randrange(LATEST_S), customer="cus_refunded", amount=2000, refunded=5000)
        events.append(charge | {"type": "charge.refunded"})
    return events


def _deliveries(events: list[shop.Event], rng: Random) -> list[shop.Event]:
    """In another order than they happened, and some of them more than once."""
    deliveries = events + [event for event in events if rng.random() < 0.2]
    rng.shuffle(deliveries)
    return deliveries


@dataclass(frozen=True)
class Remains:
    """What is in the database at the end."""

    events: list[EventRow]
    log: list[LogEntry]
    incidents: list[Incident]
    outbox: list[tuple[str, str]]
    digests: dict[str, list[dict[str, Any]]]  # by channel, the evidence of each
    dead_letters: list[DeadLetter]


def _digests(database: sqlite3.Connection, channel: str) -> list[dict[str, Any]]:
    rows = database.execute("SELECT payload FROM outbox WHERE kind = 'digest' AND channel = ? ORDER BY id", (channel,))
    return [orjson.loads(payload)["evidence"] for (payload,) in rows]


async def reopened(world: World) -> Remains:
    """Read everything back through a store of its own."""
    driver = InlineDriver()
    store = SqliteStore(world.folder, driver=driver, ballast_bytes=0)
    store.name, store.mailbox = "store", reject(64)
    await store.start()
    try:
        return Remains(
            events=await store.events(tenant=None, since=None, after=0, limit=100_000),
            log=await store.read_log(0, 1_000_000),
            incidents=await store.incidents(tenant=None, limit=100_000),
            outbox=await driver.read(lambda db: db.execute("SELECT channel, key FROM outbox").fetchall()),
            digests={name: await driver.read(partial(_digests, channel=name)) for name in CHANNELS},
            dead_letters=await store.dead_letters(),
        )
    finally:
        await store.stop()
