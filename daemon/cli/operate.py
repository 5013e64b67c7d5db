"""Commands that speak to the running daemon over its control socket."""

import argparse
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from config.errors import BadInput
from daemon.cli.client import connect
from daemon.cli.tables import clock_time, emit, pairs, show
from daemon.cli.top import top
from daemon.cli.words import Commands


def register(commands: Commands) -> None:
    """Add the operator's commands."""
    command(commands, "status", status, "how the daemon is: events, lag, open incidents, notifications, store")
    command(commands, "actors", actors, "the supervised actors: state, restarts, mailbox depths")
    incidents_ = command(commands, "incidents", incidents, "what went wrong, oldest first")
    incidents_.add_argument("--tenant", help="only this tenant's")
    incidents_.add_argument("--open", action="store_true", help="only those that are still open")

    for name, verb, meaning in (
        ("ack", ack, "you have seen it: no more reminders"),
        ("false-positive", false_positive, "it was nothing: resolve it and remember that"),
    ):
        command(commands, name, verb, meaning).add_argument("id", help="as `nightdesk incidents` shows it")
    snooze_ = command(commands, "snooze", snooze, "say nothing more of it for a while")
    snooze_.add_argument("id", help="as `nightdesk incidents` shows it")
    snooze_.add_argument("duration", help="such as 30m, 2h or 1d")

    events_ = command(commands, "events", events, "stored Stripe events, oldest first")
    events_.add_argument("-f", "--follow", action="store_true", help="go on with new ones as they come")
    events_.add_argument("--tenant", help="only this tenant's")
    events_.add_argument(
        "--since", metavar="TIME", help="received since then: 2026-11-22T02:00:00Z, or 2h for the last two hours"
    )
    events_.add_argument("--limit", type=int, metavar="N", help="the last N only")

    command(commands, "restart", restart, "restart one actor").add_argument(
        "actor", help="as `nightdesk actors` shows it"
    )
    command(commands, "reload", reload, "read the config again; a bad one changes nothing")
    backup_ = command(commands, "backup", backup, "write a consistent copy of the database while the daemon runs")
    backup_.add_argument("target", type=Path, help="a file that does not exist yet")

    command(commands, "test-alert", test_alert, "send a message through a channel, or through each").add_argument(
        "channel", nargs="?", help="its name in the config"
    )
    command(commands, "loglevel", loglevel, "what the daemon logs, until its next restart").add_argument(
        "level", help="debug, info, warning, error or critical"
    )
    top_ = command(commands, "top", top, "what goes on, refreshed every second until Ctrl-C")
    top_.add_argument("-n", "--times", type=int, metavar="N", help="show it N times only")

    letters = command(commands, "dead-letters", dead_letters, "inputs that crashed their reader three times")
    letters.add_argument("action", nargs="?", choices=("list", "replay"), default="list")
    letters.add_argument("id", nargs="?", type=int, help="which one to replay")


def command(commands: Commands, name: str, run: Any, meaning: str) -> argparse.ArgumentParser:
    """One that speaks to the daemon."""
    parser = commands.add_parser(name, help=meaning, description=f"{meaning[0].upper()}{meaning[1:]}.")
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="the daemon's control socket")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the daemon's config file, which names its socket")
    parser.set_defaults(run=run)
    return parser


def status(arguments: argparse.Namespace) -> int:
    """Exit code 4 where the daemon answers but is not ready or an actor has failed."""
    answer = connect(arguments).get("/status")
    healthy = answer["ready"] and not answer["actors"]["failed"]
    if arguments.json:
        emit(answer)
        return 0 if healthy else 4
    events_, told, store, staff = (answer[part] for part in ("events", "notifications", "store", "actors"))
    ready = "ready" if answer["ready"] else "not ready"
    counts = "{stored} stored, {duplicates} duplicates, {rejected} rejected, lag {lag}"
    pairs(
        [
            ("nightdesk", f"{answer['version']}, {ready}, up {_span(answer['uptime_s'])}"),
            ("events", counts.format_map(events_)),
            ("incidents", f"{answer['incidents']['open']} open"),
            ("notifications", "{delivered} delivered, {pending} pending, {failed} failed".format_map(told)),
            ("actors", "{running} running, {failed} failed, {restarts} restarts".format_map(staff)),
            (
                "store",
                f"{store['bytes'] / 1e6:.1f} MB, "
                + (store["trouble"] or f"last commit {store['last_commit_ms']:.1f} ms"),
            ),
        ]
    )
    return 0 if healthy else 4


