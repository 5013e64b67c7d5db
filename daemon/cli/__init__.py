"""The command line. Each module holds one command group and imports what is heavy only when its command runs."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence

from config.errors import UserError
from daemon import __version__
from daemon.cli import (
    backfill,
    bars,
    completion,
    config,
    desk,
    exchange,
    lab,
    mrr,
    operate,
    replay,
    run,
    service,
    tenant,
)

GROUPS = (run, config, service, operate, tenant, mrr, backfill, desk, replay, lab, bars, exchange, completion)

EPILOG = """\
first steps:
  nightdesk demo                                see what it does, with nothing set up
  nightdesk init nightdesk.yaml                 write a first config
  nightdesk doctor --config nightdesk.yaml      what is wrong, and the remedy
  nightdesk run --config nightdesk.yaml         the daemon; test-alert and status ask it
  nightdesk COMMAND --help                      what a command takes

exit codes: 0 done, 1 failed, 2 wrong input, 3 no daemon answers, 4 the daemon is unhealthy
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line; a command's namespace carries its function as `run`, which returns the exit code."""
    top = argparse.ArgumentParser(
        prog="nightdesk",
        description="Watches Stripe billing and runs a paper trading desk while you sleep.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"nightdesk {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in GROUPS:
        group.register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. What the user can mend is one line on stderr, never a traceback."""
    arguments = parser().parse_args(argv)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"nightdesk: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, EOFError):  # Ctrl-C, or Ctrl-D instead of an answer
        print("nightdesk: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader (head, less) went away; give the interpreter's last flush somewhere to go.
        _let_go_of_stdout()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _let_go_of_stdout()
        print("nightdesk: the output cannot be written: no space left on device", file=sys.stderr)
        return 1


def _let_go_of_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
