"""A SaaS that sends its Stripe webhooks over HTTP, signed, repeated, out of order and persistent as Stripe's are."""

import aiohttp
import anyio
import orjson

from actors.billing.signature import sign
from actors.kernel.clock import SECOND, Clock, Random
from actors.simulated.business import Business
from actors.simulated.commerce import Payload
from actors.simulated.stripe_api import Account

UNDER_WAY_MAX = 512
CONNECTIONS = 8
ANSWER_S = 10.0
ATTEMPTS_MAX = 8
FIRST_RETRY_S = 20.0
DUPLICATED = 0.02
DELAYED = 0.1
DELAY_S_MAX = 45.0


class Shop:
    """Delivers what happens in a business to `url` as it happens on `clock`.

    Nothing but a 2xx ends a delivery: it is tried again with growing pauses (of the clock), freshly signed. Some are
    sent twice, some late enough to be overtaken. `account` is what Stripe's API can tell of it.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        clock: Clock,
        rng: Random,
        business: Business | None = None,
        account: Account | None = None,
    ) -> None:
        self.delivered = 0
        """Deliveries answered with 2xx, repeated ones included."""
        self.rejected = 0
        """Deliveries given up."""
        self._url, self._secret = url, secret.encode()
        self._clock, self._rng = clock, rng
        self._account = account
        self._business = business or Business(rng, clock.now() // SECOND, incident_every_s=1_500)
        self._room = anyio.Semaphore(UNDER_WAY_MAX)

    async def run(self) -> None:
        """Deliver until cancelled."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            anyio.create_task_group() as deliveries,
        ):
            for at, event in self._business.events():
                await self._clock.sleep_until(at)
                if self._account is not None:
                    self._account.happened(event)
                for delay_s in self._schedule():
                    await self._room.acquire()
                    deliveries.start_soon(self._deliver, session, event, delay_s)

    def _schedule(self) -> list[float]:
        """After how many seconds an event is sent: mostly once, and at once."""
        times = 2 if self._rng.random() < DUPLICATED else 1
        return [self._rng.uniform(0, DELAY_S_MAX) if self._rng.random() < DELAYED else 0.0 for _ in range(times)]

    async def _deliver(self, session: aiohttp.ClientSession, event: Payload, delay_s: float) -> None:
        try:
            body = orjson.dumps(event, option=orjson.OPT_INDENT_2)
            for attempt in range(ATTEMPTS_MAX):
                await self._clock.sleep(delay_s)
                # Shielded: what the other side has acknowledged is counted, also when the shop closes now.
                with anyio.CancelScope(shield=True):
                    if await self._accepted(session, body):
                        self.delivered += 1
                        if self._account is not None:
                            self._account.delivered(event["id"])
                        return
                delay_s = FIRST_RETRY_S * 2**attempt * self._rng.uniform(0.5, 1.5)
            self.rejected += 1
        finally:
            self._room.release()

    async def _accepted(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(body, self._secret, self._clock.now()),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            async with session.post(self._url, data=body, headers=headers) as response:
                return 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError):
            return False
