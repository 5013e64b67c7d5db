"""What docs/channels.md shows is true."""

import re
from pathlib import Path
from typing import Any

import yaml

from actors.alerts.channels.webhook import signature
from actors.kernel.clock import WallClock
from config.settings import Settings
from daemon import wiring

TEXT = Path(__file__).parents[2].joinpath("docs", "channels.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1]


def test_the_example_is_a_valid_config_with_every_type() -> None:
    alerts = Settings.model_validate(yaml.safe_load(block("yaml"))).alerts
    types = [channel.type for channel in alerts.channels]
    assert sorted(types) == sorted(re.findall(r"^\| (\w+) \|", TEXT, re.MULTILINE)[1:])


def test_each_type_of_the_example_can_be_built() -> None:
    settings = Settings.model_validate(yaml.safe_load(block("yaml")))
    built = wiring.channels(settings, WallClock())
    people = {name for name, channel in built.items() if channel.for_people}
    assert people == {channel.name for channel in settings.alerts.channels} - {"ops"}
    assert people == {route.channel for route in wiring.routing(settings).routes if route.for_people}


def test_the_recipe_accepts_our_signature_and_no_other() -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)  # the recipe, as a reader would paste it
    header = signature("s3cret", b"body", 1_700_000_000)
    assert names["genuine"](header, b"body", "s3cret")
    assert not names["genuine"](header, b"bodY", "s3cret")
