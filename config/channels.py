"""Where incidents can be told: the kinds of channels, and what each is set up with."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from config.types import Name, SecretUrl, Section

Level = Literal["info", "warning", "critical"]


class Channel(Section):
    """Where notifications go."""

    name: Name
    min_severity: Level = "info"


class UrlChannel(Channel):
    """A channel that is an address. Set `public_only` where a tenant chose it: then it cannot lead inside."""

    url: SecretUrl
    public_only: bool = False


class WebhookChannel(UrlChannel):
    """JSON posted to any address; signed where a secret is set."""

    type: Literal["webhook"]
    secret: SecretStr | None = None


class ConsoleChannel(Channel):
    """Writes what a person wants to read to the standard output of the daemon."""

    type: Literal["console"]


class SlackChannel(UrlChannel):
    """An incoming webhook of Slack."""

    type: Literal["slack"]


class DiscordChannel(UrlChannel):
    """A webhook of Discord."""

    type: Literal["discord"]


class TelegramChannel(Channel):
    """A bot that writes to one chat."""

    type: Literal["telegram"]
    token: SecretStr
    chat_id: str | int
    base_url: str = "https://api.telegram.org"


class EmailChannel(Channel):
    """Mail through an SMTP server."""

    type: Literal["email"]
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    sender: str = Field(alias="from")
    to: tuple[str, ...] = Field(min_length=1)


class AppriseChannel(Channel):
    """Any of the services apprise knows (an extra: pip install nightdesk[apprise])."""

    type: Literal["apprise"]
    url: SecretStr


AnyChannel = Annotated[
    WebhookChannel | ConsoleChannel | SlackChannel | DiscordChannel | TelegramChannel | EmailChannel | AppriseChannel,
    Field(discriminator="type"),
]
