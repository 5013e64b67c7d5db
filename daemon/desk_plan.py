"""What the desk is to trade, as the settings say it: strategies, universe, costs, limits. All of it is checked here.

Imports numpy: only where trading is on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actors.trading.risk_rules import Limits
from actors.trading.trader import Rules
from config import settings as said
from config.errors import BadInput
from strategies.bars import parse_timeframe
from strategies.base import Strategy, Value
from strategies.lab.costs import Costs, parse_costs
from strategies.registry import NAMES, load
from strategies.sector_rotation import SectorRotation
from strategies.universe import Interval, read_membership, sectors_of

DELAYED_S = 900.0


@dataclass(frozen=True)
class Chosen:
    """One strategy with its parameters; `timeframe` of its bars in microseconds."""

    name: str
    kind: type[Strategy]
    params: Mapping[str, Value]
    timeframe: int
    make: Callable[[], Strategy]
    renewed: "Callable[[], Chosen]"
    """As its file says by now. Raises BadInput."""


@dataclass(frozen=True)
class DeskPlan:
    """The trading settings as plain values."""

    strategies: tuple[Chosen, ...]
    symbols: tuple[str, ...]
    sectors: Mapping[str, str]
    membership: Sequence[Interval] | None
    costs: Costs
    rules: Rules
    limits: Limits


def plan(trading: said.Trading, only: Sequence[str] = ()) -> DeskPlan:
    """With all strategies of the settings, or `only` some. Raises BadInput, naming the key or the file."""
    symbols = trading.universe.symbols
    sectors = sectors_of(symbols, trading.universe.sectors) if trading.universe.sectors else {}
    strategies = tuple(_choose(*choice, trading, sectors) for choice in _choices(trading, only))
    return DeskPlan(
        strategies,
        symbols,
        sectors,
        _membership(trading),
        _costs(trading.costs),
        Rules(trading.fraction, trading.max_positions, trading.risk.kill_switch_drawdown),
        limits_of(trading),
    )


def limits_of(trading: said.Trading) -> Limits:
    """The limits that no strategy can pass. Quotes of a delayed feed are as old as that when they come."""
    risk = trading.risk
    delay_s = DELAYED_S if trading.broker == "alpaca" and trading.feed == "delayed_sip" else 0.0
    return Limits(
        kill_switch_drawdown=risk.kill_switch_drawdown,
        daily_loss=risk.daily_loss,
        max_gross=risk.max_gross,
        max_symbol=risk.max_symbol,
        max_sector=risk.max_sector,
        max_orders_per_minute=risk.max_orders_per_minute,
        price_collar=risk.price_collar,
        stale_after_s=risk.stale_after + delay_s,
        cooldown_after_stop_s=risk.cooldown_after_stop,
    )


def _choices(trading: said.Trading, only: Sequence[str]) -> list[tuple[str, said.StrategyChoice, str]]:
    """Where each is said, what is said of it, and the name or path by which it is loaded."""
    own = _own_strategies(trading.strategies_dir)
    listed = (*NAMES, *own) if trading.strategies is None else trading.strategies
    choices = [said.StrategyChoice(name=one) if isinstance(one, str) else one for one in listed]
    found: dict[str, tuple[str, said.StrategyChoice, str]] = {}
    for index, choice in enumerate(choices):
        where = f"trading.strategies[{index}]"
        if choice.name in found:
            raise BadInput(f"{where}: {choice.name} is given twice")
        found[choice.name] = where, choice, _source(where, choice.name, own)
    for name in only:
        if name not in found:
            found[name] = "--strategy", said.StrategyChoice(name=name), _source("--strategy", name, own)
    return [found[name] for name in only] if only else list(found.values())


def _source(where: str, name: str, own: Mapping[str, Path]) -> str:
    if name in own:
        return str(own[name])
    if name in NAMES:
        return name
    raise BadInput(f"{where}: no strategy is called {name!r}; there are: {', '.join((*NAMES, *own))}")


def _own_strategies(folder: Path | None) -> dict[str, Path]:
    """The owner's files, by their names; one that cannot be imported is a fault even if nobody asked for it."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise BadInput(f"trading.strategies_dir: {folder}: no such folder")
    own: dict[str, Path] = {}
    for path in sorted(folder.glob("*.py")):
        if path.stem in NAMES:
            raise BadInput(f"{path}: one of the ten is called {path.stem} too; rename the file")
        if not path.name.startswith("_"):
            load(str(path))
            own[path.stem] = path
    return own


def _choose(
    where: str, choice: said.StrategyChoice, source: str, trading: said.Trading, sectors: Mapping[str, str]
) -> Chosen:
    try:
        kind = load(source)
        params = kind.check(choice.params)
        make = partial(_make, kind, trading.universe.symbols, params, sectors if trading.overlays else None)
        make()  # so that what its own code makes of these parameters is known now
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
    renewed = partial(_choose, where, choice, source, trading, sectors)
    return Chosen(choice.name, kind, params, parse_timeframe(kind.timeframe), make, renewed)


def _make(
    kind: type[Strategy], symbols: Sequence[str], params: Mapping[str, Value], sectors: Mapping[str, str] | None
) -> Strategy:
    overlays = [] if sectors is None else [SectorRotation(symbols, sectors=sectors)]
    return kind(symbols, [params], overlays)


def _membership(trading: said.Trading) -> list[Interval] | None:
    path = trading.universe.membership
    if path is None:
        return None
    intervals = read_membership(path)
    if not {interval.symbol for interval in intervals} & set(trading.universe.symbols):
        raise BadInput(f"{path}: has none of trading.universe.symbols")
    return intervals


def _costs(text: str) -> Costs:
    try:
        return parse_costs(text)
    except BadInput as error:
        raise BadInput(str(error).replace("--costs", "trading.costs", 1)) from error
