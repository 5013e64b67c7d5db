"""A process that commits minute after minute and moves them into the bar store now and then, until it is killed."""

import asyncio
import sys
from array import array
from pathlib import Path

from actors.kernel.clock import chance
from actors.store.desk_records import COLUMNS, BarBlock, DeskKind, NewDeskEntry
from actors.trading.archive import move_bars
from strategies.bar_store import BarStore
from tests.store.running import running

MINUTE = 60_000_000
START = 1_709_304_600_000_000  # 2024-03-01T14:50 UTC


def block(number: int, first: int) -> BarBlock:
    """Of a time every four days, so that months end; every seventh time comes again, with other numbers."""
    time = START + (number - number % 7 // 6) * 5_760 * MINUTE
    symbols = ("A", "B", "C")[: 1 + number % 3]
    columns = (array("q", [first + column * 10 + n for n in range(len(symbols))]) for column in range(len(COLUMNS)))
    return BarBlock("iex", "stream", MINUTE, time, symbols, *columns)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(data_dir: Path, seed: int) -> None:
    """Prints a line when it has begun and after each move."""
    rng = chance(seed)
    async with running(data_dir) as store:
        number = await store.desk.last_seq()
        say("begun")
        while True:
            for _ in range(1 + rng.randrange(5)):
                number += 1
                kind = DeskKind.REVISION if number % 7 == 6 else DeskKind.BLOCK
                await store.desk.append([NewDeskEntry(kind, START, block(number, 10_000 + number))])
            await move_bars(store.desk, BarStore(data_dir / "bars"), MINUTE)
            say("moved")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
