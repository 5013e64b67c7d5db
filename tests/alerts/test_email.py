"""Mail against a local SMTP server that misbehaves."""

from typing import Any

import anyio
import pytest

from actors.alerts.channels.base import Outcome, Refused, RetryLater, Sent
from actors.alerts.channels.email import EmailChannel
from tests.alerts.samples import notification
from tests.alerts.smtp import SmtpService, smtp_service, trusting
from tests.patience import PATIENCE_S


def channel(service: SmtpService, **settings: Any) -> EmailChannel:
    settings = {"to": ("ops@example.com",), "trust": trusting(), **settings}
    return EmailChannel("localhost", service.port, sender="Night Desk <night@desk.example>", **settings)


async def outcome(**answers: str) -> Outcome:
    async with smtp_service(answers) as service:
        return await channel(service).send(notification())


async def test_it_is_sent_encrypted_as_text_and_html() -> None:
    async with smtp_service() as service:
        assert await channel(service).send(notification()) == Sent()
    (mail,) = service.messages
    assert service.encrypted == [True]
    assert mail["Subject"] == "WARNING acme · duplicate charge [inc_1]"
    assert mail["From"] == "Night Desk <night@desk.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    text, html = (part.get_content() for part in mail.iter_parts())
    assert text.splitlines()[:2] == ["● WARNING acme · duplicate charge", ""]
    assert "<b>● WARNING acme · duplicate charge</b>" in html


async def test_what_the_text_contains_is_text_in_html_too_and_links_are_links() -> None:
    said = "<script>alert(1)</script>\nsee: https://dashboard.stripe.com/payments/pi_1?a=1&b=2"
    async with smtp_service() as service:
        await channel(service).send(notification(text=said))
    _, html = (part.get_content() for part in service.messages[0].iter_parts())
    assert "<script>" not in html
    assert '<a href="https://dashboard.stripe.com/payments/pi_1?a=1&amp;b=2">' in html


async def test_messages_of_one_incident_form_a_thread() -> None:
    async with smtp_service() as service:
        for kind in ("incident.opened", "incident.resolved"):
            await channel(service).send(notification(f"inc_1.{kind}.mail", kind=kind))
    first, second = service.messages
    assert first["References"] == second["References"] == "<inc_1@desk.example>"
    assert first["Message-ID"] != second["Message-ID"]
    assert second["Subject"] == f"Re: {first['Subject']}"


async def test_it_logs_in_after_encryption() -> None:
    async with smtp_service() as service:
        await channel(service, username="night", password="s3cret").send(notification())
    assert service.logins == [("night", "s3cret")]


async def test_tls_from_the_start_works_too() -> None:
    async with smtp_service(tls=True) as service:
        assert await channel(service, security="tls").send(notification()) == Sent()
    assert service.encrypted == [True]


async def test_without_encryption_only_when_that_is_asked_for() -> None:
    async with smtp_service(offers_starttls=False) as service:
        assert await channel(service, security="none").send(notification()) == Sent()
        refused = await channel(service).send(notification())
    assert refused == RetryLater("the server does not offer what is set (STARTTLS or login)")
    assert service.encrypted == [False]


async def test_a_certificate_nobody_vouches_for_is_not_trusted() -> None:
    async with smtp_service() as service:
        later = await channel(service, trust=None).send(notification())
    assert later == RetryLater("the server's certificate is not trusted: self-signed certificate")
    assert service.messages == []


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "BODY"])
async def test_a_4xx_is_tried_later_and_a_5xx_is_refused(verb: str) -> None:
    assert await outcome(**{verb: "451 greylisted"}) == RetryLater("SMTP 451: greylisted")
    assert await outcome(**{verb: "550 no such user"}) == Refused("SMTP 550: no such user")


async def test_a_refused_login_may_be_mended_so_it_is_tried_on() -> None:
    async with smtp_service({"AUTH": "535 bad credentials"}) as service:
        later = await channel(service, username="night", password="old").send(notification())
    assert later == RetryLater("SMTP 535: the login was refused")


async def test_a_connection_that_breaks_is_tried_later() -> None:
    assert await outcome(MAIL="close") == RetryLater("the server closed the connection")


async def test_nobody_listening_means_later() -> None:
    async with smtp_service() as service:
        pass
    with pytest.raises(ConnectionRefusedError):
        await channel(service).send(notification())


async def test_a_server_that_hangs_is_hung_up_on_when_the_attempt_is_given_up() -> None:
    """Else a thread for each attempt would sit in a read until its time-out."""
    async with smtp_service({"MAIL": "hang"}) as service:
        with pytest.raises(TimeoutError), anyio.fail_after(0.3):
            await channel(service).send(notification())
        with anyio.fail_after(PATIENCE_S):
            await service.hung_up.wait()


async def test_of_two_recipients_one_is_enough() -> None:
    async with smtp_service() as service:
        assert await channel(service, to=("a@example.com", "b@example.com")).send(notification()) == Sent()
    assert len(service.recipients) == 2
