"""Commands that are the daemon, or stand in for it: run, demo, restore."""

import argparse
import os
from pathlib import Path

from config.errors import BadInput
from config.paths import data_dir_of
from daemon.cli.words import Commands

FASTEST = 100_000
LONGEST_S = 31 * 86400


def register(commands: Commands) -> None:
    """Add the commands."""
    run_ = commands.add_parser(
        "run",
        help="the daemon, in the foreground; logs on stderr",
        description="The daemon, in the foreground, with logs on stderr. Secrets come from the config, the environment "
        "or systemd credentials, never from the command line. SIGHUP reads the config again, SIGTERM ends in order.",
    )
    run_.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML; without it the environment and the defaults speak"
    )
    run_.add_argument(
        "--strategy",
        action="append",
        default=[],
        metavar="NAME",
        help="trade only this strategy; may be given several times (default: those of the config)",
    )
    run_.set_defaults(run=run)

    demo_ = commands.add_parser(
        "demo",
        help="the real daemon against a simulated shop and a simulated exchange, on accelerated clocks",
        description="Starts the real daemon in a temporary directory, a simulated shop that posts signed Stripe "
        "webhooks to it, and an exchange with made-up prices on which its ten strategies trade. Now and then something "
        "goes wrong, and the terminal shows what the daemon says of it.",
    )
    demo_.add_argument("--seconds", type=float, metavar="N", help="end after N seconds (default: Ctrl-C)")
    demo_.add_argument("--speed", type=float, default=600.0, metavar="X", help="how much faster than life (600)")
    demo_.add_argument("--seed", type=int, default=1, metavar="S", help="the same seed tells the same story (1)")
    demo_.add_argument("--port", type=int, default=0, metavar="P", help="the daemon's public port (a free one)")
    demo_.add_argument("--json", action="store_true", help="the summary as one object on the last line")
    demo_.set_defaults(run=demo)

    restore_ = commands.add_parser(
        "restore",
        help="put a backup in the place of the database; the daemon must not be running",
        description="Checks a backup and puts it in the place of the database, which is kept beside it.",
    )
    restore_.add_argument("backup", type=Path)
    restore_.add_argument("--config", type=Path, metavar="FILE", help="the config that names data_dir")
    restore_.set_defaults(run=restore)


def run(arguments: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT (0), or until the store fails for good (1)."""
    from config.load import load  # noqa: PLC0415 - the daemon's imports are heavy; other commands start at once
    from daemon.app import run_daemon  # noqa: PLC0415 - as above

    return run_daemon(load(arguments.config), arguments.config, arguments.strategy)


def demo(arguments: argparse.Namespace) -> int:
    """The demo's story."""
    from daemon.demo import run_demo  # noqa: PLC0415 - as run

    if not 1 <= arguments.speed <= FASTEST:
        raise BadInput(f"--speed: must be between 1 and {FASTEST}")
    if arguments.seconds is not None and not 0 < arguments.seconds <= LONGEST_S:
        raise BadInput(f"--seconds: must be more than 0 and at most {LONGEST_S}")
    if not 0 <= arguments.port <= 65535:
        raise BadInput("--port: must be between 0 and 65535")
    return run_demo(arguments.seconds, arguments.speed, arguments.seed, arguments.port, as_json=arguments.json)


def restore(arguments: argparse.Namespace) -> int:
    """Replace the database by a backup."""
    from actors.store.upkeep import restore as restore_backup  # noqa: PLC0415 - as run

    data_dir = data_dir_of(arguments.config)
    kept = restore_backup(arguments.backup, data_dir)
    print(f"{data_dir} now holds {arguments.backup}" + (f"; what was there is {kept}" if kept else ""))
    return os.EX_OK
