"""What docs/configuring.md shows is true."""

import re
import shlex
from pathlib import Path

import pytest

from config.load import load
from tests.conftest import ROOT

TEXT = (ROOT / "docs/configuring.md").read_text()


def block(language: str, containing: str) -> str:
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL) if containing in text)
    return str(found)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "nightdesk.yaml"
    path.write_text(block("yaml", "billing:"))
    return path


def test_the_example_does_what_it_says(config: Path) -> None:
    billing = load(config).billing
    acme, globex, default = billing.tenants
    assert (len(acme.webhook_secrets), default.token) == (2, None)
    assert billing.alerts_of(globex).failure_rate == 0.15
    assert billing.alerts_of(globex).refund_spike_count == billing.alerts_of(acme).refund_spike_count == 5


def test_the_environment_does_what_it_says(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key replaces a key, a list replaces the file's."""
    for line in block("sh", "export").strip().splitlines():
        name, value = shlex.split(line)[1].split("=", 1)
        monkeypatch.setenv(name, value)
    settings = load(config)
    assert settings.logging.level == "debug"
    assert settings.billing.alerts.refund_spike_count == 8
    assert settings.billing.alerts.sensitivity == "high"
    assert [tenant.name for tenant in settings.billing.tenants] == ["acme"]
