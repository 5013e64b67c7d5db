"""Reading the config again while the daemon runs: all of it is good, or nothing changes."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from config.errors import BadInput
from config.load import load
from config.settings import Settings

LIVE = ("logging.level", "billing.tenants", "billing.alerts", "billing.mrr")
"""What takes effect at once. Everything else is built into the tree and needs a restart of the daemon."""


def leaves(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every setting under its dotted key; tenants and channels under their names."""
    yield from _walk("", settings.model_dump())


def _walk(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _walk(f"{key}.{name}" if key else str(name), inner)
    elif (
        isinstance(value, (tuple, list)) and value and all(isinstance(item, dict) and "name" in item for item in value)
    ):
        for item in value:
            yield from _walk(f"{key}[{item['name']}]", item)
    else:
        yield key, value


def difference(old: Settings, new: Settings) -> list[str]:
    """The keys that differ, in order."""
    before, after = dict(leaves(old)), dict(leaves(new))
    missing = object()
    return sorted(key for key in before | after if before.get(key, missing) != after.get(key, missing))


class Reload:
    """Holds the settings in force; calling it reads the config again."""

    def __init__(self, settings: Settings, config: Path | None, apply: Callable[[Settings], Awaitable[None]]) -> None:
        self._in_force = settings
        self._config = config
        self._apply = apply

    async def __call__(self) -> dict[str, list[str]]:
        """What changed, and what waits for a restart. Raises BadInput with every fault, and then changes nothing."""
        wanted = load(self._config)
        if self._in_force.billing.tenants and not wanted.billing.tenants:
            # An editor that saves half a file must not send Stripe away.
            raise BadInput("billing.tenants: none is left; nothing was changed (restart to watch nobody)")
        changed = difference(self._in_force, wanted)
        waiting = [key for key in changed if not key.startswith(LIVE)]
        if wanted.trading.enabled and any(key.startswith("trading.") for key in waiting):
            # The restart that they wait for may come at night, and a refusal then ends the billing watch, too.
            from daemon.desk_plan import plan  # noqa: PLC0415 - numpy, which the billing watch does without

            plan(wanted.trading)
        in_force = _live_part(self._in_force, wanted)
        await self._apply(in_force)
        self._in_force = in_force
        return {"changed": [key for key in changed if key not in waiting], "needs_restart": waiting}


def _live_part(old: Settings, new: Settings) -> Settings:
    """`old` with what takes effect at once taken from `new`; the rest goes on being reported as waiting."""
    logging = old.logging.model_copy(update={"level": new.logging.level})
    live = {key: getattr(new.billing, key) for key in ("tenants", "alerts", "mrr")}
    billing = old.billing.model_copy(update=live)
    return old.model_copy(update={"logging": logging, "billing": billing})
