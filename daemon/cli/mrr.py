"""`nightdesk mrr`: what recurs, and how it moved."""

import argparse
from typing import Any

from actors.billing.money import format_money
from daemon.cli.client import connect
from daemon.cli.operate import command, query_string
from daemon.cli.tables import emit, show
from daemon.cli.words import Commands

KINDS = ("new", "reactivation", "expansion", "contraction", "churn", "net")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "mrr", run, "monthly recurring revenue, churn and movements, by tenant and currency")
    parser.add_argument("--tenant", help="only this tenant's")
    parser.add_argument(
        "--at", metavar="TIME", help="as it was then: 2026-11-01 (its first moment), or 7d for a week ago"
    )


def run(arguments: argparse.Namespace) -> int:
    """One line a tenant and currency; then how each moved, by month and by day."""
    path = "/mrr" + query_string({"tenant": arguments.tenant, "at": arguments.at})
    rows = connect(arguments).get(path)["mrr"]
    if arguments.json:
        for row in rows:
            emit(row)
        return 0
    show(
        ["tenant", "currency", "mrr", "arr", "arpa", "customers", "subscriptions", "gross churn", "net churn", "quick"],
        (_line(row) for row in rows),
        "no subscription is known yet",
    )
    for row in rows:
        if row["converted"] and row["no_rate"]:
            print(f"{row['tenant']}: no rate for {', '.join(row['no_rate']).upper()}: not in {_currency(row)}")
    for row in rows:
        for period, flows in (("month", row["months"]), ("day", row["days"])):
            if flows:
                print(f"\n{row['tenant']}, {_currency(row)} by {period} (UTC)")
                amounts = ([flow[period], *_amounts(flow, row["currency"])] for flow in flows)
                show([period, *KINDS], amounts, "")
    return 0


def _currency(row: dict[str, Any]) -> str:
    return f"all in {row['currency'].upper()}" if row["converted"] else str(row["currency"].upper())


def _line(row: dict[str, Any]) -> list[object]:
    money = [format_money(row[name], row["currency"]) for name in ("mrr_minor", "arr_minor")]
    arpa = None if row["arpa_minor"] is None else format_money(row["arpa_minor"], row["currency"])
    estimated = f" ({row['estimated']} estimated)" if row["estimated"] else ""
    return [
        row["tenant"],
        _currency(row),
        *money,
        arpa,
        row["customers"],
        f"{row['subscriptions']}{estimated}",
        _percent(row["gross_churn"]),
        _percent(row["net_churn"]),
        row["quick_ratio"],
    ]


def _percent(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:.1%}"


def _amounts(flow: dict[str, Any], currency: str) -> list[str]:
    return [format_money(flow[f"{kind}_minor"], currency) if flow[f"{kind}_minor"] else "-" for kind in KINDS]
