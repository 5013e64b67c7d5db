"""`nightdesk tenant`: tenants are added, listed, changed and removed while the daemon runs."""

import argparse
from typing import Any

from config.errors import BadInput
from daemon.cli.client import connect
from daemon.cli.operate import change, command
from daemon.cli.secret_input import SIGNING, ask_secret, from_variable
from daemon.cli.tables import clock_time, emit, show
from daemon.cli.words import Commands


def register(commands: Commands) -> None:
    """Add the commands."""
    tenant = commands.add_parser(
        "tenant",
        help="add, list, change and remove tenants while the daemon runs",
        description="Tenants that are added here are kept in the database and watched at once. Those of the config "
        "file are changed there. Secrets are asked for or read from the environment, never taken from the command "
        "line.",
    )
    actions = tenant.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_ = command(actions, "add", add, "watch one more Stripe account, under an address nobody can guess")
    add_.add_argument("name", help="a short name for it")
    add_.add_argument("--secret-from", metavar="VARIABLE", help="the variable that holds the signing secret")
    _add_settings(add_)
    command(actions, "list", list_, "the tenants of the config file and of the database, without their secrets")
    change_ = command(actions, "change", change_settings, "other thresholds, channels, limits or keys for a tenant")
    change_.add_argument("name")
    _add_settings(change_)
    rotate_ = command(actions, "rotate-secret", rotate, "a new signing secret; the old one stays good while it rolls")
    rotate_.add_argument("name")
    rotate_.add_argument("--secret-from", metavar="VARIABLE", help="the variable that holds the new signing secret")
    rotate_.add_argument("--drop-previous", action="store_true", help="the old one leaked: refuse it from now on")
    remove_ = command(actions, "remove", remove, "watch it no longer; its events and incidents stay")
    remove_.add_argument("name")
    endpoint_ = command(actions, "register-endpoint", register_endpoint, "have Stripe send the tenant's events here")
    endpoint_.add_argument("name")
    endpoint_.add_argument(
        "--url", required=True, help="the daemon's public address, such as https://hooks.example.com"
    )
    endpoint_.add_argument(
        "--api-key-from",
        metavar="VARIABLE",
        help="the variable that holds a key with the permission “Webhook endpoints: write”; it is used and not kept",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--api-key-from",
        metavar="VARIABLE",
        help="the variable that holds a restricted key: with it, a month of history is fetched and nothing is missed",
    )
    parser.add_argument("--channel", action="append", metavar="NAME", help="tell only this one; may be repeated")
    parser.add_argument(
        "--alert",
        action="append",
        metavar="KEY=VALUE",
        default=[],
        help="a threshold, as in billing.alerts; may be repeated; without a VALUE: as for all",
    )
    parser.add_argument("--rate-limit", type=float, metavar="N", help="events a second, beyond which it is told 429")


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if arguments.api_key_from:
        settings["api_key"] = from_variable("--api-key-from", arguments.api_key_from)
    if arguments.channel:
        settings["channels"] = arguments.channel
    if arguments.alert:
        settings["alerts"] = dict(alert(text) for text in arguments.alert)
    if arguments.rate_limit is not None:
        settings["rate_limit"] = {"per_second": arguments.rate_limit}
    return settings


def add(arguments: argparse.Namespace) -> int:
    """Without a signing secret the tenant waits for one."""
    settings = _settings(arguments)
    given = ask_secret(f"{SIGNING}; empty: later", arguments.secret_from, optional=True)
    if given:
        settings["webhook_secrets"] = [given]
    answer = connect(arguments).post("/tenants/add", {"name": arguments.name, "settings": settings})
    if arguments.json:
        emit(answer)
        return 0
    print(f"{answer['name']} is added. Its address, which nobody else may know: https://your.host{answer['address']}")
    if answer["waiting"]:
        print(
            f"It waits for its signing secret: nightdesk tenant rotate-secret {answer['name']}, or register-endpoint."
        )
    return 0


def alert(text: str) -> tuple[str, Any]:
    """`refund_spike_count=5` as a key and what YAML would make of its value."""
    import yaml  # noqa: PLC0415 - only this option needs it

    key, equals, value = text.partition("=")
    try:
        return key, yaml.safe_load(value) if equals else yaml.safe_load("")
    except yaml.YAMLError:
        raise BadInput(f"--alert: expected KEY=VALUE, such as refund_spike_count=5, not {text!r}") from None


def list_(arguments: argparse.Namespace) -> int:
    """One line a tenant."""
    rows = connect(arguments).get("/tenants")["tenants"]
    if arguments.json:
        for row in rows:
            emit(row)
        return 0
    show(
        ["name", "from", "watched", "secrets", "api key", "channels", "own thresholds", "changed"],
        (
            [
                row["name"],
                row["source"],
                "yes" if row["watched"] else f"no: {row['why_not']}",
                row["secrets"],
                "yes" if row["api_key"] else "no",
                "all" if row["channels"] is None else ", ".join(row["channels"]),
                ", ".join(f"{key}={value}" for key, value in row["alerts"].items()) or None,
                clock_time(row["changed"]),
            ]
            for row in rows
        ),
        "no tenant is known; nightdesk tenant add NAME adds one",
    )
    return 0


def change_settings(arguments: argparse.Namespace) -> int:
    """What is not given stays as it is."""
    settings = _settings(arguments)
    if not settings:
        raise BadInput("what is to be changed? see nightdesk tenant change --help")
    return change(arguments, "/tenants/change", {"name": arguments.name, "settings": settings}, "{name} is changed")


def rotate(arguments: argparse.Namespace) -> int:
    """The secret before stays good, unless it is to be dropped."""
    body = {
        "name": arguments.name,
        "secrets": {"webhook_secret": ask_secret(SIGNING, arguments.secret_from)},
        "drop_previous": arguments.drop_previous,
    }
    return change(arguments, "/tenants/rotate-secret", body, "{name} has a new signing secret; {secrets} are good now")


def remove(arguments: argparse.Namespace) -> int:
    """Its address is unknown from now on."""
    return change(arguments, "/tenants/remove", {"name": arguments.name}, "{name} is no longer watched; its data stays")


def register_endpoint(arguments: argparse.Namespace) -> int:
    """Through the daemon, which keeps the secret that Stripe makes."""
    body: dict[str, Any] = {"name": arguments.name, "url": arguments.url}
    if arguments.api_key_from:
        body["secrets"] = {"api_key": from_variable("--api-key-from", arguments.api_key_from)}
    done = "Stripe sends {events} kinds of events to {name} now ({endpoint}); the signing secret is kept"
    return change(arguments, "/tenants/register-endpoint", body, done)
