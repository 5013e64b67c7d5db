"""The simulated exchange as a program of its own."""

import signal
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio

from actors.kernel.clock import ScaledClock, WallClock
from actors.simulated.exchange import wire
from actors.simulated.exchange.faults import FAULTS, FaultPlan
from actors.simulated.exchange.generator import Synthetic
from actors.simulated.exchange.in_minutes import InMinutes
from actors.simulated.exchange.server import KEY_ID, SECRET_KEY, ExchangeServer
from actors.simulated.exchange.tape import Recorded, Tape
from actors.simulated.exchange.ticker import last_open
from actors.simulated.exchange.venue import Venue
from config.errors import BadInput, UserError
from strategies.bar_files import read_bars
from strategies.sessions import MINUTE

HOST = "127.0.0.1"
FASTEST = 100_000


def explain_faults() -> str:
    """What each fault does, a line each."""
    width = max(map(len, FAULTS))
    return "\n".join(f"{name:<{width}}  {what}" for name, what in FAULTS.items())


def serve(port: int, faults: Sequence[str], seed: int, speed: float, bars: Path | None) -> int:
    """Serve until SIGINT or SIGTERM. Raises UserError for a port that is taken, BadInput for what cannot be played."""
    if not 0 < speed <= FASTEST:
        raise BadInput(f"--speed: must be more than 0 and at most {FASTEST}")
    if not 0 <= port <= 65535:
        raise BadInput("--port: must be between 0 and 65535")
    plan = FaultPlan(faults, seed)
    tape: Tape = _recording(bars) if bars else Synthetic(seed=seed)
    start = (_begin(bars, tape) if bars else last_open(WallClock().now())) - MINUTE
    clock = ScaledClock(start, speed)
    with _bound(port) as sock:
        address = f"{HOST}:{sock.getsockname()[1]}"
        print(_welcome(address, tape, start, speed, faults), flush=True)
        venue = Venue(tape, clock, seed=seed, faults=plan)
        server = ExchangeServer(venue, clock, speed=speed, say=partial(print, flush=True))

        async def live() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(server.run, sock)
                    async for _ in signals:
                        tasks.cancel_scope.cancel()

        anyio.run(live)
    return 0


def _recording(path: Path) -> Tape:
    bars = read_bars(path)
    tape = Recorded(bars)
    return tape if bars.timeframe == MINUTE else InMinutes(tape)


def _begin(path: Path, tape: Tape) -> int:
    first = next(tape.moments(), None)
    if first is None:
        raise BadInput(f"{path}: has no bar in the exchange's hours")
    return first.time


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reason = (error.strerror or str(error)).split(" (")[0].lower()
        raise UserError(f"--port: {HOST}:{port}: {reason}; choose another") from error


def _welcome(address: str, tape: Tape, start: int, speed: float, faults: Sequence[str]) -> str:
    return "\n".join(
        (
            "Alpaca's API, simulated: nothing here is real money or a price of today. Ctrl-C ends it.",
            f"  trading and data    http://{address}",
            f"  stream of data      ws://{address}/v2/iex",
            f"  stream of updates   ws://{address}/stream",
            f"  key id, secret key  {KEY_ID} {SECRET_KEY}",
            f"  symbols             {' '.join(tape.symbols)} (feed: {tape.feed})",
            f"  time there          {wire.local_stamp(start)}, {speed:g} times as fast as here",
            f"  faults              {', '.join(faults) or 'none'}",
        )
    )
