"""The real process trades on a real server through the real client, and every order is there once."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import yaml

from actors.simulated.exchange.faults import FAULTS, LASTING, REFUSALS
from tests.patience import PATIENCE_S
from tests.process.desk import RESTLESS, SPEED, Exchange, Mischief, trading
from tests.process.harness import RunningDaemon, nightdesk, running, until

ROUNDS = 10
SHARES = 1e-6
SINGLE = FAULTS.keys() - LASTING - {"half-day"}
FELT = {name: f"({code})" for name, code in REFUSALS.items()} | {
    "429": "HTTP 429",
    "429-bare": "HTTP 429",
    "auth-refused": "HTTP 401",
    "deaf": "nothing came although the exchange is open",
    "restart": "order updates",
    "stalled": "no answer within",
}
"""What the daemon logs of each spell."""


def agreed(daemon: RunningDaemon, exchange: Exchange) -> bool | None:
    """Whether books and broker say the same, with nothing under way; None: not yet."""
    answer = daemon.get("/positions")
    books = Counter[str]()
    for row in answer["positions"]:
        books[row["symbol"]] += row["quantity"]
    same = dict(books) == pytest.approx(exchange.holdings(), abs=SHARES)
    return True if same and answer["account"]["reconciled"] else None


def test_an_order_taken_just_before_a_kill_is_there_once(tmp_path: Path) -> None:
    """Ten times the process is killed when the exchange has taken an order and not answered yet."""
    exchange = Exchange()
    with exchange.open(), trading(tmp_path, exchange.address) as daemon:

        def kill() -> None:
            exchange.taken = lambda: None
            assert daemon.process is not None
            os.kill(daemon.process.pid, signal.SIGKILL)

        for _ in range(ROUNDS):
            daemon.start()
            exchange.taken = kill
            assert daemon.process is not None
            assert daemon.process.wait(PATIENCE_S) == -signal.SIGKILL
        daemon.start()
        daemon.ask("/flatten", {})
        until(lambda: True if not exchange.holdings() else None)
        until(lambda: agreed(daemon, exchange))
        assert max(Counter(exchange.posts).values()) == 1
        orders = [ticket.order.client_order_id for ticket in exchange.account.tickets()]
        assert sorted(orders) == sorted(exchange.posts)
        assert not daemon.incidents("broker_mismatch")


def test_after_every_fault_books_and_broker_agree(tmp_path: Path) -> None:
    """Those of single orders and bars at random until each has struck; then each spell until it is felt, and over."""
    mischief = Mischief(SINGLE, seed=1)
    mischief.force("halt")  # there is a chance of one every five minutes only
    exchange = Exchange(mischief, 2 * SPEED)
    with exchange.open(), trading(tmp_path, exchange.address) as daemon:
        daemon.program = ["tests.process.impatient"]
        daemon.start()
        until(lambda: True if mischief.struck >= SINGLE else None)
        mischief.calm = True
        mischief.lift("halt")
        until(lambda: agreed(daemon, exchange))
        for spell in sorted(LASTING):
            told = daemon.log().count(FELT[spell])
            mischief.force(spell)
            until(lambda spell=spell, told=told: True if daemon.log().count(FELT[spell]) > told else None)  # type: ignore[misc]
            mischief.lift(spell)
            until(lambda: agreed(daemon, exchange))
            posts = len(exchange.posts)
            until(lambda posts=posts: True if len(exchange.posts) > posts else None)  # type: ignore[misc]
        assert max(Counter(exchange.posts).values()) == 1
        assert all(incident["state"] == "resolved" for incident in daemon.incidents("broker_mismatch"))
        daemon.ask("/flatten", {})
        until(lambda: True if not exchange.holdings() else None)
        until(lambda: agreed(daemon, exchange))
        assert daemon.stop() == 0


def test_what_an_operator_says_holds_across_a_kill(tmp_path: Path) -> None:
    """Halted, it sells what it decides to sell and buys nothing, also in its next life; until it may again."""
    exchange = Exchange()
    with exchange.open(), trading(tmp_path, exchange.address) as daemon:
        daemon.start()

        def held() -> list[str] | None:
            _, lines = nightdesk("positions", "--socket", daemon.socket)
            return lines if lines[1].startswith("restless  ") else None

        assert until(held)[0].split() == ["STRATEGY", "SYMBOL", "QUANTITY", "ENTRY", "PRICE", "PRICE", "VALUE", "PNL"]
        code, lines = nightdesk("halt", "nobody", "--socket", daemon.socket)
        assert (code, lines) == (2, ["nightdesk: no strategy is called 'nobody'; there are: restless"])
        code, lines = nightdesk("flatten", "", "--socket", daemon.socket)  # an empty variable is not everybody
        assert (code, lines) == (2, ["nightdesk: no strategy is called ''; there are: restless"])
        good = daemon.config.read_text()
        daemon.config.write_text(good.replace("- restless", "- nope"))
        code, [line] = nightdesk("reload", "--socket", daemon.socket)
        assert (code, line.partition(";")[0]) == (2, "nightdesk: trading.strategies[0]: no strategy is called 'nope'")
        daemon.config.write_text(good)
        code, lines = nightdesk("halt", "restless", "--json", "--socket", daemon.socket)
        assert (code, [json.loads(line)["state"] for line in lines]) == (0, ["halted"])
        until(lambda: True if not exchange.holdings() else None)
        daemon.kill()
        before = len(exchange.posts)
        daemon.start()
        until(lambda: agreed(daemon, exchange))
        [row] = daemon.get("/strategies")["strategies"]
        assert (row["name"], row["state"], row["positions"]) == ("restless", "halted", 0)
        assert row["equity"] == pytest.approx(20_000 + exchange.account.cash - 100_000, abs=0.005)
        assert len(exchange.posts) == before
        assert nightdesk("resume", "--socket", daemon.socket)[0] == 0
        until(lambda: True if exchange.holdings() else None)
        until(lambda: agreed(daemon, exchange))


def test_what_strategies_hold_that_are_not_there_is_sold_when_told(tmp_path: Path) -> None:
    """One is not in the config any more, one hung in an earlier life of the process."""
    exchange = Exchange()
    with exchange.open(), trading(tmp_path, exchange.address, strategies=["retired", "hung"]) as daemon:
        for name in ("retired", "hung"):
            patient = RESTLESS.replace("leave=always", "leave=~always").replace("Restless", name.title())
            (tmp_path / "own" / f"{name}.py").write_text(patient)

        def positions() -> dict[str, int]:
            return {row["name"]: row["positions"] for row in daemon.get("/strategies")["strategies"]}

        daemon.start()
        until(lambda: True if all(positions().values()) else None)
        daemon.kill()
        config = yaml.safe_load(daemon.config.read_text())
        daemon.config.write_text(yaml.safe_dump(config | {"trading": config["trading"] | {"strategies": ["hung"]}}))
        (tmp_path / "data" / "quarantine").write_text("trading.strategy:hung\thung.py:12\n")
        daemon.start()
        until(lambda: agreed(daemon, exchange))
        told = until(lambda: found if len(found := daemon.incidents("strategy_failed")) == 2 else None)
        for incident in told:
            assert f"nightdesk flatten {incident['scope']} sells what it holds" in incident["evidence"]["first"]
        states = {row["name"]: row["state"] for row in daemon.get("/strategies")["strategies"]}
        assert states == {"retired": "retired", "hung": "failed"}
        assert all(positions().values())
        assert nightdesk("flatten", "--socket", daemon.socket)[0] == 0
        until(lambda: True if not exchange.holdings() else None)
        until(lambda: agreed(daemon, exchange))
        assert not any(positions().values())
        assert max(Counter(exchange.posts).values()) == 1


def test_a_mended_strategy_goes_on_and_what_it_said_of_secrets_and_people_is_told_nobody(tmp_path: Path) -> None:
    """A file that cannot be loaded is one line, and changes nothing; a good one is what a restart loads."""
    exchange = Exchange()
    with exchange.open(), trading(tmp_path, exchange.address) as daemon:
        file = tmp_path / "own" / "restless.py"
        secret, person = "sk_live_51HxAbCdEf", "jane@example.com"
        file.write_text(
            RESTLESS.replace("always = np", f"raise ValueError('{secret} of {person}')\n        always = np")
        )
        daemon.start()
        [incident] = until(lambda: daemon.incidents("strategy_failed") or None)
        assert f"{file}:12: ValueError: sk_live_… of …" in incident["title"]
        [row] = daemon.get("/strategies")["strategies"]
        assert (row["state"], row["error"]) == ("failed", incident["evidence"]["error"])
        daemon.settled()
        told = json.dumps([incident, row, daemon.sink.all, daemon.get("/actors")]) + daemon.log()
        assert secret not in told
        assert person not in told
        restart = ("restart", "strategy:restless", "--socket", daemon.socket)
        file.write_text("import nothing_of_the_kind\n")
        code, [line] = nightdesk(*restart)
        assert code == 2
        assert f"{file}:1: ModuleNotFoundError" in line
        file.write_text(RESTLESS)
        assert nightdesk(*restart) == (0, ["trading.strategy:restless was restarted"])
        until(lambda: True if exchange.holdings() else None)
        [incident] = daemon.incidents("strategy_failed")
        assert incident["state"] == "resolved"


def test_without_a_desk_its_commands_say_how_to_get_one(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        for command in ("positions", "strategies", "halt", "flatten", "resume"):
            says = ["nightdesk: nothing is traded: trading.enabled is false"]
            assert nightdesk(command, "--socket", daemon.socket) == (1, says)
