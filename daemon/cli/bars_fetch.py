"""`nightdesk fetch-bars`: from options to what the store lacks, and how far it has come."""

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import date

import anyio

from actors.kernel.clock import Clock, WallClock
from actors.trading.fetching import FROM, LENGTHS, fetch, missing
from actors.trading.hours import date_of
from actors.trading.ports import Refused, Session, Unreachable
from config.errors import BadInput, UserError
from config.load import load
from config.settings import Trading
from daemon.cli.bar_source import handing_over, store_of, time_text
from daemon.cli.tables import counted, emit
from daemon.desk_check import ports, wrong_keys
from daemon.logs import Logs
from strategies.bar_store import BarStore, Source
from strategies.bars import parse_timeframe, timeframe_text
from strategies.sessions import MINUTE

SETTLED = 20 * MINUTE
"""After the close, until a session's bars are final."""

SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,11}")


def run(arguments: argparse.Namespace) -> int:
    """Fetch what is missing. Exit 2 for wrong keys and options, 1 where Alpaca does not answer."""
    Logs("warning", "console", WallClock())
    trading = load(arguments.config).trading
    timeframe = parse_timeframe(arguments.timeframe)
    if timeframe not in LENGTHS:
        lengths = ", ".join(timeframe_text(length) for length in LENGTHS)
        raise BadInput(f"--timeframe: {arguments.timeframe}: fetch one of {lengths}; the lab puts longer ones together")
    if (wrong := wrong_keys(trading)) is not None:
        raise BadInput(str(wrong))
    symbols = _symbols(arguments.tickers, trading)
    store = store_of(arguments.store, arguments.config)
    try:
        with handing_over(store, arguments.store):
            told = anyio.run(_fetch, trading, store, timeframe, symbols, _days(arguments.period))
    except Refused as error:
        raise BadInput(f"Alpaca refuses: {error}; check trading.key_id, secret_key and feed") from error
    except Unreachable as error:
        raise UserError(f"{error}; what has come is kept, and the same command goes on from there") from error
    if arguments.json:
        emit({"store": str(store.folder), **told})
    else:
        what = f"{told['bars']:,} bars of {told['timeframe']} of {counted(len(symbols), 'symbol')} from {told['feed']}"
        print(f"{what}: {store.folder}" if told["bars"] else f"nothing was missing: {store.folder}")
    return 0


async def _fetch(
    trading: Trading, store: BarStore, timeframe: int, symbols: Sequence[str], days: int
) -> dict[str, object]:
    clock = WallClock()
    market, broker = ports(trading, clock)
    try:
        if strangers := await market.unknown(symbols):
            raise BadInput(f"--tickers: Alpaca does not trade {', '.join(strangers[:5])}; take them out")
        sessions = await market.sessions(date_of(clock.now(), -days), date_of(clock.now()))
        steps = missing(store, market.feed, timeframe, symbols, _over(sessions, clock))
        source = Source(f"{FROM} {market.asked_feed}", time_text(clock.now()), "fetch-bars")
        bars = await fetch(market, store, timeframe, steps, source, lambda number: _progress(number, len(steps)))
    finally:
        market.close()
        broker.close()
    return {"feed": market.feed, "timeframe": timeframe_text(timeframe), "symbols": list(symbols), "bars": bars}


def _over(sessions: Sequence[Session], clock: Clock) -> list[Session]:
    return [session for session in sessions if session.close + SETTLED <= clock.now()]


def _progress(number: int, count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{number / count:4.0%}", end="" if number < count else "\n", file=sys.stderr, flush=True)


def _symbols(tickers: str | None, trading: Trading) -> list[str]:
    if tickers is None:
        return sorted(trading.universe.symbols)
    symbols = sorted({ticker.strip().upper() for ticker in tickers.split(",") if ticker.strip()})
    if not symbols:
        raise BadInput("--tickers: at least one symbol is needed")
    for symbol in symbols:
        if not SYMBOL.fullmatch(symbol):
            raise BadInput(f"--tickers: {symbol!r} is not a symbol")
    return symbols


def _days(period: str) -> int:
    """Of 90d, 12w or 2y, or since a date."""
    if found := re.fullmatch(r"(\d{1,5})([dwy])", period):
        return int(found[1]) * {"d": 1, "w": 7, "y": 365}[found[2]]
    try:
        since = date.fromisoformat(period)
    except ValueError:
        raise BadInput(f"--period: {period!r}: 90d, 12w, 2y or the first date, YYYY-MM-DD") from None
    days = (date.fromisoformat(date_of(WallClock().now())) - since).days
    if days < 1:
        raise BadInput(f"--period: {period}: is not in the past")
    return days
