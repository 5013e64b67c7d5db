"""The composition root: what the daemon is made of, who stands on whom, and how it lives and ends."""

import asyncio
import gc
import os
import signal
import socket
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import structlog

from actors.alerts.dispatcher import Dispatcher, Wake
from actors.alerts.incidents import IncidentBook
from actors.billing.backfill import Backfiller, Backfills
from actors.billing.digest import Digest
from actors.billing.listener import Listener
from actors.billing.listener import bind as bind_public
from actors.billing.lookups import Lookups
from actors.billing.scorer import Scorer
from actors.billing.stripe_api import Asked, Pace, Stripe
from actors.billing.tenant_watch import RETIRED
from actors.billing.ticker import Ticker
from actors.billing.watch import Watch
from actors.billing.webhook import Gate
from actors.kernel.actor import Actor
from actors.kernel.clock import Clock, Random, WallClock, chance, io_sleep
from actors.kernel.mailbox import Mailbox, conflate, drop_oldest, reject
from actors.kernel.supervisor import Supervisor
from actors.kernel.tree import Branch, Child, Fatal, Restart, Strategy, SupervisionEvent, child, supervisor
from actors.kernel.watchdog import Quarantine, Watchdog
from actors.store.janitor import Janitor
from actors.store.protocol import StoreUnavailable
from actors.store.records import Committed, Kind, NewEntry
from actors.store.store import SqliteStore
from config.errors import UserError
from config.load import unknown_names
from config.settings import Settings
from config.tenants import with_added
from config.types import host_port
from daemon import __version__, desk_start, report, systemd, wiring
from daemon.account_office import AccountOffice
from daemon.alarms import Alarms, alarm_box, of_store, of_supervision
from daemon.control import Control
from daemon.control import bind as bind_control
from daemon.desk_office import DeskOffice, OpenDesk
from daemon.logs import Logs
from daemon.office import Office
from daemon.reload import Reload
from daemon.revenue import Revenue

log = structlog.get_logger()

STORE_QUEUE = 4096
"""Writes that may wait for the disk; the gate answers 503 beyond."""

STORE_STUCK_S = 300.0
"""Checking and migrating a large database is one turn of the store; who waits for a full disk is not stuck either."""

READER_QUEUE = 16
"""Commits (of up to 256 entries) that wait in memory for the scorer; what is dropped is read from the log."""

RULES_AT_ONCE = 200
GC_ALLOCATIONS = 20_000
"""Allocations between two looks for cycles: events make few, and the standard 700 looks at each of them in vain."""


class RulesLogged(Actor[None]):
    """Stands between the scorer, who knows what the log says, and the door: no event meets the rules of yesterday."""

    def __init__(self, log_rules: Callable[[], Awaitable[None]]) -> None:
        self._log_rules = log_rules

    async def start(self) -> None:
        """Ready when the log knows."""
        await self._log_rules()


