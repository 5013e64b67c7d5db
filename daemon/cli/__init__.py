"""The command line. Each module holds one command group and imports what is heavy only when its command runs."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from config.errors import UserError
from daemon import __version__

GROUPS = {
    "run": ("run", "demo", "restore"),
    "config": ("init", "doctor", "config"),
    "service": ("install-service",),
    "operate": (
        *("status", "actors", "incidents", "ack", "false-positive", "snooze", "events", "restart", "reload", "backup"),
        *("test-alert", "loglevel", "top", "dead-letters"),
    ),
    "tenant": ("tenant",),
    "mrr": ("mrr",),
    "backfill": ("backfill",),
    "desk": ("positions", "strategies", "halt", "resume", "flatten"),
    "replay": ("replay",),
    "lab": ("backtest",),
    "bars": ("import-bars", "fetch-bars", "data"),
    "exchange": ("exchange",),
    "completion": ("completion",),
}
"""Module and commands of each group: to answer one command, no other group is even imported (a third of its start)."""

EPILOG = """\
first steps:
  nightdesk demo                                see what it does, with nothing set up
  nightdesk init nightdesk.yaml                 write a first config
  nightdesk doctor --config nightdesk.yaml      what is wrong, and the remedy
  nightdesk run --config nightdesk.yaml         the daemon; test-alert and status ask it
  nightdesk COMMAND --help                      what a command takes

exit codes: 0 done, 1 failed, 2 wrong input, 3 no daemon answers, 4 the daemon is unhealthy
"""


class Parser(argparse.ArgumentParser):
    """The standard one; but a fault is one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """What is wrong with the words; exit 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The whole command line, or as much of it as `command` needs.

    A command's namespace carries its function as `run`, which returns the exit code.
    """
    top = Parser(
        prog="nightdesk",
        description="Watches Stripe billing and runs a paper trading desk while you sleep.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"nightdesk {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in [group for group, names in GROUPS.items() if command in names] or GROUPS:
        import_module(f"daemon.cli.{group}").register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. What the user can mend is one line on stderr, never a traceback."""
    words = sys.argv[1:] if argv is None else argv
    arguments = parser(next(iter(words), None)).parse_args(words)
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
