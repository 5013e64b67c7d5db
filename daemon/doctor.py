"""Looks at everything a daemon needs, before it needs it: one finding a line, each with its remedy."""

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from pydantic import BaseModel, SecretStr

from actors.billing.signature import TOLERANCE_S
from actors.billing.stripe_api import NotAllowed, StripeApi, Unreachable, Wrong, http_session
from actors.kernel.clock import SECOND, WallClock, chance
from config.channels import AnyChannel, AppriseChannel, EmailChannel, TelegramChannel, UrlChannel
from config.errors import BadInput
from config.load import unknown_names
from config.settings import Settings
from config.types import host_port
from daemon.cli.client import Client
from daemon.cli.tables import counted
from daemon.wiring import accounts, without_effect

ROOM_BYTES = 1 << 30
CONNECT_S = 5.0
TOKEN_CHARS = 16
KEYS_AT_ONCE = 8
SKEW_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, whether it is well, and if not what to do."""

    what: str
    well: bool
    says: str


def examine(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Everything, one after the other."""
    running, added = _running(settings.control.socket)
    yield Finding("daemon", well=True, says="running" if running else "not running")
    if config is not None:
        yield _secrecy(settings, config)
    yield from _tenants(settings, added)
    yield _data_dir(settings.data_dir)
    yield _room(settings.data_dir)
    if not running:
        yield _port("billing.listen", settings.billing.listen)
    yield from _channels(settings)
    if settings.trading.enabled:
        yield from _strategies(settings)
    if settings.trading.enabled and settings.trading.broker == "alpaca":
        yield from _alpaca(settings)
    if accounts(settings):
        yield from anyio.run(_keys, settings)
    for key in without_effect(settings):
        yield Finding(key, well=False, says="is set but has no effect in this version; remove it")
    for name, says in unknown_names(os.environ):
        yield Finding(name, well=False, says=f"{says}; unset it")


def _running(path: Path) -> tuple[bool, list[str]]:
    """Whether the daemon answers, and which tenants it has beside those of the file."""
    try:
        rows = Client(path).get("/tenants")["tenants"]
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it does not answer
        return False, []
    return True, [row["name"] for row in rows if row["source"] == "database"]


def _secrecy(settings: Settings, config: Path) -> Finding:
    if not stat.S_IMODE(config.stat().st_mode) & 0o077:
        return Finding("config", well=True, says=f"{config}, readable by its owner alone")
    text = config.read_text()
    if any(secret in text for secret in _secrets(settings)):
        return Finding("config", well=False, says=f"others can read the secrets in {config}; chmod 600 {config}")
    return Finding("config", well=True, says=f"{config}, which holds no secrets")


def _secrets(value: object) -> Iterator[str]:
    """All that the settings keep to themselves, wherever it is from."""
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for _, part in value:
                yield from _secrets(part)
        case tuple():
            for part in value:
                yield from _secrets(part)


def _tenants(settings: Settings, added: list[str]) -> Iterator[Finding]:
    for name in added:
        yield Finding(f"tenant {name}", well=True, says="was added while the daemon ran (nightdesk tenant list)")
    if not settings.billing.tenants and not added:
        says = (
            "none, so no billing is watched" if settings.trading.enabled else "none; nightdesk init writes a first one"
        )
        yield Finding("tenants", well=settings.trading.enabled, says=says)
    for tenant in settings.billing.tenants:
        what = f"tenant {tenant.name}"
        token = tenant.token.get_secret_value() if tenant.token else None
        if token is not None and len(token) < TOKEN_CHARS:
            yield Finding(what, well=False, says=f"its token can be guessed; use {TOKEN_CHARS} random characters")
        elif not all(secret.get_secret_value().startswith("whsec_") for secret in tenant.webhook_secrets):
            says = "a webhook secret does not begin with whsec_; is it an API key? (Stripe → Developers → Webhooks)"
            yield Finding(what, well=False, says=says)
        else:
            yield Finding(what, well=True, says=counted(len(tenant.webhook_secrets), "signing secret"))