class Daemon:
    """The parts, made once; the tree keeps them alive. `run` until SIGTERM, SIGINT or `stop`."""

    def __init__(
        self,
        settings: Settings,
        *,
        public: list[socket.socket],
        control: socket.socket,
        clock: Clock,
        rng: Random,
        logs: Logs,
        config: Path | None = None,
        open_desk: "OpenDesk | None" = None,
    ) -> None:
        """`open_desk` makes what trades; None: nobody does, and nothing of it is imported."""
        self._configured = self._settings = settings  # as the file says; and with the tenants that were added to it
        self._logs = logs
        self._public, self._control = public, control
        self._clock, self._rng = clock, rng
        self._channels = wiring.channels(settings, clock)
        self._outbox: dict[str, Mailbox[Wake]] = {name: conflate(1) for name in self._channels}
        self._alarms = alarm_box()
        self._commits: Mailbox[Committed] = drop_oldest(READER_QUEUE)
        self.store = SqliteStore(settings.data_dir, on_trouble=self._on_store_trouble)
        self.gate = Gate(self.store, clock, wiring.tenants(settings), archive=settings.billing.store_raw)
        self._reload = Reload(settings, config, self._apply)
        self._backfills = Backfills(self.store, clock)
        self._paces: defaultdict[Asked, Pace] = defaultdict(Pace)
        self._accounts = AccountOffice(
            store=self.store,
            clock=clock,
            rng=rng,
            backfills=self._backfills,
            configured=lambda: self._configured,
            apply=lambda: self._apply(self._configured),
        )
        self.office = self._open_office()
        self._desk = open_desk(self.store, self._alarms.offer) if open_desk else None
        self.desk_office = DeskOffice(self.store, self._desk)
        self._quarantine = Quarantine(settings.data_dir / "quarantine")
        self._supervisor = Supervisor(
            self.tree(),
            clock=clock,
            rng=rng,
            observe=self._on_supervision,
            dead_letter=report.dead_letter,
            quarantine=self._quarantine,
        )
        self.office.staff = self._supervisor

    def _open_office(self) -> Office:
        return Office(
            store=self.store,
            clock=self._clock,
            version=__version__,
            rejected=lambda: sum(self.gate.refused.values()),
            reload=self._reload,
            channels=tuple(self._outbox),
            tenants=lambda: {tenant.name for tenant in self._settings.billing.tenants},
            wake=self._wake,
            logs=self._logs,
            revenue=Revenue(lambda: self._watch.tenants, lambda: self._settings.billing.mrr),
            before_restart=self._before_restart,
        )

    def tree(self) -> Branch:
        """Who is supervised by whom. Started from top to bottom, stopped from bottom to top: the door opens last."""
        store, one_for_one = self.store, Strategy.ONE_FOR_ONE
        dispatchers = (
            child(name, lambda name=name: self._dispatcher(name), mailbox=mailbox, stop_s=3)  # type: ignore[misc]
            for name, mailbox in self._outbox.items()
        )
        return supervisor(
            "nightdesk",
            one_for_one,
            child(
                "store",
                lambda: store,
                mailbox=reject(STORE_QUEUE),
                restart=Restart.NEVER,
                stop_s=10,
                stuck_s=STORE_STUCK_S,
                critical=True,
            ),
            child("alarms", lambda: Alarms(store, self._clock), mailbox=self._alarms, stuck_s=STORE_STUCK_S),
            child("janitor", self._janitor),
            child("control", lambda: Control(self._control, self.office, self._accounts, self.desk_office)),
            supervisor("alerts", one_for_one, *dispatchers),
            supervisor(
                "billing",
                one_for_one,
                # Each poisonous entry costs three crashes before it is put aside; state that cannot be read is made
                # again in one turn, from the whole log.
                child(
                    "scorer",
                    self._scorer,
                    mailbox=self._commits,
                    stop_s=5,
                    stuck_s=STORE_STUCK_S,
                    critical=True,
                    intensity=20,
                ),
                child("rules", lambda: RulesLogged(lambda: self._apply(self._configured))),
                child("ticker", lambda: Ticker(store, self._clock)),
                *self._digests(),
                child("listener", lambda: Listener(self.gate, self._public), stop_s=5, critical=True),
                child("backfill", lambda: self._asking(Backfiller), mailbox=self._backfills.asked),
                child("lookups", lambda: self._asking(Lookups), mailbox=drop_oldest(READER_QUEUE)),
            ),
            *([self._desk.tree()] if self._desk else []),
        )

    def _on_supervision(self, event: SupervisionEvent) -> None:
        report.supervision(event)
        if (alarm := of_supervision(event)) is not None:
            self._alarms.offer(alarm)
        if self._desk is not None:
            self._desk.heed(event)

    def _before_restart(self, actor: str) -> None:
        if self._desk is not None:
            self._desk.examine(actor)

    def _on_store_trouble(self, trouble: str | None) -> None:
        report.store_trouble(trouble)
        self._alarms.offer(of_store(trouble))

    def _janitor(self) -> Janitor:
        kept = self._settings.retention
        return Janitor(self.store, self._clock, keep_bodies_s=kept.bodies, keep_log_s=kept.log)

    def _dispatcher(self, name: str) -> Dispatcher:
        return Dispatcher(name, self._channels[name], self.store, self._clock, self._rng)

    def _scorer(self) -> Scorer:
        # A scorer that starts anew folds anew, from the snapshot on: nothing of its predecessor is kept.
        self._book = IncidentBook(wiring.routing(self._settings))
        self._watch = Watch(self._book, self.store.shelf)
        return Scorer(self.store, self._watch, self._clock, self._wake, self._backfills.look_into)

    def _digests(self) -> Iterator[Child]:
        if (every := self._settings.alerts.digest.every) is not None:
            yield child(
                "digest",
                lambda: Digest(
                    self.store,
                    self._clock,
                    every_s=every,
                    audience=lambda: wiring.routing(self._settings),
                    tenants=lambda: self._watch.tenants,
                    wake=self._wake,
                    desk=partial(self._desk.lines, ours=self._clock) if self._desk else lambda _since, _until: (),
                ),
            )

    def _asking(self, actor: type[Backfiller | Lookups]) -> Backfiller | Lookups:
        stripe = Stripe(self._clock, self._rng, self._settings.billing.api_url, self._paces)
        return actor(self._backfills, self.store, self._clock, self.gate, stripe)

    def _wake(self, channels: Iterable[str]) -> None:
        for name in channels:
            if name in self._outbox:
                self._outbox[name].offer(Wake())

    async def _apply(self, settings: Settings) -> None:
        """Put what the file says in force, and the tenants that were added to it.

        Raises UserError, and changes nothing, if the log is closed.
        """
        try:
            added = {one.name: one.settings for one in await self.store.accounts.tenants()}
            configured, (settings, _) = settings, with_added(settings, added)
            await self._log_rules(settings)
        except StoreUnavailable as error:
            raise UserError(f"the new settings could not be written to the log: {error}; nothing was changed") from None
        self._configured, self._settings = configured, settings
        self._logs.level = settings.logging.level
        self._book.reroute(wiring.routing(settings))
        self.gate.reconfigure(wiring.tenants(settings))
        self._backfills.reconfigure(wiring.accounts(settings))

    async def _log_rules(self, settings: Settings) -> None:
        """The rules are an input of every decision: where the log knows others, or none, it is told."""
        retired, now = dict.fromkeys(self._watch.configured, RETIRED), self._clock.now()
        told = [
            NewEntry(Kind.CONFIG, tenant, now, rules)
            for tenant, rules in (retired | wiring.rules(settings)).items()
            if self._watch.rules_of(tenant) != rules
        ]
        # Together, as far as the store's mailbox takes them: one by one, a thousand tenants are a thousand commits.
        for first in range(0, len(told), RULES_AT_ONCE):
            await asyncio.gather(*(self.store.append(entry) for entry in told[first : first + RULES_AT_ONCE]))

    async def run(self, *, ready: Callable[[], None] = lambda: None, obey_signals: bool = True) -> None:
        """Raises Fatal when the store has failed for good; its cause says why."""
        async with anyio.create_task_group() as tasks:
            if obey_signals:
                tasks.start_soon(self._obey_signals)
            tasks.start_soon(self._announce, ready)
            try:
                actors = [actor.name for actor in self._supervisor.status()]
                # Not in a test's process, and where systemd watches it is systemd that ends us.
                ours = obey_signals and systemd.watchdog_interval() is None
                give_up = systemd.start_anew if ours else None
                with Watchdog(self._quarantine, actors, give_up=give_up):
                    await self._supervisor.run()
            finally:
                tasks.cancel_scope.cancel()

    def stop(self) -> None:
        """End in order: the door first, the store last."""
        log.info("stopping")
        self.office.ready = False
        systemd.notify("STOPPING=1")
        self._supervisor.stop()

    async def _obey_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    await self._reload_on_signal()
                else:
                    self.stop()

    async def _reload_on_signal(self) -> None:
        systemd.reloading()
        try:
            log.info("config_reloaded", **await self._reload())
        except UserError as error:
            log.error("config_refused", faults=str(error).split("\nnightdesk: "))  # noqa: TRY400 - a sentence, no trace
        systemd.notify("READY=1")

    async def _announce(self, ready: Callable[[], None]) -> None:
        """Say when all stands, and from then on that it lives, as long as it does."""
        await self._supervisor.ready.wait()
        self.office.ready = True
        # What is there now stays: without it in every collection, collecting costs a tenth of the loop less.
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS)
        if not self._settings.billing.tenants and not self._settings.trading.enabled:
            log.warning("no_tenants", reason="nobody is watched; nightdesk init writes a first config")
        for key in wiring.without_effect(self._settings):
            log.warning("setting_without_effect", key=key, reason="not in this version")
        for name, reason in unknown_names(os.environ):
            log.warning("setting_unknown", key=name, reason=reason)
        log.info("ready", version=self.office.version, tenants=len(self._settings.billing.tenants))
        systemd.notify("READY=1")
        ready()
        interval = systemd.watchdog_interval()
        while interval is not None:
            if self._supervisor.healthy():
                systemd.notify("WATCHDOG=1")
            await io_sleep(interval)


