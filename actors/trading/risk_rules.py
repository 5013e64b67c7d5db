"""The rules an entry has to pass, each on its own, with the numbers it was measured on. Exits pass none: they go out.

Gates refuse, or let wait what may pass within seconds. Ceilings cut an entry's budget to what is left below them, as a
trader would; with less than a tenth of it left it is not worth its costs, and refused.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from actors.kernel.clock import SECOND
from actors.kernel.frozen import frozen
from actors.trading.accounts import PRICE_UNITS
from actors.trading.quotes import QuoteBoard
from actors.trading.risk_book import ACCOUNT, MINUTE, RiskBook, exchange_day
from actors.trading.standing import Standing
from actors.trading.words import Intent, Verdict

WAIT = MINUTE
"""How long an entry waits for what may pass by itself: a quote, the broker's answer, room in the minute's orders."""

SMALLEST = 1.0  # dollars; brokers refuse less
WORTHWHILE = 0.1  # of the budget
ROUNDING = 1e-9  # what sums of floats may differ by, as a fraction


@frozen
class Limits:
    """INTERFACES `trading.risk`: fractions of equity (the kill switch: of initial capital), seconds, counts."""

    kill_switch_drawdown: float = 0.15
    daily_loss: float = 0.03
    max_gross: float = 1.0
    max_symbol: float = 0.2
    max_sector: float = 0.5
    max_orders_per_minute: int = 60
    price_collar: float = 0.05
    stale_after_s: float = 180.0
    cooldown_after_stop_s: float = 7 * 86_400.0


@frozen
class Objection:
    """Why an entry may not go out, by which rule; `passing`: it may be otherwise in a moment."""

    rule: str
    numbers: str
    passing: bool = False


Held = tuple[str, str]
"""(who, what): a strategy or the account, and a symbol, a sector or EVERYTHING."""

EVERYTHING = "*"


@dataclass(slots=True)
class Desk:
    """What entries are judged by, all those of one moment: each that is allowed takes its room from the next."""

    limits: Limits
    book: RiskBook
    board: QuoteBoard
    standing: Standing
    sectors: Mapping[str, str]
    is_open: Callable[[int], bool]
    now: int
    exposure: defaultdict[Held, float] = field(default_factory=lambda: defaultdict(float))  # dollars
    claimed: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))  # dollars of entries in flight
    orders: int = 0

    def __post_init__(self) -> None:
        accounts = self.book.accounts
        for strategy, purse in accounts.purses.items():
            for symbol in purse.stakes:
                self._expose(strategy, symbol, accounts.worth(strategy, symbol))
        for claim in self.book.claims.values():
            self.claim(claim.strategy, claim.symbol, claim.budget)
        self.orders = sum(at > self.now - MINUTE for at in self.book.orders)

    def claim(self, strategy: str, symbol: str, budget: float) -> None:
        """That much is as good as spent."""
        self._expose(strategy, symbol, budget)
        self.claimed[strategy] += budget
        self.claimed[ACCOUNT] += budget

    def _expose(self, strategy: str, symbol: str, dollars: float) -> None:
        for who in (strategy, ACCOUNT):
            for what in (symbol, EVERYTHING, *self.sector(symbol)):
                self.exposure[who, what] += dollars

    def sector(self, symbol: str) -> list[str]:
        """What its sector is counted under, where it has one."""
        return [f"sector:{self.sectors[symbol]}"] if symbol in self.sectors else []


def judge(intent: Intent, desk: Desk) -> Verdict | None:
    """The verdict on an entry, which then has its claim; None: wait."""
    for gate in GATES:
        objection = gate(intent, desk)
        if objection is not None:
            if objection.passing and desk.now < intent.at + WAIT:
                return None
            return _refused(intent, objection, desk.now)
    wanted = budget = intent.budget or 0.0
    for ceiling in _ceilings(intent, desk):
        if budget > ceiling.dollars + ROUNDING * wanted:
            budget = ceiling.dollars
            if budget < max(SMALLEST, WORTHWHILE * wanted):
                return _refused(intent, Objection(ceiling.rule, ceiling.numbers), desk.now)
    desk.claim(intent.strategy, intent.symbol, budget)
    desk.orders += 1
    return Verdict(intent.id, allowed=True, at=desk.now, budget=budget)


def _refused(intent: Intent, objection: Objection, now: int) -> Verdict:
    return Verdict(intent.id, allowed=False, at=now, rule=objection.rule, numbers=objection.numbers)


# --- gates -----------------------------------------------------------------------------------------------------------


def _is_halted(intent: Intent, desk: Desk) -> Objection | None:
    for who in (ACCOUNT, intent.strategy):
        if who in desk.book.halted:
            return Objection("halted", f"{who or 'all strategies'} halted by {desk.book.halted[who]}")
    return None


def _has_fallen(_intent: Intent, desk: Desk) -> Objection | None:
    if not desk.book.fallen:
        return None
    return Objection(
        "kill_switch",
        f"the account is {desk.book.drawdown():.1%} of its capital below its peak of {desk.book.peak:,.2f}; "
        f"the limit is {100 * desk.limits.kill_switch_drawdown:g}%",
    )


def _lost_today(intent: Intent, desk: Desk) -> Objection | None:
    book = desk.book
    for who in (ACCOUNT, intent.strategy):
        # The book's day begins with its first block; entries of the morning before that are not yesterday's.
        if who in book.lost and exchange_day(desk.now) <= book.day:
            return Objection(
                "daily_loss",
                f"{who or 'the account'} has lost {book.lost[who]:,.2f} of {book.opening[who]:,.2f} today; "
                f"the limit is {100 * desk.limits.daily_loss:g}%",
            )
    return None


def _is_funded(intent: Intent, desk: Desk) -> Objection | None:
    if intent.strategy in desk.book.accounts.purses:
        return None
    return Objection("capital", f"{intent.strategy} has no capital yet", passing=True)


def _can_trade(intent: Intent, desk: Desk) -> Objection | None:
    if not desk.is_open(desk.now):
        # After a restart the calendar comes a moment later than the wishes of the life before.
        return Objection("session", "the exchange is closed", passing=True)
    if intent.symbol in desk.board.halted:
        return Objection("halt", f"trading in {intent.symbol} is halted")
    return None


def _is_in_touch(_intent: Intent, desk: Desk) -> Objection | None:
    if not desk.standing.clear:
        return Objection("broker", desk.standing.why, passing=True)
    if not desk.board.trusted:
        return Objection("stale_after", "bars are missing, or the feed is silent", passing=True)
    if desk.standing.account is not None and desk.standing.account.blocked:
        return Objection("broker", "the broker has blocked the account")
    return None


def _has_a_price(intent: Intent, desk: Desk) -> Objection | None:
    limit = desk.limits.stale_after_s
    quote = desk.board.newest(intent.symbol)
    if quote is None:
        return Objection("stale_after", f"there is no quote of {intent.symbol}", passing=True)
    if not quote.valid:
        return Objection(
            "price_collar", f"bid {quote.bid / PRICE_UNITS} and ask {quote.ask / PRICE_UNITS}", passing=True
        )
    age = (desk.now - quote.time) / SECOND
    if age > limit:
        return Objection("stale_after", f"the last quote is {age:.0f} s old; the limit is {limit:g} s", passing=True)
    return None


def _is_in_the_collar(intent: Intent, desk: Desk) -> Objection | None:
    quote = desk.board.newest(intent.symbol)
    assert quote is not None  # noqa: S101 - the gate before has seen to it
    price, limit = quote.ask / PRICE_UNITS, desk.limits.price_collar
    references = {"decided at": intent.mid, "last close": desk.book.accounts.closes.get(intent.symbol)}
    for name, reference in references.items():
        if reference and abs(off := price / reference - 1) > limit + ROUNDING:
            return Objection(
                "price_collar",
                f"ask {price:.4f} is {off:+.2%} from {name} {reference:.4f}; {100 * limit:g}% is the limit",
            )
    return None


def _has_cooled_down(intent: Intent, desk: Desk) -> Objection | None:
    stopped = desk.book.stopped_out.get((intent.strategy, intent.symbol))
    if stopped is None or desk.now - stopped >= desk.limits.cooldown_after_stop_s * SECOND:
        return None
    hours = (desk.now - stopped) / (60 * MINUTE)
    limit = desk.limits.cooldown_after_stop_s / 3600
    return Objection("cooldown_after_stop", f"stopped out of {intent.symbol} {hours:.1f} h ago; {limit:g} h must pass")


def _keeps_the_pace(_intent: Intent, desk: Desk) -> Objection | None:
    limit = desk.limits.max_orders_per_minute
    if desk.orders < limit:
        return None
    return Objection(
        "max_orders_per_minute", f"{desk.orders} orders in the last minute; the limit is {limit}", passing=True
    )


GATES = (
    _is_halted,
    _has_fallen,
    _lost_today,
    _can_trade,
    _has_cooled_down,
    _is_funded,
    _is_in_touch,
    _has_a_price,
    _is_in_the_collar,
    _keeps_the_pace,
)


# --- ceilings --------------------------------------------------------------------------------------------------------


@frozen
class _Ceiling:
    rule: str
    dollars: float
    numbers: str


def _ceilings(intent: Intent, desk: Desk) -> Iterator[_Ceiling]:
    """What the entry may cost at most, by each rule."""
    limits, book = desk.limits, desk.book
    shares = {EVERYTHING: ("max_gross", limits.max_gross), intent.symbol: ("max_symbol", limits.max_symbol)}
    shares |= dict.fromkeys(desk.sector(intent.symbol), ("max_sector", limits.max_sector))
    for who in (intent.strategy, ACCOUNT):
        equity = book.equity_of(who)
        for what, (rule, share) in shares.items():
            held = desk.exposure[who, what]
            numbers = (
                f"{who or 'the account'} has {held:,.2f} of {equity:,.2f} in {what}; the limit is {100 * share:g}%"
            )
            yield _Ceiling(rule, share * equity - held, numbers.replace(f"in {EVERYTHING}", "invested"))
    cash = book.accounts.purses[intent.strategy].cash - desk.claimed[intent.strategy]
    yield _Ceiling("buying_power", cash, f"{intent.strategy} has {cash:,.2f} to spend")
    power = desk.standing.buying_power(book.accounts.cash - desk.claimed[ACCOUNT])
    if power is not None:
        yield _Ceiling("buying_power", power, f"the broker lets us spend {power:,.2f}")
