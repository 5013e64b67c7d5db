"""A process that appends until it is killed and prints the id of every event the store has acknowledged."""

import asyncio
import sys
from pathlib import Path

import anyio

from actors.kernel.clock import chance
from tests.store.running import event, running

CALLERS = 16


async def main(data_dir: Path, run: str) -> None:
    """Ids are `evt_<run>_<caller>_<n>`; now and then one is sent twice."""
    rng = chance(int(run))

    async def caller(number: int) -> None:
        for n in range(1_000_000):
            new = event(f"evt_{run}_{number}_{n}", body=b"x" * rng.randrange(3_000))
            for _ in range(1 + (rng.random() < 0.1)):
                await store.append(new)
            sys.stdout.write(f"{new.event_id}\n")
            sys.stdout.flush()

    async with running(data_dir) as store, anyio.create_task_group() as tasks:
        for number in range(CALLERS):
            tasks.start_soon(caller, number)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
