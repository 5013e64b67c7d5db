"""The optional extra, against a local server through apprise's own JSON service."""

import subprocess
import sys

import orjson
import pytest

from actors.alerts.channels.base import RetryLater, Sent
from tests.alerts.samples import notification
from tests.alerts.servers import http_service

pytest.importorskip("apprise", reason="the extra apprise is not installed")

from actors.alerts.channels.apprise import AppriseChannel

# Not ours to mend: what apprise imports of the standard library is deprecated there.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def test_it_delivers_through_apprise() -> None:
    async with http_service() as service:
        url = service.url.replace("http://", "json://")
        assert await AppriseChannel("any", url).send(notification()) == Sent()
    said = orjson.loads(service.requests[0].body)
    assert said["title"] == "● WARNING acme · duplicate charge"
    assert said["type"] == "warning"


async def test_what_apprise_could_not_deliver_is_tried_later() -> None:
    async with http_service((500, {}, b"")) as service:
        url = service.url.replace("http://", "json://")
        assert await AppriseChannel("any", url).send(notification()) == RetryLater("apprise could not deliver it")


async def test_a_url_apprise_does_not_know_is_said_to_be_so() -> None:
    later = await AppriseChannel("any", "nosuch://x").send(notification())
    assert later == RetryLater("apprise does not understand the url")


def test_it_is_not_loaded_unless_used() -> None:
    code = "import sys, daemon.wiring; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