def _span(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m" if hours else f"{minutes}m {left}s"


def actors(arguments: argparse.Namespace) -> int:
    """One line an actor, in the order of the supervision tree."""
    rows = connect(arguments).get("/actors")["actors"]
    if arguments.json:
        emit(rows)
        return 0
    columns = ("name", "state", "restarts", "depth", "high_water", "received", "dropped", "busy_s", "last_error")
    shown = ({**row, "dropped": sum(row["dropped"].values())} for row in rows)
    show([name.replace("_", " ") for name in columns], ([row[name] for name in columns] for row in shown), "no actors")
    return 0


def incidents(arguments: argparse.Namespace) -> int:
    """One line an incident."""
    query = {"tenant": arguments.tenant, "state": "open" if arguments.open else None}
    rows = connect(arguments).get("/incidents" + query_string(query))["incidents"]
    if arguments.json:
        for row in rows:
            emit(row)
        return 0
    show(
        ["id", "severity", "tenant", "signal", "state", "opened", "title"],
        (
            [
                row["id"],
                row["severity"],
                row["tenant"] or "-",
                row["signal"],
                _state(row),
                clock_time(row["opened"]),
                row["title"],
            ]
            for row in rows
        ),
        "no incidents",
    )
    return 0


def _state(row: dict[str, Any]) -> str:
    return "acked" if row["state"] == "open" and row["acked"] else str(row["state"])


def change(arguments: argparse.Namespace, path: str, body: dict[str, Any], done: str) -> int:
    """Order it, and say `done` with what the daemon answers."""
    answer = connect(arguments).post(path, body)
    if arguments.json:
        emit(answer)
    else:
        print(done.format_map(answer))
    return 0


def _while_open(arguments: argparse.Namespace, path: str, more: dict[str, Any], done: str) -> int:
    """Order what an incident that is over takes no notice of."""
    answer = connect(arguments).post(path, {"id": arguments.id, **more})
    if arguments.json:
        emit(answer)
    elif answer["state"] == "resolved":
        print(f"{answer['id']} is over already; nothing was changed")
    else:
        print(done.format_map({**answer, "snoozed_until": clock_time(answer["snoozed_until"])}))
    return 0


def ack(arguments: argparse.Namespace) -> int:
    """Acknowledge an incident."""
    return _while_open(arguments, "/ack", {}, "{id} is acknowledged")


def false_positive(arguments: argparse.Namespace) -> int:
    """Mark an incident as a false positive."""
    return change(arguments, "/false-positive", {"id": arguments.id}, "{id} is marked as a false positive")


def snooze(arguments: argparse.Namespace) -> int:
    """Silence an incident for a while."""
    more = {"duration": arguments.duration}
    return _while_open(arguments, "/snooze", more, "{id} is silent until {snoozed_until} UTC")


def restart(arguments: argparse.Namespace) -> int:
    """Restart an actor."""
    return change(arguments, "/restart", {"actor": arguments.actor}, "{actor} was restarted")


def reload(arguments: argparse.Namespace) -> int:
    """Reload the config; names what changes only with a restart."""
    answer = connect(arguments).post("/reload", {})
    if arguments.json:
        emit(answer)
        return 0
    print("changed: " + (", ".join(answer["changed"]) or "nothing"))
    if answer["needs_restart"]:
        print("takes effect after a restart of the daemon: " + ", ".join(answer["needs_restart"]))
    return 0


def backup(arguments: argparse.Namespace) -> int:
    """Copy the database."""
    body = {"target": str(arguments.target.absolute())}
    return change(arguments, "/backup", body, "{target}: {bytes} bytes")


def test_alert(arguments: argparse.Namespace) -> int:
    """Send a test message. Exit 1 where a channel does not take it."""
    answer = connect(arguments).post("/test-alert", {"channel": arguments.channel})
    if arguments.json:
        emit(answer)
    else:
        sent = [name for name in answer["channels"] if name not in answer["errors"]]
        if sent or not answer["channels"]:
            print("sent to: " + (", ".join(sent) or "no channel is configured"))
        for name, error in answer["errors"].items():
            print(f"nightdesk: alerts.channels: {name}: {error}", file=sys.stderr)
    return 1 if answer["errors"] else 0


def loglevel(arguments: argparse.Namespace) -> int:
    """Change the level of the log."""
    return change(arguments, "/loglevel", {"level": arguments.level}, "lines of level {level} and above are logged")


def dead_letters(arguments: argparse.Namespace) -> int:
    """List the dead letters, or read one once more."""
    if arguments.action == "replay":
        if arguments.id is None:
            raise BadInput("which one? nightdesk dead-letters lists them")
        return change(arguments, "/dead-letters/replay", {"id": arguments.id}, "dead letter {id} is read once more")
    rows = connect(arguments).get("/dead-letters")["dead_letters"]
    if arguments.json:
        for row in rows:
            emit(row)
        return 0
    columns = ("id", "actor", "seq", "at", "replayed", "error")
    show(columns, ([row[name] for name in columns] for row in rows), "no dead letters")
    return 0


def events(arguments: argparse.Namespace) -> int:
    """Stream stored events until the end, or with -f until interrupted."""
    query = {
        "tenant": arguments.tenant,
        "since": arguments.since,
        "limit": arguments.limit,
        "follow": "1" if arguments.follow else None,
    }
    write = sys.stdout.write
    try:
        for line in connect(arguments).lines("/events" + query_string(query)):
            write(line + "\n" if arguments.json else _event_line(line))
            if arguments.follow:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return 0
    return 0


def _event_line(line: str) -> str:
    import json  # noqa: PLC0415 - only lines for people are taken apart

    event = json.loads(line)
    mark = "!" if event["flagged"] else " "
    tenant, received = event["tenant"], clock_time(event["received"])
    return f"{event['seq']:>9} {mark} {received}  {tenant:<16} {event['type']:<36} {event['id']}\n"


def query_string(values: dict[str, Any]) -> str:
    """What is given, as the end of a path."""
    given = {name: value for name, value in values.items() if value is not None}
    return "?" + urlencode(given, quote_via=quote) if given else ""
