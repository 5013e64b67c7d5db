"""What is wrong between the settings and Alpaca is one line at start, and one of doctor's, and nothing is opened."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.simulated.exchange.server import KEY_ID, SECRET_KEY
from tests.process.desk import SYMBOLS, Exchange
from tests.process.harness import nightdesk


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    one = Exchange()
    with one.open():
        yield one


def config(folder: Path, exchange: Exchange, **changes: Any) -> Path:
    trading = {
        "enabled": True,
        "key_id": KEY_ID,
        "secret_key": SECRET_KEY,
        "base_url": f"http://{exchange.address}",
        "data_url": f"http://{exchange.address}",
        "stream_url": f"ws://{exchange.address}",
        "universe": {"symbols": list(SYMBOLS)},
        "strategies": ["breakout_20d"],
    }
    path = folder / "nightdesk.yaml"
    tree = {
        "data_dir": str(folder / "data"),
        "control": {"socket": str(folder / "control.sock")},
        "web": {"listen": None},
        "billing": {"listen": "127.0.0.1:0"},
        "trading": trading | changes,
    }
    path.write_text(yaml.safe_dump(tree))
    path.chmod(0o600)
    return path


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "keys": (
        {"secret_key": "hush"},
        "trading.key_id, trading.secret_key",
        "Alpaca does not accept these keys (127.0.0.1:",
    ),
    "live keys": ({"key_id": "AKLIVE"}, "trading.key_id", "these are keys of a live account and trading.paper is true"),
    "symbol": ({"universe": {"symbols": ["AAPL", "NOPE"]}}, "trading.universe.symbols", "Alpaca does not trade NOPE"),
    "feed": ({"feed": "sip"}, "trading.feed", "subscription does not permit querying recent SIP data"),
    "host": ({"base_url": "http://127.0.0.1:9"}, "trading.base_url", "127.0.0.1:9: cannot connect; check the address"),
    "data host": ({"data_url": "http://127.0.0.1:9"}, "trading.data_url", "127.0.0.1:9: cannot connect"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_it_is_one_line_at_start_and_one_of_doctors(tmp_path: Path, exchange: Exchange, wrong: str) -> None:
    changes, key, says = WRONG[wrong]
    path = config(tmp_path, exchange, **changes)
    code, said = nightdesk("run", "--config", path)
    assert (code, len(said)) == (2, 1)
    assert said[0].startswith(f"nightdesk: {key}: ")
    assert says in said[0]
    assert "hush" not in said[0]
    assert not (tmp_path / "data").exists()
    code, found = nightdesk("doctor", "--config", path)
    assert code == 1
    [line] = [line for line in found if says in line]
    assert key in line


def test_an_account_without_money_is_refused_where_it_is_to_be_shared_out(
    tmp_path: Path, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange.account, "cash", 0.0)
    says = "the account has 0.00 dollars to share out among the strategies; pay something in"
    said = nightdesk("run", "--config", config(tmp_path, exchange))
    assert said == (2, [f"nightdesk: trading.capital_per_strategy: {says}"])


def test_doctor_says_that_all_is_well(tmp_path: Path, exchange: Exchange) -> None:
    """Also that it is another time there: the desk lives by the exchange's."""
    _, found = nightdesk("doctor", "--config", config(tmp_path, exchange))
    assert any("Alpaca takes the keys, the feed and the 3 symbols" in line for line in found)
