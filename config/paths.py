"""Where things are when nobody says otherwise."""

import os
from pathlib import Path

SYSTEM_DATA_DIR = Path("/var/lib/nightdesk")
SYSTEM_SOCKET = Path("/run/nightdesk/control.sock")

BARS = "bars"
"""The folder of the bar store, in the data directory."""


def default_data_dir() -> Path:
    """systemd's StateDirectory, else the user's own state folder."""
    return Path(os.environ.get("STATE_DIRECTORY") or Path.home() / ".local/state/nightdesk")


def default_socket() -> Path:
    """systemd's RuntimeDirectory; for a command, the service's socket where there is one; else beside the data."""
    if runtime := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(runtime) / "control.sock"
    return SYSTEM_SOCKET if _there_is_a_service() else default_data_dir() / "control.sock"


def _there_is_a_service() -> bool:
    try:
        return SYSTEM_SOCKET.exists()
    except PermissionError:
        return True  # for others than us: whoever connects is told so
