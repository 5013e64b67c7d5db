"""Commands for the trading desk: what it holds, how its strategies do, and telling them to stop and go on."""

import argparse
from typing import Any

from daemon.cli.client import connect
from daemon.cli.operate import command
from daemon.cli.tables import emit, pairs, show
from daemon.cli.words import Commands


def register(commands: Commands) -> None:
    """Add the commands."""
    command(commands, "positions", positions, "what each strategy holds, and how the account stands")
    command(commands, "strategies", strategies, "how each strategy does: state, equity, trades, verdict")
    for name, meaning in (
        ("halt", "enter nothing more; exits and stops go on"),
        ("resume", "enter again; after a kill switch, losses are measured from here on"),
        ("flatten", "sell everything at once, and enter nothing more until resumed"),
    ):
        parser = command(commands, name, tell, meaning)
        parser.add_argument("strategy", nargs="?", help="only this one; without it all, and the account's kill switch")
        parser.set_defaults(instruction=name)


def positions(arguments: argparse.Namespace) -> int:
    """One line a position, then the account."""
    answer = connect(arguments).get("/positions")
    if arguments.json:
        for row in answer["positions"]:
            emit(row)
        emit({"account": answer["account"]})
        return 0
    columns = ("strategy", "symbol", "quantity", "entry_price", "price", "value", "pnl")
    money = ("entry_price", "price", "value", "pnl")
    show(
        [name.replace("_", " ") for name in columns],
        ([_dollars(row[name]) if name in money else row[name] for name in columns] for row in answer["positions"]),
        "no positions",
    )
    account = answer["account"]
    print()
    pairs(
        [
            ("equity", f"{_dollars(account['equity'])} of {_dollars(account['capital'])}"),
            ("cash", _dollars(account["cash"])),
            ("broker", "agrees" if account["reconciled"] else f"no entries: {account['why_not']}"),
            *([("halted by", account["halted"])] if account["halted"] else []),
        ]
    )
    return 0


def strategies(arguments: argparse.Namespace) -> int:
    """One line a strategy."""
    _show(connect(arguments).get("/strategies")["strategies"], as_json=arguments.json)
    return 0


def tell(arguments: argparse.Namespace) -> int:
    """The strategies concerned, as they are then."""
    body = {} if arguments.strategy is None else {"strategy": arguments.strategy}
    _show(connect(arguments).post(f"/{arguments.instruction}", body)["strategies"], as_json=arguments.json)
    return 0


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            emit(row)
        return
    show(
        ["strategy", "state", "equity", "return", "positions", "trades", "sharpe", "max drawdown", "verdict"],
        (
            [
                row["name"],
                row["state"],
                _dollars(row["equity"]),
                _percent(row["return"]),
                row["positions"],
                row["trades"],
                row["sharpe"],
                _percent(row["max_drawdown"], sign=""),
                row["verdict"],
            ]
            for row in rows
        ),
        "no strategies",
    )


def _dollars(amount: float | None) -> str | None:
    return None if amount is None else f"{amount:,.2f}"


def _percent(fraction: float | None, sign: str = "+") -> str | None:
    return None if fraction is None else f"{fraction:{sign}.2%}"
