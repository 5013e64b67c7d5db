"""Every setting, once: its key, type, default and reason. YAML < environment < systemd credentials."""

import re
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.channels import AnyChannel, Channel
from config.credentials import Credentials
from config.paths import default_data_dir, default_socket
from config.types import (
    SYMBOL,
    TIME_OF_DAY,
    Address,
    Count,
    Currency,
    Duration,
    FilePath,
    HttpUrl,
    Name,
    SecretUrl,
    Section,
    Timezone,
    Token,
    WebSocketUrl,
)

SIGNALS = frozenset(
    "decline_spike card_testing refund_spike refund_exceeds_charge dispute_spike duplicate_charge negative_invoice "
    "revenue_drop mrr_drop churn_spike cancellation_cluster subscription_spike signup_drop silent_lapse "
    "renewals_missing webhook_lag webhook_silence signature_failures currency_mismatch billing_period_drift "
    "plan_downgrade amount_outlier bulk_plan_change thin_events".split()
)
"""What the watch may say of a tenant; the names are API."""

Fraction = Annotated[float, Field(gt=0, le=1)]
Symbol = Annotated[str, Field(pattern=SYMBOL)]
TimeOfDay = Annotated[str, Field(pattern=TIME_OF_DAY)]


class Control(Section):
    """The Unix socket that the commands talk to."""

    socket: FilePath = Field(default_factory=default_socket)


