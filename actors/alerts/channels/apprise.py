"""Any of the services that apprise knows: an optional extra, loaded when the first message is sent."""

from importlib.util import find_spec

from anyio import CapacityLimiter, to_thread

from actors.alerts.channels.base import Outcome, RateLimit, RetryLater, Sent
from actors.alerts.messages import headline, mood
from actors.store.records import Json, Notification
from config.errors import BadInput


class AppriseChannel:
    """apprise says only yes or no, and blocks: so it works in a thread, gently, and a no means later."""

    limit = RateLimit(per_minute=20, burst=3)
    for_people = True
    abreast = 1

    def __init__(self, name: str, url: str) -> None:
        if find_spec("apprise") is None:
            raise BadInput(f"alerts.channels: {name}: apprise is missing; install it: pip install 'nightdesk[apprise]'")
        self._url = url
        self._one = CapacityLimiter(1)

    async def open(self) -> None:
        """Nothing to acquire."""

    async def close(self) -> None:
        """Nothing is kept open."""

    async def send(self, notification: Notification) -> Outcome:
        """Sent when apprise says so."""
        return await to_thread.run_sync(self._notify, notification.payload, abandon_on_cancel=True, limiter=self._one)

    def _notify(self, payload: Json) -> Outcome:
        import apprise  # noqa: PLC0415 - 38 MB, for those who use it

        kinds = {"critical": "failure", "warning": "warning", "info": "info", "over": "success"}
        service = apprise.Apprise()
        if not service.add(self._url):
            return RetryLater("apprise does not understand the url")
        taken = service.notify(title=headline(payload), body=payload["text"], notify_type=kinds[mood(payload)])
        return Sent() if taken else RetryLater("apprise could not deliver it")