@contextmanager
def sockets(settings: Settings) -> Iterator[tuple[list[socket.socket], socket.socket]]:
    """The public port (inherited from the service manager, else bound) and the control socket, which goes with us."""
    control = bind_control(settings.control.socket)
    try:
        public = systemd.inherited_sockets() or [bind_public(*host_port(settings.billing.listen))]
        yield public, control
        for one in public:
            one.close()
    finally:
        control.close()
        settings.control.socket.unlink(missing_ok=True)


def run_daemon(settings: Settings, config: Path | None, only: Sequence[str] = ()) -> int:
    """`nightdesk run`, with all strategies of the settings or `only` some; the exit code.

    Raises UserError where the user can mend it; 1: the store failed, and the log says why.
    """
    open_desk = desk_start.opener(settings, only)
    clock = WallClock()
    logs = Logs(settings.logging.level, settings.logging.format, clock)
    with sockets(settings) as (public, control):

        async def live() -> None:
            desk_clock = await desk_start.check(settings.trading, clock)
            await Daemon(
                settings,
                public=public,
                control=control,
                clock=clock,
                rng=chance(),
                logs=logs,
                config=config,
                open_desk=open_desk and partial(open_desk, desk_clock),
            ).run()

        return run_to_end(live)


def run_to_end(live: Callable[[], Awaitable[None]]) -> int:
    """A daemon's event loop, from beginning to end; the exit code."""
    failure: BaseException | None = None
    try:
        anyio.run(live)
    except* Fatal as group:
        failure = group.exceptions[0]
    if failure is None:
        return 0
    if isinstance(failure.__cause__, UserError):
        raise failure.__cause__
    log.critical("fatal", exc_info=failure)
    return 1
