"""Secrets are read from the environment or asked for on the terminal: other processes can read a command line."""

import os
import sys

from config.errors import BadInput

SIGNING = "The endpoint's signing secret (whsec_…, from Stripe → Developers → Webhooks)"


def from_variable(option: str, variable: str) -> str:
    """What the environment holds. Raises BadInput where it holds nothing."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise BadInput(f"{option}: the environment variable {variable} is not set")
    return value


def ask_secret(what: str, variable: str | None, *, optional: bool = False) -> str:
    """The secret that `--secret-from` names, else what is typed at the terminal; without one "", or BadInput."""
    if variable is not None:
        return from_variable("--secret-from", variable)
    if not sys.stdin.isatty():
        if optional:
            return ""
        raise BadInput("the signing secret is missing; name a variable that holds it with --secret-from")
    from getpass import getpass  # noqa: PLC0415 - only a terminal is asked

    return getpass(f"{what}: ").strip()
