"""What an operator may ask and tell the trading desk. Without a desk, every question says how to get one."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from actors.kernel.clock import io_sleep
from actors.store.alarm import Alarm
from actors.store.protocol import Store, StoreUnavailable
from config.errors import BadInput, UserError

if TYPE_CHECKING:  # it brings numpy, which the billing watch does without
    from daemon.trading import TradingDesk

Row = dict[str, Any]
OpenDesk: TypeAlias = "Callable[[Store, Callable[[Alarm], object]], TradingDesk]"
"""Makes the trading branch, in the loop that it is to live in."""

QUALITY = ("fills", "cost_bps", "model_bps", "tracking_error_bps")
ANSWER_WITHIN_S = 10.0
LOOK_EVERY_S = 0.02


class DeskOffice:
    """Answers from what the desk's actors hold in memory; an instruction is in the log before it is answered."""

    def __init__(self, store: Store, desk: "TradingDesk | None") -> None:
        self._store = store
        self._traded = desk

    @property
    def _desk(self) -> "TradingDesk":
        if self._traded is None:
            raise UserError("nothing is traded: trading.enabled is false")
        return self._traded

    # --- questions ---------------------------------------------------------------------------------------------------

    async def positions(self) -> Row:
        """What each strategy holds, at the newest quotes, and how the account stands."""
        desk = self._desk
        accounts, account = desk.broker.accounts, desk.standing.account
        rows = [
            self._position(desk, strategy, symbol)
            for strategy, purse in sorted(accounts.purses.items())
            for symbol in sorted(purse.stakes)
        ]
        return {
            "positions": rows,
            "account": {
                "capital": accounts.capital,
                "cash": accounts.cash,
                "equity": desk.risk.book.equity_of(""),
                "peak": desk.risk.book.peak,
                "broker_equity": None if account is None else account.equity,
                "broker_cash": None if account is None else account.cash,
                "reconciled": desk.standing.clear,
                "why_not": "" if desk.standing.clear else desk.standing.why,
                "halted": desk.risk.book.halted.get(""),
            },
        }

    def _position(self, desk: "TradingDesk", strategy: str, symbol: str) -> Row:
        stake, price = desk.broker.accounts.purses[strategy].stakes[symbol], desk.price(symbol)
        value = None if price is None else stake.quantity * price
        return {
            "strategy": strategy,
            "symbol": symbol,
            "quantity": stake.quantity,
            "entry_price": stake.average,
            "price": price,
            "value": value,
            "pnl": None if value is None else value - stake.cost,
        }

    async def strategies(self) -> Row:
        """How each strategy does, judged as a backtest is."""
        desk = self._desk
        return {"strategies": [self._strategy(desk, name) for name in self._names(desk)]}

    def _names(self, desk: "TradingDesk") -> Iterator[str]:
        """Those of the config, then those that only have a book still."""
        configured = [chosen.name for chosen in desk.plan.strategies]
        yield from configured
        yield from sorted(set(desk.broker.accounts.purses) - set(configured))

    def _strategy(self, desk: "TradingDesk", name: str) -> Row:
        accounts, runner = desk.broker.accounts, desk.runners.get(name)
        purse = accounts.purses.get(name)
        equity = None if purse is None else accounts.equity(name)
        row: Row = {
            "name": name,
            "state": _state(desk, name),
            "capital": None if purse is None else purse.capital,
            "cash": None if purse is None else purse.cash,
            "equity": equity,
            "return": None if purse is None or equity is None or not purse.capital else equity / purse.capital - 1,
            "positions": 0 if purse is None else len(purse.stakes),
            "trades": None,
            "sharpe": None,
            "max_drawdown": None,
            "win_rate": None,
            "expectancy": None,
            "verdict": None,
            "cost_bps": None,
            "model_bps": None,
            "tracking_error_bps": None,
            "error": None,
        }
        if runner is None or purse is None:
            return row
        metrics = runner.trader.record.metrics(purse.capital)
        judged = ("trades", "sharpe", "max_drawdown", "win_rate", "expectancy")
        row |= {key: getattr(metrics, key) for key in judged}
        row |= {key: getattr(runner.trader.quality, key) for key in QUALITY}
        row |= {key: getattr(runner.trader.quality, key) for key in ("cost_bps", "model_bps", "tracking_error_bps")}
        return row | {"verdict": metrics.verdict, "error": runner.trader.failure or None}

    # --- instructions ------------------------------------------------------------------------------------------------

    async def halt(self, body: Row, uid: int) -> Row:
        """Enter nothing more; exits and stops go on."""
        return await self._tell("halt", body, uid)

    async def resume(self, body: Row, uid: int) -> Row:
        """Enter again; a kill switch is measured from here."""
        return await self._tell("resume", body, uid)

    async def flatten(self, body: Row, uid: int) -> Row:
        """Sell everything and enter nothing more."""
        return await self._tell("flatten", body, uid)

    async def _tell(self, instruction: str, body: Row, uid: int) -> Row:
        from actors.trading.journal import encode  # noqa: PLC0415 - the desk's words come with the desk
        from actors.trading.words import Instruction, Told  # noqa: PLC0415 - as above

        desk = self._desk
        known = list(self._names(desk))
        # Whoever meant one must not reach all, by a variable that was empty or a key that was mistyped.
        for key, value in body.items():
            if key != "strategy" or value not in known:
                raise BadInput(f"no {key} is called {value!r}; there are: {', '.join(known)}")
        name = body.get("strategy", "")
        if name and instruction == "resume" and "" in desk.risk.book.halted:
            raise UserError("all strategies are halted: nightdesk resume, without a name, lifts that")
        told = Told(Instruction(instruction), name, desk.clock.now(), by=f"operator (uid {uid})")
        try:
            seq = await self._store.desk.append([encode(told)])
        except StoreUnavailable as error:
            raise UserError(f"the store cannot take it: {error}") from None
        with anyio.move_on_after(ANSWER_WITHIN_S) as waiting:
            while min(reader.position for reader in (desk.risk, desk.broker, *desk.runners.values())) < seq:
                await io_sleep(LOOK_EVERY_S)
        if waiting.cancelled_caught:
            raise UserError("it is written down, but not everyone has come to it yet; see nightdesk actors")
        concerned = [name] if name else known
        return {"instruction": instruction, "strategies": [self._strategy(desk, one) for one in concerned]}


def _state(desk: "TradingDesk", name: str) -> str:
    """running, halted, killed, failed (it hung, too), or retired: it has a book, and the config does not name it."""
    book = desk.risk.book
    runner = desk.runners.get(name)
    if name in desk.custody.absent or runner is None:
        return "failed" if any(chosen.name == name for chosen in desk.plan.strategies) else "retired"
    if "kill_switch" in (book.halted.get(name), book.halted.get("")):
        return "killed"
    if name in book.halted or "" in book.halted:
        return "halted"
    return "failed" if runner.trader.failure else "running"
