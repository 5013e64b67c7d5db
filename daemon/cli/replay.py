"""`nightdesk replay`: what would the watch have said to these recorded events?"""

import argparse
from pathlib import Path

from daemon.cli.words import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "replay",
        help="run recorded Stripe events through the watch, in memory; nothing is sent",
        description="Runs a recording through the live scorer on a virtual clock; prints each change of an incident.",
    )
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="JSON lines: Stripe events, bare or with received/tenant"
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="whose thresholds to use (default: the defaults)")
    parser.add_argument(
        "--tenant",
        metavar="T",
        help="only this tenant, whose the bare events are (default: all; the only one configured)",
    )
    parser.add_argument("--until", metavar="TIME", help="the recording covers the time up to here (unix or ISO 8601)")
    parser.add_argument("--skip-bad", action="store_true", help="go on after a line that is no event")
    parser.add_argument("--json", action="store_true", help="one object a line, and a summary as the last")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every change of an incident, then the summary."""
    from daemon.cli.recording import replay  # noqa: PLC0415 - settings and watch are loaded only when wanted

    replay(
        arguments.file,
        config=arguments.config,
        tenant=arguments.tenant,
        until=arguments.until,
        skip_bad=arguments.skip_bad,
        as_json=arguments.json,
    )
    return 0
