"""The risk manager: says to every intent whether it may go out, and sells everything when too much is lost."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import orjson

from actors.kernel.clock import SECOND, Clock
from actors.store.alarm import UNTIL_RESOLVED_S, Alarm
from actors.store.desk_records import DeskEntry, NewDeskEntry, Parts
from actors.store.protocol import Store
from actors.store.records import Severity
from actors.trading.journal import encode
from actors.trading.quotes import QuoteBoard
from actors.trading.reader import DeskReader
from actors.trading.risk_book import ACCOUNT, KILL_SWITCH, RiskBook
from actors.trading.risk_rules import Desk, Limits, judge
from actors.trading.standing import Standing
from actors.trading.words import Instruction, IntentOver, Purpose, Told, Verdict

READER = "risk"
VERSION = 1
PART = "book"
AGAIN = SECOND  # an entry that waits is looked at anew this often, even if nothing is heard
NEWS_S = 3600
"""A refusal older than this is no news after a restart."""

SEVERITIES = {"daily_loss": Severity.WARNING, "broker": Severity.WARNING, "buying_power": Severity.WARNING}
"""Of other refusals the digest tells: the limit does what it is there for."""

UNREMARKABLE = frozenset({"halted", "kill_switch"})
"""Rules whose cause is an incident of its own, or the operator's word."""


class RiskDesk(DeskReader):
    """No verdict, no order: while this actor is down, nothing goes out. Any message wakes it to look again."""

    def __init__(
        self,
        limits: Limits,
        store: Store,
        clock: Clock,
        board: QuoteBoard,
        standing: Standing,
        *,
        is_open: Callable[[int], bool],
        sectors: Mapping[str, str],
        alarm: Callable[[Alarm], object],
    ) -> None:
        """`is_open` tells whether the exchange trades at a moment; `sectors` the sector of each symbol that has one."""
        super().__init__(READER, store, clock)
        self.book = RiskBook(limits.kill_switch_drawdown, limits.daily_loss)
        self._limits = limits
        self._board = board
        self._standing = standing
        self._is_open = is_open
        self._sectors = sectors
        self._alarm = alarm
        self._killed: set[str] = set()  # of whom people were told
        self._waiting = False

    def restore(self, parts: Parts) -> bool:
        """As `DeskReader`."""
        self.book = RiskBook(self._limits.kill_switch_drawdown, self._limits.daily_loss)
        if PART not in parts:
            return True
        version, state = parts[PART]
        if version != VERSION:
            return False
        self.book.load(orjson.loads(state))
        return True

    def save(self) -> Parts:
        """As `DeskReader`."""
        return {PART: (VERSION, orjson.dumps(self.book.save()))}

    def fold(self, entry: DeskEntry) -> None:
        """As `DeskReader`."""
        self.book.fold(entry)

    def decide(self) -> Sequence[NewDeskEntry]:
        """A verdict on every intent that need not wait; and once, that everything is to be sold."""
        now = self.clock.now()
        entries: list[NewDeskEntry] = []
        if self.book.fallen and self.book.halted.get(ACCOUNT) != KILL_SWITCH:
            entries.append(encode(Told(Instruction.FLATTEN, ACCOUNT, now, KILL_SWITCH)))
        self._waiting = False
        if self.book.unjudged:
            entries += self._verdicts(now)
        return entries

    def _verdicts(self, now: int) -> list[NewDeskEntry]:
        entries: list[NewDeskEntry] = []
        desk = Desk(self._limits, self.book, self._board, self._standing, self._sectors, self._is_open, now)
        for intent in self.book.unjudged.values():
            if intent.purpose is Purpose.LEAVE:
                verdict: Verdict | None = Verdict(intent.id, allowed=True, at=now)
            else:
                verdict = judge(intent, desk)
            if verdict is None:
                self._waiting = True
                continue
            entries.append(encode(verdict))
            if not verdict.allowed:
                why = f"{verdict.rule}: {verdict.numbers}"
                entries.append(encode(IntentOver(intent.id, intent.strategy, "refused", now, why)))
        return entries

    def due(self) -> int | None:
        """When those who wait are looked at again."""
        return self.clock.now() + AGAIN if self._waiting else None

    async def hear(self, message: object) -> None:
        """Quotes or the standing have changed: there is nothing to remember, only to look again."""

    async def settled(self) -> None:
        """Tell people what is refused, and who was stopped."""
        self._tell_refusals()
        killed = {who for who, by in self.book.halted.items() if by == KILL_SWITCH}
        for who in killed - self._killed:
            self._alarm(self._kill_alarm(who))
        for who in self._killed - killed:
            self._alarm(Alarm("kill_switch", who or "account", None))
        self._killed = killed

    def _tell_refusals(self) -> None:
        refusals, self.book.refusals = self.book.refusals, []
        news = [one for one in refusals if one[1].at > self.clock.now() - NEWS_S * SECOND]
        newest = {(intent.strategy, verdict.rule): (intent, verdict) for intent, verdict in news}
        counts = Counter((intent.strategy, verdict.rule) for intent, verdict in news)
        for (strategy, rule), (intent, verdict) in newest.items():
            if rule not in UNREMARKABLE:
                self._alarm(refused(strategy, intent.symbol, rule, verdict.numbers, counts[strategy, rule]))

    def _kill_alarm(self, who: str) -> Alarm:
        book = self.book
        capital = book.accounts.purses[who].capital if who in book.accounts.purses else book.accounts.capital
        equity = book.equity_of(who) if who in ("", *book.accounts.purses) else None
        left = "" if equity is None else f"{equity:,.2f} of {capital:,.2f} is left; "
        share = self._limits.kill_switch_drawdown
        limit = f"it had fallen by {100 * share:g}% of its capital or more from its peak"
        return Alarm(
            "kill_switch",
            who or "account",
            f"{who or 'The account'} was stopped and is being sold: {left}{limit}",
            Severity.CRITICAL,
            first=f"nightdesk positions shows what is left; once you know why: nightdesk resume{who and ' '}{who}",
            # A strategy's own peak is its runner's to know.
            evidence={"equity": None if equity is None else round(equity, 2), "limit": share}
            | ({} if who else {"peak": round(book.peak, 2)}),
            quiet_s=UNTIL_RESOLVED_S,
        )


def refused(strategy: str, symbol: str, rule: str, numbers: str, count: int) -> Alarm:
    """What people hear of `count` entries that a rule kept from going out, by the newest of them."""
    return Alarm(
        "risk_refusals",
        strategy,
        f"{strategy} may not enter {symbol}: {numbers}",
        SEVERITIES.get(rule, Severity.INFO),
        first=f"Is the limit what you want ({rule}, under trading.risk)? Exits are never refused.",
        evidence={"rule": rule, "numbers": numbers, "refused": count},
    )
