"""The daemon of `benchmarks.burst`: at another time, and its made-up market has no past to be warmed up with."""

import sys
from collections.abc import Collection

from actors.kernel import clock
from actors.simulated.exchange.ports import SimulatedMarket
from actors.trading.ports import Bar
from tests.process.at_another_time import OtherClock


async def nothing(_market: SimulatedMarket, _symbols: Collection[str], *_times: int) -> list[Bar]:
    """In the place of its history."""
    return []


if __name__ == "__main__":
    began, shows, speed = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    clock.WallClock = lambda: OtherClock(began, shows, speed)  # type: ignore[misc,assignment]
    SimulatedMarket.history = nothing  # type: ignore[method-assign,assignment]
    from daemon.cli import main

    raise SystemExit(main(sys.argv[4:]))
