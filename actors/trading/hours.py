"""When the exchange is open: the broker's own calendar, and the exchange's rules where it does not answer."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import structlog

from actors.kernel.clock import SECOND
from actors.trading.ports import MarketData, Refused, Session, Unreachable
from config.errors import UserError
from strategies.sessions import DAY, HOUR, sessions_between

AHEAD_DAYS = 7
BEHIND_DAYS = 10  # more than the longest pause between two sessions

Heed = Callable[[date, date, Mapping[date, tuple[int, int]]], None]
"""First and last day, both included, and open and close of those on which there is a session."""

log = structlog.get_logger()


class Hours:
    """The sessions around now, as of the last `refresh`. Until one has worked, the exchange's published rules hold."""

    def __init__(self, market: MarketData, heed: Heed | None = None) -> None:
        """`heed` is told what the broker says of which days."""
        self._market = market
        self._heed = heed
        self._sessions: Sequence[Session] = ()
        self._ask_at = 0

    async def refresh(self, now: int) -> None:
        """Have the calendar of the days around `now`; asks the broker once a day, and hourly while it does not say."""
        if now < self._ask_at:
            return
        first, last = date_of(now, -BEHIND_DAYS), date_of(now, AHEAD_DAYS)
        try:
            self._sessions = await self._market.sessions(first, last)
            self._ask_at = now + DAY
            self._pass_on(first, last)
        except (Unreachable, Refused) as error:
            log.warning("calendar_by_rule", reason=str(error))
            self._sessions = sessions_by_rule(first, last)
            self._ask_at = now + HOUR

    def _pass_on(self, first: str, last: str) -> None:
        if self._heed is None:
            return
        told = {date.fromisoformat(one.date): (one.open, one.close) for one in self._sessions}
        try:
            self._heed(date.fromisoformat(first), date.fromisoformat(last), told)
        except (OSError, UserError) as error:
            log.warning("calendar_not_kept", reason=str(error))

    def is_open(self, now: int) -> bool:
        """Whether a session is in progress."""
        return self.current(now) is not None

    def current(self, now: int) -> Session | None:
        """The session in progress."""
        return next((session for session in self._sessions if session.open <= now < session.close), None)

    def silent_at(self, heard: int, after_s: float) -> int | None:
        """When silence since `heard` will be, or was, too long; counted while the exchange is open."""
        ends = ((max(heard, one.open) + after_s * SECOND, one) for one in self._sessions if one.close > heard)
        return min((int(end) for end, one in ends if end < one.close), default=None)

    def next_bar(self, after: int, timeframe: int) -> int | None:
        """Start of the first bar that begins later than `after`, in a session and counted from its open."""
        for one in self._sessions:
            start = one.open + max(0, (after - one.open) // timeframe + 1) * timeframe
            if start < one.close:
                return start
        return None


def date_of(at: int, days: int = 0) -> str:
    """YYYY-MM-DD (UTC), so many days later."""
    return (datetime.fromtimestamp(at / SECOND, UTC) + timedelta(days=days)).date().isoformat()


def rfc3339(at: int) -> str:
    """Microseconds as text."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at % SECOND:06d}Z"


def sessions_by_rule(first: str, last: str) -> list[Session]:
    """The exchange's days from date to date, both included, by its published rules."""
    table = sessions_between(np.datetime64(first), np.datetime64(last))
    rows = zip(table.dates.astype(str), table.opens.tolist(), table.closes.tolist(), strict=True)
    return [Session(str(date), opens, closes) for date, opens, closes in rows if first <= str(date) <= last]