class Logging(Section):
    """One line a fact, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Retention(Section):
    """How long things are kept. What makes an event known, and so a repeat harmless, is kept for ever."""

    bodies: Duration = 30 * 86400.0  # as long as Stripe itself can show them
    log: Duration = 400 * 86400.0


class Web(Section):
    """Dashboard and /metrics; null switches them off."""

    listen: Address | None = "127.0.0.1:8788"


class BillingAlerts(Section):
    """The owner's fixed rules. null: the adaptive detectors alone decide."""

    revenue_drop_percent: Annotated[float, Field(gt=0, le=100)] | None = None
    refund_spike_count: Count | None = None
    churn_rate_daily: Fraction | None = None
    customer_decline_count: Count | None = 5
    failure_rate: Fraction | None = None
    failure_min_attempts: Count = 10
    sensitivity: Literal["low", "normal", "high"] = "normal"
    disabled: tuple[str, ...] = ()

    @field_validator("disabled")
    @classmethod
    def _known_signals(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in SIGNALS:
                raise ValueError(f"{name!r} is not a signal; signals are: {', '.join(sorted(SIGNALS))}")
        return names


class RateLimit(Section):
    """What one tenant may send, beyond which it is answered 429."""

    per_second: Annotated[float, Field(gt=0, le=1_000_000)] = 500
    burst: Count = 5000


class Tenant(Section):
    """One Stripe account that is watched."""

    name: Name
    token: Token | None = None
    webhook_secrets: tuple[SecretStr, ...] = ()
    api_key: SecretStr | None = None
    rate_limit: RateLimit = RateLimit()
    alerts: BillingAlerts = BillingAlerts()  # only the keys that are set override billing.alerts
    channels: tuple[str, ...] | None = None
    read_key: SecretStr | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.token is None and self.name != "default":
            raise ValueError("token: is needed (only the tenant named default has an address without one)")
        return self

    @field_validator("webhook_secrets")
    @classmethod
    def _some_secret(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not any(secret.get_secret_value().strip() for secret in secrets):
            raise ValueError("at least one secret is needed (Stripe → Developers → Webhooks → Signing secret)")
        if not all(secret.get_secret_value().strip() for secret in secrets):
            raise ValueError("one of the secrets is empty; remove it")
        return secrets

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Mrr(Section):
    """By whose definition recurring revenue is told, and in which currency besides each one's own.

    `rates`: what one unit of a currency is worth in units of `currency`.
    """

    rules: Literal["stripe", "chartmogul", "baremetrics"] = "stripe"
    currency: Currency | None = None
    rates: dict[Currency, Annotated[float, Field(gt=0, le=1e9)]] = Field(default={})

    @model_validator(mode="after")
    def _rates_into_something(self) -> Self:
        if self.rates and self.currency is None:
            raise ValueError("rates: into which currency? Set currency, too")
        return self


class Billing(Section):
    """The public port and who is watched on it."""

    listen: Address = "127.0.0.1:8787"
    store_raw: Literal["redacted", "full", "none"] = "redacted"
    api_url: str | None = None  # null: Stripe's own API
    tenants: tuple[Tenant, ...] = ()
    alerts: BillingAlerts = BillingAlerts()
    mrr: Mrr = Mrr()

    @model_validator(mode="after")
    def _no_twins(self) -> Self:
        for what in ("name", "token"):
            seen: set[str | SecretStr] = set()
            for index, tenant in enumerate(self.tenants):
                value = getattr(tenant, what)
                if value in seen:
                    # A token is a secret: name the place, not the value.
                    raise ValueError(f"tenants[{index}].{what}: another tenant has the same {what}")
                if value is not None:
                    seen.add(value)
        return self

    def alerts_of(self, tenant: Tenant) -> BillingAlerts:
        """The rules in force for one tenant: its own where set, else the common ones."""
        own = {key: getattr(tenant.alerts, key) for key in tenant.alerts.model_fields_set}
        return self.alerts.model_copy(update=own)


class Digest(Section):
    """The summary of what was held back and what is trending; silent when there is nothing."""

    every: Duration | None = 3600.0


class QuietHours(Section):
    """Local hours in which info and warning wait for the digest."""

    start: TimeOfDay
    end: TimeOfDay
    timezone: Timezone = "UTC"

    @model_validator(mode="after")
    def _some_hours(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end are the same; leave quiet_hours out for none")
        return self


class Alerts(Section):
    """How people hear of incidents."""

    channels: tuple[AnyChannel, ...] = ()
    digest: Digest = Digest()
    quiet_hours: QuietHours | None = None

    @field_validator("channels")
    @classmethod
    def _own_names(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        names = [channel.name for channel in channels]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two channels are named {name!r}")
        return channels


class Universe(Section):
    """What may be traded."""

    symbols: tuple[Symbol, ...] = ("AAPL", "MSFT")
    membership: FilePath | None = None
    sectors: FilePath | None = None

    @field_validator("symbols")
    @classmethod
    def _each_once(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if symbols.count(symbol) > 1:
                raise ValueError(f"{symbol} is given twice")
        return symbols


class StrategyChoice(Section):
    """A strategy and the parameters that differ from its defaults."""

    name: str
    params: dict[str, float | int | str] = Field(default={})


class Risk(Section):
    """Limits no strategy can pass."""

    kill_switch_drawdown: Fraction = 0.15
    daily_loss: Fraction = 0.03
    max_gross: Annotated[float, Field(gt=0)] = 1.0
    max_symbol: Fraction = 0.2
    max_sector: Fraction = 0.5
    max_orders_per_minute: Count = 60
    price_collar: Fraction = 0.05
    stale_after: Duration = 180.0
    cooldown_after_stop: Duration = 604800.0


class Tournament(Section):
    """The overnight contest of the strategies, in exchange time."""

    at: TimeOfDay = "02:00"
    enabled: bool = True


class Trading(Section):
    """The paper trading desk."""

    enabled: bool = False
    broker: Literal["alpaca", "simulated"] = "alpaca"
    key_id: SecretStr | None = None
    secret_key: SecretStr | None = None
    paper: bool = True
    feed: Literal["iex", "sip", "delayed_sip"] = "iex"
    base_url: HttpUrl | None = None
    data_url: HttpUrl | None = None
    stream_url: WebSocketUrl | None = None
    capital_per_strategy: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    fraction: Fraction = 0.1
    max_positions: Count = 10
    universe: Universe = Universe()
    strategies: tuple[str | StrategyChoice, ...] | None = None  # null: all ten
    strategies_dir: FilePath | None = None
    overlays: tuple[Literal["sector_rotation"], ...] = ()
    costs: str = "default"
    risk: Risk = Risk()
    tournament: Tournament = Tournament()

    @model_validator(mode="after")
    def _able_to_trade(self) -> Self:
        if not self.enabled:
            return self
        if self.broker == "alpaca":
            for key, secret in (("key_id", self.key_id), ("secret_key", self.secret_key)):
                if secret is None or not secret.get_secret_value().strip():
                    variable = f"NIGHTDESK_TRADING__{key.upper()}"
                    raise ValueError(f"{key}: is needed (Alpaca → API Keys), as {variable} or as a credential")
                if not re.fullmatch("[!-~]+", secret.get_secret_value()):
                    raise ValueError(f"{key}: has a character that no key has; copy it again")
        if not self.universe.symbols:
            raise ValueError("universe.symbols: at least one symbol is needed")
        if self.strategies is not None and not self.strategies:
            raise ValueError("strategies: at least one is needed; leave the key out for all ten")
        if self.overlays and self.universe.sectors is None:
            raise ValueError("universe.sectors: sector_rotation needs this file, a CSV symbol,sector")
        return self


class Uptime(Section):
    """An address that should answer."""

    name: Name
    url: SecretUrl
    every: Duration = 60.0


class WatchSettings(Section):
    """The surroundings that are watched."""

    uptime: tuple[Uptime, ...] = ()
    host: bool = True


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="NIGHTDESK_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data_dir: FilePath = Field(default_factory=default_data_dir)
    control: Control = Control.model_construct()
    logging: Logging = Logging()
    retention: Retention = Retention()
    web: Web = Web()
    billing: Billing = Billing()
    alerts: Alerts = Alerts()
    trading: Trading = Trading()
    watch: WatchSettings = WatchSettings()

    @model_validator(mode="after")
    def _channels_exist(self) -> Self:
        known = {channel.name for channel in self.alerts.channels}
        for index, tenant in enumerate(self.billing.tenants):
            for name in tenant.channels or ():
                if name not in known:
                    raise ValueError(f"billing.tenants[{index}].channels: no channel is named {name!r}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The first source wins: credentials, then the environment, then what `load` read from the YAML file."""
        del settings_cls, dotenv_settings, file_secret_settings
        return Credentials(cls, init_settings()), env_settings, init_settings
