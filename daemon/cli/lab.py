"""Commands of the lab: backtest and its kin."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse gives this type no public name


def register(commands: "Commands") -> None:
    """Add the lab's commands."""
