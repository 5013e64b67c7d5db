"""The digest: at the end of each period one message a channel about what happened in it, or none."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Never, Protocol

import structlog
from anyio.lowlevel import checkpoint

from actors.billing.diary import DECLINED, PAID, Diary
from actors.billing.digest_text import Content, Figures, apology, payload
from actors.billing.ledger import DAY, Ledger
from actors.billing.trends import trends
from actors.kernel.actor import Actor
from actors.kernel.clock import SECOND, Clock
from actors.store.protocol import Store, StoreUnavailable
from actors.store.records import DAEMON, Incident, NewNotification, Severity, State

log = structlog.get_logger()

MONDAY = 4 * DAY
"""Periods are counted from the first Monday of 1970, so that a week is one as people know it. UTC."""

OVERLAP = 600 * SECOND
"""An incident is written down within seconds; so far back, those are looked for that the last digest could not see."""

RETRY_S = 5.0


class Route(Protocol):
    """A channel."""

    @property
    def channel(self) -> str:
        """Its name."""

    @property
    def min_severity(self) -> Severity:
        """What it carries."""


class Audience(Protocol):
    """Who hears of what, and when: what the digest needs of the routing."""

    @property
    def routes(self) -> Sequence[Any]:
        """The channels."""

    def of(self, incident: Incident) -> Iterator[Any]:
        """Those that an incident may be told on."""

    def serves(self, channel: str, tenant: str) -> bool:
        """Whether what concerns this tenant may be told there."""

    def left_to_digest(self, route: Any, severity: Severity, at: int) -> bool:
        """Whether an incident that opened then was told on that channel by nobody else."""

    def awake(self, severity: Severity, at: int) -> int:
        """When people may be disturbed, from `at` on."""


class Books(Protocol):
    """What is kept of a tenant."""

    @property
    def diary(self) -> Diary:
        """Its counts."""

    @property
    def ledger(self) -> Ledger:
        """Its subscriptions."""


@dataclass(slots=True)
class Mark:
    """Where the last digest ended: its time, its number, which incidents it knew, and where the counts stood."""

    until: int
    number: int = 0
    known: list[str] = field(default_factory=list)  # those of its last minutes, so that none is told twice
    open: list[str] = field(default_factory=list)
    totals: dict[str, dict[str, int]] = field(default_factory=dict)  # by tenant
    trends: dict[str, list[str]] = field(default_factory=dict)  # by tenant, those that were told


class Digest(Actor[Never]):
    """Writes digests into the outbox, together with the mark: so a period has one at most, whoever is killed when.

    A period that ends in quiet hours lasts until they end, and one in which nobody was there to end it until somebody
    is. It reads what the watch has concluded and adds nothing to it: a replay needs none.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        every_s: float,
        audience: Callable[[], Audience],
        tenants: Callable[[], Mapping[str, Books]],
        wake: Callable[[Iterable[str]], None],
        desk: Callable[[int, int], Sequence[str]] = lambda _since, _until: (),
    ) -> None:
        """`desk` says in lines what was traded from one time to another."""
        self._store = store
        self._clock = clock
        self._every = round(every_s * SECOND)
        self._audience = audience
        self._tenants = tenants
        self._wake = wake
        self._desk = desk

    async def start(self) -> None:
        """Go on from the mark; the first time, begin to count."""
        kept = await self._store.digests.mark()
        if kept is not None:
            self._mark = Mark(**kept)
        else:
            await self._file((), Mark(self._boundary(self._clock.now()), totals=self._totals()))

    async def run(self) -> None:
        """For ever."""
        while True:
            now = self._clock.now()
            self._mark.until = min(self._mark.until, now)  # the clock was set back: that time has not come yet
            due = self._audience().awake(Severity.INFO, self._boundary(self._mark.until) + self._every)
            if now < due:
                await self._clock.sleep_until(due)
                continue
            try:
                await self._store.scored((await self._store.status()).last_seq)
                with self.turn():
                    await self._tell(max(due, self._boundary(now)))
            except StoreUnavailable as error:
                log.warning("digest_waits", reason=str(error))
                await self._clock.sleep(RETRY_S)

    def _boundary(self, at: int) -> int:
        """The end of the last period before `at`, or `at`."""
        return at - (at - MONDAY) % self._every

    async def _tell(self, until: int) -> None:
        """End the period. All that happened in it has been scored."""
        mark, audience = self._mark, self._audience()
        found = await self._store.digests.incidents(mark.until - OVERLAP, mark.open)
        totals = self._totals()
        figures = [self._figures(name, totals[name], until) async for name in one_by_one(sorted(totals))]
        notifications = []
        for route in audience.routes:
            key = f"digest.{until // SECOND}.{mark.number + 1}.{route.channel}"
            try:
                content = self._content(route, audience, found, figures, until)
                message = self._message(route, audience, content, key)
            except Exception as error:
                # A fault of ours in one digest must not keep back the others, nor what was held for this one.
                log.exception("digest_fault", channel=route.channel)
                message = apology(error, key, self._clock.now())
            if message is not None:
                now = self._clock.now()
                tenant = message["tenant"]
                notifications.append(
                    NewNotification(key, route.channel, tenant, "digest", Severity.INFO, now, now, message)
                )
        after = Mark(
            until,
            mark.number + 1,
            known=[one.id for one in found if one.opened > until - OVERLAP],
            open=[one.id for one in found if one.state is State.OPEN],
            totals=totals,
            trends={one.tenant: [trend.name for trend in one.trends] for one in figures if one.trends},
        )
        await self._file(notifications, after)
        channels = [one.channel for one in notifications]
        self._wake(channels)
        (log.info if channels else log.debug)("digest", number=after.number, channels=channels)

    async def _file(self, notifications: Sequence[NewNotification], mark: Mark) -> None:
        await self._store.digests.file(notifications, asdict(mark))
        self._mark = mark

    def _content(
        self, route: Route, audience: Audience, found: Sequence[Incident], figures: Sequence[Figures], until: int
    ) -> Content:
        """What there is for one channel."""
        mark = self._mark
        known = {*mark.known, *mark.open}
        its = [one for one in found if any(route is other for other in audience.of(one))]
        opened = [one for one in its if one.id not in known and not one.false_positive]
        return Content(
            mark.until,
            until,
            opened=opened,
            ended=[one for one in its if one.id in mark.open and one.state is State.RESOLVED],
            open=[one for one in its if one.id in mark.open and one.state is State.OPEN],
            figures=[one for one in figures if audience.serves(route.channel, one.tenant)],
            desk=self._desk(mark.until, until) if audience.serves(route.channel, DAEMON) else (),
        )

    def _message(self, route: Route, audience: Audience, content: Content, key: str) -> dict[str, Any] | None:
        """A digest is info; on a channel that carries less, it comes only with what was kept from that channel."""
        carried = route.min_severity is Severity.INFO or any(
            audience.left_to_digest(route, one.severity, one.opened) for one in content.opened
        )
        return payload(content, key, self._clock.now()) if carried and not content.empty else None

    def _totals(self) -> dict[str, dict[str, int]]:
        return {name: dict(books.diary.totals) for name, books in self._tenants().items() if name != DAEMON}

    def _figures(self, tenant: str, totals: Mapping[str, int], until: int) -> Figures:
        books = self._tenants()[tenant]
        seen = trends(books.diary.days, until // DAY)
        told = self._mark.trends.get(tenant, ())
        return Figures(
            tenant,
            moved_since(self._mark.totals.get(tenant, {}), totals),
            dict(books.ledger.mrr),
            seen,
            [trend for trend in seen if trend.name not in told],
        )


async def one_by_one(names: Iterable[str]) -> AsyncIterator[str]:
    """With room in between for whoever else has something to do."""
    for name in names:
        yield name
        await checkpoint()


def moved_since(before: Mapping[str, int], totals: Mapping[str, int]) -> dict[str, int]:
    """What has been added; nothing where the totals were made again of a log that no longer reaches as far back."""
    if any(totals.get(word, 0) < before.get(word, 0) for word in (PAID, DECLINED)):
        return {}
    return {key: more for key, total in totals.items() if (more := total - before.get(key, 0))}
