"""Mail through an SMTP server."""

import smtplib
import socket
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formataddr, parseaddr
from html import escape
from typing import Literal

import anyio
from anyio import CapacityLimiter, to_thread

from actors.alerts.channels.base import Outcome, RateLimit, Refused, RetryLater, Sent
from actors.alerts.messages import OPENED, heading, headline, mood
from actors.store.records import Json, Notification

TIMEOUT_S = 10.0
COLOURS = {"critical": "#d0021b", "warning": "#f5a623", "info": "#4a90d9", "over": "#2eb67d"}

Security = Literal["starttls", "tls", "none"]


class EmailChannel:
    """Text and HTML; the messages about one incident form a thread. Encryption that is asked for is never done without.

    smtplib blocks, so it works in a thread of its own, one message at a time.
    """

    limit = RateLimit(per_minute=30, burst=5)
    for_people = True
    abreast = 1

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        to: tuple[str, ...],
        security: Security = "starttls",
        username: str | None = None,
        password: str | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._host, self._port, self._security = host, port, security
        self._sender, self._to = sender, to
        self._login = (username, password or "") if username is not None else None
        self._trust = trust
        self._one = CapacityLimiter(1)
        self._server: smtplib.SMTP | None = None  # of the attempt under way

    async def open(self) -> None:
        """A connection is made per message: servers close idle ones within minutes."""

    async def close(self) -> None:
        """Nothing is kept open."""

    async def send(self, notification: Notification) -> Outcome:
        """Sent when the server has taken it for at least one recipient."""
        message = rendered(notification, self._sender, self._to)
        try:
            return await to_thread.run_sync(self._deliver, message, abandon_on_cancel=True, limiter=self._one)
        except anyio.get_cancelled_exc_class():
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        """End an attempt that is not waited for any more: its thread would sit in a read until the time-out."""
        if self._server is not None and self._server.sock is not None:
            with suppress(OSError):
                self._server.sock.shutdown(socket.SHUT_RDWR)

    def _deliver(self, message: EmailMessage) -> Outcome:
        try:
            with self._connected() as server:
                self._server = server
                if self._login:
                    server.login(*self._login)
                server.send_message(message)
        except (smtplib.SMTPException, ssl.SSLCertVerificationError) as error:
            return _judged(error)
        return Sent()

    def _connected(self) -> smtplib.SMTP:
        trust = self._trust or ssl.create_default_context()
        if self._security == "tls":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=TIMEOUT_S, context=trust)
        server = smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_S)
        if self._security == "starttls":
            try:
                server.starttls(context=trust)
            except BaseException:
                server.close()
                raise
        return server


def rendered(notification: Notification, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """Every message about an incident refers to the same (never sent) root, so that mail programs thread them."""
    payload = notification.payload
    domain = parseaddr(sender)[1].rpartition("@")[2] or "nightdesk.invalid"
    message = EmailMessage()
    message["From"] = formataddr(parseaddr(sender))
    message["To"] = ", ".join(to)
    message["Subject"] = _subject(notification)
    message["Message-ID"] = f"<{notification.key}@{domain}>"
    if notification.incident:
        message["References"] = f"<{notification.incident}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{headline(payload)}\n\n{payload['text']}\n")
    message.add_alternative(_html(payload), subtype="html")
    return message


def _subject(notification: Notification) -> str:
    payload = notification.payload
    reply = "Re: " if notification.incident and notification.kind != OPENED else ""
    name = f" [{notification.incident}]" if notification.incident else f": {payload['title']}"
    return " ".join(f"{reply}{payload['severity'].upper()} {heading(payload)}{name}".split())


def _html(payload: Json) -> str:
    head, *rest = payload["text"].splitlines() or [""]
    lines = "<br>\n".join(_linked(line) for line in rest)
    return (
        f'<div style="font-family:sans-serif;border-left:4px solid {COLOURS[mood(payload)]};padding-left:12px">\n'
        f"<p><b>{escape(headline(payload))}</b></p>\n<p>{escape(head)}</p>\n<p>{lines}</p>\n</div>\n"
    )


def _linked(line: str) -> str:
    label, space, address = line.partition(" https://")
    if not space:
        return escape(line)
    return f'{escape(label)} <a href="https://{escape(address)}">{escape(address)}</a>'


def _judged(error: smtplib.SMTPException | ssl.SSLCertVerificationError) -> Outcome:
    """The server's 4xx passes and its 5xx stays; what is wrong with the way to it can be mended, so it is tried on."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            return _verdict(*min(error.recipients.values()))
        case smtplib.SMTPAuthenticationError():
            reason = f"SMTP {error.smtp_code}: the login was refused"
        case smtplib.SMTPResponseException():
            return _verdict(error.smtp_code, error.smtp_error)
        case smtplib.SMTPNotSupportedError():
            reason = "the server does not offer what is set (STARTTLS or login)"
        case ssl.SSLCertVerificationError():
            reason = f"the server's certificate is not trusted: {error.verify_message}"
        case _:
            reason = "the server closed the connection"
    return RetryLater(reason)


def _verdict(code: int, said: bytes | str) -> Outcome:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    reason = f"SMTP {code}: {text[:80]}"
    return RetryLater(reason) if code < 500 else Refused(reason)
