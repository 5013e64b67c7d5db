"""A local SMTP server that can misbehave: enough of RFC 5321, STARTTLS and AUTH PLAIN for one client at a time."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

# Made for these tests and good for nothing else: a self-signed certificate for localhost and its key.
CERTIFICATE = Path(__file__).with_name("localhost.pem")


@dataclass
class SmtpService:
    """`answers` replaces what it says to a verb (EHLO, MAIL, RCPT, DATA, BODY, AUTH); "hang" and "close" do so."""

    answers: dict[str, str] = field(default_factory=dict)
    offers_starttls: bool = True
    messages: list[EmailMessage] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            writer.write(b"220 localhost ready\r\n")
            while line := await reader.readline():
                verb, _, rest = line.decode().strip().partition(" ")
                await self.obey(verb.upper(), rest, reader, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def obey(self, verb: str, rest: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = self.answers.get(verb, "250 ok")
        if answer == "hang":
            with suppress(ConnectionError):
                await reader.read()
            self.hung_up.set()
            return
        if answer == "close":
            writer.transport.abort()
            raise ConnectionResetError
        tls = writer.get_extra_info("ssl_object") is not None
        match verb:
            case "EHLO" if answer.startswith("250"):
                starttls = ["STARTTLS"] if self.offers_starttls and not tls else []
                lines = ["localhost", *starttls, "AUTH PLAIN"]
                answer = "\r\n".join(f"250-{one}" for one in lines[:-1]) + f"\r\n250 {lines[-1]}"
            case "STARTTLS":
                writer.write(b"220 go ahead\r\n")
                await writer.start_tls(server_context())
                return
            case "AUTH":
                _, name, password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
                self.logins.append((name, password))
                answer = self.answers.get(verb, "235 welcome")
            case "RCPT":
                self.recipients.append(rest)
            case "DATA" if answer.startswith("250"):
                writer.write(b"354 go on\r\n")
                body = await reader.readuntil(b"\r\n.\r\n")
                self.messages.append(message_from_bytes(body[:-5], policy=policy.default))
                self.encrypted.append(tls)
                answer = self.answers.get("BODY", "250 taken")
            case "QUIT":
                answer = "221 bye"
        writer.write(answer.encode() + b"\r\n")


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


@asynccontextmanager
async def smtp_service(
    answers: dict[str, str] | None = None, *, tls: bool = False, offers_starttls: bool = True
) -> AsyncIterator[SmtpService]:
    service = SmtpService(answers or {}, offers_starttls)
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, ssl=server_context() if tls else None)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for writer in service.connections:
            writer.transport.abort()