async def _keys(settings: Settings) -> list[Finding]:
    """Whether each key is good for what it is there for, and by how much this clock differs from Stripe's."""
    waiting = iter(accounts(settings))
    findings: list[Finding] = []

    async def look() -> None:
        for account in waiting:
            clock = WallClock()
            api = StripeApi(account.api_key, session, clock, chance(), base=settings.billing.api_url, attempts=1)
            try:
                await api.events(clock.now() // SECOND - 60, clock.now() // SECOND)
                well, says = _of_clock(api.skew_s)
            except (NotAllowed, Unreachable, Wrong) as error:
                well, says = False, f"{error} (https://dashboard.stripe.com/apikeys, https://status.stripe.com)"
            findings.append(Finding(f"api_key of {account.tenant}", well, says))

    async with http_session() as session, anyio.create_task_group() as tasks:
        for _ in range(KEYS_AT_ONCE):
            tasks.start_soon(look)
    return sorted(findings, key=lambda finding: finding.what)


def _of_clock(skew_s: float | None) -> tuple[bool, str]:
    if skew_s is None:
        return True, "Stripe accepts it"
    if abs(skew_s) <= SKEW_S_MAX:
        return True, f"Stripe accepts it; the clocks differ by {abs(skew_s):.0f} s"
    direction = "behind" if skew_s > 0 else "ahead of"
    says = f"this clock is {abs(skew_s):.0f} s {direction} Stripe's; beyond {TOLERANCE_S} s every signature is refused"
    return False, f"{says} (timedatectl set-ntp true)"


def _nearest(path: Path) -> Path:
    """What is there of it: itself or a directory above it, as far as we may look."""
    for parent in (path, *path.absolute().parents):
        with suppress(PermissionError):
            if parent.exists():
                return parent
    return Path("/")


def _data_dir(path: Path) -> Finding:
    existing = _nearest(path)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding("data_dir", well=False, says=f"{existing} cannot be written; give it to the daemon's user")
    return Finding("data_dir", well=True, says=str(path))


def _room(path: Path) -> Finding:
    existing = _nearest(path)
    free = shutil.disk_usage(existing).free
    if free < ROOM_BYTES:
        return Finding("disk", well=False, says=f"{free / 1e6:.0f} MB are free; make room for a gigabyte")
    return Finding("disk", well=True, says=f"{free / 1e9:.0f} GB free")


def _port(key: str, address: str) -> Finding:
    host, port = host_port(address)
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return Finding(key, well=True, says=f"{address} is free")
    except OSError as error:
        reason = (error.strerror or str(error)).split(" (")[0].lower()  # less the address once more
        return Finding(key, well=False, says=f"{address}: {reason}; choose another port or stop who has it")


def _channels(settings: Settings) -> Iterator[Finding]:
    if not settings.alerts.channels:
        yield Finding("channels", well=False, says="no channel is configured; nobody would hear of an incident")
    for channel in settings.alerts.channels:
        yield _channel(channel)


def _channel(channel: AnyChannel) -> Finding:
    """Whether somebody answers where it leads; whether they take what they are sent only a message can show."""
    what = f"channel {channel.name}"
    match channel:
        case UrlChannel():
            return _reachable(what, *_host_port(channel.url.get_secret_value()), "its url")
        case TelegramChannel():
            return _reachable(what, *_host_port(channel.base_url), "its base_url")
        case EmailChannel():
            return _reachable(what, channel.host, channel.port, "its host and port")
        case AppriseChannel() if find_spec("apprise") is None:
            return Finding(what, well=False, says="apprise is missing; pip install 'nightdesk[apprise]'")
    return Finding(what, well=True, says=f"{channel.type}; nightdesk test-alert {channel.name} shows whether it works")


def _strategies(settings: Settings) -> Iterator[Finding]:
    from daemon.desk_plan import plan  # noqa: PLC0415 - numpy, which the billing watch does without

    try:
        strategies = plan(settings.trading).strategies
    except BadInput as error:
        yield Finding("strategies", well=False, says=str(error))
        return
    yield Finding("strategies", well=True, says=", ".join(one.name for one in strategies))
    for one in strategies:
        if one.make().values[0].get("calendar") == "":
            says = "enters nothing without params: {calendar: FILE}, a CSV symbol,date,timing"
            yield Finding(f"strategy {one.name}", well=True, says=says)


def _alpaca(settings: Settings) -> Iterator[Finding]:
    from daemon.desk_check import examine as ask_alpaca  # noqa: PLC0415 - its client takes half a second

    found = anyio.run(ask_alpaca, settings.trading)
    for problem in found:
        yield Finding(problem.key, well=False, says=problem.says)
    if not found:
        count = len(settings.trading.universe.symbols)
        yield Finding("trading", well=True, says=f"Alpaca takes the keys, the feed and the {count} symbols")


def _host_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _reachable(what: str, host: str, port: int, setting: str) -> Finding:
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: no name can be like this
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Finding(what, well=False, says=f"{host}:{port} does not answer ({reason}); check {setting}")
    return Finding(what, well=True, says=f"{host}:{port} answers")
