"""`nightdesk fetch-bars` as its user meets it: killed and begun again, and told in a line what is wrong."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from actors.simulated.exchange.server import KEY_ID, SECRET_KEY
from strategies.bar_store import BarStore
from strategies.sessions import MINUTE
from tests.process.desk import OPEN, Exchange
from tests.process.harness import ROOT, nightdesk, until

PERIOD = "2026-05-01"
QUARTER = 15 * MINUTE


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    one = Exchange()
    with one.open():
        yield one


def config(folder: Path, exchange: Exchange, **changes: object) -> Path:
    trading = {
        "key_id": KEY_ID,
        "secret_key": SECRET_KEY,
        "base_url": f"http://{exchange.address}",
        "data_url": f"http://{exchange.address}",
        "universe": {"symbols": ["AAPL", "SPY"]},
    }
    path = folder / "nightdesk.yaml"
    path.write_text(yaml.safe_dump({"data_dir": str(folder / "data"), "trading": trading | changes}))
    return path


def rows(store: BarStore) -> dict[str, list[tuple[int, int]]]:
    """Time and close of each symbol's bars, up to the day on which the exchange began to play."""
    opened = store.opened("synthetic", QUARTER)
    found = {symbol: opened.series(symbol) for symbol in opened.symbols}
    found = {name: one.rows(one.time < OPEN) for name, one in found.items()}
    return {name: list(zip(one.time.tolist(), one.close.tolist(), strict=True)) for name, one in found.items()}


def test_killed_at_any_moment_it_goes_on_where_it_was(tmp_path: Path, exchange: Exchange) -> None:
    """Three times, each as soon as there is something new in the store; in the end nothing differs."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    code, [line] = nightdesk("fetch-bars", "--config", config(whole, exchange), "--period", PERIOD, "--json")
    told = json.loads(line)
    assert (code, told["feed"], told["timeframe"], told["symbols"]) == (0, "synthetic", "15m", ["AAPL", "SPY"])
    store = BarStore(broken / "data" / "bars")
    path = config(broken, exchange)
    for _ in range(3):
        before = store.manifest().generation
        command = [sys.executable, "-m", "daemon", "fetch-bars", "--config", str(path), "--period", PERIOD]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        until(lambda before=before: store.manifest().generation > before or None)  # type: ignore[misc]
        process.kill()
        process.wait()
    assert nightdesk("fetch-bars", "--config", path, "--period", PERIOD)[0] == 0
    assert rows(store) == rows(BarStore(whole / "data" / "bars"))
    assert min(map(len, rows(store).values())) > 2_500


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--timeframe", "2h"], "--timeframe: 2h: fetch one of 1m, 5m, 15m, 30m, 1d"),
        (["--timeframe", "soon"], "timeframe 'soon'"),
        (["--period", "always"], "--period: 'always': 90d, 12w, 2y or the first date"),
        (["--period", "2199-01-01"], "--period: 2199-01-01: is not in the past"),
        (["--tickers", "AAPL,N@PE"], "--tickers: 'N@PE' is not a symbol"),
        (["--tickers", "NOPE"], "--tickers: Alpaca does not trade NOPE"),
        (["--tickers", ","], "--tickers: at least one symbol is needed"),
    ],
)
def test_what_is_wrong_with_an_option_is_one_line(
    tmp_path: Path, exchange: Exchange, options: list[str], says: str
) -> None:
    code, said = nightdesk("fetch-bars", "--config", config(tmp_path, exchange), *options)
    assert (code, len(said)) == (2, 1)
    assert says in said[0]


def test_wrong_keys_and_missing_keys_are_one_line(tmp_path: Path, exchange: Exchange) -> None:
    code, said = nightdesk("fetch-bars", "--config", config(tmp_path, exchange, secret_key="hush"))
    assert (code, len(said)) == (2, 1)
    assert "Alpaca refuses" in said[0]
    assert "request is not authorized; check trading.key_id" in said[0]
    assert "hush" not in said[0]
    code, said = nightdesk("fetch-bars", "--config", config(tmp_path, exchange, key_id=None))
    assert (code, len(said)) == (2, 1)
    assert "trading.key_id, trading.secret_key: both are needed" in said[0]
