"""Settings as the plain values that actors take: the actors know nothing of the settings tree."""

import sys
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

from actors.alerts.channels.apprise import AppriseChannel
from actors.alerts.channels.base import Channel
from actors.alerts.channels.console import ConsoleChannel
from actors.alerts.channels.discord import DiscordChannel
from actors.alerts.channels.email import EmailChannel
from actors.alerts.channels.slack import SlackChannel
from actors.alerts.channels.telegram import TelegramChannel
from actors.alerts.channels.webhook import WebhookChannel
from actors.alerts.routing import QuietHours, Route, Routing
from actors.billing import webhook
from actors.billing.backfill import Account
from actors.kernel.clock import Clock
from actors.store.records import Severity
from config import channels as said
from config.settings import Settings, Web


def routing(settings: Settings) -> Routing:
    """Which notifications go where."""
    quiet = settings.alerts.quiet_hours
    return Routing(
        routes=tuple(
            Route(channel.name, Severity(channel.min_severity), for_people=channel.type != "webhook")
            for channel in settings.alerts.channels
        ),
        tenants={
            tenant.name: frozenset(tenant.channels)
            for tenant in settings.billing.tenants
            if tenant.channels is not None
        },
        quiet_hours=None
        if quiet is None
        else QuietHours(time.fromisoformat(quiet.start), time.fromisoformat(quiet.end), ZoneInfo(quiet.timezone)),
        digests=settings.alerts.digest.every is not None,
    )


def channels(settings: Settings, clock: Clock) -> dict[str, Channel]:
    """How each channel of the settings is spoken to, by its name."""
    return {channel.name: _channel(channel, clock) for channel in settings.alerts.channels}


def _channel(channel: said.AnyChannel, clock: Clock) -> Channel:  # noqa: PLR0911 - one for each type there is
    match channel:
        case said.WebhookChannel():
            secret = channel.secret.get_secret_value() if channel.secret else None
            return WebhookChannel(channel.url.get_secret_value(), secret, clock, public_only=channel.public_only)
        case said.ConsoleChannel():
            return ConsoleChannel(sys.stdout)
        case said.SlackChannel():
            return SlackChannel(channel.url.get_secret_value(), public_only=channel.public_only)
        case said.DiscordChannel():
            return DiscordChannel(channel.url.get_secret_value(), public_only=channel.public_only)
        case said.TelegramChannel():
            return TelegramChannel(channel.token.get_secret_value(), channel.chat_id, channel.base_url)
        case said.EmailChannel():
            return EmailChannel(
                channel.host,
                channel.port,
                sender=channel.sender,
                to=channel.to,
                security=channel.security,
                username=channel.username,
                password=channel.password.get_secret_value() if channel.password else None,
            )
        case said.AppriseChannel():
            return AppriseChannel(channel.name, channel.url.get_secret_value())


def tenants(settings: Settings) -> list[webhook.Tenant]:
    """Who may deliver."""
    return [
        webhook.Tenant(
            name=tenant.name,
            token=tenant.token.get_secret_value() if tenant.token else None,
            secrets=tuple(secret.get_secret_value().encode() for secret in tenant.webhook_secrets),
            per_second=tenant.rate_limit.per_second,
            burst=tenant.rate_limit.burst,
        )
        for tenant in settings.billing.tenants
    ]


def accounts(settings: Settings) -> list[Account]:
    """Whose Stripe account may be asked."""
    return [
        Account(
            tenant=tenant.name,
            token=tenant.token.get_secret_value() if tenant.token else None,
            api_key=tenant.api_key.get_secret_value(),
        )
        for tenant in settings.billing.tenants
        if tenant.api_key is not None
    ]


def rules(settings: Settings) -> dict[str, dict[str, Any]]:
    """The fixed rules and the sensitivity of every tenant, as they stand in the log."""
    billing = settings.billing
    return {tenant.name: billing.alerts_of(tenant).model_dump(mode="json") for tenant in billing.tenants}


def without_effect(settings: Settings) -> list[str]:
    """Keys that are set, and valid, but belong to parts of the house that this version does not have."""
    tenants = settings.billing.tenants
    keys = {
        "watch.uptime": bool(settings.watch.uptime),
        "web.listen": settings.web.listen not in (Web().listen, None),
        "billing.tenants.read_key": any(tenant.read_key for tenant in tenants),
    }
    return [key for key, is_set in keys.items() if is_set]
