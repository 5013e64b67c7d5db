"""Reads the settings tree from its three places, and says in one line each what is wrong with them."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from config.errors import BadInput
from config.settings import Settings
from config.types import FORMS
from config.yaml_file import read_yaml


def load(path: Path | None) -> Settings:
    """Settings of a YAML file (None: environment, credentials and defaults alone). Raises BadInput."""
    tree = read_yaml(path) if path else {}
    try:
        return Settings(**tree)
    except ValidationError as error:
        where = f"{path}: " if path else ""
        raise BadInput("\nnightdesk: ".join(f"{where}{line}" for line in faults(error))) from None
    except SettingsError as error:
        raise BadInput(f"environment: {error}") from None


def unknown_names(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that look like settings and are none, so change nothing; and what is wrong with each, in a phrase."""
    prefix = str(Settings.model_config["env_prefix"])
    for name in sorted(environ):
        key = name.removeprefix(prefix).partition("__")[0].lower()
        if name.startswith(prefix) and key not in Settings.model_fields:
            yield name, f"no setting has this name{_suggestion((key,))}"


OF_A_KEY = re.compile(r"[a-z_]+(\.[a-z_]+)*: ")

IN_PLAIN_WORDS = {
    "missing": "is missing",
    "string_type": "expected text; put it in quotes",
    "tuple_type": "expected a list",
    "model_type": "expected keys and values",
}


def faults(error: ValidationError) -> Iterator[str]:
    """Each fault as `key.path: what is wrong`; values are never quoted from the input, they may be secrets."""
    seen = set()
    items = error.errors(include_url=False, include_input=False)
    places = [_spell(item["loc"]) for item in items]
    for where, item in zip(places, items, strict=True):
        if item["loc"][-1:] == ("str",) and any(place.startswith(f"{where}.") for place in places):
            continue  # a strategy may be a name alone; this one is more, and the fault lies within
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"unknown key{_suggestion(item['loc'])}"
        if item["type"] == "string_pattern_mismatch":
            message = f"expected {FORMS[item['ctx']['pattern']]}"
        message = IN_PLAIN_WORDS.get(item["type"], message)
        if item["type"] == "union_tag_invalid":
            message = f"type: expected one of {item['ctx']['expected_tags'].replace(chr(39), '')}"
        if where:  # a section that finds fault with one of its keys begins with that
            message = f"{where}{'.' if OF_A_KEY.match(message) else ': '}{message}"
        if message not in seen:
            seen.add(message)
            yield message


def _spell(loc: tuple[int | str, ...]) -> str:
    """`('alerts', 'channels', 0, 'webhook', 'url')` as `alerts.channels[0].url`: the tag of a union is no key."""
    spelled = ""
    parts = list(loc)
    for index, part in enumerate(parts):
        if isinstance(part, int):
            spelled += f"[{part}]"
        elif not ((parts[:2] == ["alerts", "channels"] and index == 3) or part in ("str", "StrategyChoice")):
            spelled += f".{part}" if spelled else part
    return spelled


def _suggestion(loc: tuple[int | str, ...]) -> str:
    model: Any = Settings
    for part in loc[:-1]:
        fields = getattr(model, "model_fields", {})
        model = _model_within(fields[part]) if part in fields else model if isinstance(part, int) else None
    close = difflib.get_close_matches(str(loc[-1]), getattr(model, "model_fields", {}), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _model_within(field: FieldInfo) -> Any:
    for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
