"""`nightdesk backfill`: fetches past events from Stripe and shows how far it has come."""

import argparse
import sys
import threading
from typing import Any

from config.errors import UserError
from daemon.cli.client import Client, connect
from daemon.cli.operate import command, query_string
from daemon.cli.tables import clock_time, emit, show
from daemon.cli.words import Commands

LOOK_AGAIN_S = 0.5


def register(commands: Commands) -> None:
    """Add the command."""
    meaning = (
        "fetch past events from Stripe, oldest first; it goes on after a restart and changes nothing that is known"
    )
    parser = command(commands, "backfill", run, meaning)
    parser.add_argument("--tenant", help="only this tenant's; without it, of every tenant with an API key")
    parser.add_argument("--days", type=float, default=30, help="how far back, 30 at most (30)")


def run(arguments: argparse.Namespace) -> int:
    """Wait until all is fetched. Exit 1 where a tenant's cannot be; Ctrl-C leaves the daemon to it."""
    client = connect(arguments)
    asked = client.post("/backfill", {"tenant": arguments.tenant, "days": arguments.days})["tenants"]
    rows = _wait(client, arguments.tenant, asked)
    if arguments.json:
        for row in rows:
            emit(row)
    else:
        show(
            ["tenant", "since", "fetched", "new"],
            ([row["tenant"], clock_time(row["since"]), row["fetched"], row["stored"]] for row in rows),
            "nothing to fetch",
        )
    stuck = [f"{row['tenant']}: {row['trouble']}" for row in rows if row["trouble"] and not row["done"]]
    if stuck:
        raise UserError("; ".join(stuck))
    return 0


def _wait(client: Client, tenant: str | None, asked: list[str]) -> list[dict[str, Any]]:
    pause = threading.Event()
    while True:
        found = client.get("/backfill" + query_string({"tenant": tenant}))["backfills"]
        rows = [row for row in found if row["tenant"] in asked]
        under_way = [row for row in rows if not row["done"] and not row["trouble"]]
        if sys.stderr.isatty():
            share = sum(row["share"] for row in rows) / max(1, len(rows))
            fetched = sum(row["fetched"] for row in rows)
            print(f"\r{share:4.0%}  {fetched} events", end="" if under_way else "\n", file=sys.stderr, flush=True)
        if not under_way:
            return rows
        pause.wait(LOOK_AGAIN_S)
