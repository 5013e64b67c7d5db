"""The small types settings are made of: durations, addresses, money-free words."""

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
)

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SYMBOL = r"^[A-Z][A-Z0-9]{0,9}([./-][A-Z0-9]{1,4})?$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
TIME_OF_DAY = r"^([01]\d|2[0-3]):[0-5]\d$"
CURRENCY = "^[a-z]{3}$"

FORMS = {
    SYMBOL: "a symbol such as AAPL or BRK.B",
    NAME: "a name of at most 64 letters, digits, dots, - and _",
    TIME_OF_DAY: "a time such as 22:30",
    CURRENCY: "a currency such as usd",
}
"""What a person calls them."""

Name = Annotated[str, Field(pattern=NAME)]


class Section(BaseModel):
    """A part of the settings: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def seconds(text: Any) -> float:
    """`90`, `"90s"`, `"2h"`, `"7d"` as seconds. Raises ValueError with the form expected."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return float(text)
    if isinstance(text, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())):
        return float(match[1]) * UNITS[match[2]]
    raise ValueError(f"expected a duration such as 90s, 5m, 2h or 7d, not {text!r}")


LONGEST_S = 10 * 366 * 86400.0


def bounded(value: float) -> float:
    """A duration that is something, and that a clock can count."""
    if not 0 < value <= LONGEST_S:
        raise ValueError("must be longer than 0s and at most 3660d")
    return value


def duration(value: float) -> str:
    """In the largest unit that goes into it: 604800 as 1w, 90 as 90s."""
    unit = next(unit for unit in "wdhms" if value % UNITS[unit] == 0 or unit == "s")
    return f"{value / UNITS[unit]:.15g}{unit}"


DURATION_SCHEMA = {"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhdw]$"}, {"type": "number"}]}

Duration = Annotated[
    float,
    BeforeValidator(seconds),
    AfterValidator(bounded),
    PlainSerializer(duration, return_type=str, when_used="json"),
    WithJsonSchema(DURATION_SCHEMA, mode="validation"),
]
"""Seconds, written as 90s, 5m, 2h or 7d."""


def host_port(text: str) -> tuple[str, int]:
    """`127.0.0.1:8787` or `[::1]:8787` as host and port; port 0 lets the system choose. Raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"expected host:port such as 127.0.0.1:8787, not {text!r}")
    return match[1] or match[2], int(match[3])


def address(text: str) -> str:
    """A host and port that can be told apart."""
    host_port(text)
    return text


def whole(number: Any) -> Any:
    """YAML's true and false are no numbers, though Python takes them for 1 and 0."""
    if isinstance(number, bool):
        raise ValueError("expected a whole number")  # noqa: TRY004 - pydantic reports ValueErrors
    return number


Count = Annotated[int, BeforeValidator(whole), Field(ge=1, le=1_000_000)]
"""So many, at least one."""


Currency = Annotated[str, BeforeValidator(lambda code: str(code).lower()), Field(pattern=CURRENCY)]
"""Three letters, as Stripe writes them; large ones are taken, too."""


def timezone(name: str) -> str:
    """A name that the time zone database knows."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ImportError, LookupError):
        raise ValueError(f"no time zone is named {name!r}; expected one such as Europe/Berlin") from None
    return name


Timezone = Annotated[str, AfterValidator(timezone)]


def nameable(path: Path) -> Path:
    """A path that a file system can hold."""
    if "\0" in str(path):
        raise ValueError("a path cannot hold a NUL character")
    return path


FilePath = Annotated[Path, AfterValidator(nameable)]

Address = Annotated[str, AfterValidator(address)]
"""host:port. A string, so that it needs no quoting in an environment variable."""


def url(secret: SecretStr) -> SecretStr:
    """Only the form is checked here; the host is checked when it is called."""
    parts = urlsplit(secret.get_secret_value())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected an http:// or https:// address")
    _ = parts.port  # raises ValueError where it is none
    return secret


SecretUrl = Annotated[SecretStr, AfterValidator(url)]
"""An address that is itself a secret: whoever knows it may post to it."""


def of_schemes(*schemes: str) -> AfterValidator:
    """An address that begins with one of these; its host is looked for when it is called."""

    def check(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"expected {' or '.join(f'{scheme}://' for scheme in schemes)} and a host")
        _ = parts.port  # raises ValueError where it is none
        return text

    return AfterValidator(check)


HttpUrl = Annotated[str, of_schemes("http", "https")]
WebSocketUrl = Annotated[str, of_schemes("ws", "wss")]


def token(secret: SecretStr) -> SecretStr:
    """The last part of a tenant's address: it must fit there without escaping."""
    if not re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", secret.get_secret_value()):
        raise ValueError("expected letters, digits, '-', '_', '.' or '~', at most 128 of them")
    return secret


Token = Annotated[SecretStr, AfterValidator(token)]
"""What a tenant's address ends with; whoever knows it may post there (and is then asked for a signature)."""
