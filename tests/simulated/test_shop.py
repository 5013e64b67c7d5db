"""The shop delivers as Stripe does: signed, more than once, out of order, and again until it is taken."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import orjson
from aiohttp import web

from actors.billing.signature import Seal, examine
from actors.kernel.clock import SECOND, Clock, chance, io_sleep
from actors.simulated.business import Business
from actors.simulated.shop import Shop
from tests.billing.gatehouse import SECRET, gatehouse
from tests.patience import PatientClock

NOON = 1_790_000_000 // 86_400 * 86_400 + 43_200


@asynccontextmanager
async def endpoint(answer: Callable[[web.BaseRequest], Awaitable[int]]) -> AsyncIterator[str]:
    async def handle(request: web.BaseRequest) -> web.Response:
        return web.Response(status=await answer(request))

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site.port}/hook"
    finally:
        await runner.cleanup()


def shop(url: str, clock: Clock, *, busy: float = 4.0) -> Shop:
    rng = chance(3)
    return Shop(url, SECRET.decode(), clock=clock, rng=rng, business=Business(rng, NOON, busy=busy))


async def test_the_gate_takes_everything_and_keeps_each_event_once(tmp_path: Path) -> None:
    clock = PatientClock(NOON * SECOND, speed=1_200)
    async with gatehouse(tmp_path, clock=clock) as house:
        peer = shop(f"http://127.0.0.1:{house.port}/webhook/acme-token-1", clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.run)
            while (status := await house.store.status()).stored < 100 or not status.duplicates:
                await io_sleep(0.02)
            tasks.cancel_scope.cancel()
        status = await house.store.status()
    assert peer.rejected == 0
    assert peer.delivered == status.stored + status.duplicates


async def test_what_is_not_taken_comes_again_freshly_signed() -> None:
    clock = PatientClock(NOON * SECOND, speed=3_600)
    attempts: Counter[str] = Counter()
    taken: set[str] = set()
    signatures: set[str] = set()
    answers = iter([503, 429, 500, 400] * 1_000)

    async def reluctant(request: web.BaseRequest) -> int:
        body = await request.read()
        signature = request.headers["Stripe-Signature"]
        # Half a minute of real time, so that a slow machine does not fail what is no failure.
        assert any(
            examine(signature, body, [SECRET], clock.now() - back * 300 * SECOND) is Seal.GENUINE for back in range(100)
        )
        signatures.add(signature)
        event_id = orjson.loads(body)["id"]
        attempts[event_id] += 1
        if attempts[event_id] < 3:
            return next(answers)
        taken.add(event_id)
        return 200

    async with endpoint(reluctant) as url:
        peer = shop(url, clock, busy=0.5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.run)
            while len(taken) < 30:
                await clock.sleep(60)
            tasks.cancel_scope.cancel()
    assert peer.delivered >= 30
    assert len(signatures) == attempts.total()


async def test_some_events_overtake_others_and_some_come_twice() -> None:
    clock = PatientClock(NOON * SECOND, speed=3_600)
    created: list[int] = []
    ids: list[str] = []

    async def willing(request: web.BaseRequest) -> int:
        event = orjson.loads(await request.read())
        created.append(event["created"])
        ids.append(event["id"])
        return 200

    async with endpoint(willing) as url, anyio.create_task_group() as tasks:
        tasks.start_soon(shop(url, clock).run)
        while len(ids) < 400:
            await clock.sleep(60)
        tasks.cancel_scope.cancel()
    assert created != sorted(created)
    assert len(set(ids)) < len(ids)


async def test_an_endpoint_that_never_takes_anything_is_given_up_in_the_end() -> None:
    clock = PatientClock(NOON * SECOND, speed=500_000)

    async def never(_: web.BaseRequest) -> int:
        return 503

    async with endpoint(never) as url:
        peer = shop(url, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.run)
            while not peer.rejected:
                await clock.sleep(600)
            tasks.cancel_scope.cancel()
    assert peer.delivered == 0
